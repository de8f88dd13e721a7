import pytest

from tfseg.serving.origins import check_origins, headers_for

PAGE = "https://seg.example.com"


@pytest.mark.parametrize(
    "origin",
    [
        "seg.example.com",
        "https://seg.example.com/",
        "HTTPS://seg.example.com",
        "https://*.example.com",
        "null",
        "",
        "https://seg.example.com:443",
        "http://seg.example.com:80",
        "http://seg.example.com:0443",
        "http://seg.example.com:\u0661",
    ],
)
def test_what_is_no_origin(origin):
    with pytest.raises(ValueError, match="--cors-origin: expected https://HOST"):
        check_origins([origin], has_key=False)


def test_ports_that_are_not_the_schemes_own():
    origins = ["https://seg.example.com:80", "http://seg.example.com:443", "http://[::1]:3000"]
    assert check_origins(origins, has_key=True) == {*origins}


def test_every_page_only_without_a_key():
    assert check_origins(["*", PAGE], has_key=False) == {"*", PAGE}
    with pytest.raises(ValueError, match="with a key, name each origin"):
        check_origins(["*"], has_key=True)


@pytest.mark.parametrize(
    ("origin", "allowed", "may_read"),
    [
        (PAGE, {PAGE}, True),
        (PAGE, {"*"}, True),
        (PAGE + ".evil.com", {PAGE}, False),
        ("http://seg.example.com", {PAGE}, False),
        (PAGE + ":8443", {PAGE}, False),
        ("null", {PAGE}, False),
        (None, {PAGE}, False),
        (PAGE, set(), False),
    ],
)
def test_only_pages_of_these_origins_may_read(origin, allowed, may_read):
    headers = headers_for(origin, frozenset(allowed))
    assert headers.get("Access-Control-Allow-Origin") == (origin if may_read else None)
    assert ("Vary" in headers) == bool(allowed)
