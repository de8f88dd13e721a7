"""The file of a benchmark's measurements, from which docs/results has its tables."""

import json
import sys
from pathlib import Path
from typing import Any


def save_results(path: Path | None, name: str, results: Any) -> None:
    """Writes what was measured, and the command that measured it, as JSON; without a path, nothing."""
    if path is not None:
        command = " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
        path.write_text(json.dumps({"command": command, "results": results}, indent=1) + "\n", encoding="utf-8")
