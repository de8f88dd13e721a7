"""Draws a training batch as the network sees it, after windows and augmentation, with its masks laid over it.

    python -m tfseg.show_batch --config configs/demo.yaml --out batch.png
    python -m tfseg.show_batch --config configs/demo.yaml --out batch.png --epoch 3 --step 10 --augment.flip 0

Takes every setting of a training. The batch is the very one that a training with the same seed has at that step.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np

from tfseg.config.parse import parse_config
from tfseg.config.schema import Config
from tfseg.io import command
from tfseg.records.manifest import Manifest
from tfseg.records.record_set import RecordSet, open_records


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.png", help="picture to write")
    parser.add_argument("--epoch", type=int, default=0, help="counted from 0 (default: %(default)s)")
    parser.add_argument("--step", type=int, default=0, help="of the epoch, counted from 0 (default: %(default)s)")
    options, settings = parser.parse_known_args()
    if options.out.suffix != ".png":
        parser.error(f"--out: expected a name that ends in .png, got {options.out}")
    if min(options.epoch, options.step) < 0:
        parser.error("--epoch and --step: expected 0 or more")
    settings += ["--config", options.config] if options.config else []
    config = parse_config(["--run_dir", "none", *settings], program="python -m tfseg.show_batch")
    records = open_records(config.data.records)
    image, mask = read_batch(config, records, options.epoch, options.step)
    title = f"seed {config.train.seed}, epoch {options.epoch}, step {options.step}"
    draw_sheet(image, mask, records.manifest, title, options.out)
    print(f"{options.out}: {len(image)} pictures of {image.shape[1]}x{image.shape[2]}")


def read_batch(config: Config, records: RecordSet, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch and changes it as the step of a training does.

    Returns:
        uint8 pictures (batch, height, width, 3) and class ids (batch, height, width).

    Raises:
        ValueError: a setting does not fit the records, or a record is damaged.
        OSError: the records cannot be read.
    """
    from tfseg.augmentation.layer import Augmentation
    from tfseg.pipeline.damage import explain_read_errors
    from tfseg.training.batches import make_batches

    batches, _ = make_batches(config, records, epoch, step)
    with explain_read_errors(records):
        batch = next(iter(batches))
    augment, num_classes = dataclasses.asdict(config.augment), len(records.classes)
    augmentation = Augmentation(**augment, num_classes=num_classes, seed=config.train.seed)
    steps = records.count_steps(config.data.train_split, config.train.batch_size)
    image, mask = augmentation(batch["image"], batch["mask"], step=epoch * steps + step)
    return np.rint(image).astype(np.uint8), np.asarray(mask).astype(np.uint8)


def draw_sheet(image: np.ndarray, mask: np.ndarray, manifest: Manifest, title: str, path: Path) -> None:
    """Draws each picture with its mask over it below, four to a row, and a legend of the manifest's classes."""
    from matplotlib.figure import Figure  # here: --help answers without it
    from matplotlib.patches import Patch

    from tfseg.visualization.figures import save_figure
    from tfseg.visualization.lettering import LONGEST, as_text, fonts_for, lay_out_legend
    from tfseg.visualization.overlay import blend

    across = min(len(image), 4)
    down = math.ceil(len(image) / across)
    width = 3.6  # inches, of a picture
    height = width * image.shape[1] / image.shape[2]
    names = [as_text(name, LONGEST) for name in manifest.classes]
    columns, legend_height = lay_out_legend(names, across * width, 9, 8)
    with fonts_for([*manifest.classes, title]):
        figure = Figure((across * width, 2 * down * height + 0.6 + legend_height), layout="constrained")
        axes = figure.subplots(2 * down, across, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for place, (picture, class_ids) in enumerate(zip(image, mask, strict=True)):
            row, column = divmod(place, across)
            axes[2 * row, column].imshow(picture)
            axes[2 * row + 1, column].imshow(blend(picture, class_ids, manifest.palette, 0.5), interpolation="nearest")
        figure.suptitle(as_text(title))
        patches = [
            Patch(facecolor=color / 255, edgecolor="black", label=name)
            for name, color in zip(names, manifest.palette, strict=True)
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
        save_figure(figure, path)


if __name__ == "__main__":
    command.run(main)
