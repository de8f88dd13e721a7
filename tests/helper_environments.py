"""Which tests each environment of the Makefile runs: by rooms, so that a new test of a room runs without being named.

A room is a folder of tests/, or a file: "device" is tests/device/ or tests/test_device.py. What a test needs and an
environment lacks, a package or a backend of Keras, makes it skip with that as the reason.
"""

from pathlib import Path

TESTS = Path(__file__).parent

# What computes with Keras.
NETWORK = {"augmentation", "losses", "metrics", "models", "pipeline", "training"}
# Environment -> its rooms; "main", which `make test` takes, runs everything.
ENVIRONMENTS = {
    "oldest": {*NETWORK, "api", "diagnostics", "doctests", "exporters", "records"},
    "nightly": {*NETWORK, "api", "doctests", "exporters", "inference"},
    "beam": {"conversion"},
    "app": {"serving"},
    "export": {"exporters", "inference"},
    "backends": NETWORK,
    "mlx": {"augmentation", "losses", "metrics", "training"},
}


def room_of(path: Path) -> str:
    """The room of a folder or file below tests/."""
    return path.relative_to(TESTS).parts[0].removesuffix(".py").removeprefix("test_")


def leaves_out(environment: str, path: Path) -> bool:
    """Whether an environment does not run the tests of a folder or file below tests/."""
    return environment != "main" and path != TESTS and room_of(path) not in ENVIRONMENTS[environment]
