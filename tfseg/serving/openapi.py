"""The service as an OpenAPI 3.1 document, which /openapi.json answers."""

from tfseg import __version__
from tfseg.serving import openapi_others
from tfseg.serving.openapi_parts import ERRORS, INTEGER, NUMBER, STRING, TEXT, get, items, post, record, reference
from tfseg.serving.vertex_ai import VertexRoutes

PREDICT = post(
    "predict",
    "The class of every pixel of a PNG, JPEG, BMP, TIFF or WebP image, turned upright as its EXIF data say",
    {"image/png": {"schema": {**STRING, "contentMediaType": "image/png"}}, **reference("Shares")},
    *(status for status in ERRORS if status != 404),
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
        "/": get("root", "What this is", reference("Root"), 401),
        "/predict": PREDICT,
        "/labels": get("labels", "The model's id and its classes", reference("Labels"), 401),
        "/metrics": get("metrics", "Counts and times for Prometheus", TEXT, 401),
        "/healthz": get("healthz", "The process lives", TEXT),
        "/readyz": get("readyz", "Images are taken", TEXT, 503),
        "/openapi.json": get("openapi", "This document", {"application/json": {"schema": {"type": "object"}}}, 401),
        **openapi_others.PATHS,
    },
    "components": {
        "schemas": {
            "Problem": record(title=STRING, status=INTEGER, detail=STRING, request_id=STRING),
            "Root": record(service=STRING, version=STRING, model=STRING, document=STRING),
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
            **openapi_others.SCHEMAS,
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    },
}


def make_document(server: str, vertex: VertexRoutes) -> dict:
    """Makes the document of a service whose paths begin with an address, with those that Vertex AI calls."""
    paths = {**DOCUMENT["paths"]}
    for path, added in openapi_others.describe_vertex(vertex):
        paths[path] = {**paths.get(path, {}), **added}
    return {**DOCUMENT, "servers": [{"url": server}], "paths": paths}
