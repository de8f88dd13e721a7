"""What the service does with an image: from the body of a request to its answer."""

import concurrent.futures
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, field

import numpy as np
from flask import Response, g, request

from tfseg.io.json_reader import count_marks
from tfseg.io.names import quote
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.png import encode_png
from tfseg.serving.batching import Batcher, QueueFull, Result
from tfseg.serving.metrics import Metrics
from tfseg.serving.turns import MOST_WAITING, Turns
from tfseg.serving.uploads import Limits, Refused, check_pixels, image_file, read_body, read_upload
from tfseg.serving.vertex_ai import VertexRoutes
from tfseg.visualization.overlay import blend

BY_ACCEPT = {"image/png": "mask", "application/json": "json"}  # the first one is the answer to */*
FORMATS = ("mask", "overlay", "json")
PROBE = "probe "  # begins the endpoints that ask for no key, and have a thread of their own
START = "tfseg.start"  # in the environment of a request: when its headers were there, by `time.monotonic`
GONE = "tfseg.gone"  # likewise: a future that is done once the client has hung up
LARGE = 2**20  # bytes
MANY_VALUES = 20_000  # of JSON; more take some milliseconds, in which no other thread runs
FULL = "as many images wait as may; send it again later"
GONE_AWAY = "the client has hung up"
Source = bytes | np.ndarray


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
    _: KW_ONLY
    name: str = "model"
    """By which clients of other servers ask for it."""
    version: str = "1"
    """A whole number, as of TensorFlow Serving."""
    platform: str = "tensorflow_savedmodel"
    """What runs it, and the format of its file, as of the Open Inference Protocol."""
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
    proxies: int = 0
    """How many stand in front of it, one behind the other, each of which adds to the X-Forwarded headers."""
    vertex: VertexRoutes = field(default_factory=VertexRoutes)
    """Paths that Vertex AI calls."""
    draining: Callable[[], bool] = lambda: False
    """Whether the service ends."""
    have_begun: Callable[[], bool] = lambda: True
    """Whether the model has been loaded in all processes of the service."""

    def __post_init__(self):
        # Decoding and encoding is work of a processor, and takes memory: no more of it at a time than there are cores.
        cores = os.cpu_count() or 1
        self._cores = threading.BoundedSemaphore(cores)
        # Large files leave one core to the small ones.
        self._large = threading.BoundedSemaphore(max(cores - 1, 1))
        # Who waits for a turn of JSON holds a thread, of which images need most.
        images = self.batcher.capacity + self.batcher.max_batch
        self._turns = Turns(waiting=min(MOST_WAITING, max(images // 2, 1)))
        for gauge in self.metrics.queue:
            gauge.set_function(lambda: len(self.batcher))
        self.metrics.ready.set_function(lambda: self.is_ready)

    @property
    def is_ready(self) -> bool:
        """Whether images are taken."""
        return self.batcher.running and self.have_begun() and not self.draining()

    @property
    def labels(self) -> list[dict]:
        """The classes as /labels lists them."""
        return [
            {"id": id, "name": name, "color": color}
            for id, (name, color) in enumerate(zip(self.classes, self.colors.tolist(), strict=True))
        ]

    def has_key(self, environ: dict[str, str]) -> bool:
        """Whether a request, given as its environment, has the API key, if one is asked for."""
        if self.key is None:
            return True
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else environ.get("HTTP_X_API_KEY", "")
        return hmac.compare_digest(given.encode("latin-1", "replace"), self.key)

    def predict(self) -> Response:
        """Answers an image."""
        body = self.read_body()
        form = wanted_format()
        self.check_free()
        with self.core(len(body)):
            file = image_file(body, request.content_type or "")
        g.fields["format"] = form
        [(image, result)] = self.segment([file])
        if form == "json":
            return self._answer_shares(result)
        if form == "mask":
            return Response(self.encode(result.class_ids), mimetype="image/png")
        with self.core():
            overlay = encode_png(blend(image, result.class_ids, self.colors, self.alpha))
        return Response(overlay, mimetype="image/png")

    def read_body(self) -> bytes:
        """Reads the body of the request; raises `Refused` as `uploads.read_body`, and for one that is compressed."""
        if (coding := request.headers.get("Content-Encoding", "identity")) != "identity":
            raise Refused(415, f"the body has the Content-Encoding {coding[:40]!r}; send it as it is")
        body = read_body(request.stream.read, request.content_length, self.limits.body, self._deadline)
        g.fields["bytes"] = len(body)
        return body

    def check_ready(self) -> None:
        """Raises `Refused` unless images are taken."""
        if not self.is_ready:
            raise Refused(503, "the service ends" if self.draining() else "the model is not loaded yet")

    def check_free(self) -> None:
        """Raises `Refused` if no image would be taken now, before anything is decoded."""
        if not self.batcher.running:
            raise Refused(503, "the model is not loaded yet")
        if self.batcher.is_full:
            raise Refused(503, FULL)

    def check_count(self, images: int) -> None:
        """Raises `Refused` for a request of more images than the model sees at once, or than may wait."""
        most = min(self.batcher.max_batch, self.batcher.capacity)
        if images > most:
            raise Refused(413, f"a request may bring {most} images, got {images:,}")

    @contextmanager
    def core(self, size: int = 0) -> Iterator[None]:
        """Waits for one of the cores, with something of so many bytes, unless the client is gone by then."""
        with ExitStack() as taken:
            for places in [self._large, self._cores] if size > LARGE else [self._cores]:
                if not places.acquire(timeout=max(self._deadline - time.monotonic(), 0)):
                    raise Refused(504, f"no core was free within {self.timeout:g} s")
                taken.callback(places.release)
            if is_gone():
                raise Refused(503, GONE_AWAY)
            yield

    @contextmanager
    def parsing(self, body: bytes) -> Iterator[None]:
        """Waits until a body of JSON may be parsed: for a core, and for its turn if it has many values."""
        core = self.core(len(body))
        with self._turns.take(self._deadline, core) if count_marks(body) > MANY_VALUES else core:
            yield

    def segment(self, sources: Sequence[Source]) -> list[tuple[np.ndarray, Result]]:
        """Classifies the images of a request: the one way from what a client sent to what the model says.

        Args:
            sources: image files, or pixels as the network is to have them, uint8 (H, W, channels).

        Returns:
            Of each the image and what came of it.

        Raises:
            Refused: an image is refused, there are too many of them, or they are not answered in time.
        """
        self.check_count(len(sources))
        images: list[np.ndarray] = []
        futures: list[Future] = []
        try:
            for source in sources:
                with self.core(len(source) if isinstance(source, bytes) else 0):
                    image = self._open(source, before=sum(image.shape[0] * image.shape[1] for image in images))
                    prepared = self.prepare(image)
                images.append(image)
                futures.append(self._submit(prepared, image.shape[:2]))
            height, width = images[0].shape[:2]
            g.fields.update(images=len(images), height=height, width=width)
            decoded = time.monotonic()
            results = [self._wait(future) for future in futures]
        finally:
            for future in futures:
                future.cancel()  # nothing, if it is done
        g.fields.update(
            decode=round(1000 * (decoded - g.start), 1),
            wait=round(1000 * max(result.waited for result in results), 1),
            model=round(1000 * max(result.took for result in results), 1),
            batch=max(result.batch for result in results),
        )
        return list(zip(images, results, strict=True))

    def encode(self, class_ids: np.ndarray) -> bytes:
        """Makes a PNG file of a mask."""
        with self.core():
            return encode_png(class_ids)

    @property
    def _deadline(self) -> float:
        return g.start + self.timeout

    def _open(self, source: Source, before: int) -> np.ndarray:
        """Makes pixels of one image of a request, of which others have so many pixels."""
        if isinstance(source, bytes):
            return read_upload(source, self.limits, self.pixels, before)
        return check_pixels(source, self.limits, self.pixels, before)

    def _submit(self, prepared: np.ndarray, size: tuple[int, int]) -> Future:
        try:
            future = self.batcher.submit(prepared, size)
        except QueueFull:
            raise Refused(503, FULL) from None
        if GONE in request.environ:
            request.environ[GONE].add_done_callback(lambda _: future.cancel())
        return future

    def _wait(self, future: Future) -> Result:
        try:
            return future.result(timeout=max(self._deadline - time.monotonic(), 0))
        except concurrent.futures.TimeoutError:
            raise Refused(504, f"the model did not answer within {self.timeout:g} s") from None
        except concurrent.futures.CancelledError:
            raise Refused(503, GONE_AWAY) from None

    def _answer_shares(self, result: Result) -> Response:
        pixels = np.bincount(result.class_ids.ravel(), minlength=len(self.classes))
        height, width = result.class_ids.shape
        milliseconds = {name: g.fields[name] for name in ("decode", "wait", "model")}
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


def is_gone() -> bool:
    """Whether the client of the request has hung up."""
    return GONE in request.environ and request.environ[GONE].done()


def wanted_format() -> str:
    """Reads from the request what its answer should be, one of `FORMATS`."""
    form = request.args.get("format")
    if form is None:
        kind = request.accept_mimetypes.best_match(BY_ACCEPT) if "Accept" in request.headers else "image/png"
        if kind is None:
            raise Refused(406, f"Accept: expected {' or '.join(BY_ACCEPT)}, got {quote(request.headers['Accept'])}")
        return BY_ACCEPT[kind]
    if form not in FORMATS:
        raise Refused(400, f"expected format={' or '.join(FORMATS)}, got {form[:40]!r}")
    return form
