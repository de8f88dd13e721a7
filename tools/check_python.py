"""Says in one line whether this Python can run tfseg; the Makefile asks before it sets anything up."""

import platform
import sys

version = sys.version_info[:2]
apple_silicon = sys.platform == "darwin" and platform.machine() == "arm64"
newest = (3, 12) if apple_silicon else (3, 13)  # tensorflow-metal has no wheel for 3.13
if not (3, 11) <= version <= newest:
    where = " on Apple Silicon" if apple_silicon else ""
    sys.exit(
        f"tfseg needs Python 3.11 to {newest[0]}.{newest[1]}{where}, this is {platform.python_version()}; "
        "name another one: make PYTHON=python3.12 ..."
    )
try:
    import ensurepip  # noqa: F401
except ImportError:
    sys.exit("this Python lacks the venv module; on Debian and Ubuntu: apt install python3-venv")
