"""The service as an OpenAPI 3.1 document, which /openapi.json answers."""

from tfseg import __version__

ERRORS = {
    400: "no whole image, other channels or bits than the model takes, a form without the field, an unknown format",
    401: "no API key, or a wrong one",
    406: "an Accept that is met by neither image/png nor application/json",
    408: "the body did not come in time",
    413: "more bytes, pixels or scans than are taken; images are judged by their header",
    415: "no PNG, JPEG, BMP, TIFF or WebP",
    503: "the model loads, the queue is full or the service ends; Retry-After says when to come again",
    504: "the model did not answer in time",
}
INTEGER, NUMBER, STRING = ({"type": kind} for kind in ("integer", "number", "string"))
TEXT = {"text/plain": {"schema": STRING}}
KEYS = [{}, {"bearer": []}, {"header": []}]  # {}: where no key is set, none is asked for


def record(**properties: dict) -> dict:
    return {"type": "object", "required": list(properties), "properties": properties}


def items(schema: dict, **more) -> dict:
    return {"type": "array", "items": schema, **more}


def reference(name: str, kind: str = "application/json") -> dict:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def route(name: str, summary: str, content: dict, *errors: int, **more) -> dict:
    """A route with its answers: one that went well, and problems of RFC 9457."""
    problem = reference("Problem", "application/problem+json")
    responses = {"200": {"description": summary, "content": content}}
    responses |= {str(status): {"description": ERRORS[status], "content": problem} for status in errors}
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def get(name: str, summary: str, content: dict, *errors: int) -> dict:
    security = {"security": KEYS} if 401 in errors else {}
    return {"get": route(name, summary, content, *errors, **security)}


PREDICT = route(
    "predict",
    "The class of every pixel of a PNG, JPEG, BMP, TIFF or WebP image, turned upright as its EXIF data say",
    {"image/png": {"schema": {**STRING, "contentMediaType": "image/png"}}, **reference("Shares")},
    *ERRORS,
    security=KEYS,
    parameters=[
        {
            "name": "format",
            "in": "query",
            "description": "before Accept: mask, an 8-bit PNG of class ids; overlay, a PNG of the classes' colours "
            "over the image; json, the share of each class",
            "schema": {"enum": ["mask", "overlay", "json"]},
        },
        {
            "name": "X-Request-ID",
            "in": "header",
            "description": "letters, digits and ._- up to 64; comes back in the answer and in the log",
            "schema": STRING,
        },
    ],
    requestBody={
        "required": True,
        "content": {
            "image/png": {},
            "image/jpeg": {},
            "multipart/form-data": {"schema": record(image={**STRING, "contentMediaType": "image/*"})},
        },
    },
)
CLASS = {
    "id": INTEGER,
    "name": STRING,
    "color": items({**INTEGER, "minimum": 0, "maximum": 255}, minItems=3, maxItems=3),
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {
        "title": "tfseg",
        "version": __version__,
        "summary": "The class of every pixel of an image",
        "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    },
    "paths": {
        "/predict": {"post": PREDICT},
        "/labels": get("labels", "The model's id and its classes", reference("Labels"), 401),
        "/metrics": get("metrics", "Counts and times for Prometheus", TEXT, 401),
        "/healthz": get("healthz", "The process lives", TEXT),
        "/readyz": get("readyz", "Images are taken", TEXT, 503),
        "/openapi.json": get("openapi", "This document", {"application/json": {"schema": {"type": "object"}}}, 401),
    },
    "components": {
        "schemas": {
            "Problem": record(title=STRING, status=INTEGER, detail=STRING, request_id=STRING),
            "Labels": record(model=STRING, classes=items(record(**CLASS))),
            "Shares": record(
                model=STRING,
                request_id=STRING,
                height=INTEGER,
                width=INTEGER,
                classes=items(record(**CLASS, pixels=INTEGER, share={**NUMBER, "minimum": 0, "maximum": 1})),
                batch={**INTEGER, "description": "images that the model saw at once"},
                milliseconds=record(
                    decode={**NUMBER, "description": "from the headers to the decoded image"},
                    wait={**NUMBER, "description": "in the queue"},
                    model={**NUMBER, "description": "of the model, for the whole batch"},
                    total=NUMBER,
                ),
            ),
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    },
}
