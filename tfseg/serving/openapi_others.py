"""What the OpenAPI document says of the routes of TensorFlow Serving, the Open Inference Protocol and Vertex AI."""

from collections.abc import Iterator

from tfseg.serving.openapi_parts import ERRORS, INTEGER, STRING, get, items, post, record, reference
from tfseg.serving.vertex_ai import VertexRoutes

ERROR = {"problem": reference("Error")}
ANY, OBJECT, BOOLEAN = {}, {"type": "object"}, {"type": "boolean"}
OF_IMAGES = [status for status in ERRORS if status not in (404, 406)]


def path_parameter(name: str, description: str) -> dict:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": STRING}


NAME = path_parameter("name", "the model's name, --name")
VERSION = path_parameter("version", "its version: the number that its folder is named by, or else 1")
LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "bytes of the JSON, where binary tensors follow it; 0: the body is one image file",
    "schema": INTEGER,
}


def of_model(prefix: str, tail: str, method: dict) -> dict:
    """The path of a model's route without and with a version."""
    [(verb, route)] = method.items()
    again = {verb: {**route, "operationId": f"{route['operationId']}_of_version"}}
    return {
        f"{prefix}/models/{{name}}{tail}": {"parameters": [NAME], **method},
        f"{prefix}/models/{{name}}/versions/{{version}}{tail}": {"parameters": [NAME, VERSION], **again},
    }


def body_of(name: str, **more: dict) -> dict:
    return {"required": True, "content": {**reference(name), **more}}


TENSORFLOW = {
    "requestBody": body_of("TensorFlowRequest"),
    **ERROR,
}
PATHS = {
    **of_model(
        "/v1",
        "",
        get(
            "tensorflow_status",
            "TensorFlow Serving: whether the model is there",
            reference("TensorFlowStatus"),
            401,
            404,
            **ERROR,
        ),
    ),
    **of_model(
        "/v1",
        "/metadata",
        get(
            "tensorflow_metadata", "TensorFlow Serving: signatures", reference("TensorFlowMetadata"), 401, 404, **ERROR
        ),
    ),
    **of_model(
        "/v1",
        ":predict",
        post(
            "tensorflow_predict",
            "TensorFlow Serving: masks of images",
            reference("TensorFlowAnswer"),
            *OF_IMAGES,
            404,
            **TENSORFLOW,
        ),
    ),
    "/v2": get("inference_server", "Open Inference Protocol: the server", reference("InferenceServer"), 401, **ERROR),
    "/v2/": get("inference_server_too", "The same", reference("InferenceServer"), 401, **ERROR),
    "/v2/health/live": get("inference_live", "Open Inference Protocol: the process lives", reference("Live")),
    "/v2/health/ready": get(
        "inference_ready", "Open Inference Protocol: images are taken", reference("Ready"), 503, **ERROR
    ),
    **of_model(
        "/v2",
        "/ready",
        get(
            "inference_model_ready",
            "Open Inference Protocol: images are taken",
            reference("ModelReady"),
            404,
            503,
            **ERROR,
        ),
    ),
    **of_model(
        "/v2",
        "",
        get(
            "inference_model",
            "Open Inference Protocol: the model's tensors",
            reference("InferenceModel"),
            401,
            404,
            **ERROR,
        ),
    ),
    **of_model(
        "/v2",
        "/infer",
        post(
            "inference_infer",
            "Open Inference Protocol: masks of images",
            {**reference("InferenceAnswer"), "application/octet-stream": {}},
            *OF_IMAGES,
            404,
            parameters=[LENGTH],
            requestBody=body_of("InferenceRequest", **{"application/octet-stream": {}}),
            **ERROR,
        ),
    ),
}
TENSOR = {"name": STRING, "shape": items(INTEGER), "datatype": {"enum": ["BYTES", "UINT8"]}}
DATA = {"data": items(ANY), "parameters": OBJECT}
SCHEMAS = {
    "Error": record(error=STRING),
    "Live": record(live=BOOLEAN),
    "Ready": record(live=BOOLEAN, ready=BOOLEAN),
    "VertexReady": record(ready=BOOLEAN),
    "ModelReady": record(name=STRING, ready=BOOLEAN),
    "TensorFlowStatus": record(
        model_version_status=items(
            record(version=STRING, state=STRING, status=record(error_code=STRING, error_message=STRING))
        )
    ),
    "TensorFlowMetadata": record(
        model_spec=record(name=STRING, signature_name=STRING, version=STRING),
        metadata=record(signature_def=record(signature_def=OBJECT)),
    ),
    "TensorFlowRequest": {
        **record(
            {
                "signature_name": {"enum": ["encoded", "serving_default", ""]},
                "instances": items({"description": 'a file as {"image_bytes": {"b64": ...}}, or pixels in 0..255'}),
                "inputs": {"description": 'files as {"image_bytes": [{"b64": ...}]}, or pixels'},
            }
        ),
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "TensorFlowAnswer": {
        **record({"predictions": items(ANY), "outputs": items(ANY)}),
        "description": 'masks as {"b64": ...} of a PNG, or as class ids: predictions of instances, outputs of inputs',
    },
    "InferenceServer": record(name=STRING, version=STRING, extensions=items(STRING)),
    "InferenceModel": record(
        name=STRING,
        versions=items(STRING),
        platform=STRING,
        inputs=items(record(**TENSOR)),
        outputs=items(record(**TENSOR)),
    ),
    "InferenceRequest": record(
        {"id": STRING, "parameters": OBJECT, "outputs": items(record({"parameters": OBJECT}, name=STRING))},
        inputs=items(record(DATA, **TENSOR), minItems=1, maxItems=1),
    ),
    "InferenceAnswer": record(
        {"id": STRING}, model_name=STRING, model_version=STRING, outputs=items(record(DATA, **TENSOR))
    ),
}


def describe_vertex(routes: VertexRoutes) -> Iterator[tuple[str, dict]]:
    """Describes the paths that Vertex AI calls."""
    if routes.predict:
        answer = reference("TensorFlowAnswer")
        yield routes.predict, post("vertex_predict", "Vertex AI: masks of images", answer, *OF_IMAGES, **TENSORFLOW)
    if routes.health:
        yield routes.health, get("vertex_health", "Vertex AI: images are taken", reference("VertexReady"), 503, **ERROR)
