"""Draws street scenes of invented cities, in the exact files and folders of Cityscapes.

Cityscapes may not be passed on, so a first try of the pipeline needs something in its place. The scenes are drawn by
`street_scene`; their labels are drawn here, from polygons, as cityscapesscripts draws them.
"""

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tfseg.io import staging
from tfseg.io.json_reader import read_json
from tfseg.io.progress import show_progress, track
from tfseg.io.removal import Kind, is_empty
from tfseg.io.workers import open_pool
from tfseg.synthetic.canvas import LABEL_BY_NAME
from tfseg.synthetic.street_scene import FRAME_LABELS, draw_scene

CITIES = {
    "train": ("aldermoor", "duskwater", "ferncastle", "greyhaven", "larkstead"),
    "val": ("mossbridge", "northmere", "oakhollow"),
    "test": ("pinewick", "quarryton"),
}
SIZE = (1024, 2048)  # of an image, unless another is asked for
COUNTS = {"train": 60, "val": 20, "test": 10}  # of images, likewise
SMALLEST_SIZE = (64, 128)
EMPTY = Kind("sample city", ())  # one that is there is never replaced
PARAMETERS = "sample_city.json"  # lies in a finished folder and says what it was made with


def draw_labels(size: tuple[int, int], objects: list[dict]) -> dict[str, Image.Image]:
    """Draws the three label images as cityscapesscripts does in json2labelImg and json2instanceImg."""
    height, width = size
    images = {
        "labelIds": Image.new("L", (width, height), 0),
        "instanceIds": Image.new("I", (width, height), 0),
        "color": Image.new("RGBA", (width, height), (0, 0, 0)),
    }
    drawers = {name: ImageDraw.Draw(image) for name, image in images.items()}
    seen: dict[str, int] = {}
    for entry in objects:
        name = entry["label"]
        label = LABEL_BY_NAME[name if name in LABEL_BY_NAME else name.removesuffix("group")]
        if label.id < 0:
            continue  # license plates are annotated, not drawn
        instance = label.id
        if label.has_instances and name == label.name:
            instance = label.id * 1000 + seen.get(name, 0)
            seen[name] = seen.get(name, 0) + 1
        polygon = [tuple(point) for point in entry["polygon"]]
        for kind, value in (("labelIds", label.id), ("instanceIds", instance), ("color", label.color)):
            drawers[kind].polygon(polygon, fill=value)
    # Drawn in 32 bits as in the official tool; Pillow 13 writes 16 bits only if asked.
    images["instanceIds"] = Image.fromarray(np.asarray(images["instanceIds"]).astype(np.uint16))
    return images


def write_image(out: Path, size: tuple[int, int], seed: int, split: str, index: int) -> None:
    """Draws image `index` of a split and writes its five files."""
    scene = draw_scene(size, [seed, list(CITIES).index(split), index], index)
    cities = CITIES[split]
    city = cities[index % len(cities)]
    name = f"{city}_{index // len(cities):06d}_000019"
    # As in Cityscapes, the labels of the test split are secret: only the camera's own frame is given.
    objects = [entry for entry in scene.objects if split != "test" or entry["label"] in FRAME_LABELS]
    photos, labels = out / "leftImg8bit" / split / city, out / "gtFine" / split / city
    photos.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.image).save(photos / f"{name}_leftImg8bit.png", compress_level=1)  # noise hardly packs
    for kind, image in draw_labels(size, objects).items():
        image.save(labels / f"{name}_gtFine_{kind}.png")
    annotation = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
    (labels / f"{name}_gtFine_polygons.json").write_text(json.dumps(annotation), encoding="utf-8")


def make_sample_city(
    out: str | os.PathLike,
    size: tuple[int, int] = SIZE,
    counts: Mapping[str, int] = COUNTS,
    seed: int = 0,
    workers: int | None = 1,
    progress: bool = True,
) -> bool:
    """Writes a data set of invented street scenes in the layout of Cityscapes, whole or not at all.

    Args:
        out: folder to make.
        size: (height, width) of an image in pixels, at least 64x128.
        counts: images of each split, of train, val and test.
        seed: the same seed, size and counts give the same bytes, whatever `workers` is.
        workers: processes, see `convert_dataset`; None: one per core.
        progress: whether a terminal shows how far it is.

    Returns:
        True if it was written, False if `out` already holds exactly this data set.

    Raises:
        ValueError: a parameter is out of range, or `out` holds something else.
        OSError: a file cannot be written.

    Example:
        >>> import tfseg
        >>> tfseg.make_sample_city("town", size=(64, 128), counts={"train": 2, "val": 1, "test": 1})
        True
    """
    out = Path(out)
    check_parameters(size, counts, seed, workers)
    parameters = {"size": list(size), "counts": {split: counts[split] for split in CITIES}, "seed": seed}
    if is_finished(out, parameters):
        return False
    out = staging.resolve_place(out)
    with staging.stage_folder(out, EMPTY) as unfinished:
        with show_progress(progress):
            write_images(unfinished, size, counts, seed, workers or os.cpu_count() or 1)
        (unfinished / PARAMETERS).write_text(json.dumps(parameters) + "\n", encoding="utf-8")
    return True


def check_parameters(size: tuple[int, int], counts: Mapping[str, int], seed: int, workers: int | None) -> None:
    if size[0] < SMALLEST_SIZE[0] or size[1] < SMALLEST_SIZE[1]:
        raise ValueError(f"expected a size of at least {SMALLEST_SIZE[0]}x{SMALLEST_SIZE[1]}, got {size[0]}x{size[1]}")
    if sorted(counts) != sorted(CITIES):
        raise ValueError(f"expected counts for {', '.join(CITIES)}, got {', '.join(counts) or 'none'}")
    for split, count in counts.items():
        if count < 1:
            raise ValueError(f"expected at least 1 image for {split}, got {count}")
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    if workers is not None and workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")


def is_finished(out: Path, parameters: dict) -> bool:
    """True if the folder holds this very data set, False if it is empty or missing; anything else is refused."""
    if not out.exists() or (out.is_dir() and is_empty(out)):
        return False
    if not (out / PARAMETERS).is_file():
        raise ValueError(f"{out} exists and is no sample city; name another folder or remove this one")
    found = read_json(out / PARAMETERS)
    if found != parameters:
        raise ValueError(f"{out} was made with {found}, not {parameters}; name another folder or remove this one")
    return True


def write_images(out: Path, size: tuple[int, int], counts: Mapping[str, int], seed: int, workers: int) -> None:
    jobs = [(split, index) for split in CITIES for index in range(counts[split])]
    with open_pool(min(workers, len(jobs))) as mapper:
        for _ in track(mapper(partial(_write_job, out, size, seed), jobs), total=len(jobs), unit="image"):
            pass


def _write_job(out: Path, size: tuple[int, int], seed: int, job: tuple[str, int]) -> None:
    write_image(out, size, seed, *job)
