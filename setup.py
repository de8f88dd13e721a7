"""What pyproject.toml cannot say: which licences a wheel is under depends on whether it holds ONNX Runtime Web."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
VENDORED = ROOT / "tfseg/exporters/web_files/runtime"  # by tools/fetch_web_runtime.py
LICENSES = sorted(path.relative_to(ROOT).as_posix() for path in VENDORED.glob("*.txt"))

setup(
    license_expression="Apache-2.0 AND MIT" if LICENSES else "Apache-2.0",
    license_files=["LICENSE", *LICENSES],
)
