"""Exports a trained network: SavedModel + labels.json, all that prediction needs, and other formats beside them.

A plain `tf.Module` is saved, not Keras' own export, which writes every weight twice. The model takes images of any
height and width and answers at that size: it resizes them inside to the size at which the run was validated, so that
its users get what was scored. Each format is compared with the network on real images, and a model card says what all
this is.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfseg.exporters import coreml, model_card, parity, web
from tfseg.exporters.description import describe_model, write_labels
from tfseg.exporters.folder import check_replaceable, replace_export
from tfseg.exporters.formats import check_backend, check_packages, write_formats
from tfseg.exporters.samples import OF_FIXED_SIZE, Samples, read_samples
from tfseg.exporters.web_runtime import find_runtime
from tfseg.io.atomic import write_json, write_text
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.progress import show_progress
from tfseg.records.labels import VOID
from tfseg.records.record_set import RecordSet, check_pixels, open_records
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network


@dataclass(frozen=True)
class Export:
    """An exported model, in all formats that were asked for.

    Attributes:
        directory: where it lies.
        files: names of what lies there, sorted.
        parity: how each format compares with the network: what parity.json holds; empty if nothing was compared.
    """

    directory: Path
    files: list[str]
    parity: dict


def export_saved_model(
    network,
    directory: str | Path,
    classes: Sequence[str],
    colors,
    sizes: Sequence[tuple[int, int]] = (),
    ignore_class: int | None = VOID,
    pixels: PixelFormat = RGB,
) -> None:
    """Writes a network as a SavedModel that runs with TensorFlow alone.

    Three of its signatures take `images`, uint8 (B, H, W, channels), any B, H and W: `serving_default` gives `classes`,
    uint8 (B, H, W); `probabilities` gives `probabilities`, float32 (B, H, W, C) in 0..1; `network` gives
    `probabilities` of images that are not resized. The fourth, `encoded`, takes `image_bytes`, string (B,), PNG or JPEG
    files of any sizes, see `encoded`, and gives `mask_bytes`, string (B,), a grey PNG of class ids for each. By these
    names TensorFlow Serving takes and answers base64.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, channels) -> logits (B, H, W, C).
        directory: where to; an earlier export there is replaced once the new one is whole.
        classes: the C names, in the order of the logits.
        colors: (C, 3) RGB, integers 0..255.
        sizes: (height, width) to which images are resized, one after the other, before the network sees them; classes
            and probabilities are of the images' own size. None of them: the network sees each image at its own size.
        ignore_class: the class that the network did not learn, void; None: it learned void, too.
        pixels: what the images are that it was trained on; of other channels than 1, 3 and 4, there is no `encoded`.

    Raises:
        ValueError: Keras runs on another backend than TensorFlow, classes, colours and logits differ in number, the
            network takes other channels, or `directory` holds something else than an export.
        OSError: the disk does not take it.
    """
    check_backend()
    labels = describe_model(classes, colors, sizes, ignore_class, pixels)
    if len(classes) != network.output_shape[-1]:
        raise ValueError(f"the network has {network.output_shape[-1]} classes, got {len(classes)} names")
    if pixels.channels != network.input_shape[-1]:
        raise ValueError(f"the network takes {network.input_shape[-1]} channels, got a format of {pixels.channels}")
    from tfseg.exporters.saved_model import Traced

    with replace_export(Path(directory)) as incomplete:
        write_formats(Traced(network, sizes, pixels), (), Samples(), incomplete)
        write_labels(labels, incomplete)


@note_arguments(out="directory")
def export_run(
    run: str | os.PathLike,
    directory: str | Path,
    formats: Collection[str] = (),
    *,
    records: str | Path | RecordSet | None = None,
    size: tuple[int, int] | None = None,
    images: int = 16,
    calibration: int = 100,
    web_runtime: str | Path | None = None,
    progress: bool = True,
) -> Export:
    """Exports the best epoch of a run in several formats, and compares each with the network.

    Args:
        run: run folder.
        directory: where to; an earlier export there is replaced once the new one is whole.
        formats: of "saved_model", "litert", "edgetpu", "mixed", "weight_only", "onnx", "openvino", "coreml" and "web";
            a SavedModel is always made, and with "web" ONNX as well.
        records: of the run's classes; None: those that the run was trained on.
        size: (height, width) of the images that LiteRT, Edge TPU and Core ML take, and to which all are resized that
            are compared; None: as in the run's validation.
        images: how many of the validation split to compare by; 0: neither comparison nor model card.
        calibration: how many images of the training split scale LiteRT's int8 and mixed.
        web_runtime: folder of the unpacked package onnxruntime-web of npm, for "web"; None: what tfseg was built with.
        progress: whether a terminal shows how far "mixed" and the comparison are.

    Raises:
        ValueError: a format cannot be made on this machine, or of this network; the records have other classes than the
            run; no size is known; Keras runs on another backend than TensorFlow; or `directory` holds something else
            than an export.
        OSError: run or records cannot be read, or the disk does not take it.
    """
    run, directory = Path(run), Path(directory)
    check_backend()
    check_packages(formats)
    if "coreml" in formats:
        coreml.check_channels(run_dir.read_pixels(run).channels)
    if web_runtime and "web" not in formats:
        raise ValueError("--web-runtime is for --formats web; add web, or leave it out")
    if "web" in formats:
        web.check_pixels(run_dir.read_pixels(run))
    runtime = find_runtime(Path(web_runtime) if web_runtime else None) if "web" in formats else {}
    check_replaceable(directory)  # before the minute that it takes to rebuild the network
    from tfseg.device import choose_device
    from tfseg.exporters.saved_model import Traced

    choose_device("cpu", "float32")  # whatever it was trained on; before TensorFlow computes anything
    config, (classes, colors) = run_dir.read_config(run), run_dir.read_labels(run)
    sizes, pixels = run_dir.read_sizes(run), run_dir.read_pixels(run)
    opened, samples = None, Samples()
    if images or OF_FIXED_SIZE & {*formats}:
        opened = run_dir.open_run_records(run) if records is None else open_records(records)
        wanted = size or (sizes[-1] if sizes else None)
        check_pixels(pixels, opened, run)
        samples = read_samples(config, classes, formats, opened, size=wanted, images=images, calibration=calibration)
    network, report = load_network(run), {}
    with replace_export(directory) as incomplete:
        labels = describe_model(classes, colors, sizes, config.loss.ignore_class, pixels)
        with show_progress(progress):
            files = write_formats(Traced(network, sizes or (), pixels), formats, samples, incomplete)
        if "web" in formats:
            write_labels(labels, incomplete)
            files |= web.write(runtime, incomplete)
        write_labels({**labels, "files": files} if files else labels, incomplete)
        if opened and images:
            report = {"records": str(opened), "split": config.data.val_split}
            with show_progress(progress):
                report |= compare_formats(network, incomplete, samples, sizes, size)
            write_json(report, incomplete / parity.FILE)
            contracts = {"SavedModel": labels["input"], **labels["signatures"], **files}
            facts = model_card.gather(run, opened, network.count_params(), contracts, report)
            write_text(model_card.make_card(facts), incomplete / model_card.FILE)
    return Export(directory, sorted(path.name for path in directory.iterdir()), report)


def compare_formats(
    network,
    directory: Path,
    samples: Samples,
    sizes: Sequence[tuple[int, int]] | None,
    size: tuple[int, int] | None,
) -> dict:
    """Compares every format of an export that runs here with the network, see `parity.compare`.

    Args:
        network: keras.Model.
        directory: of the export.
        samples: images to compare by.
        sizes: at which the run was validated, one after the other; None: it does not know.
        size: to compare at instead.
    """
    shown = [size] if size else (sizes or ([samples.size] if samples.size else []))
    encoded = parity.load_encoded(directory) if [*shown] == [*(sizes or ())] else {}
    report = parity.compare(network, parity.load_models(directory), samples.examples, shown, encoded)
    parity.add_bytes(report, directory)
    parity.add_notes(report, directory)
    return report


def export_by_tensorflow(run: str | Path, directory: str | Path) -> None:
    """Exports a run's network in a process of its own, where Keras computes with TensorFlow.

    Args:
        run: run folder, its best epoch's weights in it.
        directory: as of `export_saved_model`.

    Raises:
        OSError: it could not be exported; the message says why, and names the command to give by hand.
    """
    command = ["-m", "tfseg.export", "--run", str(run), "--out", str(directory), "--images", "0"]
    # Without a GPU: an export computes next to nothing, and the card's memory is taken.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        raise OSError(
            f"no SavedModel was made ({reason}); weights and scores are in {run}: mend that and export by "
            f"KERAS_BACKEND=tensorflow python {shlex.join(command)}"
        )
