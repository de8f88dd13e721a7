"""Draws street scenes of invented cities, in the exact files and folders of Cityscapes.

    python -m tfseg.sample_city --out data/sample-city/raw --size 256x512 --train 240 --val 40

Cityscapes may not be passed on, so a first try of the pipeline needs something in its place.
"""

import argparse
import os

from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.synthetic.sample_city import COUNTS, SIZE, make_sample_city


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("sample_city"), description="Draws a small data set in the layout of Cityscapes."
    )
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder to make; must not hold anything else")
    add("--size", default="x".join(map(str, SIZE)), help="HEIGHTxWIDTH in pixels (default: %(default)s)")
    for split, count in COUNTS.items():
        add(f"--{split}", type=int, default=count, metavar="N", help=f"{split} images (default: %(default)s)")
    add("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count(), help="processes (default: one per core)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Draws what the command line says and prints how many images there are."""
    options = parse_arguments(arguments)
    counts = {"train": options.train, "val": options.val, "test": options.test}
    made = make_sample_city(options.out, command.parse_size(options.size), counts, options.seed, options.workers)
    print(
        f"{sum(counts.values())} images and their labels {'lie' if made else 'already lie'} in {printable(options.out)}"
    )


if __name__ == "__main__":
    command.run(main)
