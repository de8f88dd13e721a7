"""What the images of a data set are, by their files: how many channels, of how many bits, and what values stand for.

All must agree. A few are looked at; if these are 8-bit grey or RGB, all are taken for RGB, and one that is not is
refused when it is read. Else the header of each is read before anything is converted.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing.encoding import Settings
from tfseg.conversion.writing.plan import Part, samples_by_split
from tfseg.io.channels import Kind, can_be, decode_values, read_kind
from tfseg.io.codecs import CODEC_CHANNELS
from tfseg.io.images import format_of
from tfseg.io.paths import is_local
from tfseg.io.pixel_formats import MOST_CHANNELS, MOST_VALUE, RGB, PixelFormat, make_format, name_channels
from tfseg.io.regular_files import read_file, read_start
from tfseg.io.workers import open_pool

ValueRange = str | Sequence[Sequence[int]]  # of `VALUE_RANGES`, or low and high, of all channels or of each
VALUE_RANGES = ("percentiles", "full")
TRAIN = "train"  # the split whose values are counted, if there is one of the name
FEW_IMAGES = 8  # that are looked at
CUT = 1000  # one in so many pixels may be darker than what becomes 0, and as many brighter than what becomes 255
START = 2**20  # bytes that hold the header of an image; not of a TIFF, whose directory may come last
TOGETHER = 16  # images whose values are counted by one job
Found = dict[Kind, list[Path]]  # the images of each kind


def choose_format(
    parts: Sequence[Part], channels: int | None, value_range: ValueRange, workers: int
) -> tuple[PixelFormat, list[str], list[str]]:
    """Finds what the images of a conversion are.

    Args:
        parts: what is to be converted.
        channels: that are asked for; None: as the files say: grey and RGB of 8 bits are RGB, others what they are.
        value_range: of 16 bits, what becomes 0 and 255: "percentiles", the values that a thousandth of the pixels of
            the training split lie below and above, of RGB in all channels together, else in each; "full", 0 and 65535;
            or pairs of values, one for all channels or one for each.
        workers: processes that look.

    Returns:
        The format; what is to be printed; and warnings.

    Raises:
        ValueError: the images are of kinds that make no one format, or an argument does not fit them.
    """
    if channels is not None and not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(f"--channels: expected 1 to {MOST_CHANNELS}, got {channels}")
    if isinstance(value_range, str) and value_range not in VALUE_RANGES:
        raise ValueError(f"--value-range: expected {', '.join(VALUE_RANGES)} or LOW,HIGH, got {value_range!r}")
    samples = [sample for part in parts for sample in part.samples]
    found = find_kinds(spread(samples, FEW_IMAGES), 1)
    if not _are_colored(found, channels) or any(kind.more and not kind.is_alpha for kind in found):
        found = find_kinds(samples, workers)
    if not found:  # each file is reported when it is read
        return RGB, [], []
    count = _choose_channels(found, channels)
    bits = next(iter(found)).bits
    if bits == 8:
        if value_range != "percentiles":
            here = describe(found, with_numbers=False)
            raise ValueError(f"--value-range is of images of 16 bits, but here are {here}; leave it out")
        return PixelFormat(count), *_tell(found, count, channels)
    pairs = _choose_range(parts, count, value_range, workers)
    return make_format(count, pairs), *_tell(found, count, channels)


def _are_colored(found: Found, channels: int | None) -> bool:
    """Whether images are such as are all taken for 8-bit RGB, and some of them are not grey."""
    plain = all(_is_of_rgb(kind) for kind in found)
    return plain and channels in (None, RGB.channels) and any(kind.colors == 3 for kind in found)


def is_of_rgb(samples: Sequence[Sample]) -> str:
    """Says what else than 8-bit RGB a few images are; empty if they are that."""
    found = find_kinds(spread(samples, FEW_IMAGES), 1)
    plain = all(_is_of_rgb(kind) for kind in found)
    return "" if plain else describe(found, with_numbers=False)


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Chooses so many, evenly from the first to the last."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), count)).astype(int).tolist()
    return [samples[place] for place in dict.fromkeys(places)]


def find_kinds(samples: Sequence[Sample], workers: int) -> Found:
    """Reads the headers of images; what cannot be read is left out, since it is reported with all other bad files."""
    paths = [sample.image for sample in samples]
    found: Found = {}
    with open_pool(workers if len(paths) > TOGETHER else 1) as mapper:
        for path, kind in zip(paths, mapper(_find_kind, paths), strict=True):
            if kind is not None:
                found.setdefault(kind, []).append(path)
    return found


def _find_kind(path: Path) -> Kind | None:
    try:
        start = read_start(path, START) if is_local(path) else read_file(path)
        return read_kind(read_file(path) if format_of(start) == "TIFF" else start)
    except (ValueError, OSError):
        return None


def _is_of_rgb(kind: Kind) -> bool:
    """Whether images of a kind are taken for 8-bit RGB, where nothing else is asked for."""
    return (_own_channels(kind), kind.bits) == (RGB.channels, RGB.bits)


def _own_channels(kind: Kind) -> int:
    """As how many channels images of a kind are taken, where nothing else is asked for.

    Of 8 bits, all is RGB that was so before there were other formats: a fourth channel was left out.
    """
    if kind.bits == 8 and can_be(kind, RGB.channels):
        return RGB.channels
    return kind.colors if kind.is_alpha else kind.channels


def _choose_channels(found: Found, channels: int | None) -> int:
    """Chooses as how many channels all images can be taken.

    Raises:
        ValueError: there is no such number, or they cannot be taken as so many as are asked for.
    """
    if channels is None:
        formats = {(_own_channels(kind), kind.bits) for kind in found}
        if len(formats) == 1:
            return formats.pop()[0]
    elif all(can_be(kind, channels) for kind in found) and len({kind.bits for kind in found}) == 1:
        return channels
    raise ValueError(describe_mixture(found, channels))


def describe_mixture(found: Found, channels: int | None = None) -> str:
    """Words that images cannot be taken as one format, or not as so many channels, by kind, and what to do."""
    more = [count for count in (3, 4) if all(can_be(kind, count) for kind in found)]
    one_depth = len({kind.bits for kind in found}) == 1
    advice = "convert them to one kind of image"
    if one_depth and (others := [str(count) for count in more if count != channels]):
        advice += f", or give --channels {' or '.join(others)}"
    what = (
        "the images are of several kinds" if channels is None else f"the images are not all {name_channels(channels)}"
    )
    return f"{what}: {describe(found)}; {advice}"


def describe(found: Found, with_numbers: bool = True) -> str:
    """Words the kinds of images, the most frequent first, each with one file, and its number if all are known."""
    order = sorted(found.items(), key=lambda item: (-len(item[1]), str(item[0])))
    numbers = {kind: f" in {len(paths):,}" if with_numbers else "" for kind, paths in order}
    return ", ".join(f"{kind}{numbers[kind]} (such as {paths[0]})" for kind, paths in order)


def _tell(found: Found, count: int, channels: int | None) -> tuple[list[str], list[str]]:
    """What a user should know of the choice: lines to print, and warnings."""
    notes, warnings = [], []
    if channels is None and count == 3 and all(kind.colors == 1 and not kind.more for kind in found):
        total = sum(map(len, found.values()))
        notes.append(f"images: 8-bit grey in {total:,}, stored as RGB; --channels 1 stores one channel")
    dropped = {
        kind: paths for kind, paths in found.items() if kind.more and not kind.is_alpha and kind.channels != count
    }
    if dropped:
        widest = max(kind.channels for kind in dropped)
        warnings.append(
            f"channels beside grey or RGB are left out: {describe(dropped)}; --channels {widest} takes all of them"
        )
    return notes, warnings


@contextmanager
def explain_mixture(parts: Sequence[Part], pixels: PixelFormat, workers: int) -> Iterator[None]:
    """Says which kinds of images there are, where a conversion fails since some are no 8-bit RGB, as the first were."""
    try:
        yield
    except BadFilesError as error:
        names = {(fault.split, fault.id) for fault in error.all}
        samples = samples_by_split(parts)
        bad = [sample for split, own in samples.items() for sample in own if (split, sample.id) in names]
        mixture = find_mixture([sample for own in samples.values() for sample in own], bad, workers)
        if not pixels.is_rgb or not mixture:
            raise
        raise ValueError(mixture) from None


def find_mixture(samples: Sequence[Sample], bad: Sequence[Sample], workers: int) -> str:
    """Words the kinds of images where some of the bad ones are no 8-bit RGB, as all others are; empty if none is."""
    if all(_is_of_rgb(kind) for kind in find_kinds(bad, workers)):
        return ""
    return describe_mixture(find_kinds(samples, workers))


# ---- how they are stored


def with_format(settings: Settings, pixels: PixelFormat, codec: str | None, quality: int) -> Settings:
    """Settles format and codec of the stored images; a codec of None is chosen by the channels.

    Raises:
        ValueError: the codec does not hold so many channels.
    """
    chosen = codec or next((name for name, held in CODEC_CHANNELS.items() if pixels.channels in held), "raw")
    if pixels.channels not in CODEC_CHANNELS.get(chosen, (pixels.channels,)):
        held = " or ".join(map(str, CODEC_CHANNELS[chosen]))
        others = [name for name, held in CODEC_CHANNELS.items() if pixels.channels in held] + ["raw"]
        raise ValueError(
            f"--codec {chosen} holds {held} channels, and these images have {pixels.channels}; "
            f"take {' or '.join(others)}"
        )
    return dataclasses.replace(settings, pixels=pixels, codec=chosen, quality=quality if chosen == "jpeg" else None)


# ---- values of 16 bits


def _choose_range(parts: Sequence[Part], channels: int, value_range: ValueRange, workers: int) -> list[list[int]]:
    if value_range == "full":
        return [[0, MOST_VALUE]] * channels
    if not isinstance(value_range, str):
        if len(value_range) not in (1, channels):
            raise ValueError(f"--value-range: expected one LOW,HIGH, or {channels}, got {len(value_range)}")
        pairs = [[*pair] for pair in value_range]
        return pairs * channels if len(pairs) == 1 else pairs
    counts = count_values(parts, channels, workers)
    if channels == RGB.channels:  # one range, so that colours stay
        return [find_range(counts.sum(axis=0))] * channels
    return [find_range(own) for own in counts]


def count_values(parts: Sequence[Part], channels: int, workers: int) -> np.ndarray:
    """Counts the values of each channel in the images of the training split, of all if there is none.

    Returns:
        int64 (channels, 65536).
    """
    splits = samples_by_split(parts)
    samples = splits.get(TRAIN) or [sample for own in splits.values() for sample in own]
    jobs = [
        [sample.image for sample in samples[first : first + TOGETHER]] for first in range(0, len(samples), TOGETHER)
    ]
    total = np.zeros((channels, MOST_VALUE + 1), np.int64)
    with open_pool(min(workers, len(jobs))) as mapper:
        for counts in mapper(functools.partial(_count_values, channels=channels), jobs):
            total += counts
    return total


def _count_values(paths: Iterable[Path], channels: int) -> np.ndarray:
    counts = np.zeros((channels, MOST_VALUE + 1), np.int64)
    for path in paths:
        try:
            values = decode_values(read_file(path), channels, bits=16)
        except (ValueError, OSError):  # it is reported with all other bad files
            continue
        for channel in range(channels):
            counts[channel] += np.bincount(values[..., channel].ravel(), minlength=MOST_VALUE + 1)
    return counts


def find_range(counts: np.ndarray) -> list[int]:
    """Finds the values that at most one in `CUT` pixels lie below, and above, of how often each value occurs.

    Without any pixel, it is the whole range.

    Raises:
        ValueError: all pixels have one value.
    """
    below = np.cumsum(counts)
    total = int(below[-1])
    if not total:  # no image can be read, and each is reported when it is
        return [0, MOST_VALUE]
    low = int(np.searchsorted(below * CUT, total))
    high = int(np.searchsorted(below * CUT, total * (CUT - 1)))
    if low >= high:
        present = np.flatnonzero(counts)
        low, high = (int(present[0]), int(present[-1])) if len(present) else (0, 0)
    if low >= high:
        raise ValueError(
            f"all pixels of a channel have the value {low} in the training images; give --value-range LOW,HIGH"
        )
    return [low, high]
