"""Weights as PyTorch keeps them, `.pth`, `.pt`, `.bin` and `.safetensors`, read without PyTorch: name -> array.

Whoever made such a file, to read it runs nothing, and takes a few times its size in memory at most. Formats:
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py and https://github.com/huggingface/safetensors.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import parse_json
from tfseg.io.names import quote
from tfseg.io.regular_files import read_file
from tfseg.io.torch_pickles import Storage, Tensor, follow_pickle

MOST_BYTES = 4 * 2**30  # of a file
MOST_HEADER_BYTES = 64 * 2**20  # of .safetensors, and of the pickle of a zip file
MOST_DIMENSIONS = 8
MOST_GROWTH = 4  # tensors take so many times the bytes of their file: float16 takes twice, and two may share numbers
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".ckpt", ".tar")  # of Lightning; and .pth.tar

_ZIP_ERRORS = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError, struct.error)
_MAGIC = 0x1950A86A20F9469CFC6C  # in the first pickle of PyTorch's files before 1.6
_SAFETENSORS = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "i1", "U8": "u1", "BOOL": "?"},
}
# Under which a checkpoint keeps its weights, the better ones first: an average comes before the last step.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module", "net", "weights")
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # of DataParallel, of torch.compile, and of Lightning


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the weights of a file of PyTorch, in the format of today (zip) or before 1.6, or of safetensors.

    Args:
        path: of the file; the format is that of its content, whatever its name.

    Returns:
        Arrays by name, as in the file, which may be read-only; float16 and bfloat16 become float32. Of a checkpoint
        that holds its weights beside other things, or within them ({"state_dict": ...}), the weights alone. What each
        name begins with for a wrapper, "module." or "model.", is left out.

    Raises:
        ValueError: the file is in no such format, damaged or too large, holds no weights, or asks to run code; in one
            line, with the path.
        OSError: it cannot be read.

    Example:
        >>> read_tensors("efficientnet-lite0.pth")["_conv_stem.weight"].shape
        (32, 3, 3, 3)
    """
    content = read_file(path, MOST_BYTES)
    try:
        if content.startswith(b"PK\x03\x04"):
            tensors = _read_zip(content)
        elif content[8:9] == b"{":  # before pickles, since the length of its header may begin as they do
            tensors = _read_safetensors(content)
        elif content.startswith(b"\x80"):
            tensors = _read_legacy(content)
        else:
            raise ValueError("is no file of PyTorch (.pth, .pt, .bin) and none of safetensors")
        return _strip_wrappers(tensors)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None


def _read_zip(content: bytes) -> dict[str, np.ndarray]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except _ZIP_ERRORS as error:
        raise ValueError(f"is a damaged zip file, as of a broken download ({printable(error)})") from None
    entries = {info.filename: info for info in archive.infolist()}
    if len(entries) < len(archive.infolist()):
        raise ValueError("is a zip file that holds a name twice")
    if sum(info.compress_size for info in entries.values()) > len(content):
        raise ValueError("is a zip file of which the entries overlap")
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"is a zip file with {len(pickles)} entries data.pkl, expected 1 as PyTorch writes it")
    folder = pickles[0].removesuffix("data.pkl")

    def read(name: str, most: int) -> bytes:
        info = entries.get(folder + name)
        if info is None:
            raise ValueError(f"lacks the entry {quote(folder + name)}")
        stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
        if not stored or info.file_size > most:
            raise ValueError(f"has an entry {quote(folder + name)} that is compressed or too large")
        try:
            return archive.read(info)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
            EOFError,
            OSError,
            struct.error,
        ) as error:
            raise ValueError(f"has a damaged entry {quote(folder + name)} ({printable(error)})") from None

    if folder + "byteorder" in entries and read("byteorder", 16) != b"little":
        raise ValueError("holds numbers with the highest byte first, which are not read")
    found = follow_pickle(io.BytesIO(read("data.pkl", MOST_HEADER_BYTES)))
    return _make_arrays(_find_weights(found), lambda storage: read(f"data/{storage.key}", len(content)), len(content))


def _read_legacy(content: bytes) -> dict[str, np.ndarray]:
    file = io.BytesIO(content)
    if follow_pickle(file) != _MAGIC:
        raise ValueError("is a pickle, but not one of PyTorch")
    follow_pickle(file)  # version of the format, 1001
    follow_pickle(file)  # sizes of numbers on the machine that wrote it
    named: dict[str, Storage] = {}
    weights = _find_weights(follow_pickle(file, named))
    keys = follow_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("lists no storages behind its pickles")
    storages: dict[str, memoryview] = {}
    place, view = file.tell(), memoryview(content)
    for key in keys:
        if key not in named:
            raise ValueError(f"holds a storage {quote(key)} that none of its tensors names")
        size = int.from_bytes(view[place : place + 8], "little") * _item_size(named[key].dtype)
        place += 8 + size
        if place > len(content):
            raise ValueError("is cut short")
        storages[key] = view[place - size : place]

    def read(storage: Storage) -> memoryview:
        if storage.key not in storages:
            raise ValueError(f"lacks the storage {quote(storage.key)}")
        return storages[storage.key]

    return _make_arrays(weights, read, len(content))


def _find_weights(found: Any) -> dict[str, Tensor]:
    """Finds the tensors by name in what a pickle made."""
    tensors = _find_nested(found, depth=2) if isinstance(found, dict) else {}
    if not tensors:
        raise ValueError(f"holds no weights by name, nor under one of {', '.join(_NESTED)}")
    return tensors


def _find_nested(found: dict, depth: int) -> dict[str, Tensor]:
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    # What is nested comes first: checkpoints hold scores beside their weights, which may be tensors, too.
    for key in _NESTED if depth else ():
        if isinstance(found.get(key), dict) and (nested := _find_nested(found[key], depth - 1)):
            return nested
    return tensors


def _make_arrays(
    tensors: dict[str, Tensor], read: Callable[[Storage], bytes | memoryview], size: int
) -> dict[str, np.ndarray]:
    storages: dict[str, bytes | memoryview] = {}
    arrays, room = {}, MOST_GROWTH * size
    for name, tensor in tensors.items():
        storage, item = tensor.storage, _item_size(tensor.storage.dtype)
        if storage.key not in storages:
            storages[storage.key] = read(storage)
        data = storages[storage.key]
        if not 0 <= storage.count * item <= len(data):
            raise ValueError(f"has a tensor {quote(name)} of {storage.count:,} numbers in {len(data):,} bytes")
        room -= max(item, 4) * _check_view(name, tensor)
        if room < 0:
            raise ValueError(f"has tensors that take more than {MOST_GROWTH} times its size")
        numbers = _as_numbers(data[: storage.count * item], storage.dtype)
        strides = [stride * numbers.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)
        arrays[name] = _widen(view, storage.dtype)
    return arrays


def _check_view(name: str, tensor: Tensor) -> int:
    """Counts the numbers of a tensor, after a look whether all lie in its storage, and none more than once."""
    shape, strides, count = tensor.shape, tensor.strides, tensor.storage.count
    if len(shape) != len(strides) or len(shape) > MOST_DIMENSIONS or min((tensor.offset, *shape, *strides)) < 0:
        shown = shorten(f"the shape {shape[:9]} and the strides {strides[:9]}")
        raise ValueError(f"has a tensor {quote(name)} with {shown}")
    numbers = math.prod(shape)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if numbers and (last >= count or numbers > count):
        raise ValueError(f"has a tensor {quote(name)} that does not lie in its {count:,} numbers")
    if not numbers and (tensor.offset > count or max(shape) > MOST_BYTES):
        raise ValueError(f"has an empty tensor {quote(name)} of the shape {shorten(shape)}")
    if max(strides, default=0) > MOST_BYTES:  # of a side of 1 or 0, which takes no step
        raise ValueError(f"has a tensor {quote(name)} with the strides {shorten(strides)}")
    return numbers


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(content[:8], "little")
    if length > min(MOST_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"has a header of {length:,} bytes, which is too long, or is cut short")
    header = parse_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("has a header that is no object")
    header.pop("__metadata__", None)
    data, arrays, place = memoryview(content)[8 + length :], {}, 0
    spans = {name: _find_span(name, entry) for name, entry in header.items()}
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        dtype, shape = header[name]["dtype"], tuple(header[name]["shape"])
        if begin != place or end > len(data):
            where = f"{begin:,}..{end:,} of {len(data):,} bytes"
            raise ValueError(f"has a tensor {quote(name)} at {where}, expected it at {place:,}")
        place = end
        code = _SAFETENSORS[dtype]
        arrays[name] = _widen(_as_numbers(data[begin:end], code).reshape(shape), code)
    if place != len(data):
        raise ValueError(f"has {len(data) - place:,} bytes behind its last tensor")
    if not arrays:
        raise ValueError("holds no weights")
    return {name: arrays[name] for name in header}


def _find_span(name: str, entry: Any) -> tuple[int, int]:
    """Finds where a tensor of .safetensors begins and ends, after a look whether its shape takes so much."""
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, span = fields.get("dtype"), _whole(fields.get("shape")), _whole(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or len(shape) > MOST_DIMENSIONS or span is None or len(span) != 2:
        raise ValueError(f"has a tensor {quote(name)} without a dtype, a shape and two offsets")
    if dtype not in _SAFETENSORS:
        raise ValueError(f"has a tensor {quote(name)} of the type {quote(dtype)}, expected {', '.join(_SAFETENSORS)}")
    if span[1] - span[0] != math.prod(shape) * _item_size(_SAFETENSORS[dtype]):
        raise ValueError(f"has a tensor {quote(name)} of the shape {shape} at {span[0]:,}..{span[1]:,}")
    return span[0], span[1]


def _whole(value: Any) -> list[int] | None:
    """Gives a list of numbers from 0 on back, and None for anything else."""
    return value if isinstance(value, list) and all(type(n) is int and n >= 0 for n in value) else None


def _item_size(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _as_numbers(data: bytes | memoryview, dtype: str) -> np.ndarray:
    return np.frombuffer(data, "<u2" if dtype == "bfloat16" else dtype)


def _widen(array: np.ndarray, dtype: str) -> np.ndarray:
    """Makes float32 of half precision, and rows of numbers of any view."""
    if dtype == "bfloat16":  # the upper half of a float32
        return (np.asarray(array, "<u4", order="C") << 16).view("<f4")
    return np.asarray(array, "<f4" if dtype == "<f2" else None, order="C")


def _strip_wrappers(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for _ in range(len(_WRAPPERS)):
        for prefix in _WRAPPERS:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors
