"""A web page that shows what a model sees in a picture.

    python -m tfseg.app --model models/city --samples pictures

Streamlit serves `app_page` from this process, so that models, which are loaded before it starts, are loaded once.
"""

import argparse
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.inference.files import warn
from tfseg.inference.model_folder import HELP, find_model
from tfseg.io import command
from tfseg.io.listing import list_images

SETTINGS = {
    "server.headless": "true",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # on the page; the console has them
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": "true",  # to write it, Streamlit asks a server elsewhere for this machine's address
    "theme.light.primaryColor": "#0f766e",
    "theme.dark.primaryColor": "#14b8a6",
}


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line, which is also that of the page's script."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.app",
        description="Serves a web page that shows a picture, the model's mask and both in one. Pictures that are "
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
    parser.add_argument("--samples", type=Path, metavar="DIR", help="folder of pictures to choose from")
    parser.add_argument(
        "--input-size",
        metavar="SIZE",
        help="HEIGHTxWIDTH that pictures are resized to for the network, or native (as in the model's validation)",
    )
    port = os.environ.get("PORT", "8501")
    parser.add_argument("--port", type=int, default=port, help="of the page's address ($PORT, or else 8501)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for any (127.0.0.1)")
    return parser.parse_args(arguments)


def is_loopback(host: str) -> bool:
    """Tells whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_address(host: str, port: int) -> None:
    """Raises OSError if nothing can listen there."""
    if not 0 < port < 65536:
        raise ValueError(f"--port must be in 1..65535, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            if os.name == "posix":  # as the server does; else a port is taken for a minute after its last use
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise OSError(f"--host {host} --port {port} cannot be had: {error.strerror}; choose another") from None


def streamlit_arguments(options: argparse.Namespace, megabytes: int) -> list[str]:
    """Makes the command line of Streamlit that serves the page."""
    settings = [*SETTINGS.items(), ("server.address", options.host), ("server.port", options.port)]
    settings.append(("server.maxUploadSize", megabytes))
    if is_loopback(options.host):
        # A page elsewhere whose name is made to lead here is refused.
        settings += [("server.allowedHosts", host) for host in ("localhost", "127.0.0.1", "::1", options.host)]
    page = [word for directory in options.model for word in ("--model", str(directory))]
    if options.samples:
        page += ["--samples", str(options.samples)]
    if options.input_size:
        page += ["--input-size", options.input_size]
    script = Path(__file__).with_name("web_page.py")
    return ["run", str(script), *(f"--{name}={value}" for name, value in settings), "--", *page]


def serve(arguments: Sequence[str]) -> None:
    """Runs Streamlit until it is stopped."""
    from streamlit.web import cli as streamlit

    # At each visit Streamlit clears the session of Keras if that is loaded, as it is by TensorFlow, and with it the
    # models' optimized graphs, which take a second to make again.
    sys.modules.pop("keras", None)
    streamlit.main(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves the page until it is stopped."""
    options = read_options(arguments)
    if len(options.model) > 2:
        raise ValueError(f"one model or two side by side can be shown, got {len(options.model)} --model")
    if len({directory.resolve() for directory in options.model}) < len(options.model):
        raise ValueError(f"--model {options.model[0]} is given twice; name two models to compare them")
    import streamlit  # noqa: F401  before the models, which take longer

    from tfseg.serving import web_view

    check_address(options.host, options.port)
    if options.samples:
        web_view.list_samples(options.samples)
        warn(list_images([options.samples], options.samples).left_out)
    options.model = [find_model(directory) for directory in options.model]
    for directory in options.model:
        web_view.load_model(directory, options.input_size)
    host = f"[{options.host}]" if ":" in options.host else options.host
    reach = "" if is_loopback(options.host) else ", for every machine that reaches this one"
    print(f"http://{host}:{options.port}{reach}; Ctrl-C ends it", flush=True)
    serve(streamlit_arguments(options, web_view.MOST_MEGABYTES))


if __name__ == "__main__":
    command.run(main)
