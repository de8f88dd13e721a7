"""Have the files of an image changed? Names, sizes and times say so, without a look into the files.

A file that was touched counts as changed: nobody could tell without reading it, and reading it is most of the work.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing.plan import Part
from tfseg.io.paths import is_local

# What stores know of a file that changes with its content, the surest first; each store has some of them.
_VERSIONS = ("md5Hash", "crc32c", "ETag", "etag", "generation", "updated", "LastModified", "last_modified", "mtime")


class Sources(NamedTuple):
    """What the files of a shard are now."""

    whole: str  # another value says that a finished shard may be out of date, or names files that lie elsewhere now
    images: list[str]  # of each image, the same wherever the data set lies


def fingerprint_part(part: Part) -> Sources:
    """Distinguishes the files of a part from those of the same names at another time.

    Raises:
        OSError: a file is not there any more.
    """
    images = [fingerprint_sample(sample) for sample in part.samples]
    digest = hashlib.sha256()
    for sample, image in zip(part.samples, images, strict=True):
        for path in (sample.image, sample.mask):
            digest.update(f"{path}\0".encode(errors="surrogateescape"))
        digest.update(image.encode())
    return Sources(digest.hexdigest(), images)


def fingerprint_sample(sample: Sample) -> str:
    """Hashes names, sizes and times of the files of one image, and what a file of many images says of it.

    Folders are left out, so that a data set that is moved with its times stays the same.
    """
    digest = hashlib.sha256(f"{sample.form}\0".encode())
    for name, path in _files_read(sample):
        facts = (name, path.name, *_size_and_time(path), "\n")
        digest.update("\0".join(map(str, facts)).encode(errors="surrogateescape"))
    digest.update(_statement(sample.data))
    return digest.hexdigest()


def _statement(data: bytes) -> bytes:
    """What a file of many images says of one of them.

    Left out is where in the file it stands, and the numbers of its annotations: both change with every export, once
    an image was added before it.
    """
    if not data:
        return b""
    document = json.loads(data)
    for entry in (document, *document.get("annotations", [])):
        entry.pop("place", None)
        entry.pop("id", None)
    return json.dumps(document, sort_keys=True).encode()


def _size_and_time(path: Path) -> tuple[int, int | str]:
    """The size of a file, and when it was written, or what a store knows of its content."""
    if is_local(path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    known = path.fs.info(path.path)  # pyright: ignore[reportAttributeAccessIssue]  a UPath has them
    versions = (known[key] for key in (*_VERSIONS, "created") if known.get(key))
    return known["size"], str(next(versions, ""))


def _files_read(sample: Sample) -> Iterator[tuple[str, Path]]:
    """The files of one image alone, each with the class that it is of."""
    yield "", sample.image
    if sample.layers:
        yield from sample.layers
    elif not sample.data:  # else `mask` is a file of many images, and changes with any of them
        yield "", sample.mask
