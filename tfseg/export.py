"""Exports a trained network: SavedModel + labels.json, all that `tfseg.predict` needs.

    python -m tfseg.export --run runs/city --out models/city

A plain `tf.Module` is saved, not Keras' own export, which writes every weight twice. The model takes pictures of any
height and width and answers at that size: rescaling and padding are inside, resizing is left to who uses it.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from tfseg import cli, run_folder

# What an export consists of; a folder that holds anything else is never replaced.
EXPORTED = {"saved_model.pb", "fingerprint.pb", "variables", "assets", run_folder.LABELS}


def export_saved_model(network, directory: str | Path, classes: Sequence[str], colors) -> None:
    """Writes a network as a SavedModel that runs with TensorFlow alone.

    Its two signatures take `images`, uint8 RGB (B, H, W, 3), any B, H and W: `serving_default` gives `classes`, uint8
    (B, H, W); `probabilities` gives `probabilities`, float32 (B, H, W, C) in 0..1.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, 3) -> logits (B, H, W, C).
        directory: where to; an earlier export there is replaced once the new one is whole.
        classes: the C names, in the order of the logits.
        colors: (C, 3) RGB, integers 0..255.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow, classes, colours and logits differ in number, or
            `directory` holds something else than an export.
        OSError: the disk does not take it.
    """
    import keras  # here, as are TensorFlow's imports below: --help answers without them

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"a SavedModel is made by TensorFlow, but Keras runs on {keras.backend.backend()}; "
            "set the environment variable KERAS_BACKEND=tensorflow and export again"
        )
    labels = describe(classes, colors)
    if len(classes) != network.output_shape[-1]:
        raise ValueError(f"the network tells {network.output_shape[-1]} classes apart, got {len(classes)} names")
    with replace_export(Path(directory)) as incomplete:
        save_module(network, incomplete)
        (incomplete / run_folder.LABELS).write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")


def export_by_tensorflow(run: str | Path, directory: str | Path) -> None:
    """Exports a run's network in a process of its own, where Keras computes with TensorFlow.

    Args:
        run: run folder, its best epoch's weights in it.
        directory: as of `export_saved_model`.

    Raises:
        OSError: it could not be exported; the message says why, and names the command to give by hand.
    """
    command = ["-m", "tfseg.export", "--run", str(run), "--out", str(directory)]
    # Without a GPU: an export computes next to nothing, and the card's memory is taken.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise OSError(
            f"no SavedModel was made ({reason}); weights and scores are in {run}: mend that and export by "
            f"KERAS_BACKEND=tensorflow python {shlex.join(command)}"
        )


def describe(classes: Sequence[str], colors) -> dict:
    """Returns the content of labels.json; raises ValueError if names and colours differ in number, or exceed a byte."""
    if len(classes) != len(colors) or not 0 < len(classes) <= 256:
        raise ValueError(
            f"expected 1 to 256 classes with a colour each, got {len(classes)} names and {len(colors)} colours"
        )
    return {
        "classes": [
            {"id": index, "name": name, "color": [int(channel) for channel in color]}
            for index, (name, color) in enumerate(zip(classes, colors, strict=True))
        ],
        "input": "images: uint8 RGB, 0..255, (batch, height, width, 3), any height and width",
        "signatures": {
            "serving_default": "classes: uint8 class ids, (batch, height, width)",
            "probabilities": "probabilities: float32, 0..1, (batch, height, width, class)",
        },
    }


def save_module(network, directory: Path) -> None:
    """Saves the network's two signatures and each of its weights once, as `directory`/saved_model.pb and variables/."""
    import tensorflow as tf

    images_spec = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")

    def float32_logits(images):
        # A network trained in half precision gives half logits; softmax and argmax must not be taken on those.
        return tf.cast(network(tf.cast(images, tf.float32), training=False), tf.float32)

    @tf.function(input_signature=[images_spec])
    def predict_classes(images):
        # uint8 is no output type of argmax.
        return {"classes": tf.cast(tf.argmax(float32_logits(images), axis=-1, output_type=tf.int32), tf.uint8)}

    @tf.function(input_signature=[images_spec])
    def predict_probabilities(images):
        return {"probabilities": tf.nn.softmax(float32_logits(images), axis=-1)}

    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    tf.saved_model.save(
        module,
        str(directory),
        signatures={"serving_default": predict_classes, "probabilities": predict_probabilities},
    )


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
        prog="python -m tfseg.export", description="Exports the best epoch of a run as a SavedModel with labels.json."
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the SavedModel; an earlier export is replaced"
    )
    options = parser.parse_args(arguments)
    check_replaceable(options.out)  # before the minute that it takes to rebuild the network

    export_saved_model(run_folder.load_network(options.run), options.out, *run_folder.read_labels(options.run))
    print(f"SavedModel and {run_folder.LABELS} are in {options.out}")


if __name__ == "__main__":
    cli.run(main)
