"""The HTTP service: routes, answers and errors, one line of log a request, counts for Prometheus."""

import concurrent.futures
import hmac
import json
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import numpy as np
import prometheus_client as prometheus
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from tfseg.io.png import encode_png
from tfseg.serving.batching import Batcher, QueueFull
from tfseg.serving.openapi import DOCUMENT
from tfseg.serving.uploads import CHUNK, Limits, Refused, picture_file, read_body, read_upload
from tfseg.visualization.overlay import blend

OPEN = ("healthz", "readyz")  # routes that ask for no key
BY_ACCEPT = {"image/png": "mask", "application/json": "json"}  # the first one is the answer to */*
FORMATS = ("mask", "overlay", "json")
FULL = "as many pictures wait as may"
MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
DISCARD_SECONDS = 2.0

log = logging.getLogger("tfseg.service")


class Metrics:
    """What /metrics tells."""

    def __init__(self):
        prometheus.disable_created_metrics()
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "tfseg_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "tfseg_request_seconds", "From the headers of a request to its answer", ["route"], registry=registry
        )
        self.pictures = prometheus.Counter("tfseg_pictures", "Pictures that the model classified", registry=registry)
        self.batches = prometheus.Histogram(
            "tfseg_batch_pictures",
            "Pictures that the model saw at once",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.model_seconds = prometheus.Histogram("tfseg_model_seconds", "Of the model, a batch", registry=registry)
        self.queue = prometheus.Gauge("tfseg_queue_pictures", "Pictures that wait for the model", registry=registry)
        self.ready = prometheus.Gauge("tfseg_ready", "Whether pictures are taken", registry=registry)

    def on_batch(self, pictures: int, seconds: float) -> None:
        """Counts a batch."""
        self.pictures.inc(pictures)
        self.batches.observe(pictures)
        self.model_seconds.observe(seconds)


@dataclass
class Service:
    """All that the routes know."""

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
        self.metrics.queue.set_function(lambda: len(self.batcher))
        self.metrics.ready.set_function(lambda: self.is_ready)

    @property
    def is_ready(self) -> bool:
        """Whether pictures are taken."""
        return self.batcher.running and not self.draining()

    @property
    def labels(self) -> list[dict]:
        """The classes as /labels tells them."""
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
        """Answers a picture."""
        deadline = g.start + self.timeout
        body = read_body(lambda size: self._read(size, deadline), request.content_length, self.limits.body, deadline)
        form = wanted_format()
        if not self.batcher.running:
            raise Refused(503, "the model is not loaded yet")
        if self.batcher.is_full:  # before anything is decoded
            raise Refused(503, FULL)
        with self.core(deadline):
            picture = read_upload(picture_file(body, request.content_type or ""), self.limits)
            prepared = self.prepare(picture)
        g.told.update(height=picture.shape[0], width=picture.shape[1], format=form, bytes=len(body))
        decoded = time.monotonic()
        result = self._classify(prepared, picture.shape[:2], deadline)
        milliseconds = {
            "decode": round(1000 * (decoded - g.start), 1),
            "wait": round(1000 * result.waited, 1),
            "model": round(1000 * result.took, 1),
        }
        g.told.update(milliseconds, batch=result.batch)
        if form == "json":
            return self._shares(result, milliseconds)
        with self.core(deadline):
            shown = result.class_ids if form == "mask" else blend(picture, result.class_ids, self.colors, self.alpha)
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

    def _classify(self, prepared: np.ndarray, size: tuple[int, int], deadline: float):
        try:
            future = self.batcher.submit(prepared, size)
        except QueueFull:
            raise Refused(503, FULL) from None
        try:
            return future.result(timeout=max(deadline - time.monotonic(), 0))
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise Refused(504, f"the model did not answer within {self.timeout:g} s") from None

    def _shares(self, result, milliseconds: dict[str, float]) -> Response:
        pixels = np.bincount(result.class_ids.ravel(), minlength=len(self.classes))
        height, width = result.class_ids.shape
        return Response(
            json.dumps(
                {
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
            ),
            mimetype="application/json",
        )


def wanted_format() -> str:
    """What the request wants its answer to be."""
    form = request.args.get("format")
    if form is None:
        kind = request.accept_mimetypes.best_match(BY_ACCEPT) if "Accept" in request.headers else "image/png"
        if kind is None:
            raise Refused(406, f"there are {' and '.join(BY_ACCEPT)}")
        return BY_ACCEPT[kind]
    if form not in FORMATS:
        raise Refused(400, f"expected format={' or '.join(FORMATS)}, got {form[:40]!r}")
    return form


def problem(service: Service, status: int, reason: str, headers: dict[str, str]) -> Response:
    """An error as of RFC 9457."""
    if status not in (400, 408, 500):  # after which a body may be anything
        service.discard()
    g.told["error"] = reason
    told = {"title": HTTPStatus(status).phrase, "status": status, "detail": reason, "request_id": g.request_id}
    return Response(json.dumps(told), status, headers, mimetype="application/problem+json")


def create_app(service: Service) -> Flask:
    """Makes the WSGI application."""
    app = Flask("tfseg", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    metrics = service.metrics

    @app.before_request
    def begin():
        g.start, g.told = time.monotonic(), {}
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        if not service.may_come_in():
            raise Refused(401, "expected the API key, as Authorization: Bearer KEY or X-API-Key: KEY")

    @app.post("/predict")
    def predict():
        return service.predict()

    @app.get("/labels")
    def labels():
        return {"model": service.model, "classes": service.labels}

    @app.get("/metrics")
    def tell_metrics():
        return Response(
            prometheus.generate_latest(metrics.registry), content_type=prometheus.exposition.CONTENT_TYPE_LATEST
        )

    @app.get("/healthz")
    def healthz():
        return Response("alive\n", mimetype="text/plain")

    @app.get("/readyz")
    def readyz():
        if not service.is_ready:
            raise Refused(503, "the service ends" if service.draining() else "the model is not loaded yet")
        return Response("ready\n", mimetype="text/plain")

    @app.get("/openapi.json")
    def openapi():
        return DOCUMENT

    @app.errorhandler(Refused)
    def refuse(error: Refused):
        return problem(service, error.status, error.reason, MORE_HEADERS.get(error.status, {}))

    @app.errorhandler(HTTPException)
    def tell(error: HTTPException):
        kept = {name: value for name, value in error.get_headers() if name == "Allow"}
        reason = {404: "no such path; /openapi.json names them", 405: f"{request.method} is no method here"}
        return problem(service, error.code, reason.get(error.code, error.description), kept)

    @app.errorhandler(Exception)
    def fail(error: Exception):
        log.error("%s", g.request_id, exc_info=error)
        return problem(service, 500, "the service made a mistake, and its log tells more", {})

    @app.after_request
    def end(response: Response):
        seconds = time.monotonic() - g.start
        route = request.url_rule.rule if request.url_rule else "none"
        metrics.requests.labels(route, response.status_code).inc()
        metrics.seconds.labels(route).observe(seconds)
        response.headers["X-Request-ID"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        told = {
            "request_id": g.request_id,
            "client": request.remote_addr,
            "method": request.method,
            "path": request.path[:200],
            "status": response.status_code,
            "answered_bytes": response.calculate_content_length(),
            "seconds": round(seconds, 4),
            **g.told,
        }
        log.info("%s", request.path[:200], extra={"told": told})
        return response

    return app


class JsonLines(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Writes time and level, and what a request told or the message."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **getattr(record, "told", {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)
