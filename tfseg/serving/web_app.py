"""Starts the web page: checks what it is to show, loads the models, and runs Streamlit in this process.

So models are loaded once, before the page answers; the script `web_page` finds them in the cache of `web_view`.
"""

import argparse
import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.inference.files import warn
from tfseg.inference.model_folder import find_model
from tfseg.io.listing import list_images
from tfseg.io.sockets import is_this_machine

SETTINGS = {
    "server.headless": "true",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # on the page; the console has them
    "client.showErrorLinks": "false",
    "client.allowedOrigins": "https://none.invalid",  # pages that may steer this one in a frame; else Streamlit's own
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": "true",  # to write it, Streamlit asks a server elsewhere for this machine's address
    "theme.light.primaryColor": "#0f766e",
    "theme.dark.primaryColor": "#14b8a6",
}


def open_page(
    models: Sequence[Path],
    *,
    samples: Path | None = None,
    input_size: str | None = None,
    runtime: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8501,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serves the page until it is stopped.

    Args:
        models: one folder of a SavedModel or of a run, or two, whose masks are shown side by side.
        samples: folder of images to choose from.
        input_size: "native", HEIGHTxWIDTH, or None, as of `choose_sizes`.
        runtime: as of `choose_runtime`.
        host: address to listen at; 0.0.0.0 lets other machines in.
        port: of the page's address.
        allowed_hosts: names of the page, such as seg.example.com, under which a proxy makes it known.

    Raises:
        ValueError: there are more models than two, or one twice; a model is damaged; `samples` holds no image; `port`
            is no port; a name is none.
        FileNotFoundError: there is no such model.
        OSError: the address cannot be had.
        ModuleNotFoundError: Streamlit is not installed.
    """
    if len(models) > 2:
        raise ValueError(f"one model or two side by side can be shown, got {len(models)} --model")
    if len({directory.resolve() for directory in models}) < len(models):
        raise ValueError(f"--model {models[0]} is given twice; name two models to compare them")
    import streamlit  # noqa: F401  # pyright: ignore[reportMissingImports]  an extra; before the models, which load longer

    from tfseg.serving import web_view

    check_address(host, port)
    check_names(allowed_hosts)
    if samples:
        web_view.list_samples(samples)
        warn(list_images([samples], samples).left_out)
    directories = [find_model(directory) for directory in models]
    takes = {}
    for directory in directories:
        takes.setdefault(web_view.load_model(directory, input_size, runtime).predictor.pixels, directory)
    if len(takes) > 1:
        differ = " and ".join(f"{directory} takes {pixels.describe()}" for pixels, directory in takes.items())
        raise ValueError(f"two models side by side must take the same images, but {differ}; show one")
    shown = f"[{host}]" if ":" in host else host
    reach = "" if is_this_machine(host) else ", for every machine that reaches this one"
    print(f"http://{shown}:{port}{reach}; Ctrl-C ends it", flush=True)
    page = write_page_arguments(directories, samples, input_size, runtime)
    run_streamlit([*streamlit_arguments(host, port, web_view.MOST_MEGABYTES, allowed_hosts), "--", *page])


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


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError if one is no name of a machine, as it stands in an address."""
    for name in names:
        if not re.fullmatch(r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", name):
            raise ValueError(f"--allowed-host: expected a name such as seg.example.com, got {name!r}")


def streamlit_arguments(host: str, port: int, megabytes: int, names: Sequence[str] = ()) -> list[str]:
    """Makes the command line of Streamlit that serves the page.

    Args:
        host: address to listen at.
        port: of it.
        megabytes: the most that an upload may have.
        names: that the page has beside the address.
    """
    settings = [*SETTINGS.items(), ("server.address", host), ("server.port", port)]
    settings.append(("server.maxUploadSize", megabytes))
    if is_this_machine(host) or names:
        # A page elsewhere whose name is made to lead here is refused.
        settings += [("server.allowedHosts", name) for name in ("localhost", "127.0.0.1", "::1", host, *names)]
    # Of a proxy that passes another Host on than the browser sent.
    settings += [("server.corsAllowedOrigins", f"https://{name}") for name in names if "*" not in name]
    script = Path(__file__).with_name("web_page.py")
    return ["run", str(script), *(f"--{name}={value}" for name, value in settings)]


def write_page_arguments(
    models: Sequence[Path], samples: Path | None, input_size: str | None, runtime: str | None = None
) -> list[str]:
    """Writes what the page's script shows as its command line, see `read_page_arguments`."""
    arguments = [word for directory in models for word in ("--model", str(directory))]
    if samples:
        arguments += ["--samples", str(samples)]
    if input_size:
        arguments += ["--input-size", input_size]
    if runtime:
        arguments += ["--runtime", runtime]
    return arguments


def read_page_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads the command line of the page's script: `model`, folders, and `samples`, `input_size` and `runtime`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", action="append", type=Path)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--input-size")
    parser.add_argument("--runtime")
    return parser.parse_args(arguments)


def run_streamlit(arguments: Sequence[str]) -> None:
    """Runs Streamlit until it is stopped."""
    from streamlit import net_util  # pyright: ignore[reportMissingImports]  an extra
    from streamlit.web import cli  # pyright: ignore[reportMissingImports]

    # For each page elsewhere that tries to connect, Streamlit asks a server on the internet for this machine's address,
    # and nobody else is answered meanwhile.
    net_util.get_external_ip = lambda: None
    # At each visit Streamlit clears the session of Keras if that is loaded, as it is by TensorFlow, and with it the
    # models' optimized graphs, which take a second to make again.
    sys.modules.pop("keras", None)
    cli.main(arguments)
