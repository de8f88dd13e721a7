import io
import json
import logging
import re
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from helper_files import MASK, PIXELS, PNG, file_of, pixels_of
from PIL import Image

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")

from helper_service import COLORS, by_red, make_service

from tfseg.serving.http_app import create_app
from tfseg.serving.logs import JsonLines
from tfseg.serving.openapi import DOCUMENT, make_document
from tfseg.serving.service import GONE
from tfseg.serving.uploads import Limits
from tfseg.serving.vertex_ai import VertexRoutes
from tfseg.visualization.overlay import blend


@pytest.fixture
def client():
    service = make_service()
    yield create_app(service).test_client()
    service.batcher.close()


def test_an_image_becomes_its_mask(client):
    for answer in (
        client.post("/predict", data=PNG),
        client.post("/predict", data={"image": (io.BytesIO(PNG), "a.png")}),
        client.post("/predict", data=PNG, headers={"Accept": "image/png, application/json;q=0.5"}),
        client.post("/predict", data=PNG, headers={"Accept": "text/html, */*;q=0.1"}),
        client.post("/predict?format=mask", data=PNG, headers={"Accept": "application/json"}),
    ):
        assert (answer.status_code, answer.mimetype) == (200, "image/png")
        assert pixels_of(answer.data).tolist() == MASK


@pytest.fixture
def roomy():
    service = make_service(limits=Limits())
    yield create_app(service).test_client()
    service.batcher.close()


class Trickle(io.BytesIO):
    """A body that comes in pieces of one size, as of a network."""

    def __init__(self, content, size):
        super().__init__(content)
        self.most = size

    def read(self, size=-1):
        return super().read(self.most if size < 0 else min(size, self.most))


def street(side, seed, kind="PNG"):
    """A file of noise, which no format makes smaller: 250 KB at a side of 288, 2 MB at 816."""
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


@pytest.mark.parametrize(("side", "seeds"), [(288, range(6)), (816, range(2))])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_forms_with_large_images_are_answered(roomy, side, seeds, kind):
    """As curl sends them: `curl -F image=@street.jpg`."""
    boundary = "-" * 24 + "d74496d66958873e"
    for seed in seeds:
        image = street(side, seed, kind)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="street.jpg"\r\n'
        body = f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + image + f"\r\n--{boundary}--\r\n".encode()
        for size in (1000, 4096, 65_536, 2**24):
            answer = roomy.post(
                "/predict",
                input_stream=Trickle(body, size),
                content_length=len(body),
                content_type=f"multipart/form-data; boundary={boundary}",
            )
            assert answer.status_code == 200, (seed, size, answer.data)
            assert pixels_of(answer.data).shape == (side, side)


def test_an_overlay(client):
    answer = client.post("/predict?format=overlay", data=PNG)
    np.testing.assert_array_equal(pixels_of(answer.data), blend(PIXELS, np.array(MASK), COLORS, 0.5))


@pytest.mark.parametrize("how", [{"path": "/predict?format=json"}, {"headers": {"Accept": "application/json"}}])
def test_class_shares(client, how):
    answer = client.post(**{"path": "/predict", "data": PNG, **how})
    answered = answer.get_json()
    assert [entry["pixels"] for entry in answered["classes"]] == [3, 1, 1, 1]
    assert [entry["share"] for entry in answered["classes"]] == [1 / 2, 1 / 6, 1 / 6, 1 / 6]
    assert answered["classes"][1] | {"pixels": 0, "share": 0} == {
        **{"id": 1, "name": "dim", "color": [10, 20, 30], "pixels": 0, "share": 0}
    }
    assert (answered["height"], answered["width"], answered["model"], answered["batch"]) == (2, 3, "city-1", 1)
    assert answered["request_id"] == answer.headers["X-Request-ID"]
    assert answered["milliseconds"]["total"] >= answered["milliseconds"]["model"] >= 0


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "reason"),
    [
        ("POST", "/predict", {"data": b""}, 400, "empty"),
        ("POST", "/predict", {"data": b"hello"}, 415, "no PNG, JPEG"),
        ("POST", "/predict", {"data": PNG[:20]}, 400, "the file is"),
        ("POST", "/predict", {"data": PNG[:40]}, 400, "cut short"),
        ("POST", "/predict", {"data": {"file": (io.BytesIO(PNG), "a.png")}}, 400, "fields: file"),
        ("POST", "/predict", {"data": PNG + b"\0" * 5000}, 413, "5,000 bytes"),
        ("POST", "/predict", {"data": file_of(np.zeros((21, 20, 3), np.uint8))}, 413, "21x20"),
        ("POST", "/predict?format=gif", {"data": PNG}, 400, "got 'gif'"),
        ("POST", "/predict?format=", {"data": PNG}, 400, "got ''"),
        (
            "POST",
            "/predict",
            {"data": PNG, "headers": {"Accept": "image/gif"}},
            406,
            "or application/json, got 'image/gif'",
        ),
        ("POST", "/predict", {"data": PNG, "headers": {"Content-Encoding": "gzip"}}, 415, "Content-Encoding 'gzip'"),
        ("GET", "/predict", {}, 405, "GET"),
        ("OPTIONS", "/nothing", {}, 404, "openapi.json"),
        ("PUT", "/predict", {}, 405, "PUT"),
        ("POST", "/labels", {}, 405, "POST"),
        ("GET", "/etc/passwd", {}, 404, "openapi.json"),
    ],
)
def test_bad_requests(method, path, options, status, reason):
    service = make_service(limits=Limits(body=5000, pixels=400))
    answer = create_app(service).test_client().open(path, method=method, **options)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    answered = json.loads(answer.data)
    assert answered["status"] == status and reason in answered["detail"]
    assert answered["request_id"] == answer.headers["X-Request-ID"]
    assert status != 405 or "Allow" in answer.headers


def test_a_mistake_of_ours_shows_the_client_nothing(client, caplog):
    def fail(images, sizes):
        raise RuntimeError("secret")

    answer = create_app(make_service(fail)).test_client().post("/predict", data=PNG)
    assert answer.status_code == 500 and b"secret" not in answer.data and b"Traceback" not in answer.data
    assert "secret" in caplog.text


def test_ready_while_images_are_taken():
    service = make_service(work=None)
    client = create_app(service).test_client()
    for method, path in (("GET", "/readyz"), ("POST", "/predict")):
        answer = client.open(path, method=method, data=PNG if method == "POST" else None)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert client.get("/healthz").status_code == client.get("/labels").status_code == 200
    ending = []
    client = create_app(make_service(draining=lambda: bool(ending))).test_client()
    assert client.get("/readyz").status_code == 200
    ending.append(True)
    assert client.get("/readyz").status_code == 503


def test_a_full_queue_and_a_slow_model(monkeypatch):
    go_on, seen = threading.Event(), []

    def wait(images, sizes):
        seen.extend(images[:, 0, 0, 1].tolist())
        go_on.wait()
        return by_red(images, sizes)

    def post(number):
        return client.post("/predict", data=file_of(np.full((2, 2, 3), number, np.uint8)))

    service = make_service(wait, queue=1, max_batch=1, timeout=0.5)
    client = create_app(service).test_client()
    assert post(1).status_code == 504  # the model has it still
    waiting = service.batcher.submit(np.full((2, 2, 3), 2, np.uint8), (2, 2))
    with monkeypatch.context() as patch:
        patch.setattr("tfseg.serving.service.read_upload", lambda *_: pytest.fail("decoded"))
        answer = post(3)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    waiting.cancel()
    assert post(3).status_code == 504  # there is room again, and this one waited for the model
    go_on.set()
    service.timeout = 30
    assert post(4).status_code == 200
    assert seen == [1, 4]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic k\xe9y"}, 401),
        ({"X-API-Key": "k"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "key\xff"}, 401),
        ({"Authorization": "Bearer key"}, 200),
        ({"Authorization": "bearer  key"}, 200),
        ({"X-API-Key": "key"}, 200),
    ],
)
def test_a_key(headers, status):
    client = create_app(make_service(key=b"key")).test_client()
    for method, path in (("POST", "/predict"), ("GET", "/labels"), ("GET", "/metrics"), ("GET", "/openapi.json")):
        answer = client.open(path, method=method, headers=headers, data=PNG if method == "POST" else None)
        assert answer.status_code == status
        assert status == 200 or answer.headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/nothing", headers=headers).status_code == (404 if status == 200 else 401)
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/labels", "/metrics", "/healthz", "/readyz", "/openapi.json", "/v1/models/model", "/v2", "/nothing"]
)
def test_head_answers_what_get_does_without_the_content(client, path):
    got, headed = client.get(path), client.head(path)
    assert headed.status_code == got.status_code and headed.data == b"" and got.data
    kept = ("Content-Type", "Cache-Control", "X-Content-Type-Options")
    assert [headed.headers[name] for name in kept] == [got.headers[name] for name in kept]
    if path != "/metrics":  # which count the former
        assert headed.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/predict", {"POST", "OPTIONS"}),
        ("/labels", {"GET", "HEAD", "OPTIONS"}),
        ("/v1/models/model:predict", {"POST", "OPTIONS"}),
        ("/v2/models/model/infer", {"POST", "OPTIONS"}),
    ],
)
def test_options_say_which_methods_there_are(client, path, methods):
    answer = client.options(path)
    assert (answer.status_code, answer.data, "Content-Type" in answer.headers) == (204, b"", False)
    assert set(answer.headers["Allow"].split(", ")) == methods
    assert set(client.delete(path).headers["Allow"].split(", ")) == methods
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_no_path_leads_to_another(client):
    assert [client.get(path).status_code for path in ("/labels/", "/v2//health/live")] == [404, 404]


PAGE = "https://seg.example.com"
ASKS = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


def test_a_page_of_an_allowed_origin_may_use_the_service():
    client = create_app(make_service(key=b"key", origins=frozenset([PAGE]))).test_client()
    asked = client.open("/predict", method="OPTIONS", headers=ASKS)
    assert asked.status_code == 204 and asked.headers["Access-Control-Allow-Origin"] == PAGE
    assert "X-API-Key" in asked.headers["Access-Control-Allow-Headers"]
    assert {"GET", "HEAD", "POST"} == {*asked.headers["Access-Control-Allow-Methods"].split(", ")}
    assert asked.headers["Access-Control-Max-Age"] == "600" and asked.headers["Vary"] == "Origin"
    for key, status in (("key", 200), ("wrong", 401)):
        answer = client.post("/predict", data=PNG, headers={"Origin": PAGE, "X-API-Key": key})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, PAGE)
        assert answer.headers["Vary"] == "Origin" and "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origins", "headers"),
    [
        ([], ASKS),
        ([PAGE], {**ASKS, "Origin": "https://evil.example.com"}),
        ([PAGE], {"Origin": PAGE}),
    ],
)
def test_others_may_not_ask(origins, headers):
    client = create_app(make_service(key=b"key", origins=frozenset(origins))).test_client()
    asked = client.open("/predict", method="OPTIONS", headers=headers)
    assert asked.status_code == 401 and "Access-Control-Allow-Methods" not in asked.headers


@pytest.mark.parametrize(("given", "kept"), [("a-1_b.C", True), ("x" * 65, False), ("a b", False), ('"\xe9', False)])
def test_a_request_id_comes_back_if_it_is_sane(client, given, kept):
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) == kept
    assert len(answer.headers["X-Request-ID"]) == (len(given) if kept else 32)


def test_a_line_of_log_a_request(client, caplog):
    caplog.set_level(logging.INFO, "tfseg.service")
    client.post("/predict?format=json", data=PNG, headers={"X-Request-ID": "one", "Authorization": "Bearer secret"})
    client.get("/no\nthing")
    lines = [JsonLines().format(record) for record in caplog.records]
    assert all("\n" not in line and "secret" not in line for line in lines)
    good, bad = map(json.loads, lines)
    assert (good["request_id"], good["path"], good["status"], good["height"], good["batch"]) == (
        *("one", "/predict", 200, 2, 1),
    )
    assert (bad["status"], bad["level"]) == (404, "info") and "no such path" in bad["error"]


def test_metrics(client):
    for data in (PNG, PNG, b"text"):
        client.post("/predict", data=data)
    client.get("/nothing")
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    for line in (
        'tfseg_requests_total{route="/predict",status="200"} 2.0',
        'tfseg_requests_total{route="/predict",status="415"} 1.0',
        'tfseg_requests_total{route="none",status="404"} 1.0',
        'tfseg_request_seconds_count{route="/predict"} 3.0',
        "tfseg_images_total 2.0",
        'tfseg_batch_images_bucket{le="1.0"} 2.0',
        "tfseg_queue_images 0.0",
        "tfseg_pictures_total 2.0",
        'tfseg_batch_pictures_bucket{le="1.0"} 2.0',
        "tfseg_queue_pictures 0.0",
        "tfseg_ready 1.0",
    ):
        assert line in lines


def test_who_hangs_up_is_neither_classified_nor_answered(caplog):
    caplog.set_level(logging.INFO, "tfseg.service")
    go_on, busy, gone = threading.Event(), threading.Event(), Future()

    def wait(images, sizes):
        busy.set()
        go_on.wait(timeout=20)
        return by_red(images, sizes)

    def post(**environ):
        app.test_client().post("/predict", data=PNG, environ_overrides=environ)

    service = make_service(wait)
    app = create_app(service)
    first = threading.Thread(target=post)
    first.start()
    assert busy.wait(timeout=20)
    second = threading.Thread(target=post, kwargs={GONE: gone})
    second.start()
    end = time.monotonic() + 20
    while not len(service.batcher) and time.monotonic() < end:
        time.sleep(0.001)
    gone.set_result(None)
    second.join(timeout=20)
    lines = app.test_client().get("/metrics").get_data(as_text=True).splitlines()
    assert 'tfseg_requests_total{route="/predict",status="499"} 1.0' in lines
    assert "tfseg_queue_images 0.0" in lines
    go_on.set()
    first.join(timeout=20)
    lines = app.test_client().get("/metrics").get_data(as_text=True).splitlines()
    assert 'tfseg_requests_total{route="/predict",status="200"} 1.0' in lines and "tfseg_images_total 1.0" in lines
    logged = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert [line["error"] for line in logged if line["status"] == 499] == ["the client has hung up"]


def test_concurrent_requests_share_batches():
    busy, begin, sizes, answers = threading.Event(), threading.Event(), [], []

    def look(images, of_masks):
        busy.set()
        begin.wait(timeout=20)
        sizes.append(len(images))
        return by_red(images, of_masks)

    service = make_service(look, queue=8)
    app = create_app(service)
    threads = [
        threading.Thread(target=lambda: answers.append(app.test_client().post("/predict", data=PNG))) for _ in range(5)
    ]
    threads[0].start()
    assert busy.wait(timeout=20)
    for thread in threads[1:]:
        thread.start()
    end = time.monotonic() + 20
    while len(service.batcher) < 4 and time.monotonic() < end:
        time.sleep(0.001)
    begin.set()
    for thread in threads:
        thread.join()
    assert [pixels_of(answer.data).tolist() for answer in answers] == [MASK] * 5
    assert sizes == [1, 4]


@pytest.mark.parametrize("vertex", [VertexRoutes(), VertexRoutes("/v1/endpoints/1:predict", "/healthz")])
def test_the_document_is_openapi(vertex):
    pytest.importorskip("openapi_spec_validator").validate(make_document("https://seg.example.com", vertex))


def test_the_document_has_every_route(client):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    paths = DOCUMENT["paths"]
    assert routes == {(path, method) for path, methods in paths.items() for method in methods if method != "parameters"}
    assert client.get("/openapi.json").get_json() == {**DOCUMENT, "servers": [{"url": "http://localhost"}]}


@pytest.mark.parametrize(
    ("method", "path", "schema"),
    [
        ("POST", "/predict?format=json", "Shares"),
        ("GET", "/labels", "Labels"),
        ("GET", "/", "Root"),
        ("GET", "/nothing", "Problem"),
        ("GET", "/v1/models/model", "TensorFlowStatus"),
        ("GET", "/v1/models/model/metadata", "TensorFlowMetadata"),
        ("GET", "/v1/models/other", "Error"),
        ("GET", "/v2", "InferenceServer"),
        ("GET", "/v2/models/model", "InferenceModel"),
        ("GET", "/v2/models/model/ready", "ModelReady"),
        ("GET", "/v2/health/live", "Live"),
        ("GET", "/v2/health/ready", "Ready"),
        ("GET", "/v2/nothing", "Error"),
    ],
)
def test_answers_are_as_the_document_says(client, method, path, schema):
    jsonschema = pytest.importorskip("jsonschema")
    answer = client.open(path, method=method, data=PNG)
    jsonschema.Draft202012Validator(DOCUMENT["components"]["schemas"][schema]).validate(json.loads(answer.data))
