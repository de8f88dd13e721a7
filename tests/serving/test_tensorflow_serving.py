"""Requests of TensorFlow Serving's clients, good and bad."""

import base64
import io
import json
import tracemalloc
from concurrent.futures import Future

import numpy as np
import pytest
from helper_files import MASK, PIXELS, PNG, file_of, pixels_of
from PIL import Image

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")

from helper_service import make_service

from tfseg.io.json_reader import count_marks
from tfseg.serving import tensorflow_serving
from tfseg.serving.http_app import create_app
from tfseg.serving.json_bodies import MOST_VALUES, to_bytes
from tfseg.serving.service import GONE
from tfseg.serving.turns import Turns
from tfseg.serving.uploads import Limits, Refused

PREDICT = "/v1/models/model:predict"


def b64(content=PNG):
    return {"b64": base64.b64encode(content).decode()}


@pytest.fixture
def client():
    service = make_service(limits=Limits(body=20_000, pixels=400))
    yield create_app(service).test_client()
    service.batcher.close()


def turned_jpeg():
    """A file whose EXIF data say that it is to be turned by a quarter."""
    image, file = Image.fromarray(np.repeat(np.repeat(PIXELS, 4, 0), 4, 1)), io.BytesIO()
    exif = image.getexif()
    exif[274] = 6
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"signature_name": "encoded", "instances": [{"image_bytes": b64()}]}, "predictions"),
        ({"signature_name": "encoded", "instances": [b64()]}, "predictions"),
        ({"instances": [{"image_bytes": b64()}]}, "predictions"),
        ({"signature_name": "", "instances": [b64()]}, "predictions"),
        ({"signature_name": "encoded", "inputs": {"image_bytes": [b64()]}}, "outputs"),
        ({"inputs": [b64()]}, "outputs"),
    ],
)
def test_files(client, body, key):
    answer = client.post(PREDICT, data=json.dumps(body))
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    [mask] = answer.get_json().pop(key)
    assert pixels_of(base64.b64decode(mask["b64"])).tolist() == MASK


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"instances": [PIXELS.tolist()]}, "predictions"),
        ({"instances": [{"images": PIXELS.tolist()}]}, "predictions"),
        ({"signature_name": "serving_default", "inputs": [PIXELS.tolist()]}, "outputs"),
        ({"inputs": {"images": [PIXELS.tolist()]}}, "outputs"),
    ],
)
def test_pixels(client, body, key):
    assert client.post(f"{PREDICT[:-8]}/versions/1:predict", json=body).get_json() == {key: [MASK]}


def test_images_of_several_sizes_each_have_their_own_mask(client):
    files = [PNG, file_of(np.full((5, 4, 3), 200, np.uint8)), turned_jpeg()]
    masks = client.post(PREDICT, json={"instances": [b64(file) for file in files]}).get_json()["predictions"]
    assert [base64.b64decode(mask["b64"]) for mask in masks] == [
        client.post("/predict", data=file).data for file in files
    ]
    assert pixels_of(base64.b64decode(masks[2]["b64"])).shape == (12, 8)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "the body is empty"),
        (b"instances = [1, 2]", 400, "the JSON is no JSON"),
        (b"[1]", 400, "expected a JSON object, got a list"),
        (b'{"instances": [1], "instances": [2]}', 400, "has the key 'instances' twice"),
        (b"[" * 10_000, 400, "nested too deep"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", 400, "the JSON has a number of thousands of digits"),
        ({}, 400, "expected one of 'instances' and 'inputs', got neither"),
        ({"instances": [b64()], "inputs": [b64()]}, 400, "got both"),
        ({"instances": []}, 400, "instances: expected a list of images, got none"),
        ({"instances": b64()}, 400, "instances: expected a list of images, got an object"),
        ({"inputs": b64()}, 400, "inputs: expected a list of images, got an object"),
        ({"signature_name": "probabilities", "instances": [b64()]}, 400, "there is no signature 'probabilities'"),
        ({"signature_name": ["encoded"], "instances": [b64()]}, 400, "there is no signature"),
        ({"signature_name": "encoded", "instances": [PIXELS.tolist()]}, 400, 'expected a file as {"b64": "..."}'),
        ({"signature_name": "serving_default", "instances": [b64()]}, 400, "instances[0]: expected whole numbers"),
        (
            {"instances": [{"image_bytes": b64(), "key": "1"}]},
            400,
            "the one input 'image_bytes', got 'image_bytes', 'key'",
        ),
        ({"instances": [b64(), {"b64": "a"}]}, 400, "instances[1].b64: this is no base64"),
        ({"instances": [{"b64": 5}]}, 400, "instances[0].b64: expected a string of base64, got a number"),
        ({"instances": [b64(b"hello")]}, 415, "the file is no PNG, JPEG"),
        ({"instances": [b64(PNG[:40])]}, 400, "cut short"),
        ({"instances": [[[[1, 2, 3], [4, 5, 6]], [[1, 2, 3]]]]}, 400, "of equal lengths, got lists of several lengths"),
        ({"instances": [[[[1.5, 2, 3]]]]}, 400, "of equal lengths, got fractions"),
        ({"instances": [[[[float("nan"), 2, 3]]]]}, 400, "of equal lengths, got fractions"),
        ({"instances": [[[[256, 2, 3]]]]}, 400, "of equal lengths, got '256'"),
        ({"instances": [[[[-1, 2, 3]]]]}, 400, "of equal lengths, got '-1'"),
        ({"instances": [[[[10**30, 2, 3]]]]}, 400, f"of equal lengths, got '{10**30}'"),
        ({"instances": [[[["a", "b", "c"]]]]}, 400, "of equal lengths, got strings"),
        ({"instances": [[[[True, None, 3]]]]}, 400, "of equal lengths, got null and true or false"),
        ({"instances": [[]]}, 400, "of equal lengths, got none"),
        ({"instances": [[[[1, 2]]]]}, 400, "as uint8 [height, width, 3], got uint8 [1, 1, 2]"),
        ({"instances": [1, 2]}, 400, "as uint8 [height, width, 3], got uint8 []"),
        ({"instances": [b64(file_of(np.zeros((21, 20, 3), np.uint8)))]}, 413, "the image is 21x20"),
        ({"instances": [b64(file_of(np.zeros((11, 20, 3), np.uint8)))] * 2}, 413, "400 pixels together"),
        ({"instances": [b64()] * 5}, 413, "a request may bring 4 images, got 5"),
        ({"inputs": [b64()] * 5}, 413, "a request may bring 4 images, got 5"),
        ({"instances": ["a" * 20_000]}, 413, "more than 20,000 bytes"),
    ],
)
def test_bad_requests(client, body, status, reason):
    answer = client.post(PREDICT, data=body if isinstance(body, bytes) else json.dumps(body))
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.get_json().keys() == {"error"} and reason in answer.get_json()["error"]


def test_a_long_string_among_numbers_takes_no_memory():
    """An array of strings gives each value, here of 200, as much as the longest, here 0.8 MB."""
    tracemalloc.start()
    with pytest.raises(Refused, match="got strings"):
        to_bytes(["a" * 200_000, *range(200)], "here")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10**7


def test_only_so_many_values(client, monkeypatch):
    monkeypatch.setattr("tfseg.serving.json_bodies.MOST_VALUES", 20)
    answer = client.post(PREDICT, json={"instances": [PIXELS.tolist()]})
    assert answer.status_code == 413 and "has more than 20 values" in answer.get_json()["error"]


def test_the_largest_image_as_numbers():
    """As the docs name it."""
    nested = [json.dumps({"instances": [[[[0, 0, 0]] * side] * side]}).encode() for side in (499, 500)]
    flat = [
        json.dumps(
            {
                "inputs": [
                    {"name": "images", "shape": [1, side, side, 3], "datatype": "UINT8", "data": [0] * side * side * 3}
                ]
            }
        ).encode()
        for side in (577, 578)
    ]
    for fits, does_not in (nested, flat):
        assert count_marks(fits) <= MOST_VALUES < count_marks(does_not)


@pytest.mark.parametrize(
    "path", ["/v1/models/other", "/v1/models/model/versions/2", "/v1/models/other/metadata", "/v1/models", "/v1/"]
)
def test_what_is_not_there(client, path):
    answer = client.get(path)
    assert answer.status_code == 404 and answer.get_json().keys() == {"error"}


@pytest.mark.parametrize(
    ("options", "state"),
    [({"work": None}, "LOADING"), ({"draining": lambda: True}, "UNLOADING"), ({}, "AVAILABLE")],
)
def test_the_state_of_the_model(options, state):
    client = create_app(make_service(**options)).test_client()
    assert client.get("/v1/models/model").get_json()["model_version_status"][0]["state"] == state
    answer = client.post(PREDICT, json={"instances": [b64()]})
    assert (answer.status_code, answer.headers.get("Retry-After")) == ((503, "1") if "work" in options else (200, None))


def test_many_numbers_wait_for_their_turn():
    service = make_service(limits=Limits(body=2**20))
    service._turns = Turns(waiting=0)  # it never comes
    client = create_app(service).test_client()
    answer = client.post(PREDICT, json={"instances": [np.zeros((100, 51, 3), int).tolist()]})
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "1"
    assert "too many images as numbers" in answer.get_json()["error"]
    assert client.post(PREDICT, json={"instances": [PIXELS.tolist()]}).get_json() == {"predictions": [MASK]}
    service.batcher.close()


@pytest.mark.parametrize(("queue", "waiting"), [(1, 1), (4, 2), (32, 16), (1000, 16)])
def test_numbers_that_wait_leave_threads_to_images(queue, waiting):
    """Of threads there are eight more than places in the queue and in a batch."""
    service = make_service(work=None, queue=queue, max_batch=1)
    assert service._turns._places._value == waiting


def test_numbers_of_a_client_that_is_gone_are_not_parsed(monkeypatch):
    parsed = []
    monkeypatch.setattr(tensorflow_serving, "parse_object", parsed.append)
    gone, service = Future(), make_service()
    gone.set_result(None)
    answer = (
        create_app(service)
        .test_client()
        .post(PREDICT, json={"instances": [PIXELS.tolist()]}, environ_overrides={GONE: gone})
    )
    assert not parsed and answer.get_json() == {"error": "the client has hung up"}
    service.batcher.close()
