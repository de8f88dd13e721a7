"""Starts the HTTP service of a model: its port, its model, its queue, its processes."""

import hashlib
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfseg.inference.image_segmenter import Size
from tfseg.inference.labels_file import read_labels, read_pixels
from tfseg.inference.model_folder import LABELS, find_model
from tfseg.inference.predictor import Predictor, choose_sizes, make_segmenter
from tfseg.inference.runtimes.choice import FILES, choose_runtime, find_runtimes, format_of
from tfseg.inference.tta import InferenceSettings
from tfseg.io.cores import count_cores
from tfseg.io.escaping import printable
from tfseg.io.resizing import resize_along
from tfseg.serving.origins import check_origins
from tfseg.serving.vertex_ai import VertexRoutes

if TYPE_CHECKING:
    from tfseg.serving.connections import Connections
    from tfseg.serving.gate import Gate
    from tfseg.serving.metrics import Metrics
    from tfseg.serving.service import Service

SPARE_THREADS = 8  # for requests that are refused, read, or no images, while the others wait for the model
GRACE = 5.0  # seconds between the end of a body's time and that of its connection
WARM_UP = (256, 256)
MOST_PROXIES, MOST_WORKERS = 16, 64
NAME = r"[\w.-]{1,100}"
# What the Open Inference Protocol calls what computes a model, and its format.
PLATFORMS = {
    "saved_model": "tensorflow_savedmodel",
    "onnx": "onnxruntime_onnx",
    "openvino": "openvino_ir",
    "litert": "litert_tflite",
}


@dataclass(frozen=True)
class ServiceSettings:
    """What the service takes, and how it answers.

    Raises:
        ValueError: a value is out of its range.
    """

    max_batch: int = 8
    """Images of one size that the model sees at once."""
    batch_wait: float = 5.0
    """Milliseconds that an image waits for others while the model is free."""
    queue: int = 32
    """Images that may wait; others are answered 503."""
    max_body: int = 8
    """MiB of a request."""
    max_pixels: int = 1024 * 2048
    """Of an image, and of a batch."""
    max_side: int = 4096
    """Pixels of an image's height and width."""
    timeout: float = 30.0
    """Seconds for a request's body and the model."""
    alpha: float = 0.5
    """Of overlays: 0 shows the image alone, 1 the colours alone."""
    proxies: int = 0
    """How many stand in front of the service; so many values of each X-Forwarded header are believed."""
    workers: int = 1
    """Processes that each hold the model."""

    def __post_init__(self):
        for name in ("max_batch", "queue", "max_body", "max_pixels", "max_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise ValueError(f"--workers must be in 1..{MOST_WORKERS}, got {self.workers}")
        if not 0 <= self.proxies <= MOST_PROXIES:
            raise ValueError(f"--proxies must be in 0..{MOST_PROXIES}, got {self.proxies}")
        if not 0 < self.timeout <= 3600:
            raise ValueError(f"--timeout must be above 0 s, at most 3600, got {self.timeout}")
        if not 0 <= self.batch_wait <= 1000:
            raise ValueError(f"--batch-wait must be in 0..1000 ms, got {self.batch_wait}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"--alpha must be in 0..1, got {self.alpha}")


def serve_model(
    model: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    settings: ServiceSettings | None = None,
    inference: InferenceSettings | None = None,
    input_size: str | None = None,
    runtime: str | None = None,
    name: str | None = None,
    key: str | None = None,
    origins: Sequence[str] = (),
    vertex: VertexRoutes | None = None,
) -> None:
    """Serves a model until SIGTERM or SIGINT.

    Args:
        model: folder of an exported model, or of a run.
        host: address to listen at; 0.0.0.0 lets other machines in.
        port: 0 takes a free one.
        settings: limits of what is taken; None: those of `ServiceSettings`.
        inference: how the network sees an image; None: once, as a whole.
        input_size: "native", HEIGHTxWIDTH, or None, as of `choose_sizes`.
        runtime: as of `choose_runtime`.
        name: by which clients of TensorFlow Serving and of the Open Inference Protocol ask for the model; None: its
            folder's.
        key: that requests must bring, of printable ASCII without blanks; None asks for none.
        origins: of web pages whose scripts may use the service, such as https://seg.example.com; "*" stands for all.
        vertex: paths that Vertex AI calls; None: none.

    Raises:
        ValueError, FileNotFoundError: the model does not load, the port cannot be had, or `key`, `name` or `origins` is
            none.
    """
    from tfseg.serving.batching import Batcher  # here: --help answers without Flask
    from tfseg.serving.connections import Connections
    from tfseg.serving.metrics import Metrics
    from tfseg.serving.server import Server, make_room
    from tfseg.serving.service import Service
    from tfseg.serving.uploads import Limits

    key = None if key is None else check_key(key, "the key")
    allowed = check_origins(origins, has_key=key is not None)
    settings, inference = settings or ServiceSettings(), inference or InferenceSettings()
    directory = find_model(model)
    pixels = read_pixels(directory / LABELS)  # whose errors, and those of classes, come before the port is taken
    sizes, runtime = choose_sizes(input_size, directory), choose_runtime(directory, runtime)
    name, version = choose_name(directory, name)
    id, metrics = model_id(directory), Metrics(settings.workers)
    batcher = Batcher(
        settings.max_batch, settings.max_pixels, settings.batch_wait / 1000, settings.queue, metrics.on_batch
    )
    connections = Connections(make_room(), settings.timeout + GRACE, metrics.on_cut)
    metrics.connections.set_function(lambda: len(connections))
    service = Service(
        *(id, *read_labels(directory / LABELS), batcher, metrics),
        name=name,
        version=version,
        platform=PLATFORMS[format_of(runtime)],
        prepare=partial(resize_along, sizes=sizes),
        pixels=pixels,
        limits=Limits(settings.max_body * 2**20, settings.max_pixels, settings.max_side),
        timeout=settings.timeout,
        alpha=settings.alpha,
        key=key.encode() if key else None,
        origins=allowed,
        proxies=settings.proxies,
        vertex=vertex or VertexRoutes(),
    )
    listener = listen(host, port)
    host, port = listener.getsockname()[:2]  # port 0 takes a free one
    print(f"serving {printable(id)} at http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    Server(
        listener,
        connections,
        timeout=settings.timeout + GRACE,
        create_app=lambda draining, have_begun: make_app(
            replace(service, draining=draining, have_begun=have_begun), settings, connections
        ),
        load=lambda: load(directory, inference, sizes, runtime),
        work=batcher.work,
        close=batcher.close,
        workers=settings.workers,
        on_start=lambda place: start(place, settings.workers, metrics),
        on_beat=metrics.publish,
    ).run()


def start(place: int, workers: int, metrics: "Metrics") -> None:
    """Begins a worker: several share the cores, unless the environment says what each may have."""
    metrics.begin(place)
    if workers > 1:
        cores = str(max(count_cores() // workers, 1))
        for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
            os.environ.setdefault(name, cores)


def make_app(service: "Service", settings: ServiceSettings, connections: "Connections") -> "Gate":
    """Makes the ASGI application of a service."""
    from tfseg.serving.gate import Gate
    from tfseg.serving.http_app import Routes, create_app

    app = create_app(service)
    return Gate(
        app,
        connections,
        Routes(app, service),
        most_body=service.limits.body,
        timeout=settings.timeout,
        threads=settings.queue + settings.max_batch + SPARE_THREADS,
    )


def choose_name(directory: Path, wanted: str | None = None) -> tuple[str, str]:
    """Chooses a model's name and version, as TensorFlow Serving has them: a folder named by a number is a version.

    Returns:
        `wanted`, or else the name of the folder; and the number of a folder such as city/3 or city/0003, or else 1.

    Raises:
        ValueError: `wanted` cannot stand in an address as it is.
    """
    if wanted is not None and not re.fullmatch(NAME, wanted, re.ASCII):
        raise ValueError(
            f"--name or $MODEL_NAME: expected 1 to 100 letters, digits, '.', '_' and '-', got {wanted[:120]!r}"
        )
    directory = directory.resolve()
    is_version = re.fullmatch(r"[0-9]{1,18}", directory.name) is not None
    folder = directory.parent.name if is_version else directory.name
    own = re.sub(r"[^\w.-]+", "_", folder, flags=re.ASCII)[:100] or "model"
    return wanted or own, str(int(directory.name)) if is_version else "1"


def check_key(key: str, name: str) -> str:
    """Gives an API key back; raises ValueError, without the key, if no client can send it in a header as it is."""
    for place, letter in enumerate(key, start=1):
        if not "!" <= letter <= "~":
            kind = "a line break" if letter in "\r\n" else "a blank" if letter.isspace() else f"U+{ord(letter):04X}"
            raise ValueError(f"{name}: character {place} is {kind}; a key is printable ASCII without blanks")
    if not key:
        raise ValueError(f"{name} is empty")
    return key


def model_id(directory: Path) -> str:
    """Names a model by its folder and the first 12 digits of the SHA-256 of all files in it.

    Raises:
        FileNotFoundError: it holds no model.
    """
    if not find_runtimes(directory):
        raise FileNotFoundError(f"{directory / FILES[0]} is missing; expected the folder of an exported model")
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{directory.resolve().name}-{digest.hexdigest()[:12]}"


def load(
    directory: Path, inference: InferenceSettings, sizes: Sequence[Size], runtime: str | None = None
) -> Callable[[np.ndarray, list[Size]], list[np.ndarray]]:
    """Loads the model and shows it a first image, which takes longer than the others.

    Returns:
        Prepared images, (B, h, w, channels) uint8, and the sizes of their masks -> the masks, uint8.

    Raises:
        ValueError, FileNotFoundError: as of `Predictor`.
    """
    predictor = Predictor(directory, runtime)
    segment = make_segmenter(predictor, inference, sizes)
    segment(np.zeros((*(inference.sliding_window or WARM_UP), predictor.pixels.channels), np.uint8))
    return segment.masks


def listen(host: str, port: int) -> socket.socket:
    """Takes a port of a machine.

    Raises:
        ValueError: it cannot be had.
    """
    if not 0 <= port <= 65535:  # else the system takes another
        raise ValueError(f"expected a port in 0..65535, got {port}")
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
