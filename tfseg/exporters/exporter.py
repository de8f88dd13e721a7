"""Exports a trained network: SavedModel + labels.json, all that `tfseg.predict` needs, and other formats beside them.

    python -m tfseg.export --run runs/city --out models/city --formats saved_model litert onnx coreml

A plain `tf.Module` is saved, not Keras' own export, which writes every weight twice. The model takes images of any
height and width and answers at that size: it resizes them inside to the size at which the run was validated, so that
its scores are of what its users get. Each format is compared with the network on real images, and a model card tells
what all this is.
"""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.config.schema import Config
from tfseg.exporters import coreml, litert, model_card, onnx, parity
from tfseg.io import command as cli
from tfseg.records.records import read_manifest
from tfseg.runs import run_dir

# Format -> the packages that it takes beside TensorFlow.
FORMATS = {
    "saved_model": (),
    "litert": (),
    "onnx": ("tf2onnx", "onnx", "onnxruntime"),
    "coreml": ("coremltools",),
}
# What an export consists of; a folder that holds anything else is never replaced.
EXPORTED = {
    *("fingerprint.pb", "assets", run_dir.LABELS, parity.FILE, model_card.FILE),
    *(part for parts in parity.PARTS.values() for part in parts),
}


class Pictures(NamedTuple):
    """Pictures of records that an export looks at."""

    records: str
    size: tuple[int, int] | None  # (height, width); None where nothing asks for it
    calibration: list[np.ndarray]  # of the training split, uint8 (height, width, 3)
    examples: list[dict]  # of the validation split, see `parity.compare`


def export_saved_model(
    network,
    directory: str | Path,
    classes: Sequence[str],
    colors,
    sizes: Sequence[tuple[int, int]] = (),
    learn_void: bool = False,
) -> None:
    """Writes a network as a SavedModel that runs with TensorFlow alone.

    Three of its signatures take `images`, uint8 RGB (B, H, W, 3), any B, H and W: `serving_default` gives `classes`,
    uint8 (B, H, W); `probabilities` gives `probabilities`, float32 (B, H, W, C) in 0..1; `network` gives
    `probabilities` of images that are not resized. The fourth, `encoded`, takes `image_bytes`, string (B,), PNG or JPEG
    files of any sizes, see `encoded`, and gives `mask_bytes`, string (B,), a grey PNG of class ids for each. By these
    names TensorFlow Serving takes and answers base64.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, 3) -> logits (B, H, W, C).
        directory: where to; an earlier export there is replaced once the new one is whole.
        classes: the C names, in the order of the logits.
        colors: (C, 3) RGB, integers 0..255.
        sizes: (height, width) to which images are resized, one after the other, before the network sees them; classes
            and probabilities are of the images' own size. None of them: the network sees each image at its own size.
        learn_void: whether void is a class that the network learned.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow, classes, colours and logits differ in number, or
            `directory` holds something else than an export.
        OSError: the disk does not take it.
    """
    check_backend()
    from tfseg.exporters.saved_model import Traced

    labels = describe(classes, colors, sizes, learn_void)
    if len(classes) != network.output_shape[-1]:
        raise ValueError(f"the network tells {network.output_shape[-1]} classes apart, got {len(classes)} names")
    with replace_export(Path(directory)) as incomplete:
        save_module(Traced(network, sizes), incomplete)
        write_labels(labels, incomplete)


def export_run(
    run: Path,
    directory: Path,
    formats: Sequence[str] = (),
    *,
    records: str | None = None,
    size: tuple[int, int] | None = None,
    compared: int = 16,
    calibrated: int = 100,
) -> dict:
    """Exports the best epoch of a run in several formats, and compares each with the network.

    Args:
        run: run folder.
        directory: as of `export_saved_model`.
        formats: of `FORMATS`; a SavedModel is always made.
        records: folder of records of the run's classes; None: those that the run was trained on.
        size: (height, width) of the images that LiteRT and Core ML take, and to which all are resized that are
            compared; None: as in the run's validation.
        compared: pictures of the validation split to compare by; 0: neither comparison nor model card.
        calibrated: pictures of the training split by which LiteRT's int8 is scaled.

    Returns:
        What parity.json holds: `parity.compare`, with `records` and `split` of the pictures; empty if there are none.

    Raises:
        ValueError: a format cannot be made on this machine, or of this network; the records have other classes than the
            run; no size is known; and as of `export_saved_model`.
        OSError: run or records cannot be read, or the disk does not take it.
    """
    check_backend()
    check_packages(formats)
    check_replaceable(directory)  # before the minute that it takes to rebuild the network
    from tfseg.device import choose_device
    from tfseg.exporters.saved_model import Traced

    choose_device("cpu", "float32")  # whatever it was trained on; before TensorFlow computes anything
    config, (classes, colors) = run_dir.read_config(run), run_dir.read_labels(run)
    sizes = run_dir.read_sizes(run)
    if not records and (compared or {"litert", "coreml"} & {*formats}):
        records = run_dir.find_records(run)
    pictures = read_pictures(config, classes, formats, records, size or (sizes and sizes[-1]), compared, calibrated)
    network = run_dir.load_network(run)
    with replace_export(directory) as incomplete:
        labels = describe(classes, colors, sizes, config.loss.learn_void)
        files = write_formats(Traced(network, sizes or ()), formats, pictures, incomplete)
        write_labels({**labels, "files": files} if files else labels, incomplete)
        if not compared:
            return {}
        report = {"records": pictures.records, "split": config.data.val_split}
        shown = [size] if size else (sizes or fixed_size(pictures))
        doors = parity.load_files_door(incomplete) if tuple(shown) == tuple(sizes or ()) else {}
        report |= parity.compare(network, parity.load_models(incomplete), pictures.examples, shown, doors)
        parity.add_bytes(report, incomplete)
        run_dir.write_json(report, incomplete / parity.FILE)
        contracts = {"SavedModel": labels["input"], **labels["signatures"], **files}
        card = model_card.make_card(model_card.gather(run, network.count_params(), contracts, report))
        (incomplete / model_card.FILE).write_text(card, encoding="utf-8")
    return report


def read_pictures(
    config: Config,
    classes: Sequence[str],
    formats: Sequence[str],
    records: str | None,
    size: tuple[int, int] | None,
    compared: int,
    calibrated: int,
) -> Pictures:
    """Reads the pictures that an export asks for; arguments and errors as of `export_run`."""
    from tfseg.pipeline.pipeline import check_truth, read_examples, told_damage

    data, records = config.data, records or config.data.records
    calibrated = calibrated if "litert" in formats else 0
    if not compared and not {"litert", "coreml"} & {*formats}:
        return Pictures(records, None, [], [])
    manifest = read_manifest(records)
    if manifest.classes != classes:
        raise ValueError(
            f"{records}: has the classes {', '.join(manifest.classes)}, and the run {', '.join(classes)}; "
            "give --records of the run's own classes"
        )
    size = size or data.eval_size or (manifest.size and tuple(manifest.size))
    if size is None and {"litert", "coreml"} & {*formats}:
        raise ValueError(f"{records}: holds images of their own sizes; give --size HEIGHTxWIDTH of one for all")
    if compared:
        check_truth(records, data.val_split)
    with told_damage(records):
        shown = read_examples(records, data.train_split, count=calibrated, size=size) if calibrated else ()
        examples = read_examples(records, data.val_split, count=compared, size=None) if compared else ()
        return Pictures(records, size, [example["image"] for example in shown], [*examples])


def fixed_size(pictures: Pictures) -> list[tuple[int, int]]:
    """The sizes that all formats are compared at where a run does not know at which it was validated."""
    return [pictures.size] if pictures.size else []


def validated_sizes(stored: Sequence[int] | None, wanted: tuple[int, int] | None) -> list[tuple[int, int]]:
    """The sizes to which an image of a data set was resized, one after the other, when a run was validated.

    Args:
        stored: (height, width) of the images in the records; None: each has its own.
        wanted: (height, width) of the images in validation; None: as stored.
    """
    sizes = [tuple(stored)] if stored else []
    return [*sizes, wanted] if wanted and [wanted] != sizes else sizes


def write_formats(traced, formats: Sequence[str], pictures: Pictures, directory: Path) -> dict[str, str]:
    """Writes the SavedModel and what else is asked for; gives what goes in and comes out of each file of the latter."""
    save_module(traced, directory)
    files = {}
    if "litert" in formats:
        files |= litert.write(traced, pictures.size, pictures.calibration, directory)
    if "onnx" in formats:
        files |= onnx.write(traced, directory)
    if "coreml" in formats:
        files |= coreml.write(traced, pictures.size, directory)
    return files


def check_backend() -> None:
    """Raises ValueError unless Keras runs on TensorFlow."""
    import keras  # here, as are TensorFlow's imports below: --help answers without them

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"a SavedModel is made by TensorFlow, but Keras runs on {keras.backend.backend()}; "
            "set the environment variable KERAS_BACKEND=tensorflow and export again"
        )


def check_packages(formats: Sequence[str]) -> None:
    """Raises ValueError if a format takes a package that is not installed."""
    for name in formats:
        missing = [package for package in FORMATS[name] if importlib.util.find_spec(package) is None]
        if missing:
            limits = ", which has builds for macOS and Linux on x86-64, up to Python 3.13" if name == "coreml" else ""
            raise ValueError(
                f"--formats {name}: {', '.join(missing)} is not installed{limits}; "
                "pip install 'tf-segmentation[export]'"
            )


def export_by_tensorflow(run: str | Path, directory: str | Path) -> None:
    """Exports a run's network in a process of its own, where Keras computes with TensorFlow.

    Args:
        run: run folder, its best epoch's weights in it.
        directory: as of `export_saved_model`.

    Raises:
        OSError: it could not be exported; the message says why, and names the command to give by hand.
    """
    command = ["-m", "tfseg.export", "--run", str(run), "--out", str(directory), "--pictures", "0"]
    # Without a GPU: an export computes next to nothing, and the card's memory is taken.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise OSError(
            f"no SavedModel was made ({reason}); weights and scores are in {run}: mend that and export by "
            f"KERAS_BACKEND=tensorflow python {shlex.join(command)}"
        )


def describe(
    classes: Sequence[str], colors, sizes: Sequence[tuple[int, int]] | None = (), learn_void: bool = False
) -> dict:
    """Returns the content of labels.json; raises ValueError if names and colours differ in number, or exceed a byte.

    Arguments as of `export_saved_model`; no sizes but None: it is not known how the model was validated.
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
        **({"learn_void": True} if learn_void else {}),
        "input": f"images: uint8 RGB, 0..255, (batch, height, width, 3), any height and width, {seen}",
        "signatures": {
            "serving_default": "classes: uint8 class ids, (batch, height, width)",
            "probabilities": "probabilities: float32, 0..1, (batch, height, width, class)",
            "network": "probabilities: float32, 0..1, (batch, height, width, class), of images that are not resized",
            "encoded": "image_bytes: string (batch,), JPEG or PNG files of any sizes -> mask_bytes: string (batch,), a "
            "grey PNG of class ids of the upright image's size each",
        },
    }


def write_labels(labels: dict, directory: Path) -> None:
    (directory / run_dir.LABELS).write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")


def save_module(traced, directory: Path) -> None:
    """Saves the signatures and each of the weights once, as `directory`/saved_model.pb and variables/."""
    import tensorflow as tf

    images_spec = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_classes(images):
        return {"classes": traced.classes(images)}

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_probabilities(images):
        return {"probabilities": traced.probabilities(images)}

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_unresized(images):
        return {"probabilities": traced.network(images)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")], autograph=False)
    def predict_files(image_bytes):
        # One after the other: each takes all cores, and memory by its own size.
        return {
            "mask_bytes": tf.map_fn(traced.encoded, image_bytes, parallel_iterations=1, fn_output_signature=tf.string)
        }

    signatures = {
        "serving_default": predict_classes,
        "probabilities": predict_probabilities,
        "network": predict_unresized,
        "encoded": predict_files,
    }
    tf.saved_model.save(traced.variables, str(directory), signatures=signatures)


@contextmanager
def replace_export(directory: Path):
    """Gives a temporary sibling to write to; it takes the place of `directory` only if the block ends without an error.

    Raises:
        ValueError: `directory` is there already and is neither empty nor an export.
        OSError: the disk does not take it.
    """
    directory = directory.resolve()
    check_replaceable(directory)
    incomplete = directory.with_name(f".{directory.name}.incomplete")
    replaced = directory.with_name(f".{directory.name}.replaced")
    put_back(replaced, directory)  # from a run that was killed
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir(parents=True)
    try:
        yield incomplete
        if directory.exists():
            directory.rename(replaced)  # a full folder cannot be renamed over another
        incomplete.rename(directory)
    finally:
        put_back(replaced, directory)
        shutil.rmtree(incomplete, ignore_errors=True)


def put_back(replaced: Path, directory: Path) -> None:
    """Ends a replacement at any point of it: the old export is deleted if the new one is there, else brought back."""
    if directory.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.exists():
        replaced.rename(directory)


def check_replaceable(directory: Path) -> None:
    """Raises ValueError if `directory` is a file, or a folder that is neither empty nor an earlier export."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ValueError(f"{directory} is a file; an export is a folder: name another")
    strangers = sorted({entry.name for entry in directory.iterdir()} - EXPORTED)
    if strangers:
        raise ValueError(
            f"{directory} is no export to replace, it holds {', '.join(strangers[:3])}; name another folder"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Rebuilds the network of a run folder and exports it."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.export",
        description="Exports the best epoch of a run as a SavedModel with labels.json, and in other formats, each "
        "compared with the network on pictures of the validation split.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the SavedModel; an earlier export is replaced"
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["saved_model"],
        help="beside saved_model, which is always made",
    )
    parser.add_argument("--records", metavar="DIR", help="folder of records (those that the run was trained on)")
    parser.add_argument(
        "--size", metavar="HxW", help="of pictures for LiteRT, Core ML and the comparison (as in the run's validation)"
    )
    parser.add_argument(
        "--pictures", type=int, default=16, metavar="N", help="to compare by (16); 0: no comparison, and no model card"
    )
    parser.add_argument(
        "--calibration", type=int, default=100, metavar="N", help="training pictures that scale LiteRT's int8 (100)"
    )
    options = parser.parse_args(arguments)
    if options.pictures < 0 or options.calibration < 1:
        raise ValueError(
            "--pictures must be at least 0 and --calibration at least 1, "
            f"got {options.pictures} and {options.calibration}"
        )
    report = export_run(
        options.run,
        options.out,
        options.formats,
        records=options.records,
        size=cli.parse_size(options.size) if options.size else None,
        compared=options.pictures,
        calibrated=options.calibration,
    )
    if report:
        print(
            f"{len(report['pictures'])} pictures of {report['split']} in {report['records']}:\n{parity.lay_out(report)}"
        )
        for miss in parity.list_misses(report):
            print(f"warning: {miss}", file=sys.stderr)
    print(f"{', '.join(sorted(path.name for path in options.out.iterdir()))} are in {options.out}")


if __name__ == "__main__":
    cli.run(main)
