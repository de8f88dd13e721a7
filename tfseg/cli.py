"""What every command shares: sizes written as HEIGHTxWIDTH, and errors told in one line."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

# Package that is missing -> what to do about it.
REMEDIES = {
    "tensorflow": "TensorFlow is not installed; install it with pip install 'tfseg[cpu]' or 'tfseg[cuda]'",
    "optuna": "Optuna is not installed; install it with pip install 'tfseg[tune]'",
    "streamlit": "Streamlit is not installed; install it with pip install 'tfseg[app]'",
    "wandb": "log.wandb is set, and wandb is not installed; install it with pip install 'tfseg[wandb]'",
    "mlflow": "log.mlflow is set, and MLflow is not installed; install it with pip install 'tfseg[mlflow]'",
    "keras_hub": "KerasHub is not installed whole; install it with pip install 'tfseg[keras-hub]', "
    "then pip install --no-deps keras-hub",
    **{
        name: f"{name} is not installed; install what serves a model with pip install 'tfseg[serve]'"
        for name in ("flask", "gunicorn", "prometheus_client")
    },
    **{
        name: f"KERAS_BACKEND is {name}, which is not installed; pip install {name}, or set it to tensorflow"
        for name in ("torch", "jax")
    },
}


def parse_size(text: str) -> tuple[int, int]:
    """Reads "512x1024" as (height, width) = (512, 1024), in pixels.

    Raises:
        ValueError: the text is not two positive integers with an x between them.
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.strip())
    if not match:
        raise ValueError(f"expected a size as HEIGHTxWIDTH, such as 512x1024, got {text!r}")
    return int(match[1]), int(match[2])


def run(main: Callable[[], None]) -> None:
    """Runs a command; what its user can mend ends it with one line on stderr and exit code 1, without a traceback."""
    program = Path(sys.argv[0]).stem
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greetings would bury that line
    for stream in (sys.stdout, sys.stderr):  # a name of a file may hold what they cannot say
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"{program}: error: {error}")
    except ModuleNotFoundError as error:
        if error.name not in REMEDIES:
            raise
        sys.exit(f"{program}: error: {REMEDIES[error.name]}")
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's code for Ctrl-C
