"""The HTTP application: routes, errors, one line of log per request, counts for Prometheus."""

import json
import logging
import re
import time
import uuid
from http import HTTPStatus

from flask import Flask, Response, g, request
from prometheus_client import exposition
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from tfseg import __version__
from tfseg.serving import open_inference, tensorflow_serving, vertex_ai
from tfseg.serving.openapi import make_document
from tfseg.serving.origins import headers_for, preflight_headers
from tfseg.serving.service import PROBE, START, Service, is_gone
from tfseg.serving.uploads import Refused

MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
HUNG_UP = 499  # in log and metrics, as of nginx, of a client that hung up before its answer
OTHERS = re.compile(r"/v[12](/|$)")  # paths of other servers' protocols, which have errors of their own kind

log = logging.getLogger("tfseg.service")


def create_app(service: Service) -> Flask:
    """Makes the WSGI application."""
    app = Flask("tfseg", static_folder=None)
    app.url_map.merge_slashes = False  # no path leads to another

    @app.before_request
    def begin():
        g.start, g.fields = request.environ.get(START, time.monotonic()), {}
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        if is_preflight(service):
            return answer_nothing(preflight_headers())
        if not is_probe(request.endpoint) and not service.has_key(request.environ):
            raise Refused(401, "expected the API key, as Authorization: Bearer KEY or X-API-Key: KEY")
        if request.method == "OPTIONS" and request.url_rule:
            return answer_nothing({"Allow": app.make_default_options_response().headers["Allow"]})
        return None

    @app.after_request
    def end(response: Response):
        return finish(service, response)

    vertex_ai.add_routes(app, service, service.vertex)
    add_routes(app, service)
    tensorflow_serving.add_routes(app, service)
    open_inference.add_routes(app, service)
    add_error_handlers(app, service)
    if count := service.proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count, x_prefix=count)
    return app


class Routes:
    """What the event loop asks of a request, given as its environment, before the application has it."""

    def __init__(self, app: Flask, service: Service):
        self._paths, self._service = app.url_map.bind("localhost"), service

    def wants_body(self, environ: dict) -> bool:
        """Whether its body matters."""
        return environ["REQUEST_METHOD"] == "POST" and bool(self._find(environ)) and self._service.has_key(environ)

    def is_probe(self, environ: dict) -> bool:
        """Whether it asks how the service is."""
        return is_probe(self._find(environ))

    def _find(self, environ: dict) -> str | None:
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            return self._paths.match(path, environ["REQUEST_METHOD"])[0]
        except HTTPException:
            return None


def is_probe(endpoint: str | None) -> bool:
    """Whether a route asks how the service is, which needs no key."""
    return endpoint is not None and endpoint.startswith(PROBE)


def is_preflight(service: Service) -> bool:
    """Whether a browser asks, without a key, what a page of an allowed origin may send."""
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return asks and "Access-Control-Allow-Origin" in headers_for(request.headers.get("Origin"), service.origins)


def answer_nothing(headers: dict[str, str]) -> Response:
    """Answers by headers alone."""
    response = Response(status=204, headers=headers)
    del response.headers["Content-Type"]
    return response


def add_routes(app: Flask, service: Service) -> None:
    """Adds the service's own routes to an application."""

    @app.get("/")
    def root():
        document = f"{request.root_url}openapi.json"
        return {"service": "tfseg", "version": __version__, "model": service.model, "document": document}

    @app.post("/predict")
    def predict():
        return service.predict()

    @app.get("/labels")
    def labels():
        return {"model": service.model, "classes": service.labels}

    @app.get("/metrics")
    def metrics():
        return Response(service.metrics.to_text(), content_type=exposition.CONTENT_TYPE_LATEST)

    @app.get("/healthz", endpoint=f"{PROBE}healthz")
    def healthz():
        return Response("alive\n", mimetype="text/plain")

    @app.get("/readyz", endpoint=f"{PROBE}readyz")
    def readyz():
        service.check_ready()
        return Response("ready\n", mimetype="text/plain")

    @app.get("/openapi.json")
    def openapi():
        return make_document(request.root_url.rstrip("/"), service.vertex)


def add_error_handlers(app: Flask, service: Service) -> None:
    """Lets an application answer every error as a problem, or as the protocol has it that is spoken."""

    @app.errorhandler(Refused)
    def refuse(error: Refused):
        return problem(service, error.status, error.reason, MORE_HEADERS.get(error.status, {}))

    @app.errorhandler(HTTPException)
    def explain(error: HTTPException):
        kept = {name: value for name, value in error.get_headers() if name == "Allow"}
        reasons = {404: "no such path; /openapi.json names them", 405: f"{request.method} is no method here"}
        status = error.code or 500
        return problem(service, status, reasons.get(status, error.description or ""), kept)

    @app.errorhandler(Exception)
    def fail(error: Exception):
        log.error("%s", g.request_id, exc_info=error)
        return problem(service, 500, "the service made a mistake; see its log", {})


def problem(service: Service, status: int, reason: str, headers: dict[str, str]) -> Response:
    """Answers an error as of RFC 9457, or as TensorFlow Serving and the Open Inference Protocol have it."""
    g.fields["error"] = reason
    if OTHERS.match(request.path) or request.path in service.vertex:
        return Response(json.dumps({"error": reason}), status, headers, mimetype="application/json")
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": reason, "request_id": g.request_id}
    return Response(json.dumps(body), status, headers, mimetype="application/problem+json")


def finish(service: Service, response: Response) -> Response:
    """Counts and logs a request, and adds the headers that every answer has."""
    seconds = time.monotonic() - g.start
    route = request.url_rule.rule if request.url_rule else "none"
    status = HUNG_UP if is_gone() else response.status_code
    service.metrics.requests.labels(route, status).inc()
    service.metrics.seconds.labels(route).observe(seconds)
    response.headers["X-Request-ID"] = g.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(headers_for(request.headers.get("Origin"), service.origins))
    fields = {
        "request_id": g.request_id,
        "client": request.remote_addr,
        "method": request.method,
        "path": request.path[:200],
        "status": status,
        "answered_bytes": response.calculate_content_length(),
        "seconds": round(seconds, 4),
        **g.fields,
    }
    log.info("%s", request.path[:200], extra={"fields": fields})
    return response
