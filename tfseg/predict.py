"""Images in, class masks out: all that is known of the network is its export and the labels.json inside.

tfseg predict --model models/city --out masks street.png more_images/
tfseg predict --model models/city --out seen --video drive.mp4
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tfseg.inference.cost import describe_cost, peak_memory
from tfseg.inference.files import predict_files, warn
from tfseg.inference.film import FPS, predict_video
from tfseg.inference.model_folder import HELP
from tfseg.inference.tta import add_options, read_options
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.io.film import CODECS, CONTAINERS
from tfseg.io.listing import SUFFIXES
from tfseg.io.renamed import accept_renamed
from tfseg.io.words import are, count_of


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("predict"),
        description="Writes NAME_classes.png (8-bit class ids) and NAME_overlay.png for each image NAME.png, NAME.jpg "
        "and so on; of a video NAME_overlay, with the ending of --container. Folders below a folder that is named are "
        "kept below --out. Files of these names from an earlier run in --out are overwritten.",
    )
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help=HELP)
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--alpha", type=float, default=0.5, help="opacity of the overlay's colours, 0 to 1 (default: 0.5)"
    )
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGES",
        help=f"files ({', '.join(SUFFIXES)}, and .heic with the extra heic), or folders that hold them",
    )
    parser.add_argument(
        "--video", type=Path, metavar="FILE", help="instead of images a video, or a folder of frames, in order of name"
    )
    parser.add_argument(
        "--fps", type=float, default=FPS, help="frames per second of a folder of frames (default: 17, as in Cityscapes)"
    )
    group = parser.add_argument_group("video")
    group.add_argument(
        "--smooth",
        type=float,
        default=0.0,
        metavar="FACTOR",
        help="averages class probabilities over frames: those before weigh FACTOR, below 1, such as 0.7 (default: 0)",
    )
    group.add_argument(
        "--codec", choices=CODECS, help="compression of the result (default: h264, with the extra video)"
    )
    group.add_argument("--container", choices=CONTAINERS, default="mp4", help="ending of the result (default: mp4)")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Predicts what the command line names, and prints what it took."""
    options = make_parser().parse_args(accept_renamed(arguments, "predict"))
    how = {"alpha": options.alpha, "inference": read_options(options), "input_size": options.input_size}
    how["runtime"] = options.runtime
    if bool(options.images) == bool(options.video):
        raise ValueError("expected images or a --video, and not both")
    if not options.video:
        if options.smooth or options.codec or options.container != "mp4":
            raise ValueError("--smooth, --codec and --container are of a --video, and images are given")
        report_files(options, how)
    else:
        report_video(options, how)


def report_files(options: argparse.Namespace, how: dict) -> None:
    """Predicts images; raises ValueError at the end for those that could not be predicted."""
    predicted = predict_files(options.model, options.images, options.out, **how)
    cost = describe_cost(predicted.seconds, peak_memory())
    done = len(predicted.seconds)
    images = count_of(predicted.count, "image")
    print(f"{done:,} of {images} {are(done)} predicted in {printable(options.out)}{cost}")
    if missing := [*predicted.unread, *predicted.failures]:
        what = "predicted" if predicted.failures else "read"
        head = f"{len(missing):,} of {images} could not be {what}:"
        raise ValueError("\n".join([head, *missing]))


def report_video(options: argparse.Namespace, how: dict) -> None:
    """Predicts a video; raises ValueError at the end for frames that could not be read."""
    how |= {"smooth": options.smooth, "codec": options.codec, "container": options.container}
    predicted = predict_video(options.model, options.video, options.out, fps=options.fps, **how)
    film, count = predicted.film, predicted.count
    speed = f"{count / predicted.elapsed:.3g} per second were made, with reading and writing"
    print(
        f"{count_of(count, 'frame')} {are(count)} in {printable(predicted.path)}, {film.rate:.4g} per second: {speed}"
        f"{describe_cost(predicted.seconds, peak_memory())}"
    )
    warn(film.notes)
    if film.failures:
        frames = f"{len(film.failures):,} of {count_of(count, 'frame')}"
        head = f"{frames} could not be read; the one before, or else after, stands for each:"
        raise ValueError("\n".join([head, *film.failures]))


if __name__ == "__main__":
    command.run(main)
