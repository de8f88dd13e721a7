"""Web pages of elsewhere whose scripts may use the service (cross-origin resource sharing, CORS)."""

import re
from collections.abc import Sequence

EVERYONE = "*"
ORIGIN = r"(?P<scheme>https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:(?P<port>[1-9]\d{0,4}))?"
OWN_PORTS = {"http": "80", "https": "443"}  # which browsers leave out
METHODS = "GET, HEAD, POST"
HEADERS = "Authorization, Content-Type, Inference-Header-Content-Length, X-API-Key, X-Request-ID"
EXPOSED = "Inference-Header-Content-Length, Retry-After, X-Request-ID"
PREFLIGHT_SECONDS = "600"  # that a browser may remember the answer


def check_origins(origins: Sequence[str], has_key: bool) -> frozenset[str]:
    """Checks origins as a browser sends them: scheme, host, and the port if it is not the scheme's own.

    Raises:
        ValueError: one is none, or "*" is given beside a key.
    """
    for origin in origins:
        if origin == EVERYONE and has_key:
            raise ValueError("--cors-origin *: with a key, name each origin; any page could use what a browser knows")
        found = re.fullmatch(ORIGIN, origin, re.ASCII)
        if origin != EVERYONE and (found is None or OWN_PORTS[found["scheme"]] == found["port"]):
            raise ValueError(
                "--cors-origin: expected https://HOST or https://HOST:PORT in small letters, without a port that is "
                f"the scheme's own, got {origin!r}"
            )
    return frozenset(origins)


def headers_for(origin: str | None, allowed: frozenset[str]) -> dict[str, str]:
    """Makes the headers that let a page of an origin read an answer; none for others."""
    if not allowed:
        return {}
    if origin is None or not {origin, EVERYONE} & allowed:
        return {"Vary": "Origin"}
    return {"Vary": "Origin", "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}


def preflight_headers() -> dict[str, str]:
    """Makes the headers of the answer to a browser that asks what it may send."""
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    }
