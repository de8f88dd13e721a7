"""One run as dataclasses: every setting, what it means and which values it takes; `parse` reads them.

The string below a field is its line in --help.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tfseg.config.checks import check, check_factors, check_size
from tfseg.config.tables import EFFECTS, FILTERS, LOSSES, OHEM_MIN_KEPT, count_channels
from tfseg.io.command import parse_size


@dataclass(frozen=True)
class Data:
    """Which images, and how they become batches."""

    records: str
    """Folder of shards and manifest.json, as written by tfseg convert."""
    train_split: str = "train"
    """Split of the manifest to learn from."""
    val_split: str = "val"
    """Split of the manifest that every epoch is scored on."""
    size: str = "320x320"
    """HEIGHTxWIDTH of the images that the network is trained on."""
    fit: Literal["resize", "crop"] = "resize"
    """resize: the whole image, resized to size whatever its aspect ratio. crop: a random crop of the shape of size."""
    crop_scale: tuple[float, float] = (1.0, 1.0)
    """crop only: each crop is enlarged by a factor drawn from this range; it never leaves the image."""
    cat_max_ratio: float = 1.0
    """crop only: crops of which one class takes more than this share are avoided; 0.75 is usual."""
    rare_class_sampling: float = 0.0
    """crop only: probability of cropping where there is most of the rare classes."""
    val_size: str | None = None
    """HEIGHTxWIDTH of the images in validation; null: size for resize, as stored for crop."""
    shuffle_buffer: int = 2000
    """Encoded records held for shuffling; fewer if ram_budget is too small for them."""
    ram_budget: int = 1024
    """MiB of memory for images that wait to be trained on, encoded or decoded."""
    cache: Literal["ram", "disk"] | None = None
    """Keeps decoded pixels in memory, within ram_budget, or on disk beside the records; says first what it takes."""
    service: str | None = None
    """Address of a tf.data service that reads and decodes, such as grpc://localhost:5050; see tfseg data_service."""

    def __post_init__(self) -> None:
        check(bool(self.records), "data.records", self.records, "a folder")
        check(bool(self.train_split), "data.train_split", self.train_split, "a split's name")
        check(bool(self.val_split), "data.val_split", self.val_split, "a split's name")
        check_size("data.size", self.size)
        if self.val_size is not None:
            check_size("data.val_size", self.val_size)
        check_factors("data.crop_scale", self.crop_scale)
        identity = tuple(self.crop_scale) == (1, 1)
        check(self.fit == "crop" or identity, "data.crop_scale", self.crop_scale, "[1.0, 1.0] unless data.fit is crop")
        for name, off in (("cat_max_ratio", 1), ("rare_class_sampling", 0)):
            value = getattr(self, name)
            check(0 <= value <= 1, f"data.{name}", value, "0 to 1")
            check(self.fit == "crop" or value == off, f"data.{name}", value, f"{off} unless data.fit is crop")
        check(self.shuffle_buffer >= 1, "data.shuffle_buffer", self.shuffle_buffer, "at least 1")
        check(self.ram_budget >= 1, "data.ram_budget", self.ram_budget, "at least 1 MiB")
        check(not (self.cache and self.service), "data.cache", self.cache, "null with data.service")
        address = self.service is None or self.service.startswith("grpc://")
        check(address, "data.service", self.service, "null or an address such as grpc://localhost:5050")

    @property
    def eval_size(self) -> tuple[int, int] | None:
        """(height, width) of the images in validation; None: as stored."""
        if self.val_size is not None:
            return parse_size(self.val_size)
        return parse_size(self.size) if self.fit == "resize" else None


@dataclass(frozen=True)
class Augment:
    """Random changes of image and mask together, on the device; the defaults change nothing."""

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
    """Probability of pasting about half of the classes of the batch's next image."""
    probability: dict[str, float] | None = None
    """Effect: probability; 1 for an effect that is not named."""
    one_of: list[dict] | None = None
    """Groups of which an image gets at most one effect: [{effects: [blur, sharpen], p: 0.5}]."""

    def __post_init__(self) -> None:
        for name in ("flip", "class_mix"):
            check(0 <= getattr(self, name) <= 1, f"augment.{name}", getattr(self, name), "0 to 1")
        for name, effect in EFFECTS.items():
            key, value, highest = f"augment.{name}", getattr(self, name), effect.highest
            if highest is None:
                check_factors(key, value)
            else:
                check(0 <= value <= highest, key, value, f"0 to {highest}{effect.unit}")
        for name, share in (self.probability or {}).items():
            check(name in EFFECTS, "augment.probability", name, f"names of effects, {', '.join(EFFECTS)}")
            check(0 <= share <= 1, f"augment.probability.{name}", share, "0 to 1")
        for group in self.one_of or []:
            self._check_group(group)
        named = [name for group in self.one_of or [] for name in group["effects"]]
        twice = next((name for name in named if named.count(name) > 1), None)
        check(twice is None, "augment.one_of", self.one_of, f"each effect once, not {twice} twice")
        filters = [name for name in FILTERS if getattr(self, name)]
        together = any(set(filters) <= set(group["effects"]) for group in self.one_of or [])
        wanted = "one group with all of " + ", ".join(filters) + ", since an image gets one filter at most"
        check(len(filters) < 2 or together, "augment.one_of", self.one_of, wanted)

    def _check_group(self, group: dict) -> None:
        effects, share = group.get("effects"), group.get("p")
        names, known = [*EFFECTS], False
        if isinstance(effects, list | tuple) and len(effects) > 0:
            known = all(effect in names for effect in effects)
        whole = set(group) == {"effects", "p"} and known and isinstance(share, int | float) and 0 <= share <= 1
        wanted = f"groups as {{effects: [blur, sharpen], p: 0.5}}, of {', '.join(EFFECTS)}, and p from 0 to 1"
        check(whole, "augment.one_of", group, wanted)


@dataclass(frozen=True)
class Model:
    """The network: a decoder over the features of an encoder."""

    encoder: str = "efficientnetb3"
    """efficientnetlite0 to efficientnetlite4, a network of keras.applications in small letters, such as resnet50 or
    convnexttiny, or tiny (for tests); with decoder keras_hub, segformer_b0 to segformer_b5 or
    deeplab_v3_plus_resnet50."""
    weights: str | None = "imagenet"
    """imagenet, null (random), or the path of a Keras weights file of that encoder without its top, or of a file of
    PyTorch with EfficientNet's; with decoder keras_hub, null or a preset, such as segformer_b0_cityscapes_1024."""
    decoder: Literal["unet", "fpn", "linknet", "pspnet", "deeplabv3plus", "keras_hub"] = "unet"
    """What turns the encoder's features into one map. keras_hub: the whole network is one of KerasHub."""
    decoder_channels: tuple[int, ...] | None = None
    """Its widths; null: its own. 5 for unet, the deepest first; 2 for fpn, pyramid and branches, and for deeplabv3plus,
    all and the finer feature; 1 for linknet, the last, for pspnet, and for keras_hub."""
    batch_norm_momentum: float = 0.99
    """Momentum of the batch-norm moving averages; lower it (0.97) for runs shorter than 500 steps."""
    skips: Literal["expanded", "block"] = "expanded"
    """What the decoder sees of inverted bottlenecks, as EfficientNet has. expanded: the wide tensors inside them;
    block: their narrow outputs, which take less time. Other encoders are the same either way."""
    start: str | None = None
    """A run, a SavedModel or a file of weights, of which all that fits is taken; weights is not read then."""

    def __post_init__(self) -> None:
        check(bool(self.encoder), "model.encoder", self.encoder, "a network's name")  # which, `encoders` knows
        check(self.weights != "", "model.weights", self.weights, "imagenet, null or a file")
        whole = self.decoder != "keras_hub" or self.skips == "expanded"
        check(whole, "model.skips", self.skips, "expanded with model.decoder keras_hub")
        check(self.start != "", "model.start", self.start, "null, or a run, a SavedModel or a file of weights")
        found = self.decoder != "keras_hub" or self.weights != "imagenet"
        check(found, "model.weights", self.weights, "null or a preset of KerasHub with model.decoder keras_hub")
        channels, count = self.decoder_channels, count_channels(self.decoder)
        fits = channels is None or (len(channels) == count and min(channels) >= 1)
        wanted = f"null or a list of whole numbers above 0, {count} for {self.decoder}"
        check(fits, "model.decoder_channels", channels, wanted)
        momentum = self.batch_norm_momentum
        check(0 <= momentum < 1, "model.batch_norm_momentum", momentum, "a number from 0 to below 1")


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
    auxiliary: float = 0.0
    """Weight of the cross entropy of an auxiliary head on the encoder's feature at stride 16, which is dropped after
    training: it helps the encoder to learn; 0.4 is usual."""
    tversky_alpha: float = 0.3
    """Weight of the pixels that are wrongly taken for a class."""
    tversky_beta: float = 0.7
    """Weight of the pixels of a class that are missed; above tversky_alpha, more of it is found."""
    focal_gamma: float = 2.0
    """The higher, the less counts what is right already; 0 is the cross entropy."""
    label_smoothing: float = 0.0
    """Share of the ground truth that cross entropy and focal spread over all classes; 0.1 is usual."""
    ohem_threshold: float | None = None
    """A pixel counts in cross_entropy only if its true class has at most this probability; 0.7 is usual (OHEM: online
    hard example mining). null: all count."""
    ohem_min_kept: float = OHEM_MIN_KEPT
    """With ohem_threshold, share of the batch's pixels, void left out, that count at least: the hardest."""
    class_weights: Literal["manifest"] | None = None
    """manifest: rare classes count more, by the pixels that the manifest counts in the training split."""
    ignore_class: int | None = 0
    """0, the class id of void: its pixels count nowhere. null: void is learnt, and scored, like the others."""

    def __post_init__(self) -> None:
        for name in (*LOSSES, "auxiliary"):
            check(0 <= getattr(self, name) < math.inf, f"loss.{name}", getattr(self, name), "a weight of 0 or more")
        weighted = any(getattr(self, name) for name in LOSSES)
        check(weighted, "loss.dice", self.dice, f"above 0 when {', '.join(LOSSES[1:])} are 0")
        for name in ("tversky_alpha", "focal_gamma"):
            check(0 <= getattr(self, name) < math.inf, f"loss.{name}", getattr(self, name), "0 or more")
        check(0 < self.tversky_beta < math.inf, "loss.tversky_beta", self.tversky_beta, "above 0")
        check(0 <= self.label_smoothing < 1, "loss.label_smoothing", self.label_smoothing, "0 to below 1")
        threshold, kept = self.ohem_threshold, self.ohem_min_kept
        check(threshold is None or 0 < threshold < 1, "loss.ohem_threshold", threshold, "between 0 and 1, or null")
        mines = threshold is None or self.cross_entropy > 0
        check(mines, "loss.ohem_threshold", threshold, "null unless loss.cross_entropy is above 0")
        check(0 <= kept <= 1, "loss.ohem_min_kept", kept, "0 to 1")
        check(self.ignore_class in (0, None), "loss.ignore_class", self.ignore_class, "0, which is void, or null")


@dataclass(frozen=True)
class Optimizer:
    """Adam or AdamW, and the learning rate over the run."""

    name: Literal["adam", "adamw"] = "adam"
    """adamw adds weight_decay."""
    learning_rate: float = 1e-4
    """The highest learning rate of the schedule."""
    schedule: Literal["constant", "cosine", "polynomial"] = "constant"
    """constant, or decay to 0 over the whole run: by half a cosine, or as (1 - progress) ** 0.9."""
    warmup_epochs: float = 0.0
    """The learning rate rises linearly from 0 over this many epochs."""
    weight_decay: float = 0.0
    """adamw only."""
    ema_momentum: float | None = None
    """Momentum, per batch, of the moving average of the weights that is validated and exported; null: no average."""
    encoder_lr_multiplier: float = 1.0
    """The encoder's learning rate, as a share of the decoder's; 0.1 is usual with ImageNet's weights."""
    clip_norm: float | None = None
    """Gradients are shortened to this norm, taken over all of them; null: they stay as they are."""
    gradient_accumulation_steps: int = 1
    """Batches whose mean gradient makes one step, where memory is too small for larger ones; at the end, those left."""

    def __post_init__(self) -> None:
        check(0 < self.learning_rate < math.inf, "optimizer.learning_rate", self.learning_rate, "above 0")
        check(0 <= self.warmup_epochs < math.inf, "optimizer.warmup_epochs", self.warmup_epochs, "0 or more")
        check(0 <= self.weight_decay < math.inf, "optimizer.weight_decay", self.weight_decay, "0 or more")
        decays = self.name == "adamw" or self.weight_decay == 0
        check(decays, "optimizer.weight_decay", self.weight_decay, "0 unless optimizer.name is adamw")
        steps, momentum, multiplier = self.gradient_accumulation_steps, self.ema_momentum, self.encoder_lr_multiplier
        check(0 < multiplier <= 1, "optimizer.encoder_lr_multiplier", multiplier, "above 0, at most 1")
        clips = self.clip_norm is None or 0 < self.clip_norm < math.inf
        check(clips, "optimizer.clip_norm", self.clip_norm, "above 0, or null")
        check(steps >= 1, "optimizer.gradient_accumulation_steps", steps, "at least 1")
        averages = momentum is None or 0 < momentum < 1
        check(averages, "optimizer.ema_momentum", momentum, "between 0 and 1, or null")


@dataclass(frozen=True)
class Train:
    """How long, how many at once, and from which random numbers."""

    epochs: int = 10
    """Passes over the training split."""
    batch_size: int = 8
    """Images per step."""
    seed: int | None = 0
    """null: another run every time."""
    frozen_epochs: int = 0
    """Epochs at first in which the encoder stays as it is, the statistics of its batch normalisation too."""
    patience: int | None = None
    """Epochs without a better mean IoU, counted at each validation, after which the run ends; null: it never does."""
    rollbacks: int = 0
    """How often a run whose loss is not finite returns to its last checkpoint, with half the learning rate."""
    save_minutes: float = 10.0
    """Minutes between two checkpoints within an epoch, from which a stopped run resumes."""
    val_batch_size: int | None = None
    """Images at a time in validation; null: 1 where they are larger than data.size, else as many as have no more pixels
    than a batch. Scores do not depend on it; the loss in validation does, if it sums over a batch, as Dice does."""
    validation_freq: int = 1
    """Epochs from one validation to the next; the last epoch is validated always. The best epoch is one of these."""
    quantize: Literal["int8"] | None = None
    """int8: steps round weights and activations as LiteRT's int8 does; it needs model.start."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "validation_freq"):
            check(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "at least 1")
        counts = self.val_batch_size is None or self.val_batch_size >= 1
        check(counts, "train.val_batch_size", self.val_batch_size, "at least 1, or null")
        for name in ("frozen_epochs", "rollbacks", "save_minutes"):
            check(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "0 or more")
        waits = self.patience is None or self.patience >= 1
        check(waits, "train.patience", self.patience, "at least 1, or null")
        seeds = self.seed is None or 0 <= self.seed < 2**32  # NumPy takes no more
        check(seeds, "train.seed", self.seed, "0 to 4294967295, or null")


@dataclass(frozen=True)
class Accelerator:
    """Where and how exactly it computes."""

    kind: Literal["auto", "cpu", "cuda", "metal"] = "auto"
    """auto: the GPU that TensorFlow sees, else the CPU."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto: float32 on the CPU, half precision on CUDA, and on Metal from macOS 14 on."""
    prefetch: bool = True
    """Whether the next batch lies in the GPU's memory before its step begins."""
    strategy: Literal["none", "mirrored", "multiworker"] = "none"
    """mirrored: all GPUs of this machine, on TensorFlow; each takes its part of train.batch_size. multiworker: those of
    several machines, named in TF_CONFIG."""
    fused: bool = True
    """false: layers, optimizer and train step are those of Keras, which take more time; to find out whose fault
    something is."""


@dataclass(frozen=True)
class Log:
    """Where settings and scores are sent, beside what the run folder keeps."""

    wandb: str | None = None
    """Project of Weights & Biases; null: not there."""
    mlflow: str | None = None
    """Experiment of MLflow; null: not there."""

    def __post_init__(self) -> None:
        check(self.wandb != "", "log.wandb", self.wandb, "a project's name, or null")
        check(self.mlflow != "", "log.mlflow", self.mlflow, "an experiment's name, or null")


@dataclass(frozen=True)
class Config:
    """One training run: every setting, by section, as the files of configs/ hold them, checked when it is made.

    Raises:
        ValueError: a setting has a value that it cannot have; the message names its key, such as train.epochs.
    """

    data: Data
    run_dir: str
    """Folder that the run writes: config, scores, checkpoints, SavedModel. If it holds this run, stopped before its
    end, the run resumes."""
    overwrite: bool = False
    """true: what an earlier run left in run_dir is deleted first. If anything else lies there, nothing is deleted, and
    the training does not start."""
    quiet: bool = False
    """true: nothing is printed but warnings, errors and the last line."""
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    train: Train = field(default_factory=Train)
    accelerator: Accelerator = field(default_factory=Accelerator)
    log: Log = field(default_factory=Log)

    @classmethod
    def from_yaml(cls, path: str | Path, **changes: object) -> "Config":
        """Reads a run from a YAML file; `changes` are other values for some of its settings, by section.

        Raises:
            ValueError: the file is no run, or a setting is unknown or out of its range; file and key are named.
            OSError: the file cannot be read.

        Example:
            >>> import tfseg
            >>> tfseg.Config.from_yaml("city.yaml", train={"epochs": 3}).train.epochs
            3
        """
        from tfseg.config.parse import change_config, load_config

        return change_config(load_config(path), changes)

    def __post_init__(self) -> None:
        check(bool(self.run_dir), "run_dir", self.run_dir, "a folder")
        warmup, epochs = self.optimizer.warmup_epochs, self.train.epochs
        check(warmup < epochs, "optimizer.warmup_epochs", warmup, f"less than train.epochs, which is {epochs}")
