"""What labels.json says of a model: its classes, how it resizes images, what goes in and comes out."""

from collections.abc import Sequence
from pathlib import Path

from tfseg.io.atomic import write_json
from tfseg.io.pixel_formats import RGB, PixelFormat, name_channels
from tfseg.records.labels import VOID
from tfseg.runs import run_dir

SIGNATURES = {
    "serving_default": "classes: uint8 class ids, (batch, height, width)",
    "probabilities": "probabilities: float32, 0..1, (batch, height, width, class)",
    "network": "probabilities: float32, 0..1, (batch, height, width, class), of images that are not resized",
    "encoded": "image_bytes: string (batch,), JPEG or PNG files of any sizes -> mask_bytes: string (batch,), a grey "
    "PNG of class ids of the upright image's size each",
}


def describe_model(
    classes: Sequence[str],
    colors,
    sizes: Sequence[tuple[int, int]] | None = (),
    ignore_class: int | None = VOID,
    pixels: PixelFormat = RGB,
) -> dict:
    """Makes the content of labels.json.

    Args:
        classes: the C names, in the order of the ids.
        colors: (C, 3) RGB, integers 0..255.
        sizes: (height, width) to which images are resized, one after the other; None: it is not known how the model
            was validated.
        ignore_class: the class that the network did not learn, void; None: it learned void, too.
        pixels: what the images are that it was trained on.

    Raises:
        ValueError: names and colours differ in number, or are none, or more than a byte distinguishes.
    """
    if len(classes) != len(colors) or not 0 < len(classes) <= 256:
        raise ValueError(
            f"expected 1 to 256 classes with a colour each, got {len(classes)} names and {len(colors)} colours"
        )
    steps = ", then ".join(f"{height}x{width}" for height, width in sizes or ())
    seen = f"resized to {steps} for the network, whose answer is resized back" if sizes else "seen at their own size"
    return {
        "classes": [
            {"id": index, "name": name, "color": [int(channel) for channel in color]}
            for index, (name, color) in enumerate(zip(classes, colors, strict=True))
        ],
        **({} if sizes is None else {"resize": [[*size] for size in sizes]}),
        **({"learn_void": True} if ignore_class is None else {}),
        **pixels.to_json(),
        "input": f"images: {describe_input(pixels, 'batch, height, width')}, any height and width, {seen}",
        "signatures": describe_signatures(pixels),
    }


def describe_input(pixels: PixelFormat, shape: str) -> str:
    """Words the bytes that a model takes of images of a format, with the axes before the channels."""
    kind = f"uint8 {name_channels(pixels.channels)}, 0..255, ({shape}, {pixels.channels})"
    if pixels.value_range is None:
        return kind
    ranges = list(dict.fromkeys(pixels.value_range))
    made = " and ".join(f"{low} to {high}" for low, high in ranges)
    each = " of each channel" if len(ranges) > 1 else ""
    return f"{kind}, made of 16 bits: the values {made}{each} are 0 to 255, what lies beyond is 0 or 255"


def describe_signatures(pixels: PixelFormat) -> dict[str, str]:
    """Words what the signatures of a SavedModel give, of those that it has for images of a format."""
    if pixels.is_rgb:
        return dict(SIGNATURES)
    given = {name: words for name, words in SIGNATURES.items() if name != "encoded" or takes_files(pixels)}
    if "encoded" in given:
        kinds = "PNG" if pixels.bits == 16 or pixels.channels == 4 else "JPEG or PNG"
        given["encoded"] = given["encoded"].replace("JPEG or PNG files", f"{kinds} files of {pixels}")
    return given


def takes_files(pixels: PixelFormat) -> bool:
    """Whether TensorFlow can decode files of a format, for the signature `encoded`."""
    return pixels.channels in (1, 3, 4)


def write_labels(labels: dict, directory: Path) -> None:
    """Writes labels.json into a folder."""
    write_json(labels, directory / run_dir.LABELS, indent=2)


def validated_sizes(stored: Sequence[int] | None, wanted: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Lists the sizes to which an image of a data set was resized, one after the other, when a run was validated.

    Args:
        stored: (height, width) of the images in the records; None: each has its own.
        wanted: (height, width) of the images in validation; None: as stored.
    """
    sizes = [(stored[0], stored[1])] if stored else []
    return [*sizes, wanted] if wanted and [wanted] != sizes else sizes
