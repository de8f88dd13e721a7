"""What the service does with an image: from the body of a request to its answer."""

import concurrent.futures
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
from flask import Response, g, request

from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.png import encode_png
from tfseg.serving.batching import Batcher, QueueFull, Result
from tfseg.serving.metrics import Metrics
from tfseg.serving.uploads import Limits, Refused, image_file, read_body, read_upload
from tfseg.visualization.overlay import blend

OPEN = ("healthz", "readyz")  # routes that ask for no key
BY_ACCEPT = {"image/png": "mask", "application/json": "json"}  # the first one is the answer to */*
FORMATS = ("mask", "overlay", "json")
PREDICT = "/predict"
START = "tfseg.start"  # in the environment of a request: when its headers were there, by `time.monotonic`
GONE = "tfseg.gone"  # likewise: a future that is done once the client has hung up
LARGE = 2**20  # bytes
FULL = "as many images wait as may"


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
    """Resizes an image, (H, W, channels) uint8, to what the network is to see."""
    pixels: PixelFormat = RGB
    """What the images are that the model takes."""
    limits: Limits = field(default_factory=Limits)
    timeout: float = 30.0
    """Seconds for the body and the model of a request."""
    alpha: float = 0.5
    """Of overlays."""
    key: bytes | None = None
    """The API key; None asks for none."""
    origins: frozenset[str] = frozenset()
    """Of web pages whose scripts may use the service."""
    draining: Callable[[], bool] = lambda: False
    """Whether the service ends."""

    def __post_init__(self):
        # Decoding and encoding is work of a processor, and takes memory: no more of it at a time than there are cores.
        cores = os.cpu_count() or 1
        self._cores = threading.BoundedSemaphore(cores)
        # Large files leave one core to the small ones.
        self._large = threading.BoundedSemaphore(max(cores - 1, 1))
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
    def core(self, deadline: float, size: int = 0) -> Iterator[None]:
        """Waits for one of the cores, with a file of so many bytes."""
        with ExitStack() as taken:
            for places in [self._large, self._cores] if size > LARGE else [self._cores]:
                if not places.acquire(timeout=max(deadline - time.monotonic(), 0)):
                    raise Refused(504, f"no core was free within {self.timeout:g} s")
                taken.callback(places.release)
            yield

    def may_come_in(self) -> bool:
        """Whether the request has the API key, or needs none."""
        return request.endpoint in OPEN or self.has_key(request.environ)

    def has_key(self, environ: dict[str, str]) -> bool:
        """Whether a request, given as its environment, has the API key, if one is asked for."""
        if self.key is None:
            return True
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY", "")
        return hmac.compare_digest(given.encode("latin-1", "replace"), self.key)

    def wants_body(self, environ: dict[str, str]) -> bool:
        """Whether a request, given as its environment, is one whose body matters."""
        return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == PREDICT and self.has_key(environ)

    def predict(self) -> Response:
        """Answers an image."""
        deadline = g.start + self.timeout
        body = read_body(request.stream.read, request.content_length, self.limits.body, deadline)
        form = wanted_format()
        if not self.batcher.running:
            raise Refused(503, "the model is not loaded yet")
        if self.batcher.is_full:  # before anything is decoded
            raise Refused(503, FULL)
        with self.core(deadline, len(body)):
            image = read_upload(image_file(body, request.content_type or ""), self.limits, self.pixels)
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

    def _classify(self, prepared: np.ndarray, size: tuple[int, int], deadline: float) -> Result:
        try:
            future = self.batcher.submit(prepared, size)
        except QueueFull:
            raise Refused(503, FULL) from None
        if GONE in request.environ:
            request.environ[GONE].add_done_callback(lambda _: future.cancel())
        try:
            return future.result(timeout=max(deadline - time.monotonic(), 0))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise Refused(504, f"the model did not answer within {self.timeout:g} s") from None
        except concurrent.futures.CancelledError:
            raise Refused(503, "the client has hung up") from None

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
