"""A web page that shows what a model sees in an image.

tfseg app --model models/city --samples images
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tfseg.inference.model_folder import HELP
from tfseg.inference.tta import add_runtime
from tfseg.io import command
from tfseg.serving.web_app import open_page


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("app"),
        description="Serves a web page that shows an image, the model's mask and both in one. Images that are "
        "uploaded are kept in memory. Only this machine reaches the page unless --host says otherwise.",
    )
    parser.add_argument(
        "--model",
        required=True,
        action="append",
        type=Path,
        metavar="DIR",
        help=f"{HELP}; twice for two models side by side",
    )
    parser.add_argument("--samples", type=Path, metavar="DIR", help="folder of images to choose from")
    parser.add_argument(
        "--input-size",
        metavar="SIZE",
        help="HEIGHTxWIDTH that the network sees images at, or native (default: as in the model's validation)",
    )
    add_runtime(parser)
    port = os.environ.get("PORT", "8501")
    parser.add_argument("--port", type=int, default=port, help="port of the page (default: $PORT, or else 8501)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (default: %(default)s)",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="name of the page behind a proxy, such as seg.example.com; may be repeated (default: any name where "
        "other machines are let in, else those of this machine alone)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves the page until it is stopped."""
    options = make_parser().parse_args(arguments)
    open_page(
        options.model,
        samples=options.samples,
        input_size=options.input_size,
        runtime=options.runtime,
        host=options.host,
        port=options.port,
        allowed_hosts=options.allowed_host,
    )


if __name__ == "__main__":
    command.run(main)
