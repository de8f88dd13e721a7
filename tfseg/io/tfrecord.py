"""TensorFlow's two formats without TensorFlow: the TFRecord file and the tf.train.Example in it.

The converter's workers stay small and start at once this way, and what is wrong with a file can be located to the byte.
Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/example/example.proto and feature.proto, in the wire
format of Protocol Buffers. The bytes are those that TensorFlow's own `SerializeToString(deterministic=True)` and
`TFRecordWriter` write.
"""

import io
import itertools
import struct
from collections.abc import Iterator
from typing import Protocol

import google_crc32c

from tfseg.io.names import quote

Value = bytes | int | list[bytes]  # a list has several

_HEAD = struct.Struct("<QI")  # length of the data, checksum of these 8 bytes
_CHECKSUM = struct.Struct("<I")
FRAME_BYTES = _HEAD.size + _CHECKSUM.size  # that a record takes in a file beside its data

MOST_RECORD_BYTES = 2**31 - 1  # that TensorFlow parses
MOST_FIELDS = (
    100_000  # of an Example, which has some 40 beside its tiles; a walk over so many takes a fifth of a second
)

_BYTES_LIST, _INT64_LIST = 1, 3  # fields of a Feature; 2 is a float_list, which no record of ours has
_LENGTH_DELIMITED, _VARINT = 2, 0  # wire types
_OTHER = object()  # a value of another kind than `Value`


class SeekableFile(Protocol):
    """What is asked of a file: bytes at a position."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


class DamagedRecordError(ValueError):
    """A TFRecord file that breaks off or fails its checksums; `index` is the record's, from 0."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index} {reason}")
        self.index = index
        self.reason = reason


# ---- the file: records one after another, each framed by its length and two checksums


def frame(data: bytes) -> bytes:
    """Frames one record for a TFRecord file: length, checksum of it, data, checksum of them."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


def read_records(file: SeekableFile) -> Iterator[bytes]:
    """Reads the records of a TFRecord file, from its start, one by one.

    Raises:
        DamagedRecordError: the file ends within a record, a checksum fails, or a record is larger than any that can be
            parsed.
    """
    remaining = file.seek(0, io.SEEK_END)
    file.seek(0)
    index = 0
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size or head[8:] != _masked_crc(head[:8]):
            raise DamagedRecordError(index, "is cut short" if len(head) < _HEAD.size else "has a damaged length")
        length = _HEAD.unpack(head)[0]
        remaining -= _HEAD.size + length + _CHECKSUM.size
        if remaining < 0:  # known before so much memory is asked for
            raise DamagedRecordError(index, "is cut short")
        if length > MOST_RECORD_BYTES:
            raise DamagedRecordError(index, f"has {length:,} bytes, more than the {MOST_RECORD_BYTES:,} that are read")
        data = file.read(length)
        if file.read(_CHECKSUM.size) != _masked_crc(data):
            raise DamagedRecordError(index, "is damaged: its checksum fails")
        yield data
        index += 1


def read_record(file: SeekableFile, offset: int, length: int) -> bytes:
    """Reads one record of a TFRecord file, by where its frame begins and the length of its data.

    Raises:
        ValueError: the file has no such record there, or a checksum fails.
    """
    file.seek(offset)
    size = struct.pack("<Q", length)
    if file.read(_HEAD.size) != size + _masked_crc(size):
        raise ValueError("is cut short, or has a damaged length")
    data = file.read(length)
    if len(data) < length or file.read(_CHECKSUM.size) != _masked_crc(data):
        raise ValueError("is damaged: its checksum fails")
    return data


def view_records(file: memoryview) -> Iterator[memoryview]:
    """Finds the records of a TFRecord file that is mapped into memory, and reads none: checksums of data stay unread.

    Raises:
        DamagedRecordError: the file ends within a record, or the checksum of a length fails.
    """
    position, index = 0, 0
    while position < len(file):
        head = file[position : position + _HEAD.size]
        if len(head) < _HEAD.size or head[8:] != _masked_crc(head[:8]):
            raise DamagedRecordError(index, "is cut short" if len(head) < _HEAD.size else "has a damaged length")
        end = position + _HEAD.size + _HEAD.unpack(head)[0]
        if end + _CHECKSUM.size > len(file):
            raise DamagedRecordError(index, "is cut short")
        yield file[position + _HEAD.size : end]
        position, index = end + _CHECKSUM.size, index + 1


def _masked_crc(data: bytes | memoryview) -> bytes:
    # Rotated and shifted, because a checksum over data that hold checksums is a weak one.
    crc = google_crc32c.value(bytes(data))  # bytes themselves are not copied
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# ---- the Example: {key: bytes or integer}


def encode_example(features: dict[str, Value]) -> bytes:
    """Serialises a tf.train.Example, the keys sorted. A value is bytes, several bytes, or an integer of 0 or more."""
    entries = [_field(1, *_field(1, key.encode()), *_encode_feature(2, features[key])) for key in sorted(features)]
    return b"".join(_field(1, *itertools.chain.from_iterable(entries)))


def decode_example(data: bytes) -> dict[str, Value]:
    """Reads what `encode_example` wrote; a feature of another kind is left out.

    Raises:
        ValueError: the data are no tf.train.Example, or one that readers may take in more ways than one.
    """
    return {key: _own(value) for key, value in view_example(memoryview(data)).items()}


def _own(value: memoryview | int | list[memoryview]) -> Value:
    if isinstance(value, int):
        return value
    return bytes(value) if isinstance(value, memoryview) else [bytes(item) for item in value]


def view_example(data: memoryview) -> dict[str, memoryview | int | list[memoryview]]:
    """Does as `decode_example`, but copies nothing: what it finds stays where it lies."""
    features = _read_features(data).items()
    return {key: value for key, value in features if value is not None and value is not _OTHER}


def list_others(data: bytes) -> list[str]:
    """Lists the keys that `decode_example` leaves out though they have something: floats, no value, several numbers."""
    return [key for key, value in _read_features(memoryview(data)).items() if value is _OTHER]


def _read_features(data: memoryview) -> dict:
    features, steps = {}, iter(range(MOST_FIELDS))
    twice = None
    try:
        for message in _messages(data, steps):
            for entry in _messages(message, steps):
                (first, name), (second, feature) = sorted(_fields(entry, steps), key=_number_of)
                if (first, second) != (1, 2) or isinstance(name, int) or isinstance(feature, int):
                    raise ValueError("no key and value")
                key = bytes(name).decode()
                twice = key if key in features else twice
                features[key] = _decode_feature(feature, steps)
    except (IndexError, TypeError, ValueError):
        raise ValueError("is no tf.train.Example") from None
    if twice is not None:  # of which readers take the first or the last
        raise ValueError(f"has the key {quote(twice)} twice")
    return features


def _number_of(field: tuple[int, memoryview | int]) -> int:
    return field[0]


def _encode_feature(number: int, value: Value) -> list[bytes]:
    if not isinstance(value, int):
        values = [value] if isinstance(value, bytes) else value
        pieces = itertools.chain.from_iterable(_field(1, value) for value in values)
        return _field(number, *_field(_BYTES_LIST, *pieces))
    # A list of integers is packed: their varints in a row.
    return _field(number, *_field(_INT64_LIST, *_field(1, _varint(value))))


def _decode_feature(feature: memoryview, steps: Iterator[int]) -> memoryview | int | list[memoryview] | object | None:
    """Reads the value of a feature; None if it has none, `_OTHER` if that is of another kind."""
    fields = [*_fields(feature, steps)]
    if not fields:
        return None
    ((kind, values),) = fields  # of several, readers may take one or all
    if isinstance(values, int):
        raise ValueError("a number where a list is expected")
    if kind == _BYTES_LIST:
        pieces = [*_messages(values, steps)]
        return pieces[0] if len(pieces) == 1 else pieces or _OTHER
    fields = [*_fields(values, steps)] if kind == _INT64_LIST else []
    if len(fields) != 1:
        return _OTHER
    ((number, item),) = fields
    if number != 1:
        raise ValueError("another field than the one that is expected")
    return _signed(item) if isinstance(item, int) else _decode_packed(item)


def _decode_packed(numbers: memoryview) -> int | object:
    """Reads a row of varints, if it is of one."""
    if not len(numbers):
        return _OTHER
    value, end = _read_varint(numbers, 0)
    return _signed(value) if end == len(numbers) else _OTHER


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _field(number: int, *pieces: bytes) -> list[bytes]:
    """Makes a field of pieces, still in pieces: an image is copied once, when all of them are joined."""
    return [bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(sum(map(len, pieces))), *pieces]


def _fields(message: memoryview, steps: Iterator[int]) -> Iterator[tuple[int, memoryview | int]]:
    """Reads the fields of a message, each as (number, content); a step for each."""
    position = 0
    while position < len(message):
        if next(steps, None) is None:
            raise ValueError(f"more than {MOST_FIELDS} fields")
        tag, position = _read_varint(message, position)
        number, kind = tag >> 3, tag & 7
        value, position = _read_varint(message, position)
        if kind == _LENGTH_DELIMITED:
            position += value
            if position > len(message):
                raise ValueError("a field is longer than its message")
            value = message[position - value : position]
        elif kind != _VARINT:
            raise ValueError(f"wire type {kind}")
        yield number, value


def _messages(message: memoryview, steps: Iterator[int]) -> Iterator[memoryview]:
    """Reads the fields of a message that has only one, which is a message or bytes, any number of times."""
    for number, content in _fields(message, steps):
        if isinstance(content, int) or number != 1:
            raise ValueError("another field than the one that is expected")
        yield content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(groups) + bytes([value])


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):  # ten bytes hold 64 bits
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80 and value < 2**64:
            return value, position
    raise ValueError("a number of more than 64 bits")
