"""One run as dataclasses: YAML and command line in, precise errors out."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Data:
    """Which pictures, and how they become batches."""

    # Folder of shards and manifest.json, as written by tools/make_tfrecords.py.
    records: str
    train_split: str = "train"
    val_split: str = "val"
    # HEIGHTxWIDTH of the pictures that the network is trained on.
    size: str = "320x320"
    # resize: the whole picture, squashed to `size`. crop: a random window of the shape of `size`.
    fit: Literal["resize", "crop"] = "resize"
    # crop only: each window is enlarged by a factor drawn from this range; it never leaves the picture.
    scale: tuple[float, float] = (1.0, 1.0)
    # HEIGHTxWIDTH of the pictures in validation; null: `size` for resize, as stored for crop.
    val_size: str | None = None
    # Encoded records held for shuffling.
    shuffle: int = 2000


@dataclass(frozen=True)
class Augment:
    """Random changes of picture and mask together, on the device; the defaults change nothing."""

    # Probability of mirroring left and right.
    flip: float = 0.0
    # Rotation is drawn from -rotation..rotation degrees.
    rotation: float = 0.0
    # Zoom factor range; above 1 enlarges.
    zoom: tuple[float, float] = (1.0, 1.0)
    # Shift of brightness as a share of the full range: drawn from -brightness..brightness.
    brightness: float = 0.0
    # Contrast factor is drawn from 1-contrast..1+contrast.
    contrast: float = 0.0
    # Saturation factor is drawn from 1-saturation..1+saturation.
    saturation: float = 0.0
    # Hue is turned by an angle from -hue..hue degrees.
    hue: float = 0.0


@dataclass(frozen=True)
class Model:
    """The network: a U-Net decoder over an encoder's features."""

    # efficientnetb0 to efficientnetb7, or tiny (for tests).
    encoder: str = "efficientnetb3"
    # imagenet, null (random), or the path of a Keras weights file of that encoder without its top.
    weights: str | None = "imagenet"
    decoder_channels: tuple[int, int, int, int, int] = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class Loss:
    """A weighted sum of losses over the pixels; weight 0 leaves a loss out."""

    dice: float = 1.0
    cross_entropy: float = 0.0
    # True: void is a class to learn like the others. False: void pixels count nowhere.
    learn_void: bool = False


@dataclass(frozen=True)
class Optimizer:
    """Adam or AdamW with its schedule of rates."""

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    # constant, or cosine decay to 0 over the whole run.
    schedule: Literal["constant", "cosine"] = "constant"
    # The rate rises linearly from 0 over this many epochs.
    warmup_epochs: float = 0.0
    # adamw only.
    weight_decay: float = 0.0
    # Momentum of the running average of the weights that is validated and exported; null: no average.
    ema: float | None = None


@dataclass(frozen=True)
class Train:
    """How long, how many at once, and from which random numbers."""

    epochs: int = 10
    batch_size: int = 8
    # null: another run every time.
    seed: int | None = 0


@dataclass(frozen=True)
class Device:
    """Where and how exactly it computes."""

    # auto: float32 on the CPU and on Metal, half precision on CUDA.
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"


@dataclass(frozen=True)
class Config:
    """One training run."""

    data: Data
    # Folder that the run writes: config, scores, checkpoints, SavedModel. It must not exist yet, or be empty.
    run_dir: str
    # True: whatever an earlier run left in run_dir is deleted first.
    overwrite: bool = False
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    train: Train = field(default_factory=Train)
    device: Device = field(default_factory=Device)
