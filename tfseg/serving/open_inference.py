"""The Open Inference Protocol (V2) of KServe and Triton, with binary tensors: the service in its words.

https://github.com/kserve/open-inference-protocol, and of the binary tensors
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import base64
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from flask import Flask, Response, g, request

from tfseg import __version__
from tfseg.io.names import quote
from tfseg.serving.json_bodies import decode_base64, name_kind, parse_object, to_bytes, write_numbers
from tfseg.serving.service import PROBE, Service, Source
from tfseg.serving.uploads import Refused

MODEL = "/v2/models/<name>"
VERSION = "/versions/<version>"
LENGTH = "Inference-Header-Content-Length"  # bytes of the JSON, where tensors follow it
EXTENSIONS = ["binary_tensor_data"]
BYTES, UINT8 = "BYTES", "UINT8"
FILES, PIXELS = "image_bytes", "images"  # inputs, of which a request has one
MASKS, CLASSES = "mask_bytes", "classes"  # outputs
DATATYPES = {FILES: BYTES, PIXELS: UINT8, MASKS: BYTES, CLASSES: UINT8}
AXES = {FILES: ["images"], PIXELS: ["images", "height", "width", "channels"]}
MOST_SIZE = 2**31 - 1  # along an axis: what is larger need not be counted, nor shown
DEFAULTS = {FILES: MASKS, PIXELS: CLASSES}  # what answers an input if nothing is asked for


class Output(NamedTuple):
    """A tensor that is asked for."""

    name: str
    is_binary: bool


class Asked(NamedTuple):
    """What a body asks for."""

    id: str | None
    sources: list[Source]
    outputs: list[Output]


def add_routes(app: Flask, service: Service) -> None:
    """Adds the routes of the protocol to an application."""

    @app.get("/v2")
    @app.get("/v2/")
    def inference_server():
        return {"name": "tfseg", "version": __version__, "extensions": EXTENSIONS}

    @app.get("/v2/health/live", endpoint=f"{PROBE}inference_live")
    def live():
        return {"live": True}

    @app.get("/v2/health/ready", endpoint=f"{PROBE}inference_ready")
    def ready():
        service.check_ready()
        return {"live": True, "ready": True}

    @app.get(f"{MODEL}/ready", endpoint=f"{PROBE}inference_model_ready")
    @app.get(f"{MODEL}{VERSION}/ready", endpoint=f"{PROBE}inference_model_ready")
    def model_ready(name: str, version: str | None = None):
        expect_model(service, name, version)
        service.check_ready()
        return {"name": service.name, "ready": True}

    @app.get(MODEL)
    @app.get(MODEL + VERSION)
    def inference_model(name: str, version: str | None = None):
        expect_model(service, name, version)
        return describe(service)

    @app.post(f"{MODEL}/infer")
    @app.post(f"{MODEL}{VERSION}/infer")
    def inference_infer(name: str, version: str | None = None):
        expect_model(service, name, version)
        return infer(service)


def expect_model(service: Service, name: str, version: str | None) -> None:
    """Raises `Refused` for another model or version than the service has."""
    if name != service.name or version not in (None, service.version):
        asked = quote(name) if version is None else f"{quote(name)}, version {quote(version)}"
        raise Refused(404, f"there is no model {asked}; there is {service.name}, version {service.version}")


def describe(service: Service) -> dict[str, Any]:
    """Describes the model and its tensors."""
    shapes = {FILES: [-1], PIXELS: [-1, -1, -1, service.pixels.channels], MASKS: [-1], CLASSES: [-1, -1, -1]}
    tensors = {name: {"name": name, "datatype": DATATYPES[name], "shape": shape} for name, shape in shapes.items()}
    return {
        "name": service.name,
        "versions": [service.version],
        "platform": service.platform,
        "inputs": [tensors[FILES], tensors[PIXELS]],
        "outputs": [tensors[MASKS], tensors[CLASSES]],
    }


def infer(service: Service) -> Response:
    """Answers the images of a body."""
    body = service.read_body()
    service.check_free()
    text, tail = split_body(body, request.headers.get(LENGTH))
    with service.parsing(text):
        asked = read_request(text, tail, service.check_count)
    g.fields["format"] = " ".join(output.name for output in asked.outputs)
    masks = [result.class_ids for _, result in service.segment(asked.sources)]
    heads, tail = [], b""
    for output in asked.outputs:
        head, binary = write_output(service, output, masks)
        heads.append(head)
        tail += binary
    answer = {"model_name": service.name, "model_version": service.version}
    answer |= {} if asked.id is None else {"id": asked.id}
    text = f'{json.dumps(answer)[:-1]}, "outputs": [{", ".join(heads)}]}}'.encode()
    if not any(output.is_binary for output in asked.outputs):
        return Response(text, mimetype="application/json")
    return Response(text + tail, mimetype="application/octet-stream", headers={LENGTH: str(len(text))})


def split_body(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    """Splits a body into its JSON and what follows that.

    Args:
        body: all of it.
        length: what the header says of the JSON's length; None: all is JSON.

    Raises:
        Refused: that is no such length.
    """
    if length is None:
        return body, b""
    if not re.fullmatch(r"\d{1,12}", length, re.ASCII) or int(length) > len(body):
        raise Refused(400, f"{LENGTH}: expected 0 to {len(body)}, the bytes of the body, got {quote(length)}")
    return body[: int(length)], body[int(length) :]


def read_request(text: bytes, tail: bytes, check_count: Callable[[int], None]) -> Asked:
    """Reads what is asked for.

    Args:
        text: JSON; none: the tail is one image file.
        tail: the binary tensors behind it.
        check_count: raises `Refused` for a number of images that no request may have.

    Raises:
        Refused: it is no request of the protocol, or asks for what the model does not have.
    """
    if not text:
        return Asked(None, [tail], [Output(MASKS, is_binary=True)])
    found = parse_object(text)
    id = found.get("id")
    if id is not None and not isinstance(id, str):
        raise Refused(400, f"id: expected a string, got {name_kind(id)}")
    inputs = found.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        got = f"{len(inputs):,}" if isinstance(inputs, list) and len(inputs) != 1 else quote(inputs)
        raise Refused(400, f"inputs: expected a list of one tensor, {FILES!r} or {PIXELS!r}, got {got}")
    name = inputs[0].get("name")
    if not isinstance(name, str) or name not in DEFAULTS:
        raise Refused(400, f"inputs[0].name: expected {FILES!r} or {PIXELS!r}, got {quote(name)}")
    sources = read_input(inputs[0], name, tail, check_count)
    return Asked(id, sources, read_outputs(found, DEFAULTS[name]))


def read_input(tensor: dict[str, Any], name: str, tail: bytes, check_count: Callable[[int], None]) -> list[Source]:
    """Reads the images of a tensor, which may be in its JSON or in what follows that."""
    where = f"inputs[0] ({name})"
    if tensor.get("datatype") != DATATYPES[name]:
        raise Refused(400, f"{where}: expected the datatype {DATATYPES[name]}, got {quote(tensor.get('datatype'))}")
    shape = read_shape(tensor, AXES[name], where)
    check_count(shape[0])
    size = read_parameters(tensor, where).get("binary_data_size")
    if ("data" in tensor) == (size is not None):
        got = "neither" if size is None else "both"
        raise Refused(400, f"{where}: expected either data or the parameter binary_data_size, got {got}")
    if len(tail) != (size or 0):
        raise Refused(400, f"{where}: expected {quote(size or 0)} bytes behind the JSON, got {len(tail):,}")
    if name == FILES:
        files = read_strings(tensor["data"], where) if size is None else read_elements(tail, shape[0], where)
        check_size(len(files), shape, where)
        return [*files]
    values = to_bytes(tensor["data"], f"{where}.data") if size is None else np.frombuffer(tail, np.uint8)
    check_size(values.size, shape, where)
    return [*values.reshape(shape)]


def read_shape(tensor: dict[str, Any], axes: Sequence[str], where: str) -> list[int]:
    """Reads the shape of a tensor of such axes, all of which are longer than 0."""
    shape = tensor.get("shape")
    if isinstance(shape, list) and len(shape) == len(axes) and all(map(is_size, shape)):
        return shape
    wanted = f"a shape [{', '.join(axes)}] of whole numbers in 1..{MOST_SIZE}"
    raise Refused(400, f"{where}: expected {wanted}, got {quote(shape)}")


def is_size(value: object) -> bool:
    """Whether a value is the length of an axis."""
    return type(value) is int and 0 < value <= MOST_SIZE


def check_size(size: int, shape: list[int], where: str) -> None:
    """Raises `Refused` unless a tensor has as many elements as its shape says."""
    if size != math.prod(shape):
        raise Refused(400, f"{where}: expected {math.prod(shape):,} elements, as the shape says, got {size:,}")


def read_strings(data: object, where: str) -> list[bytes]:
    """Reads files from strings of base64."""
    if not isinstance(data, list):
        raise Refused(400, f"{where}.data: expected a list of strings of base64, got {name_kind(data)}")
    return [decode_base64(text, f"{where}.data[{place}]") for place, text in enumerate(data)]


def read_elements(tail: bytes, count: int, where: str) -> list[bytes]:
    """Reads so many binary elements, before each of which stands its length in 4 bytes, the lowest first."""
    found: list[bytes] = []
    place = 0
    while place < len(tail):
        end = place + 4 + int.from_bytes(tail[place : place + 4], "little")
        if len(found) == count or end > len(tail):
            raise Refused(400, f"{where}: expected {count} times a length in 4 bytes and so many bytes behind the JSON")
        found.append(tail[place + 4 : end])
        place = end
    return found


def read_outputs(found: dict[str, Any], default: str) -> list[Output]:
    """Reads which tensors are asked for."""
    outputs = [{"name": default}] if found.get("outputs") in (None, []) else found["outputs"]
    is_binary = read_flag(found, "the request", "binary_data_output", False)
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Refused(400, f"outputs: expected a list of objects, got {quote(outputs)}")
    names = [str(output.get("name")) for output in outputs]
    if not set(names) <= {MASKS, CLASSES} or len(set(names)) < len(names):
        listed = ", ".join(quote(name) for name in names[:8])
        raise Refused(400, f"outputs: expected {MASKS!r} or {CLASSES!r} or one of each, got {listed}")
    return [
        Output(name, read_flag(output, f"outputs ({name})", "binary_data", is_binary))
        for name, output in zip(names, outputs, strict=True)
    ]


def read_parameters(value: dict[str, Any], where: str) -> dict[str, Any]:
    """Gives the parameters of a request or a tensor; raises `Refused` where they are no object."""
    parameters = value.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Refused(400, f"{where}: expected parameters as an object, got {name_kind(parameters)}")
    return parameters


def read_flag(value: dict[str, Any], where: str, name: str, default: bool) -> bool:
    """Gives a parameter of a request or a tensor that is true or false, or a default where it is not there."""
    flag = read_parameters(value, where).get(name, default)
    if not isinstance(flag, bool):
        raise Refused(400, f"{where}: expected the parameter {name} as true or false, got {quote(flag)}")
    return flag


def write_output(service: Service, output: Output, masks: list[np.ndarray]) -> tuple[str, bytes]:
    """Writes an output as JSON, and the bytes that are to follow it."""
    shape: list[int] = [len(masks)]
    if output.name == MASKS:
        files = [service.encode(mask) for mask in masks]
        binary = b"".join(len(file).to_bytes(4, "little") + file for file in files)
        data = "" if output.is_binary else json.dumps([base64.b64encode(file).decode() for file in files])
    elif len({mask.shape for mask in masks}) > 1:
        raise Refused(400, f"the images are of several sizes, which no tensor {CLASSES!r} has; ask for {MASKS!r}")
    else:
        shape += masks[0].shape
        binary = b"".join(mask.tobytes() for mask in masks)
        data = "" if output.is_binary else write_numbers(np.frombuffer(binary, np.uint8))
    head = {"name": output.name, "shape": shape, "datatype": DATATYPES[output.name]}
    if output.is_binary:
        return json.dumps({**head, "parameters": {"binary_data_size": len(binary)}}), binary
    return f'{json.dumps(head)[:-1]}, "data": {data}}}', b""
