"""TensorFlow Serving's REST API, as https://www.tensorflow.org/tfx/serving/api_rest has it: the service in its words.

Signatures and tensors have the names and types that an exported SavedModel gives them.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from flask import Flask, Response, g
from werkzeug.routing import BaseConverter

from tfseg.io.names import quote
from tfseg.serving.json_bodies import decode_base64, name_kind, parse_object, to_bytes, write_numbers
from tfseg.serving.service import Service, Source
from tfseg.serving.uploads import Refused

MODEL = "/v1/models/<before_colon:name>"
VERSION = "/versions/<before_colon:version>"
B64 = "b64"


class BeforeColon(BaseConverter):
    """A part of a path up to a colon, behind which stands what is to be done."""

    regex = "[^/:]+"


class Tensor(NamedTuple):
    """An input or output."""

    name: str
    dtype: str
    axes: int


FILES, PIXELS = "encoded", "serving_default"
SIGNATURES = {  # of each its input and its output
    PIXELS: (Tensor("images", "DT_UINT8", 4), Tensor("classes", "DT_UINT8", 3)),
    FILES: (Tensor("image_bytes", "DT_STRING", 1), Tensor("mask_bytes", "DT_STRING", 1)),
}


class Asked(NamedTuple):
    """What a body asks for."""

    signature: str
    sources: list[Source]
    answer: str
    """Key of the answer: "predictions" by rows, "outputs" by columns."""


def add_routes(app: Flask, service: Service) -> None:
    """Adds the routes of TensorFlow Serving to an application."""
    app.url_map.converters["before_colon"] = BeforeColon

    @app.get(MODEL)
    @app.get(MODEL + VERSION)
    def tensorflow_status(name: str, version: str | None = None):
        expect_model(service, name, version)
        state = "AVAILABLE" if service.is_ready else "UNLOADING" if service.draining() else "LOADING"
        status = {"error_code": "OK", "error_message": ""}
        return {"model_version_status": [{"version": service.version, "state": state, "status": status}]}

    @app.get(f"{MODEL}/metadata")
    @app.get(f"{MODEL}{VERSION}/metadata")
    def tensorflow_metadata(name: str, version: str | None = None):
        expect_model(service, name, version)
        return describe(service)

    @app.post(f"{MODEL}:predict")
    @app.post(f"{MODEL}{VERSION}:predict")
    def tensorflow_predict(name: str, version: str | None = None):
        expect_model(service, name, version)
        return predict(service)


def expect_model(service: Service, name: str, version: str | None) -> None:
    """Raises `Refused` for another model or version than the service has."""
    if name != service.name or version not in (None, service.version):
        wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        there = f"{service.name}, version {service.version}"
        raise Refused(404, f"Servable not found for request: {quote(wanted)[1:-1]}; there is {there}")


def predict(service: Service) -> Response:
    """Answers the images of a body by class ids, or by PNG files of them."""
    body = service.read_body()
    service.check_free()
    with service.parsing(body):
        asked = read_request(parse_object(body), service.check_count)
    output = SIGNATURES[asked.signature][1]
    g.fields["format"] = output.name
    values = []
    for _, result in service.segment(asked.sources):
        if asked.signature == PIXELS:
            values.append(write_numbers(result.class_ids))
        else:
            values.append(json.dumps({B64: base64.b64encode(service.encode(result.class_ids)).decode()}))
    return Response(f'{{"{asked.answer}": [{", ".join(values)}]}}', mimetype="application/json")


def read_request(found: dict[str, Any], check_count: Callable[[int], None]) -> Asked:
    """Reads which images a body holds.

    A body without `signature_name` asks for the one whose input it has: files in base64, or pixels.

    Args:
        found: the body.
        check_count: raises `Refused` for a number of images that no request may have.

    Raises:
        Refused: it is no request of TensorFlow Serving, or of another signature.
    """
    given = {"instances", "inputs"} & found.keys()
    if len(given) != 1:
        raise Refused(400, f"expected one of 'instances' and 'inputs', got {'both' if given else 'neither'}")
    [key] = given
    name = found.get("signature_name") or None
    if name is not None and not (isinstance(name, str) and name in SIGNATURES):
        raise Refused(400, f"there is no signature {quote(name)}; there are {' and '.join(SIGNATURES)}")
    if key == "instances":
        rows = expect_list(found[key], key)
        check_count(len(rows))
        signature = name or guess_signature(rows[0])
        tensor = SIGNATURES[signature][0]
        values = [unwrap(row, tensor.name, f"{key}[{place}]") for place, row in enumerate(rows)]
    else:
        signature = name or guess_signature(found[key])
        tensor = SIGNATURES[signature][0]
        values = expect_list(unwrap(found[key], tensor.name, key), key)
        check_count(len(values))
    sources = [read_value(value, signature, f"{key}[{place}]") for place, value in enumerate(values)]
    return Asked(signature, sources, "predictions" if key == "instances" else "outputs")


def guess_signature(value: object) -> str:
    """Chooses a signature by a row, or by all columns."""
    if isinstance(value, list):
        value = value[0] if value else None
    return FILES if isinstance(value, dict) and {B64, SIGNATURES[FILES][0].name} & value.keys() else PIXELS


def expect_list(value: object, where: str) -> list:
    """Gives a list of at least one value back; raises `Refused` for anything else."""
    if not isinstance(value, list) or not value:
        raise Refused(400, f"{where}: expected a list of images, got {'none' if value == [] else name_kind(value)}")
    return value


def unwrap(value: object, name: str, where: str) -> object:
    """Takes the one input out of an object of named inputs; anything else is the value of the input itself."""
    if not isinstance(value, dict) or value.keys() == {B64}:
        return value
    if value.keys() != {name}:
        keys = ", ".join(quote(key) for key in list(value)[:8]) or "none"
        raise Refused(400, f"{where}: expected the one input {name!r}, got {keys}")
    return value[name]


def read_value(value: object, signature: str, where: str) -> Source:
    """Reads one image."""
    if signature == PIXELS:
        return to_bytes(value, where)
    if not isinstance(value, dict) or value.keys() != {B64}:
        raise Refused(400, f'{where}: expected a file as {{"{B64}": "..."}}, got {name_kind(value)}')
    return decode_base64(value[B64], f"{where}.{B64}")


def describe(service: Service) -> dict[str, Any]:
    """Describes the signatures as a GetModelMetadataResponse."""

    def describe_tensor(tensor: Tensor, name: str) -> dict[str, Any]:
        sizes = [-1] * tensor.axes
        if tensor.axes == 4:
            sizes[-1] = service.pixels.channels
        dimensions = [{"size": str(size), "name": ""} for size in sizes]
        shape = {"dim": dimensions, "unknown_rank": False}
        return {tensor.name: {"dtype": tensor.dtype, "tensor_shape": shape, "name": name}}

    signatures = {
        name: {
            "inputs": describe_tensor(taken, f"{name}_{taken.name}:0"),
            "outputs": describe_tensor(given, f"StatefulPartitionedCall_{place}:0"),
            "method_name": "tensorflow/serving/predict",
            "defaults": {},
        }
        for place, (name, (taken, given)) in enumerate(SIGNATURES.items())
    }
    return {
        "model_spec": {"name": service.name, "signature_name": "", "version": service.version},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
