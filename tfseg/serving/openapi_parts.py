"""What the OpenAPI document of the service is made of."""

ERRORS = {
    400: "no whole image, other channels or bits than the model takes, a form without the field, an unknown format",
    401: "no API key, or a wrong one",
    404: "another model, or another version of it",
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


def record(optional: dict | None = None, **required: dict) -> dict:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def items(schema: dict, **more) -> dict:
    return {"type": "array", "items": schema, **more}


def reference(name: str, kind: str = "application/json") -> dict:
    return {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


PROBLEM = reference("Problem", "application/problem+json")


def route(name: str, summary: str, content: dict, *errors: int, problem: dict = PROBLEM, **more) -> dict:
    """A route with its answers: one that went well, and problems of RFC 9457 or of another kind."""
    responses = {"200": {"description": summary, "content": content}}
    responses |= {str(status): {"description": ERRORS[status], "content": problem} for status in errors}
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def post(name: str, summary: str, content: dict, *errors: int, **more) -> dict:
    return {"post": route(name, summary, content, *errors, security=KEYS, **more)}


def get(name: str, summary: str, content: dict, *errors: int, **more) -> dict:
    security = {"security": KEYS} if 401 in errors else {}
    return {"get": route(name, summary, content, *errors, **security, **more)}
