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

from tfseg.serving.openapi import DOCUMENT
from tfseg.serving.origins import headers_for, preflight_headers
from tfseg.serving.service import GONE, PREDICT, START, Service
from tfseg.serving.uploads import Refused

MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}
HUNG_UP = 499  # in log and metrics, as of nginx, of a client that hung up before its answer

log = logging.getLogger("tfseg.service")


def create_app(service: Service) -> Flask:
    """Makes the WSGI application."""
    app = Flask("tfseg", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False

    @app.before_request
    def begin():
        g.start, g.fields = request.environ.get(START, time.monotonic()), {}
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid.uuid4().hex
        if is_preflight(service):
            return Response(status=204, headers=preflight_headers())
        if not service.may_come_in():
            raise Refused(401, "expected the API key, as Authorization: Bearer KEY or X-API-Key: KEY")
        return None

    @app.after_request
    def end(response: Response):
        return finish(service, response)

    add_routes(app, service)
    add_error_handlers(app)
    return app


def is_preflight(service: Service) -> bool:
    """Whether a browser asks, without a key, what a page of an allowed origin may send."""
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    return asks and "Access-Control-Allow-Origin" in headers_for(request.headers.get("Origin"), service.origins)


def add_routes(app: Flask, service: Service) -> None:
    """Adds all routes to an application."""

    @app.post(PREDICT)
    def predict():
        return service.predict()

    @app.get("/labels")
    def labels():
        return {"model": service.model, "classes": service.labels}

    @app.get("/metrics")
    def metrics():
        return Response(service.metrics.to_text(), content_type=exposition.CONTENT_TYPE_LATEST)

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


def add_error_handlers(app: Flask) -> None:
    """Lets an application answer every error as a problem."""

    @app.errorhandler(Refused)
    def refuse(error: Refused):
        return problem(error.status, error.reason, MORE_HEADERS.get(error.status, {}))

    @app.errorhandler(HTTPException)
    def explain(error: HTTPException):
        kept = {name: value for name, value in error.get_headers() if name == "Allow"}
        reasons = {404: "no such path; /openapi.json names them", 405: f"{request.method} is no method here"}
        status = error.code or 500
        return problem(status, reasons.get(status, error.description or ""), kept)

    @app.errorhandler(Exception)
    def fail(error: Exception):
        log.error("%s", g.request_id, exc_info=error)
        return problem(500, "the service made a mistake; see its log", {})


def problem(status: int, reason: str, headers: dict[str, str]) -> Response:
    """Answers an error as of RFC 9457."""
    g.fields["error"] = reason
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": reason, "request_id": g.request_id}
    return Response(json.dumps(body), status, headers, mimetype="application/problem+json")


def finish(service: Service, response: Response) -> Response:
    """Counts and logs a request, and adds the headers that every answer has."""
    seconds = time.monotonic() - g.start
    route = request.url_rule.rule if request.url_rule else "none"
    is_gone = GONE in request.environ and request.environ[GONE].done()
    status = HUNG_UP if is_gone else response.status_code
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
