"""One run as dataclasses: YAML and command line in, precise errors out.

    python -m tfseg.train --config configs/demo.yaml --train.epochs 3

A value on the command line goes before one in the file, and that before the default written here. The string below a
field is its line in --help.
"""

import argparse
import ast
import dataclasses
import difflib
import functools
import itertools
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_origin

import jsonargparse
import yaml

from tfseg.io.command import parse_size

# Largest strength of each effect of augmentation that has one.
HIGHEST = {
    "flip": (1, ""),
    "rotation": (180, " degrees"),
    "shear": (60, " degrees"),
    "shift": (1, ""),
    "perspective": (0.4, ""),
    "brightness": (1, ""),
    "contrast": (1, ""),
    "saturation": (1, ""),
    "hue": (180, " degrees"),
    "tone_curve": (0.33, ""),
    "blur": (3, " pixels"),
    "motion_blur": (15, " pixels"),
    "sharpen": (1, ""),
    "noise": (1, ""),
    "cutout": (1, ""),
    "class_mix": (1, ""),
}
# Those that can be given a probability; flip and class_mix are probabilities.
EFFECTS = tuple(name for name in (*HIGHEST, "zoom", "gamma") if name not in ("flip", "class_mix"))
# What users of Keras, PyTorch, mmsegmentation and others type -> the setting, or why there is none.
OTHER_NAMES = {
    **dict.fromkeys(("lr", "base_lr", "lr0", "max_lr"), "optimizer.learning_rate"),
    **dict.fromkeys(("bs", "batch", "batchsize", "samples_per_gpu", "train_batch_size"), "train.batch_size"),
    **dict.fromkeys(("epoch", "max_epochs", "num_epochs", "n_epochs", "total_epochs"), "train.epochs"),
    **dict.fromkeys(("wd", "decay"), "optimizer.weight_decay"),
    **dict.fromkeys(("random_seed", "random_state", "manual_seed"), "train.seed"),
    **dict.fromkeys(("early_stopping", "early_stop"), "train.patience"),
    **dict.fromkeys(("freeze", "frozen", "freeze_epochs", "frozen_stages"), "train.frozen_epochs"),
    **dict.fromkeys(("save_interval", "checkpoint_interval", "save_freq"), "train.save_minutes"),
    **dict.fromkeys(
        ("out", "output", "out_dir", "outdir", "output_dir", "work_dir", "workdir", "log_dir", "logdir", "save_dir"),
        "run_dir",
    ),
    **dict.fromkeys(("run", "rundir", "model_dir", "checkpoint_dir", "exp_dir", "run_name"), "run_dir"),
    **dict.fromkeys(("force", "clean"), "overwrite"),
    **dict.fromkeys(("silent", "verbose"), "quiet"),
    **dict.fromkeys(
        ("data_dir", "datadir", "data_root", "data_path", "dataset", "root", "dataset_dir", "tfrecords"), "data.records"
    ),
    **dict.fromkeys(
        ("image_size", "img_size", "imgsz", "input_size", "crop_size", "input_shape", "resolution"), "data.size"
    ),
    **dict.fromkeys(("shuffle_buffer", "buffer_size", "shuffle_size"), "data.shuffle"),
    **dict.fromkeys(("backbone", "arch", "architecture", "encoder_name"), "model.encoder"),
    **dict.fromkeys(("pretrained", "encoder_weights", "init", "load_from"), "model.weights"),
    **dict.fromkeys(("head", "decode_head"), "model.decoder"),
    **dict.fromkeys(("opt", "optim"), "optimizer.name"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler", "lr_config"), "optimizer.schedule"),
    **dict.fromkeys(("warmup", "warm_up"), "optimizer.warmup_epochs"),
    **dict.fromkeys(("grad_clip", "clip", "clipnorm", "max_grad_norm", "gradient_clip_val"), "optimizer.clip_norm"),
    **dict.fromkeys(
        ("grad_accum", "accumulation", "gradient_accumulation_steps", "accumulate_grad_batches"), "optimizer.accumulate"
    ),
    **dict.fromkeys(("ce", "crossentropy", "xent"), "loss.cross_entropy"),
    **dict.fromkeys(("class_weight", "weighted"), "loss.class_weights"),
    **dict.fromkeys(("hflip", "horizontal_flip", "fliplr"), "augment.flip"),
    **dict.fromkeys(("rotate", "degrees"), "augment.rotation"),
    **dict.fromkeys(("amp", "fp16", "bf16", "mixed_precision", "dtype", "half"), "device.precision"),
    **dict.fromkeys(("gpu", "gpus", "accelerator"), "device.kind"),
    **dict.fromkeys(("strategy", "ddp", "distributed"), "device.distribution"),
    **dict.fromkeys(("wandb_project", "use_wandb"), "log.wandb"),
}
NO_SETTING = {
    **dict.fromkeys(
        ("workers", "num_workers", "n_workers", "workers_per_gpu", "threads", "num_threads"),
        "tf.data reads with as many threads as are of use",
    ),
    **dict.fromkeys(
        ("resume", "resume_from", "continue", "checkpoint", "ckpt"), "the same command goes on with a stopped run"
    ),
    **dict.fromkeys(("num_classes", "classes", "n_classes"), "the records say which classes there are"),
    **dict.fromkeys(("momentum",), "optimizer.name is adam or adamw"),
}
# How many numbers model.decoder_channels has for each decoder.
DECODERS = {"unet": 5, "fpn": 2, "linknet": 1, "pspnet": 1, "deeplabv3plus": 2, "keras_hub": 1}
LOSSES = ("dice", "cross_entropy", "jaccard", "tversky", "focal", "lovasz")


@dataclass(frozen=True)
class Data:
    """Which pictures, and how they become batches."""

    records: str
    """Folder of shards and manifest.json, as written by tools/make_tfrecords.py."""
    train_split: str = "train"
    """Split of the manifest to learn from."""
    val_split: str = "val"
    """Split of the manifest that every epoch is scored on."""
    size: str = "320x320"
    """HEIGHTxWIDTH of the pictures that the network is trained on."""
    fit: Literal["resize", "crop"] = "resize"
    """resize: the whole picture, squashed to size. crop: a random window of the shape of size."""
    scale: tuple[float, float] = (1.0, 1.0)
    """crop only: each window is enlarged by a factor drawn from this range; it never leaves the picture."""
    max_class_share: float = 1.0
    """crop only: windows of which one class takes more than this share are avoided; 0.75 is usual."""
    rare_classes: float = 0.0
    """crop only: probability of cutting where there is most of the rare classes."""
    val_size: str | None = None
    """HEIGHTxWIDTH of the pictures in validation; null: size for resize, as stored for crop."""
    shuffle: int = 2000
    """Encoded records held for shuffling; fewer if ram_budget is too small for them."""
    ram_budget: int = 1024
    """MiB of memory for pictures that wait to be trained on, encoded or decoded."""
    cache: Literal["ram", "disk"] | None = None
    """Keeps decoded pixels in memory, within ram_budget, or on disk beside the records; says first what it takes."""
    service: str | None = None
    """Address of a tf.data service that reads and decodes, such as grpc://localhost:5050; see tfseg.data_service."""

    def __post_init__(self) -> None:
        _check(bool(self.records), "data.records", self.records, "a folder")
        _check(bool(self.train_split), "data.train_split", self.train_split, "a split's name")
        _check(bool(self.val_split), "data.val_split", self.val_split, "a split's name")
        _check_size("data.size", self.size)
        if self.val_size is not None:
            _check_size("data.val_size", self.val_size)
        _check_factors("data.scale", self.scale)
        identity = tuple(self.scale) == (1, 1)
        _check(self.fit == "crop" or identity, "data.scale", self.scale, "[1.0, 1.0] unless data.fit is crop")
        for name, off in (("max_class_share", 1), ("rare_classes", 0)):
            value = getattr(self, name)
            _check(0 <= value <= 1, f"data.{name}", value, "0 to 1")
            _check(self.fit == "crop" or value == off, f"data.{name}", value, f"{off} unless data.fit is crop")
        _check(self.shuffle >= 1, "data.shuffle", self.shuffle, "at least 1")
        _check(self.ram_budget >= 1, "data.ram_budget", self.ram_budget, "at least 1 MiB")
        _check(not (self.cache and self.service), "data.cache", self.cache, "null with data.service")
        address = self.service is None or self.service.startswith("grpc://")
        _check(address, "data.service", self.service, "null or an address such as grpc://localhost:5050")

    @property
    def eval_size(self) -> tuple[int, int] | None:
        """(height, width) of the pictures in validation; None: as stored."""
        if self.val_size is not None:
            return parse_size(self.val_size)
        return parse_size(self.size) if self.fit == "resize" else None


@dataclass(frozen=True)
class Augment:
    """Random changes of picture and mask together, on the device; the defaults change nothing."""

    flip: float = 0.0
    """Probability of mirroring left and right."""
    rotation: float = 0.0
    """Rotation is drawn from -rotation..rotation degrees."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Zoom factor range; above 1 enlarges."""
    shear: float = 0.0
    """Uprights lean by -shear..shear degrees."""
    shift: float = 0.0
    """Shift across and down, as a share of width and height: drawn from -shift..shift."""
    perspective: float = 0.0
    """Each corner of what is seen moves inwards by 0..perspective of width and height."""
    brightness: float = 0.0
    """Shift of brightness as a share of the full range: drawn from -brightness..brightness."""
    contrast: float = 0.0
    """Contrast factor is drawn from 1-contrast..1+contrast."""
    saturation: float = 0.0
    """Saturation factor is drawn from 1-saturation..1+saturation."""
    hue: float = 0.0
    """Hue is turned by an angle from -hue..hue degrees."""
    gamma: tuple[float, float] = (1.0, 1.0)
    """Range of the exponent of brightness; below 1 brightens."""
    tone_curve: float = 0.0
    """The two control points of the tone curve, at 1/3 and 2/3, move by -tone_curve..tone_curve."""
    blur: float = 0.0
    """Deviation of a Gaussian blur is drawn from 0..blur pixels."""
    motion_blur: float = 0.0
    """Motion in any direction is drawn from 1..motion_blur pixels."""
    sharpen: float = 0.0
    """Share of the Laplacian that is added is drawn from 0..sharpen."""
    noise: float = 0.0
    """Deviation of Gaussian noise, as a share of the full range: drawn from 0..noise."""
    cutout: float = 0.0
    """A box of up to this share of height and width is made grey, and void in the mask."""
    class_mix: float = 0.0
    """Probability of pasting about half of the classes of the batch's next picture."""
    probability: dict[str, float] | None = None
    """Effect: probability; 1 for an effect that is not named."""
    one_of: list[dict] | None = None
    """Groups of which a picture gets at most one effect: [{effects: [blur, sharpen], p: 0.5}]."""

    def __post_init__(self) -> None:
        for name, (highest, unit) in HIGHEST.items():
            value = getattr(self, name)
            _check(0 <= value <= highest, f"augment.{name}", value, f"0 to {highest}{unit}")
        for name in ("zoom", "gamma"):
            _check_factors(f"augment.{name}", getattr(self, name))
        for name, share in (self.probability or {}).items():
            _check(name in EFFECTS, "augment.probability", name, f"names of effects, {', '.join(EFFECTS)}")
            _check(0 <= share <= 1, f"augment.probability.{name}", share, "0 to 1")
        for group in self.one_of or []:
            self._check_group(group)
        named = [name for group in self.one_of or [] for name in group["effects"]]
        twice = next((name for name in named if named.count(name) > 1), None)
        _check(twice is None, "augment.one_of", self.one_of, f"each effect once, not {twice} twice")
        filters = [name for name in ("blur", "motion_blur", "sharpen") if getattr(self, name)]
        together = any(set(filters) <= set(group["effects"]) for group in self.one_of or [])
        wanted = "one group with all of " + ", ".join(filters) + ", since there is one filter a picture at most"
        _check(len(filters) < 2 or together, "augment.one_of", self.one_of, wanted)

    def _check_group(self, group: dict) -> None:
        effects, share = group.get("effects"), group.get("p")
        whole = set(group) == {"effects", "p"} and isinstance(effects, list | tuple) and isinstance(share, int | float)
        whole = whole and len(effects) > 0 and set(effects) <= set(EFFECTS) and 0 <= share <= 1
        wanted = f"groups as {{effects: [blur, sharpen], p: 0.5}}, of {', '.join(EFFECTS)}, and p from 0 to 1"
        _check(whole, "augment.one_of", group, wanted)


@dataclass(frozen=True)
class Model:
    """The network: a decoder over the features of an encoder."""

    encoder: str = "efficientnetb3"
    """A network of keras.applications in small letters, such as resnet50 or convnexttiny, or tiny (for tests); with
    decoder keras_hub, segformer_b0 to segformer_b5 or deeplab_v3_plus_resnet50."""
    weights: str | None = "imagenet"
    """imagenet, null (random), or the path of a Keras weights file of that encoder without its top; with decoder
    keras_hub, null or a preset of KerasHub, such as segformer_b0_cityscapes_1024."""
    decoder: Literal["unet", "fpn", "linknet", "pspnet", "deeplabv3plus", "keras_hub"] = "unet"
    """What makes one picture of the encoder's features again. keras_hub: the whole network is one of KerasHub."""
    decoder_channels: tuple[int, ...] | None = None
    """Its widths; null: its own. 5 for unet, the deepest first; 2 for fpn, pyramid and branches, and for deeplabv3plus,
    all and the finer feature; 1 for linknet, the last, for pspnet, and for keras_hub."""
    batch_norm_momentum: float = 0.99
    """Of batch normalisation's moving statistics; runs of under 500 steps want less."""

    def __post_init__(self) -> None:
        _check(bool(self.encoder), "model.encoder", self.encoder, "a network's name")  # which, `encoders` knows
        _check(self.weights != "", "model.weights", self.weights, "imagenet, null or a file")
        found = self.decoder != "keras_hub" or self.weights != "imagenet"
        _check(found, "model.weights", self.weights, "null or a preset of KerasHub with model.decoder keras_hub")
        channels, count = self.decoder_channels, DECODERS[self.decoder]
        fits = channels is None or (len(channels) == count and min(channels) >= 1)
        wanted = f"null or a list of whole numbers above 0, {count} for {self.decoder}"
        _check(fits, "model.decoder_channels", channels, wanted)
        momentum = self.batch_norm_momentum
        _check(0 <= momentum < 1, "model.batch_norm_momentum", momentum, "a number from 0 to below 1")


@dataclass(frozen=True)
class Loss:
    """A weighted sum of losses over the pixels; weight 0 leaves a loss out."""

    dice: float = 1.0
    """Weight of the Dice loss."""
    cross_entropy: float = 0.0
    """Weight of the cross entropy."""
    jaccard: float = 0.0
    """Weight of the Jaccard (IoU) loss."""
    tversky: float = 0.0
    """Weight of the Tversky loss: Dice whose two kinds of error count by tversky_alpha and tversky_beta."""
    focal: float = 0.0
    """Weight of the focal loss: cross entropy in which what is right already counts little."""
    lovasz: float = 0.0
    """Weight of Lovasz-Softmax, which sorts all pixels and takes its time; not on Metal."""
    tversky_alpha: float = 0.3
    """Weight of the pixels that are wrongly taken for a class."""
    tversky_beta: float = 0.7
    """Weight of the pixels of a class that are missed; above tversky_alpha, more of it is found."""
    focal_gamma: float = 2.0
    """The higher, the less counts what is right already; 0 is the cross entropy."""
    label_smoothing: float = 0.0
    """Share of the truth that cross entropy and focal spread over all classes; 0.1 is usual."""
    class_weights: Literal["manifest"] | None = None
    """manifest: rare classes count more, by the pixels that the manifest counts in the training split."""
    learn_void: bool = False
    """true: void is a class to learn, and to score, like the others. false: void pixels count nowhere."""

    def __post_init__(self) -> None:
        for name in LOSSES:
            _check(0 <= getattr(self, name) < math.inf, f"loss.{name}", getattr(self, name), "a weight of 0 or more")
        weighted = any(getattr(self, name) for name in LOSSES)
        _check(weighted, "loss.dice", self.dice, f"above 0 when {', '.join(LOSSES[1:])} are 0")
        for name in ("tversky_alpha", "focal_gamma"):
            _check(0 <= getattr(self, name) < math.inf, f"loss.{name}", getattr(self, name), "0 or more")
        _check(0 < self.tversky_beta < math.inf, "loss.tversky_beta", self.tversky_beta, "above 0")
        _check(0 <= self.label_smoothing < 1, "loss.label_smoothing", self.label_smoothing, "0 to below 1")


@dataclass(frozen=True)
class Optimizer:
    """Adam or AdamW with its schedule of rates."""

    name: Literal["adam", "adamw"] = "adam"
    """adamw adds weight_decay."""
    learning_rate: float = 1e-4
    """The highest rate of the schedule."""
    schedule: Literal["constant", "cosine", "polynomial"] = "constant"
    """constant, or decay to 0 over the whole run: by half a cosine, or as (1 - progress) ** 0.9."""
    warmup_epochs: float = 0.0
    """The rate rises linearly from 0 over this many epochs."""
    weight_decay: float = 0.0
    """adamw only."""
    ema: float | None = None
    """Momentum, a batch, of the running average of the weights that is validated and exported; null: no average."""
    encoder_rate: float = 1.0
    """The encoder's rate, as a share of the decoder's; 0.1 is usual with ImageNet's weights."""
    clip_norm: float | None = None
    """Gradients are shortened to this norm, taken over all of them; null: they stay as they are."""
    accumulate: int = 1
    """Batches of which the mean gradient makes one step, for batches that memory is too small for; at the end of the
    training, those that are left."""

    def __post_init__(self) -> None:
        _check(0 < self.learning_rate < math.inf, "optimizer.learning_rate", self.learning_rate, "above 0")
        _check(0 <= self.warmup_epochs < math.inf, "optimizer.warmup_epochs", self.warmup_epochs, "0 or more")
        _check(0 <= self.weight_decay < math.inf, "optimizer.weight_decay", self.weight_decay, "0 or more")
        decays = self.name == "adamw" or self.weight_decay == 0
        _check(decays, "optimizer.weight_decay", self.weight_decay, "0 unless optimizer.name is adamw")
        _check(0 < self.encoder_rate <= 1, "optimizer.encoder_rate", self.encoder_rate, "above 0, at most 1")
        clips = self.clip_norm is None or 0 < self.clip_norm < math.inf
        _check(clips, "optimizer.clip_norm", self.clip_norm, "above 0, or null")
        _check(self.accumulate >= 1, "optimizer.accumulate", self.accumulate, "at least 1")
        if self.ema is not None:
            _check(0 < self.ema < 1, "optimizer.ema", self.ema, "between 0 and 1, or null")


@dataclass(frozen=True)
class Train:
    """How long, how many at once, and from which random numbers."""

    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 8
    """Pictures a step."""
    seed: int | None = 0
    """null: another run every time."""
    frozen_epochs: int = 0
    """Epochs at first in which the encoder stays as it is, the statistics of its batch normalisation too."""
    patience: int | None = None
    """Epochs without a better mean IoU in validation after which the run ends; null: it never does."""
    rollbacks: int = 0
    """How often a run whose loss is not finite goes back to its last state, and on with half the rate."""
    save_minutes: float = 10.0
    """How often the state is saved within an epoch, for a run that is stopped to go on from."""

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        _check(self.batch_size >= 1, "train.batch_size", self.batch_size, "at least 1")
        _check(self.frozen_epochs >= 0, "train.frozen_epochs", self.frozen_epochs, "0 or more")
        waits = self.patience is None or self.patience >= 1
        _check(waits, "train.patience", self.patience, "at least 1, or null")
        _check(self.rollbacks >= 0, "train.rollbacks", self.rollbacks, "0 or more")
        _check(self.save_minutes >= 0, "train.save_minutes", self.save_minutes, "0 or more")
        # NumPy takes no more.
        _check(self.seed is None or 0 <= self.seed < 2**32, "train.seed", self.seed, "0 to 4294967295, or null")


@dataclass(frozen=True)
class Device:
    """Where and how exactly it computes."""

    kind: Literal["auto", "cpu", "cuda", "metal"] = "auto"
    """auto: the GPU that TensorFlow sees, else the CPU."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto: float32 on the CPU, half precision on CUDA, and on Metal from macOS 14 on."""
    prefetch: bool = True
    """Whether the next batch lies in the GPU's memory before its step begins."""
    distribution: Literal["none", "mirrored", "multiworker"] = "none"
    """mirrored: all GPUs of this machine, on TensorFlow; each takes its part of train.batch_size. multiworker: those of
    several machines, named in TF_CONFIG."""


@dataclass(frozen=True)
class Log:
    """Where settings and scores are sent, beside what the run folder keeps."""

    wandb: str | None = None
    """Project of Weights & Biases; null: not there."""
    mlflow: str | None = None
    """Experiment of MLflow; null: not there."""

    def __post_init__(self) -> None:
        _check(self.wandb != "", "log.wandb", self.wandb, "a project's name, or null")
        _check(self.mlflow != "", "log.mlflow", self.mlflow, "an experiment's name, or null")


@dataclass(frozen=True)
class Config:
    """One training run."""

    data: Data
    run_dir: str
    """Folder that the run writes: config, scores, checkpoints, SavedModel. If it holds this run, stopped before its
    end, that goes on."""
    overwrite: bool = False
    """true: whatever an earlier run left in run_dir is deleted first."""
    quiet: bool = False
    """true: nothing is told but warnings, errors and the last line."""
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    train: Train = field(default_factory=Train)
    device: Device = field(default_factory=Device)
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        _check(bool(self.run_dir), "run_dir", self.run_dir, "a folder")
        warmup, epochs = self.optimizer.warmup_epochs, self.train.epochs
        _check(warmup < epochs, "optimizer.warmup_epochs", warmup, f"less than train.epochs, which is {epochs}")


def parse_config(arguments: list[str] | None = None, program: str = "python -m tfseg.train") -> Config:
    """Reads a run from a command line, and from the YAML file that it names with --config.

    What the user got wrong is told in one line on stderr, with the key and the file; the exit code is then 2.

    Args:
        arguments: the words after the program's name; None: those of this process.
        program: the command as its user types it, for --help and errors.
    """
    try:
        parser = _parser(program)
        given = _typed(parser.parse_args, arguments)
        path = given.pop("config", None)
        stored = {} if path is None else _read(parser, path)
        try:
            return _build({**stored, **given})
        except ValueError as error:
            key = str(error).partition(":")[0]
            raise ValueError(f"{path}: {error}" if key in stored and key not in given else str(error)) from None
    except (ValueError, OSError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(2)


def load_config(path: str | Path) -> Config:
    """Reads a run from a YAML file alone, as `save_config` wrote it.

    Raises:
        ValueError: the file is no run; in one line, with the file and the key.
        OSError: the file cannot be read.
    """
    settings = _read(_parser("tfseg"), path)
    try:
        return _build(settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_config(config: Config, path: str | Path) -> None:
    """Writes every setting of a run as YAML that `load_config` and --config read back."""
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


def read_yaml(path: str | Path) -> dict:
    """Reads a YAML file of `key: value`, where a key that is set twice is an error; {} if it is empty.

    Raises:
        ValueError: the file holds something else; in one line, with the file.
        OSError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            tree = yaml.load(file, _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        raise ValueError(f"{path}, line {line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {_joined(error)}") from None
    if not isinstance(tree, dict | None):
        raise ValueError(f"{path}: expected settings as `key: value`, got {as_yaml(tree)}")
    return tree or {}


def as_yaml(value: object) -> str:
    """A value as its user writes it, in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def list_settings(config: Config) -> dict[str, object]:
    """Every setting of a run by its dotted key: {"data.records": "data/city", ...}."""
    return dict(_flatten(dataclasses.asdict(config)))


def type_settings(settings: dict[str, object]) -> dict[str, object]:
    """Gives the values of settings, by dotted key, the types that they have in a run; whether they fit is not checked.

    Raises:
        ValueError: a key is no setting, or its value has another type; in one line that begins with the key.
    """
    return _typed(_parser("tfseg").parse_object, dict(_flatten(settings)))


def change_config(config: Config, settings: dict[str, object]) -> Config:
    """Returns a run with other values for some settings, by dotted key.

    Raises:
        ValueError: as of `type_settings`, or the run cannot have the value.
    """
    return _build({**list_settings(config), **type_settings(settings)})


def _check(correct: bool, key: str, got: object, wanted: str) -> None:
    if not correct:
        raise ValueError(f"{key}: expected {wanted}, got {as_yaml(got)}")


def _check_size(key: str, text: str) -> None:
    try:
        parse_size(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _check_factors(key: str, factors: tuple[float, float]) -> None:
    ordered = len(factors) == 2 and 0 < factors[0] <= factors[1] < math.inf
    _check(ordered, key, factors, "two numbers above 0, the lower one first")


# The dataclasses by dotted key, as a command line and a file name them.
_SECTIONS = {part.name: part.type for part in dataclasses.fields(Config) if dataclasses.is_dataclass(part.type)}
_SETTINGS = {part.name: part for part in dataclasses.fields(Config) if part.name not in _SECTIONS} | {
    f"{section}.{part.name}": part for section, kind in _SECTIONS.items() for part in dataclasses.fields(kind)
}


def _build(settings: dict[str, object]) -> Config:
    """Dotted keys and values of the right types -> Config, which checks the values."""
    missing = [key for key, part in _SETTINGS.items() if _is_required(part) and key not in settings]
    if missing:
        flags = " ".join(f"--{key} {key.rpartition('.')[2].upper()}" for key in missing)
        raise ValueError(f"{' and '.join(missing)} must be set, in the file of --config or as {flags}")
    tree = {section: {} for section in _SECTIONS}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (tree[section] if section else tree)[name] = value
    return Config(**{name: _SECTIONS[name](**value) if name in _SECTIONS else value for name, value in tree.items()})


def _is_required(part: dataclasses.Field) -> bool:
    return part.default is dataclasses.MISSING


def _read(parser: jsonargparse.ArgumentParser, path: str | Path) -> dict[str, object]:
    """A YAML file's settings by dotted key, in their types."""
    tree = read_yaml(path)
    try:
        return _typed(parser.parse_object, dict(_flatten(tree)))
    except ValueError as error:
        raise ValueError(f"{path}: {_joined(error)}") from None


def _joined(error: Exception) -> str:
    return " ".join(str(error).split())


class _UniqueKeys(yaml.SafeLoader):
    """PyYAML lets the later of two equal keys win without a word: a second `train:` would undo the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            value = name = str(key.value)
            if key.tag.removeprefix("tag:yaml.org,2002:") in ("int", "float", "bool"):
                value = self.construct_object(key)  # 16 and 0x10 are one key; so are 1, 1.0 and true
                name = str(value)
            if not seen.isdisjoint((name, value)):
                raise yaml.constructor.ConstructorError(problem=f"{name} is set twice", problem_mark=key.start_mark)
            seen |= {name, value}
        return super().construct_mapping(node, deep)


def load_unique(text: str | bytes) -> object:
    """Parses YAML where a key that is set twice is an error, a `yaml.constructor.ConstructorError`."""
    return yaml.load(text, _UniqueKeys)


def _flatten(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """{"train": {"epochs": 3}} -> ("train.epochs", 3)"""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in _SETTINGS:
            yield key, value
        elif key not in _SECTIONS:
            raise ValueError(_unknown(key))
        elif isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        else:
            raise ValueError(f"{key}: expected the settings {_names(key)} below it, got {as_yaml(value)}")


def _parser(program: str) -> jsonargparse.ArgumentParser:
    """One flag a setting; what is not given stays unset, so that a file's value is known from a default."""
    parser = jsonargparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [--config FILE.yaml] [--SETTING VALUE ...]",
        description="A setting on the command line wins over the same one in the file.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", default=argparse.SUPPRESS, help="Settings in a file.")
    for section, kind in {"": Config, **_SECTIONS}.items():
        group = parser.add_argument_group(section or "run", kind.__doc__)
        for name, text in _field_docs()[kind.__name__].items():
            key = f"{section}.{name}" if section else name
            part = _SETTINGS[key]
            required = {"default": argparse.SUPPRESS, "help": f"Required. {text}"}
            optional = {"default": part.default, "help": text}
            alone = {"nargs": "?", "const": True} if part.type is bool else {}  # --quiet means --quiet true
            group.add_argument(f"--{key}", type=part.type, **alone, **(required if _is_required(part) else optional))
    return parser


@functools.cache
def _field_docs() -> dict[str, dict[str, str]]:
    """Class -> field -> the string below it, which Python itself does not keep."""
    module = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    return {
        kind.name: {
            field.target.id: text.value.value
            for field, text in itertools.pairwise(kind.body)
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
        }
        for kind in module.body
        if isinstance(kind, ast.ClassDef)
    }


def _typed(parse: Callable[..., jsonargparse.Namespace], source: object) -> dict[str, object]:
    """What a jsonargparse method reads from a source, by dotted key; its reports of many lines become one.

    Raises:
        ValueError: one line, starting with the key.
    """
    try:
        settings = vars(parse(source, defaults=False).as_flat())
    except argparse.ArgumentError as error:
        raise ValueError(_in_one_line(str(error))) from None
    for key, value in settings.items():  # jsonargparse takes null for any type
        if key in _SETTINGS and value is None:
            _check(NoneType in get_args(_SETTINGS[key].type), key, None, _wanted(key))
    return settings


def _in_one_line(report: str) -> str:
    """A report of jsonargparse -> key, what was wanted, what was got."""
    report = " ".join(report.split())
    if (match := re.match(r'Parser key "(.+?)"', report)) and match[1] in _SETTINGS:
        got = re.search(r"value: (.*?)( - Expected a .*)?$", report)
        return f"{match[1]}: expected {_wanted(match[1])}{f', got {got[1]}' if got else ''}"
    if match := re.match(r"(?i)unrecognized arguments: (\S+)", report):
        flag, _, _ = match[1].partition("=")
        if flag.startswith("--"):
            return _unknown(flag.removeprefix("--"))
        return f"{flag} stands alone: a file goes after --config, a value after its flag, as in --train.epochs 3"
    return report


def _unknown(key: str) -> str:
    """The message on a key that is no setting, with the nearest one that is."""
    section, _, name = key.rpartition(".")
    if key in _SECTIONS:
        return f"{key}: expected one of its settings, as --{key}.NAME; they are {_names(key)}"
    if reason := NO_SETTING.get(name.replace("-", "_").lower()):
        return f"{key}: unknown setting; {reason}"
    if meant := _find_meant(section, name):
        return f"{key}: unknown setting; did you mean {meant}?"
    if section in _SECTIONS:
        return f"{key}: unknown setting; those of {section} are {_names(section)}"
    return f"{key}: unknown setting; --help lists all"


def _find_meant(section: str, name: str) -> str | None:
    """The setting, or section, that an unknown one stands for; None rather than one that nobody would think of.

    It is known under this name elsewhere, or by all of its words, or spelt nearly so.
    """
    name = name.replace("-", "_").lower()
    known = {part: [part] for part in _SECTIONS}
    for setting in _SETTINGS:
        known.setdefault(setting.rpartition(".")[2], []).append(setting)
    inside = {
        short: kept
        for short, settings in known.items()
        if (kept := [s for s in settings if s.startswith(f"{section}.")])
    }
    for names in (inside, known) if inside else (known,):
        if len(names.get(name, ())) == 1:
            return names[name][0]
        if names is known and name in OTHER_NAMES:
            return OTHER_NAMES[name]
        words = {*name.split("_")} - {""}
        holding = [setting for short, settings in names.items() if words <= {*short.split("_")} for setting in settings]
        if len(holding) == 1 and len(name) > 3:
            return holding[0]
        begun = [setting for short, settings in names.items() if short.startswith(name) for setting in settings]
        if names is inside and len(begun) == 1:
            return begun[0]
        # Four fifths of the letters in order, as of a slip; "lr" is half of "blur", and is meant by nobody.
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.8) if len(name) > 3 else []
        if close and len(names[close[0]]) == 1:
            return names[close[0]][0]
        if names is inside and OTHER_NAMES.get(name, "").startswith(f"{section}."):
            return OTHER_NAMES[name]
    return None


def _names(section: str) -> str:
    return ", ".join(part.name for part in dataclasses.fields(_SECTIONS[section]))


def _wanted(key: str) -> str:
    """What a setting takes, in the user's words."""
    kind, default = _SETTINGS[key].type, _SETTINGS[key].default
    example = f", such as {default}" if isinstance(default, str) and get_origin(kind) is not Literal else ""
    return _in_words(kind) + example


def _in_words(kind: object) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "null"}
    if kind in words:
        return words[kind]
    if get_args(kind)[1:] == (Ellipsis,):
        return f"[{_in_words(get_args(kind)[0])}, ...]"
    if get_origin(kind) is tuple:
        return f"[{', '.join(map(_in_words, get_args(kind)))}]"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) in (dict, list):
        return {dict: "names and values, as {hue: 0.5}", list: "groups, as [{effects: [blur, hue], p: 0.5}]"}[
            get_origin(kind)
        ]
    return " or ".join(map(_in_words, get_args(kind)))
