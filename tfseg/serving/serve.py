"""Serves a SavedModel over HTTP: pictures in, class masks, overlays or class shares out.

python -m tfseg.serve --model models/city --port 8080
"""

import argparse
import hashlib
import os
import re
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import Size
from tfseg.inference.model_folder import HELP, find_model
from tfseg.inference.predictor import Predictor, choose_sizes, make_segmenter, read_labels
from tfseg.inference.tta import Inference, add_options, read_options
from tfseg.io import command
from tfseg.io.resizing import resize_along

KEY = "TFSEG_API_KEY"
SPARE_THREADS = 8  # for requests that are refused, read, or no pictures, while the others wait for the model
GRACE = 5.0  # seconds between the end of a request's time and that of its connection
WARM_UP = (256, 256)


def model_id(directory: Path) -> str:
    """Names a model by its folder and the first 12 digits of the SHA-256 of all files in it.

    Raises:
        FileNotFoundError: it lacks saved_model.pb.
    """
    if not (directory / "saved_model.pb").is_file():
        raise FileNotFoundError(f"{directory / 'saved_model.pb'} is missing; expected a SavedModel folder")
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{directory.resolve().name}-{digest.hexdigest()[:12]}"


def load(
    directory: Path, inference: Inference, sizes: Sequence[Size]
) -> Callable[[np.ndarray, list[Size]], list[np.ndarray]]:
    """Loads the model and shows it a first image, which takes longer than the others.

    Returns:
        Prepared images, (B, h, w, 3) uint8, and the sizes of their masks -> the masks, uint8.

    Raises:
        ValueError, FileNotFoundError: as of `Predictor`.
    """
    segment = make_segmenter(Predictor(directory), inference, sizes)
    segment(np.zeros((*(inference.window or WARM_UP), 3), np.uint8))
    return segment.masks


def listen(host: str, port: int) -> socket.socket:
    """Takes a port of a machine.

    Raises:
        ValueError: it cannot be had.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise ValueError(f"{host} port {port} cannot be listened at ({error}); --port takes another") from None
    return listener


def serve(options: argparse.Namespace, port: int, inference: Inference) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        ValueError, FileNotFoundError: the model does not load, or the port cannot be had.
    """
    from tfseg.serving.batching import Batcher  # here: --help answers without Flask
    from tfseg.serving.http_app import Metrics, Service, create_app
    from tfseg.serving.server import Server
    from tfseg.serving.uploads import Limits

    key = os.environ.get(KEY)
    if key is not None and not key.strip():
        raise ValueError(f"{KEY} is empty; give it a key, or unset it to let everyone in")
    directory = find_model(options.model)
    classes, colors = read_labels(directory / "labels.json")
    sizes = choose_sizes(options.input_size, directory)
    model = model_id(directory)
    metrics = Metrics()
    batcher = Batcher(options.max_batch, options.max_pixels, options.batch_wait / 1000, options.queue, metrics.on_batch)
    listener = listen(options.host, port)

    def app(draining: Callable[[], bool]):
        return create_app(
            Service(
                *(model, classes, colors, batcher, metrics),
                prepare=partial(resize_along, sizes=sizes),
                limits=Limits(options.max_body * 2**20, options.max_pixels, options.max_side),
                timeout=options.timeout,
                alpha=options.alpha,
                key=key.strip().encode() if key else None,
                draining=draining,
            )
        )

    host, port = listener.getsockname()[:2]  # --port 0 takes a free one
    print(f"serving {model} at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    Server(
        listener,
        threads=options.queue + options.max_batch + SPARE_THREADS,
        timeout=options.timeout + GRACE,
        create_app=app,
        load=lambda: load(directory, inference, sizes),
        work=batcher.work,
        close=batcher.close,
    ).run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves what the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.serve",
        description=f"Serves a SavedModel over HTTP. Where the environment variable {KEY} is set, it is asked for.",
    )
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help=HELP)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", help="0 takes a free one (default: $PORT, or else 8080)")
    parser.add_argument("--alpha", type=float, default=0.5, help="overlay: 0 picture only .. 1 colours only (0.5)")
    limits = parser.add_argument_group("limits")
    for name, default, metavar, text in (
        ("--max-batch", 8, "PICTURES", "of one size that the model sees at once"),
        ("--batch-wait", 5.0, "MS", "that a picture waits for others while the model is free"),
        ("--queue", 32, "PICTURES", "that may wait; others are answered 503"),
        ("--max-body", 8, "MIB", "of a request"),
        ("--max-pixels", 1024 * 2048, "PIXELS", "of a picture, and of a batch"),
        ("--max-side", 4096, "PIXELS", "of a picture's height and width"),
        ("--timeout", 30.0, "SECONDS", "for a request's body and the model"),
    ):
        limits.add_argument(
            name, type=type(default), default=default, metavar=metavar, help=f"{text} (default: %(default)s)"
        )
    add_options(parser)
    options = parser.parse_args(arguments)
    inference = read_options(options)
    port = options.port or os.environ.get("PORT", "8080")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError(f"{'--port' if options.port else '$PORT'}: expected a number in 0..65535, got {port!r}")
    if not 0 <= options.alpha <= 1:
        raise ValueError(f"--alpha must be in 0..1, got {options.alpha}")
    for name in ("max_batch", "queue", "max_body", "max_pixels", "max_side"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    if not 0 < options.timeout <= 3600:
        raise ValueError(f"--timeout must be above 0 s, at most 3600, got {options.timeout}")
    if not 0 <= options.batch_wait <= 1000:
        raise ValueError(f"--batch-wait must be in 0..1000 ms, got {options.batch_wait}")
    serve(options, int(port), inference)


if __name__ == "__main__":
    command.run(main)
