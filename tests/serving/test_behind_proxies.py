"""What a proxy says of its client, believed only by option."""

import json
import logging

import pytest
from helper_files import PNG

pytest.importorskip("flask")
pytest.importorskip("prometheus_client")

from helper_service import make_service

from tfseg.serving.http_app import create_app
from tfseg.serving.logs import JsonLines

SAID = {
    "X-Forwarded-For": "192.0.2.1, 203.0.113.7",
    "X-Forwarded-Proto": "http, https",
    "X-Forwarded-Host": "evil.example.com, seg.example.com",
    "X-Forwarded-Prefix": "/evil, /masks",
    "X-Forwarded-Port": "666",
}


def ask(proxies, headers, caplog):
    """The client in the log, and the addresses that the service writes."""
    caplog.set_level(logging.INFO, "tfseg.service")
    client = create_app(make_service(proxies=proxies)).test_client()
    servers = client.get("/openapi.json", headers=headers).get_json()["servers"]
    assert client.get("/", headers=headers).get_json()["document"] == f"{servers[0]['url']}/openapi.json"
    assert client.post("/predict", data=PNG, headers=headers).status_code == 200  # the prefix is none of the path
    clients = {json.loads(JsonLines().format(record))["client"] for record in caplog.records}
    return *clients, servers[0]["url"]


@pytest.mark.parametrize(
    ("proxies", "client", "server"),
    [
        (0, "127.0.0.1", "http://localhost"),
        (1, "203.0.113.7", "https://seg.example.com/masks"),
        (2, "192.0.2.1", "http://evil.example.com/evil"),
        (3, "127.0.0.1", "http://localhost"),
    ],
)
def test_so_many_values_are_believed(proxies, client, server, caplog):
    assert ask(proxies, SAID, caplog) == (client, server)


def test_a_proxy_that_says_nothing(caplog):
    assert ask(1, {}, caplog) == ("127.0.0.1", "http://localhost")
