"""What the service does with an image: from the body of a request to its answer."""

import concurrent.futures
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from flask import Response, g, request

from tfseg.io.png import encode_png
from tfseg.serving.batching import Batcher, QueueFull, Result
from tfseg.serving.metrics import Metrics
from tfseg.serving.uploads import CHUNK, Limits, Refused, image_file, read_body, read_upload
from tfseg.visualization.overlay import blend

OPEN = ("healthz", "readyz")  # routes that ask for no key
BY_ACCEPT = {"image/png": "mask", "application/json": "json"}  # the first one is the answer to */*
FORMATS = ("mask", "overlay", "json")
FULL = "as many images wait as may"
DISCARD_SECONDS = 2.0


@dataclass
class Service:
    """All that the routes know.

    In a request, `g` holds its `start`, its `request_id`, and the `fields` of its line in the log.
    """

    model: str
    """Its id."""
    classes: list[str]
    colors: np.ndarray
    """(C, 3) uint8 RGB."""
    batcher: Batcher
    metrics: Metrics
    prepare: Callable[[np.ndarray], np.ndarray] = lambda image: image
    """Resizes an image, (H, W, 3) uint8, to what the network is to see."""
    limits: Limits = field(default_factory=Limits)
    timeout: float = 30.0
    """Seconds for the body and the model of a request."""
    alpha: float = 0.5
    """Of overlays."""
    key: bytes | None = None
    """The API key; None asks for none."""
    draining: Callable[[], bool] = lambda: False
    """Whether the service ends."""

    def __post_init__(self):
        # Decoding and encoding is work of a processor, and takes memory: no more of it at a time than there are cores.
        self._cores = threading.BoundedSemaphore(os.cpu_count() or 1)
        for gauge in self.metrics.queue:
            gauge.set_function(lambda: len(self.batcher))
        self.metrics.ready.set_function(lambda: self.is_ready)

    @property
    def is_ready(self) -> bool:
        """Whether images are taken."""
        return self.batcher.running and not self.draining()

    @property
    def labels(self) -> list[dict]:
        """The classes as /labels lists them."""
        return [
            {"id": id, "name": name, "color": color}
            for id, (name, color) in enumerate(zip(self.classes, self.colors.tolist(), strict=True))
        ]

    @contextmanager
    def core(self, deadline: float) -> Iterator[None]:
        """Waits for one of the cores."""
        if not self._cores.acquire(timeout=max(deadline - time.monotonic(), 0)):
            raise Refused(504, f"no core was free within {self.timeout:g} s")
        try:
            yield
        finally:
            self._cores.release()

    def may_come_in(self) -> bool:
        """Whether the request has the API key, or needs none."""
        if self.key is None or request.endpoint in OPEN:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
        return hmac.compare_digest(given.encode("latin-1"), self.key)

    def predict(self) -> Response:
        """Answers an image."""
        deadline = g.start + self.timeout
        body = read_body(lambda size: self._read(size, deadline), request.content_length, self.limits.body, deadline)
        form = wanted_format()
        if not self.batcher.running:
            raise Refused(503, "the model is not loaded yet")
        if self.batcher.is_full:  # before anything is decoded
            raise Refused(503, FULL)
        with self.core(deadline):
            image = read_upload(image_file(body, request.content_type or ""), self.limits)
            prepared = self.prepare(image)
        height, width = image.shape[:2]
        g.fields.update(height=height, width=width, format=form, bytes=len(body))
        decoded = time.monotonic()
        result = self._classify(prepared, (height, width), deadline)
        milliseconds = {
            "decode": round(1000 * (decoded - g.start), 1),
            "wait": round(1000 * result.waited, 1),
            "model": round(1000 * result.took, 1),
        }
        g.fields.update(milliseconds, batch=result.batch)
        if form == "json":
            return self._answer_shares(result, milliseconds)
        with self.core(deadline):
            shown = result.class_ids if form == "mask" else blend(image, result.class_ids, self.colors, self.alpha)
            return Response(encode_png(shown), mimetype="image/png")

    def discard(self) -> None:
        """Reads what is left of a body, within bounds: who sends it all first would find a broken connection else."""
        deadline, left = time.monotonic() + DISCARD_SECONDS, self.limits.body
        with suppress(Exception):
            while left > 0 and (chunk := self._read(CHUNK, deadline)):
                left -= len(chunk)

    def _read(self, size: int, deadline: float) -> bytes:
        connection = request.environ.get("gunicorn.socket")
        if connection is None:
            return request.stream.read(size)
        connection.settimeout(max(deadline - time.monotonic(), 0.001))  # it would wait for ever
        try:
            return request.stream.read(size)
        finally:
            connection.settimeout(self.timeout)  # for the answer

    def _classify(self, prepared: np.ndarray, size: tuple[int, int], deadline: float) -> Result:
        try:
            future = self.batcher.submit(prepared, size)
        except QueueFull:
            raise Refused(503, FULL) from None
        try:
            return future.result(timeout=max(deadline - time.monotonic(), 0))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise Refused(504, f"the model did not answer within {self.timeout:g} s") from None

    def _answer_shares(self, result: Result, milliseconds: dict[str, float]) -> Response:
        pixels = np.bincount(result.class_ids.ravel(), minlength=len(self.classes))
        height, width = result.class_ids.shape
        answer = {
            "model": self.model,
            "request_id": g.request_id,
            "height": height,
            "width": width,
            "classes": [
                {**label, "pixels": int(count), "share": count / (height * width)}
                for label, count in zip(self.labels, pixels, strict=True)
            ],
            "batch": result.batch,
            "milliseconds": {**milliseconds, "total": round(1000 * (time.monotonic() - g.start), 1)},
        }
        return Response(json.dumps(answer), mimetype="application/json")


def wanted_format() -> str:
    """Reads from the request what its answer should be, one of `FORMATS`."""
    form = request.args.get("format")
    if form is None:
        kind = request.accept_mimetypes.best_match(BY_ACCEPT) if "Accept" in request.headers else "image/png"
        if kind is None:
            raise Refused(406, f"there are {' and '.join(BY_ACCEPT)}")
        return BY_ACCEPT[kind]
    if form not in FORMATS:
        raise Refused(400, f"expected format={' or '.join(FORMATS)}, got {form[:40]!r}")
    return form
