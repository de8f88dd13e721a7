"""The service in the words of OpenAPI 3.1, as it stands at /openapi.json."""

from tfseg import __version__

PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail", "request_id"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was wrong, and what would be right"},
        "request_id": {"type": "string"},
    },
}
COLOR = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}, "minItems": 3, "maxItems": 3}
CLASS = {"id": {"type": "integer"}, "name": {"type": "string"}, "color": COLOR}
SHARE = {
    **CLASS,
    "pixels": {"type": "integer", "minimum": 0},
    "share": {"type": "number", "minimum": 0, "maximum": 1},
}
MILLISECONDS = {
    "decode": "reading and decoding the picture",
    "wait": "in the queue",
    "model": "the model's, for the whole batch",
    "total": "all of it",
}

ERRORS = {
    400: "no whole picture, 16 bits a channel, a form without the field, an unknown format",
    401: "no API key, or a wrong one",
    404: "no such path",
    405: "no such method here",
    406: "an Accept that is met by neither image/png nor application/json",
    408: "the body did not come in time",
    413: "more bytes, pixels or scans than are taken; pictures are judged by their header",
    415: "neither PNG nor JPEG",
    503: "the model loads, the queue is full or the service ends; Retry-After says when to come again",
    504: "the model did not answer in time",
}


def record(properties: dict) -> dict:
    return {"type": "object", "required": list(properties), "properties": properties}


def answers(content: dict, *errors: int) -> dict:
    """The answers of a route: one that went well, and problems of RFC 9457."""
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "200": {"description": "the answer", "content": content},
        **{str(status): {"description": ERRORS[status], "content": problem} for status in errors},
    }


def text(kind: str = "text/plain") -> dict:
    return {kind: {"schema": {"type": "string"}}}


def reference(name: str) -> dict:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


PICTURE = {"type": "string", "contentMediaType": "image/png"}
KEYS = [{}, {"bearer": []}, {"header": []}]  # {}: where no key is set, none is asked for
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {
        "title": "tfseg",
        "version": __version__,
        "summary": "The class of every pixel of a picture",
        "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    },
    "paths": {
        "/predict": {
            "post": {
                "operationId": "predict",
                "summary": "Classifies every pixel of a PNG or JPEG picture, turned upright as its EXIF data say",
                "security": KEYS,
                "parameters": [
                    {
                        "name": "format",
                        "in": "query",
                        "description": "before Accept: mask, an 8-bit PNG of class ids; overlay, a PNG of the classes' "
                        "colours over the picture; json, the share of each class",
                        "schema": {"enum": ["mask", "overlay", "json"]},
                    },
                    {
                        "name": "X-Request-ID",
                        "in": "header",
                        "description": "letters, digits and ._- up to 64; comes back in the answer and in the log",
                        "schema": {"type": "string"},
                    },
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "image/png": {},
                        "image/jpeg": {},
                        "multipart/form-data": {
                            "schema": {
                                "type": "object",
                                "required": ["image"],
                                "properties": {"image": {"type": "string", "contentMediaType": "image/*"}},
                            }
                        },
                    },
                },
                "responses": answers(
                    {"image/png": {"schema": PICTURE}, **reference("Shares")}, 400, 401, 406, 408, 413, 415, 503, 504
                ),
            }
        },
        "/labels": {
            "get": {
                "operationId": "labels",
                "summary": "The model's id and its classes, by id",
                "security": KEYS,
                "responses": answers(reference("Labels"), 401),
            }
        },
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Counts and times for Prometheus",
                "security": KEYS,
                "responses": answers(text(), 401),
            }
        },
        "/healthz": {
            "get": {
                "operationId": "healthz",
                "summary": "Answers while the process lives",
                "responses": answers(text()),
            }
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "summary": "Answers 200 while pictures are taken: the model is loaded and warm, the service goes on",
                "responses": answers(text(), 503),
            }
        },
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "security": KEYS,
                "responses": answers({"application/json": {"schema": {"type": "object"}}}, 401),
            }
        },
    },
    "components": {
        "schemas": {
            "Problem": PROBLEM,
            "Labels": record({"model": {"type": "string"}, "classes": {"type": "array", "items": record(CLASS)}}),
            "Shares": record(
                {
                    "model": {"type": "string"},
                    "request_id": {"type": "string"},
                    "height": {"type": "integer", "minimum": 1},
                    "width": {"type": "integer", "minimum": 1},
                    "classes": {"type": "array", "items": record(SHARE)},
                    "batch": {"type": "integer", "description": "pictures that the model saw at once"},
                    "milliseconds": record(
                        {name: {"type": "number", "description": what} for name, what in MILLISECONDS.items()}
                    ),
                }
            ),
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    },
}
