"""Serves a SavedModel over HTTP: images in, class masks, overlays or class shares out.

tfseg serve --model models/city --port 8080
"""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from tfseg.inference.model_folder import HELP
from tfseg.inference.tta import add_options, read_options
from tfseg.io import command
from tfseg.io.renamed import accept_renamed
from tfseg.serving.launcher import ServiceSettings, check_key, serve_model
from tfseg.serving.vertex_ai import PORT, read_routes

KEY = "TFSEG_API_KEY"
NAME = "MODEL_NAME"  # as of the image of TensorFlow Serving
PORTS = (PORT, "PORT")  # of Vertex AI, and of Cloud Run; the first that is set counts


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("serve"),
        description="Serves an exported model over HTTP. "
        f"If the environment variable {KEY} is set, requests must carry it.",
    )
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help=HELP)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.add_argument(
        "--port", help=f"port of the service; 0 takes a free one (default: ${', $'.join(PORTS)}, or 8080)"
    )
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="opacity of the overlay's colours, 0 to 1 (default: 0.5)"
    )
    parser.add_argument(
        "--cors-origin",
        action="extend",
        nargs="+",
        default=[],
        metavar="ORIGIN",
        help="https://HOST[:PORT] of pages whose scripts may use the service; may be repeated (default: none)",
    )
    parser.add_argument(
        "--name", help=f"name of the model to other servers' clients (default: ${NAME}, or its folder's)"
    )
    limits = parser.add_argument_group("processes and limits")
    for name, kind, metavar, text in (
        ("workers", int, "N", "processes that each hold the model"),
        ("proxies", int, "N", "proxies in front of the service, whose X-Forwarded headers are believed"),
        ("max_batch", int, "IMAGES", "images of one size that the model sees at once"),
        ("batch_wait", float, "MS", "milliseconds that an image waits for others while the model is free"),
        ("queue", int, "IMAGES", "images that may wait; further ones are answered 503"),
        ("max_body", int, "MIB", "size of a request"),
        ("max_pixels", int, "PIXELS", "pixels of an image, and of a batch"),
        ("max_side", int, "PIXELS", "height and width of an image"),
        ("timeout", float, "SECONDS", "seconds for a request's body and the model"),
    ):
        flag, default = f"--{name.replace('_', '-')}", getattr(ServiceSettings, name)
        limits.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{text} (default: %(default)s)")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves what the command line names until it is stopped."""
    options = make_parser().parse_args(accept_renamed(arguments, "serve"))
    serve_model(
        options.model,
        inference=read_options(options),
        host=options.host,
        port=read_port(options.port),
        settings=ServiceSettings(**{field.name: getattr(options, field.name) for field in fields(ServiceSettings)}),
        input_size=options.input_size,
        runtime=options.runtime,
        name=options.name or os.environ.get(NAME),
        key=read_key(),
        origins=options.cors_origin,
        vertex=read_routes(os.environ),
    )


def read_port(given: str | None) -> int:
    """Reads --port, or else a variable of `PORTS`; raises ValueError for what is no port."""
    variable = next((name for name in PORTS if name in os.environ), None)
    port = given or os.environ.get(variable or "", "8080")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError(f"{'--port' if given else f'${variable}'}: expected a number in 0..65535, got {port!r}")
    return int(port)


def read_key() -> str | None:
    """Reads the API key from the environment, without blanks and line breaks around it.

    Raises:
        ValueError: it is empty, or no client could send it.
    """
    key = os.environ.get(KEY)
    if key is None:
        return None
    if not key.strip():
        raise ValueError(f"{KEY} is empty; give it a key, or unset it to let everyone in")
    return check_key(key.strip(), KEY)


if __name__ == "__main__":
    command.run(main)
