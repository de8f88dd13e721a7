"""Requests of the Open Inference Protocol, good and bad."""

import base64
import json

import numpy as np
import pytest
from helper_files import MASK, PIXELS, PNG, file_of, pixels_of

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")

from helper_service import make_service

from tfseg.serving.http_app import create_app
from tfseg.serving.turns import Turns
from tfseg.serving.uploads import Limits

INFER = "/v2/models/model/infer"
LENGTH = "Inference-Header-Content-Length"
FLAT = [id for row in MASK for id in row]


@pytest.fixture
def client():
    service = make_service(limits=Limits(body=20_000, pixels=400))
    yield create_app(service).test_client()
    service.batcher.close()


def files(*contents, **more):
    """A tensor of files."""
    data = [base64.b64encode(content).decode() for content in contents]
    return {"name": "image_bytes", "shape": [len(contents)], "datatype": "BYTES", "data": data, **more}


def pixels(**more):
    """A tensor of pixels."""
    return {"name": "images", "shape": [1, 2, 3, 3], "datatype": "UINT8", "data": PIXELS.tolist(), **more}


def binary(tensor, size):
    """The same tensor with its data behind the JSON."""
    return {**{key: value for key, value in tensor.items() if key != "data"}, "parameters": {"binary_data_size": size}}


def post(client, body, tail=None):
    content = json.dumps(body).encode()
    headers = {} if tail is None else {LENGTH: str(len(content))}
    return client.post(INFER, data=content + (tail or b""), headers=headers)


def elements(*contents):
    return b"".join(len(content).to_bytes(4, "little") + content for content in contents)


def test_files_are_answered_by_files(client):
    other = file_of(np.full((5, 4, 3), 200, np.uint8))
    answer = post(client, {"inputs": [files(PNG, other)]})
    assert answer.mimetype == "application/json" and answer.get_json().keys() == {
        "model_name",
        "model_version",
        "outputs",
    }
    [output] = answer.get_json()["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("mask_bytes", [2], "BYTES")
    masks = [base64.b64decode(text) for text in output["data"]]
    assert masks == [client.post("/predict", data=file).data for file in (PNG, other)]


def test_pixels_are_answered_by_class_ids(client):
    both = {**pixels(), "shape": [2, 2, 3, 3], "data": [*PIXELS.ravel().tolist(), *[255] * 18]}
    answer = client.post("/v2/models/model/versions/1/infer", json={"id": "a", "inputs": [both]}).get_json()
    [output] = answer["outputs"]
    assert answer["id"] == "a" and output == {
        **{"name": "classes", "shape": [2, 2, 3], "datatype": "UINT8", "data": [*FLAT, *[3] * 6]}
    }


def test_files_in_and_out_in_binary_form(client):
    asked = {"inputs": [binary(files(PNG, PNG), 2 * (4 + len(PNG)))], "parameters": {"binary_data_output": True}}
    answer = post(client, asked, elements(PNG, PNG))
    length = int(answer.headers[LENGTH])
    [output] = json.loads(answer.data[:length])["outputs"]
    mask = client.post("/predict", data=PNG).data
    assert answer.data[length:] == elements(mask, mask)
    assert output["parameters"] == {"binary_data_size": len(elements(mask, mask))}


def test_each_output_in_the_form_that_is_asked_for(client):
    outputs = [{"name": "classes"}, {"name": "mask_bytes", "parameters": {"binary_data": True}}]
    answer = post(client, {"inputs": [pixels()], "outputs": outputs})
    length = int(answer.headers[LENGTH])
    classes, masks = json.loads(answer.data[:length])["outputs"]
    assert classes["data"] == FLAT and "data" not in masks
    assert pixels_of(answer.data[length + 4 :]).tolist() == MASK
    outputs[0]["parameters"] = {"binary_data": False}
    answer = post(client, {"inputs": [pixels()], "outputs": outputs[:1], "parameters": {"binary_data_output": True}})
    assert answer.get_json()["outputs"][0]["data"] == FLAT


def test_a_body_that_is_one_file(client):
    answer = client.post(INFER, data=PNG, headers={LENGTH: "0"})
    assert answer.mimetype == "application/octet-stream"
    assert pixels_of(answer.data[int(answer.headers[LENGTH]) + 4 :]).tolist() == MASK


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ({"name": "INPUT__0"}, "inputs[0].name: expected 'image_bytes' or 'images', got 'INPUT__0'"),
        ({"name": ["images"]}, "inputs[0].name: expected"),
        ({"datatype": "FP32"}, "expected the datatype UINT8, got 'FP32'"),
        ({"datatype": None}, "expected the datatype UINT8"),
        ({"shape": [2, 3, 3]}, "a shape [images, height, width, channels] of whole numbers in 1..2147483647, got"),
        ({"shape": -1}, "of whole numbers in 1..2147483647, got '-1'"),
        ({"shape": [1, 2, 3, -1]}, "of whole numbers in 1..2147483647, got '[1, 2, 3, -1]'"),
        ({"shape": [True, 2, 3, 3]}, "of whole numbers in 1..2147483647, got '[True, 2, 3, 3]'"),
        ({"shape": [1, *[10**4000] * 2, 3]}, "of whole numbers in 1..2147483647, got '[1, 10000"),
        ({"shape": [1, *[2**31 - 1] * 3]}, "9,903,520,300,447,984,150,353,281,023 elements, as the shape says, got 18"),
        ({"shape": [1, 2, 3, 4]}, "expected 24 elements, as the shape says, got 18"),
        ({"shape": [1, 2, 9, 1]}, "as uint8 [height, width, 3], got uint8 [2, 9, 1]"),
        ({"data": [[1, 2], [3]]}, "in nested lists of equal lengths"),
        ({"data": "AAAA"}, "expected whole numbers in 0..255"),
        ({"parameters": []}, "expected parameters as an object, got a list"),
        ({"parameters": {"binary_data_size": 18}}, "data or the parameter binary_data_size, got both"),
    ],
)
def test_bad_tensors(client, tensor, reason):
    answer = post(client, {"inputs": [{**pixels(), **tensor}]})
    assert (answer.status_code, answer.mimetype) == (400, "application/json")
    assert answer.get_json().keys() == {"error"} and reason in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "inputs: expected a list of one tensor, 'image_bytes' or 'images', got 'None'"),
        ({"inputs": []}, 400, "'image_bytes' or 'images', got 0"),
        ({"inputs": [files(PNG), pixels()]}, 400, "'image_bytes' or 'images', got 2"),
        ({"inputs": [5]}, 400, "'image_bytes' or 'images', got '[5]'"),
        ({"id": 42, "inputs": [pixels()]}, 400, "id: expected a string, got a number"),
        ({"inputs": [files(PNG, data=["a"])]}, 400, "data[0]: this is no base64"),
        ({"inputs": [files(PNG, data="a")]}, 400, "expected a list of strings of base64, got a string"),
        ({"inputs": [files(PNG, shape=[2])]}, 400, "expected 2 elements, as the shape says, got 1"),
        ({"inputs": [files(*[PNG] * 5)]}, 413, "a request may bring 4 images, got 5"),
        ({"inputs": [files(PNG, shape=[10**9])]}, 413, "a request may bring 4 images, got 1,000,000,000"),
        ({"inputs": [{**files(PNG), "data": None}]}, 400, "expected a list of strings of base64, got null"),
        ({"inputs": [binary(files(PNG), None)]}, 400, "data or the parameter binary_data_size, got neither"),
        ({"inputs": [files(b"hello")]}, 415, "the file is no PNG, JPEG"),
        (
            {"inputs": [pixels()], "outputs": [{"name": "OUTPUT__0"}]},
            400,
            "outputs: expected 'mask_bytes' or 'classes'",
        ),
        ({"inputs": [pixels()], "outputs": [{"name": "classes"}] * 2}, 400, "or one of each, got 'classes', 'classes'"),
        ({"inputs": [pixels()], "outputs": [{"name": {}}]}, 400, "outputs: expected 'mask_bytes' or 'classes'"),
        ({"inputs": [pixels()], "outputs": {}}, 400, "outputs: expected a list of objects, got '{}'"),
        (
            {"inputs": [pixels()], "outputs": [{"name": "classes", "parameters": {"binary_data": "false"}}]},
            *(400, "outputs (classes): expected the parameter binary_data as true or false, got 'false'"),
        ),
        (
            {"inputs": [pixels()], "parameters": {"binary_data_output": 1}},
            *(400, "the request: expected the parameter binary_data_output as true or false, got '1'"),
        ),
        ({"inputs": [pixels()], "outputs": "classes"}, 400, "outputs: expected a list of objects, got 'classes'"),
        ({"inputs": [binary(pixels(), 18)]}, 400, "expected '18' bytes behind the JSON, got 0"),
        (
            {"inputs": [files(PNG, file_of(PIXELS[:1]))], "outputs": [{"name": "classes"}]},
            *(400, "the images are of several sizes, which no tensor 'classes' has; ask for 'mask_bytes'"),
        ),
    ],
)
def test_bad_requests(client, body, status, reason):
    answer = post(client, body)
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.get_json().keys() == {"error"} and reason in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("tensor", "tail", "reason"),
    [
        (binary(files(PNG), 4), elements(PNG), "expected '4' bytes behind the JSON, got"),
        (binary(files(PNG), 9), elements(b"hello"), "the file is no PNG, JPEG"),
        (binary(files(PNG), 8), elements(b"hello")[:8], "expected 1 times a length in 4 bytes"),
        (binary(files(PNG), 8), elements(b"", b""), "expected 1 times a length in 4 bytes"),
        (binary(files(PNG), 3), b"\0\0\0", "expected 1 times a length in 4 bytes"),
        (binary(files(PNG), 0), b"", "expected 1 elements, as the shape says, got 0"),
        (binary(files(PNG), "8"), elements(b"abcd"), "expected '8' bytes behind the JSON, got 8"),
        (binary(pixels(), 17), bytes(17), "expected 18 elements, as the shape says, got 17"),
        (files(PNG), b"more", "expected '0' bytes behind the JSON, got 4"),
    ],
)
def test_bad_binary_tensors(client, tensor, tail, reason):
    answer = post(client, {"inputs": [tensor]}, tail)
    assert answer.status_code in (400, 415) and reason in answer.get_json()["error"]


def test_what_is_not_json_needs_no_turn():
    """Bytes of images may be any signs, those of JSON among them."""
    service = make_service(limits=Limits(body=2**20))
    service._turns = Turns(waiting=0)  # it never comes
    client = create_app(service).test_client()
    image = np.full((1, 100, 101, 3), ord(","), np.uint8)
    tensor = binary({**pixels(), "shape": image.shape}, image.size)
    assert post(client, {"inputs": [tensor]}, image.tobytes()).status_code == 200
    file = PNG + b"," * 30_000  # what follows the image in a file means nothing
    assert client.post(INFER, data=file, headers={LENGTH: "0"}).status_code == 200
    service.batcher.close()


@pytest.mark.parametrize("length", ["-1", "99999", "1.5", "", "\u0661", "5,5"])
def test_bad_lengths_of_the_json(client, length):
    answer = client.post(INFER, data=json.dumps({"inputs": [pixels()]}), headers={LENGTH: length})
    assert answer.status_code == 400 and f"{LENGTH}: expected 0 to" in answer.get_json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other",
        "/v2/models/model/versions/2",
        "/v2/models/other/ready",
        "/v2/models",
        "/v2/models/model/stats",
    ],
)
def test_what_is_not_there(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and answer.get_json().keys() == {"error"}


def test_health_needs_no_key_and_says_when_the_model_loads():
    client = create_app(make_service(work=None, key=b"key")).test_client()
    assert client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/model/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.get("/v2").status_code == client.get("/v2/models/model").status_code == 401
