"""The service answers public, recorded requests of other servers' protocols in the form of the recorded answers.

data/*.json holds them as their pages have them. What is put in their place: the model's name and version, names and
types of tensors, and images for the numbers; as many as there were.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helper_files import MASK, PIXELS, PNG, file_of, pixels_of

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")
pytest.importorskip("jsonschema")

import jsonschema
from helper_models import write_model
from helper_service import make_service

from tfseg.serving.http_app import create_app
from tfseg.serving.vertex_ai import VertexRoutes, read_routes

DATA = Path(__file__).parent / "data"
TENSORFLOW, INFERENCE, CLOUD = (
    json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    for name in ("tensorflow_serving", "open_inference", "google_cloud")
)
LENGTH = "Inference-Header-Content-Length"
B64 = base64.b64encode(PNG).decode()


@pytest.fixture
def client():
    service = make_service()
    yield create_app(service).test_client()
    service.batcher.close()


def ask(client, example, body=None, tail=b"", headers=None):
    """Sends a recorded request, with a body of ours, to our model; the answer has the recorded status."""
    names = ("saved_model_half_plus_three", "saved_model_half_plus_two_2_versions", "resnet", "mymodel", "cifar10")
    path = example["path"].replace("/versions/123", "/versions/1").replace("/versions/v10", "/versions/1")
    for name in (*names, "custom-model"):
        path = path.replace(f"/models/{name}", "/models/model")
    data = body and json.dumps(body).encode() + tail
    answer = client.open(path, method=example["method"], data=data, headers=headers)
    assert answer.status_code == example.get("status", 200), answer.data
    return answer


def form_of(value):
    """The keys of a value, and the types of what they hold; lists by their first."""
    if isinstance(value, dict):
        return {key: form_of(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [form_of(value[0])] if value else []
    named = {"$string": "string", "$bool": "bool", "$number": "number"}
    if isinstance(value, str):
        return named.get(value, "string")
    return "bool" if isinstance(value, bool) else "number"


@pytest.mark.parametrize("data", [TENSORFLOW, INFERENCE, CLOUD])
def test_each_example_says_where_it_is_from(data):
    assert data["licence"]
    for name, example in data.get("examples", {}).items():
        assert example["page"].startswith("https://"), name


def test_tensorflow_serving_status(client):
    example = TENSORFLOW["examples"]["status"]
    [ours], [theirs] = (
        answer["model_version_status"] for answer in (ask(client, example).get_json(), example["answer"])
    )
    assert ours == {**theirs, "version": "1"}


def test_tensorflow_serving_metadata(client):
    example = TENSORFLOW["examples"]["metadata"]
    ours, theirs = ask(client, example).get_json(), example["answer"]
    assert form_of(ours["model_spec"]) == form_of(theirs["model_spec"])
    signatures = ours["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "encoded"} and ours.keys() == theirs.keys()
    [recorded] = theirs["metadata"]["signature_def"]["signature_def"].values()
    for signature in signatures.values():
        assert signature.keys() == recorded.keys() and signature["method_name"] == recorded["method_name"]
        for side, name in (("inputs", "x"), ("outputs", "y")):
            [tensor] = signature[side].values()
            assert form_of(tensor) == form_of(recorded[side][name])


@pytest.mark.parametrize("name", ["rows", "rows_of_a_signature", "columns"])
def test_tensorflow_serving_predict(client, name):
    example = TENSORFLOW["examples"][name]
    [key] = {"instances", "inputs"} & example["body"].keys()
    images = [np.roll(PIXELS, place, axis=1) for place in range(len(example["body"][key]))]
    ours = ask(client, example, {**example["body"], key: [image.tolist() for image in images]}).get_json()
    assert ours.keys() == example["answer"].keys()
    [found], [recorded] = ours.values(), example["answer"].values()
    assert len(found) == len(recorded)
    assert found == [pixels_of(client.post("/predict", data=file_of(image)).data).tolist() for image in images]


def test_tensorflow_serving_takes_files(client):
    example = TENSORFLOW["examples"]["file"]
    ours = ask(client, example, json.loads(json.dumps(example["body"]).replace("%s", B64))).get_json()
    [mask] = ours["predictions"]
    assert mask.keys() == example["body"]["instances"][0].keys() == {"b64"}
    assert base64.b64decode(mask["b64"]) == client.post("/predict", data=PNG).data


def test_tensorflow_serving_error(client):
    example = TENSORFLOW["examples"]["no_such_model"]
    answer = ask(client, example, example["body"])
    assert answer.mimetype == "application/json" and form_of(answer.get_json()) == form_of(example["answer"])
    assert answer.get_json()["error"].startswith(example["answer"]["error"])


def check_inference(value, name):
    """Compares with the protocol's own schema, of which each recorded one is part."""
    schemas = {key: schema for key, schema in INFERENCE["schemas"].items() if key != "page"}
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
    jsonschema.Draft202012Validator(schema).validate(value)
    assert value.keys() <= schemas[name]["properties"].keys()


@pytest.mark.parametrize("name", ["live", "ready", "model_ready", "model_ready_of_version"])
def test_inference_health(client, name):
    example = INFERENCE["examples"][name]
    ours, theirs = form_of(ask(client, example).get_json()), form_of(example["answer"])
    assert {key: ours[key] for key in theirs} == theirs


@pytest.mark.parametrize(
    ("name", "schema"), [("server", "metadata_server_response"), ("model", "metadata_model_response")]
)
def test_inference_metadata(client, name, schema):
    example = INFERENCE["examples"][name]
    ours = ask(client, example).get_json()
    assert form_of(ours) == form_of(example["answer"])
    check_inference(ours, schema)


@pytest.mark.parametrize("name", ["infer", "infer_of_triton"])
def test_inference_of_pixels(client, name):
    """The recorded request of the specification; Triton's answer has no id, for its request has none."""
    example = INFERENCE["examples"][name]
    body = {
        **{key: value for key, value in INFERENCE["examples"]["infer"]["body"].items() if key != "id"},
        **({"id": example["answer"]["id"]} if "id" in example["answer"] else {}),
        "inputs": [
            {"name": "images", "shape": [2, 2, 3, 3], "datatype": "UINT8", "data": [*PIXELS.ravel().tolist()] * 2}
        ],
        "outputs": [{"name": "classes"}],
    }
    check_inference(body, "inference_request")
    ours = ask(client, example, body).get_json()
    check_inference(ours, "inference_response")
    theirs = {"model_name": "", "model_version": "", **example["answer"]}  # optional in the specification's text
    assert form_of(ours) == form_of(theirs)
    [output] = ours["outputs"]
    assert ours.get("id") == example["answer"].get("id")
    assert (output["shape"], output["datatype"]) == ([2, 2, 3], "UINT8")
    assert output["data"] == [id for row in MASK * 2 for id in row]


def test_inference_of_a_file(client):
    example = INFERENCE["examples"]["file"]
    [recorded] = example["body"]["inputs"]
    assert (recorded["datatype"], recorded["shape"]) == ("BYTES", [1])
    ours = ask(client, example, {"inputs": [{**recorded, "name": "image_bytes", "data": [B64]}]}).get_json()
    check_inference(ours, "inference_response")
    [output] = ours["outputs"]
    assert base64.b64decode(output["data"][0]) == client.post("/predict", data=PNG).data


@pytest.mark.parametrize("name", ["binary", "all_outputs_binary"])
def test_inference_of_binary_tensors(client, name):
    example = INFERENCE["examples"][name]
    recorded, asked = example["body"], {"name": "images", "shape": [1, 2, 3, 3], "datatype": "UINT8"}
    if name == "binary":
        body = {**recorded, "inputs": [{**asked, "parameters": {"binary_data_size": 18}}]}
        body["outputs"] = [{**recorded["outputs"][0], "name": "classes"}]
        headers = {LENGTH: str(len(json.dumps(body))), "Content-Type": "application/octet-stream"}
        answer = ask(client, example, body, PIXELS.tobytes(), headers)
    else:
        answer = ask(client, example, {**recorded, "inputs": [{**asked, "data": [PIXELS.tolist()]}]})
    length = int(answer.headers[LENGTH])
    assert answer.mimetype == "application/octet-stream"
    assert int(answer.headers["Content-Length"]) == len(answer.data) == length + 6
    ours = json.loads(answer.data[:length])
    assert form_of(ours["outputs"]) == form_of(example["answer"]["outputs"])
    assert ours["outputs"][0]["parameters"] == {"binary_data_size": 6}
    assert answer.data[length:] == bytes(id for row in MASK for id in row)


def test_inference_error(client):
    example = INFERENCE["examples"]["error"]
    answer = client.get(example["path"])
    assert answer.status_code == 404 and form_of(answer.get_json()) == form_of(example["answer"])
    check_inference(answer.get_json(), "inference_error_response")


ROUTES = CLOUD["vertex_ai"]["routes"]
PLACES = [
    *zip(ROUTES["AIP_PREDICT_ROUTE"], ROUTES["AIP_HEALTH_ROUTE"], strict=True),
    (CLOUD["vertex_ai"]["environment"]["AIP_PREDICT_ROUTE"], CLOUD["vertex_ai"]["environment"]["AIP_HEALTH_ROUTE"]),
    tuple(
        CLOUD["vertex_ai"]["behind_tensorflow_serving"][name].replace("MODEL_NAME", "model")
        for name in ("AIP_PREDICT_ROUTE", "AIP_HEALTH_ROUTE")
    ),
]


@pytest.mark.parametrize(("predict", "health"), PLACES)
def test_vertex_ai(predict, health):
    routes = read_routes({"AIP_PREDICT_ROUTE": predict, "AIP_HEALTH_ROUTE": health})
    service = make_service(vertex=routes, key=b"key")
    client = create_app(service).test_client()
    assert client.get(health).status_code == 200
    recorded = CLOUD["vertex_ai"]["predict"]
    [[key, value]] = recorded["body"]["instances"][0].items()
    assert (key, value.keys()) == ("serving_input", {"b64"})
    body = {"instances": [{"image_bytes": {"b64": B64}}]}
    assert client.post(predict, json=body).get_json().keys() == {"error"}  # it asks for the key
    answer = client.post(predict, json=body, headers={"X-API-Key": "key"})
    assert answer.status_code == 200 and answer.get_json().keys() == recorded["answer"].keys()
    assert pixels_of(base64.b64decode(answer.get_json()["predictions"][0]["b64"])).tolist() == MASK
    service.batcher.close()


def test_vertex_ai_is_not_answered_while_the_model_loads():
    client = create_app(make_service(work=None, vertex=VertexRoutes(health="/healthz"))).test_client()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.get_json()) == (503, {"error": "the model is not loaded yet"})


@pytest.mark.parametrize("path", ["predict", "", "/a b", "/<name>", "/a?b", "/é"])
def test_what_is_no_route(path):
    with pytest.raises(ValueError, match="AIP_PREDICT_ROUTE: expected a path such as /predict"):
        read_routes({"AIP_PREDICT_ROUTE": path})


@pytest.mark.long
def test_cloud_run(tmp_path):
    """The service listens at all addresses, at $PORT without TLS, and ends in time after SIGTERM."""
    pytest.importorskip("gunicorn")
    model, contract = write_model(tmp_path / "model"), CLOUD["cloud_run"]
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tfseg.serve", "--model", str(model), "--host", "0.0.0.0"]
    environment = {**os.environ, **contract["environment"], "PORT": str(port)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout.readline().endswith(f" at http://0.0.0.0:{port}\n".encode())
            wait_until_ready(f"http://127.0.0.1:{port}/readyz")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/predict", PNG) as answer:
                assert pixels_of(answer.read()).tolist() == MASK
            process.send_signal(signal.SIGTERM)
            assert process.wait(contract["end"]["seconds"]) == 0
        finally:
            process.terminate()  # nothing, if it has ended


def wait_until_ready(address):
    end = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
