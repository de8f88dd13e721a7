"""Trains the Unet of segmentation_models_pytorch over timm's EfficientNet-Lite0, for peer_trainers.py.

The encoder starts from the same ImageNet weights as ours. The loop is the one that the library's own example for
CamVid writes (examples/camvid_segmentation_multiclass.ipynb), without Lightning and for so many minutes.
"""

import copy
import dataclasses
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.check_lite import MEAN, SCALE, make_timm
from benchmarks.peer_data import IGNORED, PeerData
from tfseg.io.images import decode_file
from tfseg.io.masks import decode_mask
from tfseg.io.regular_files import read_file

# Of smp's two encoders of that name the one that is timm's own: the other, "timm-tf_efficientnet_lite0", pads as
# PyTorch does and divides by another epsilon, for which the weights were not made.
ENCODER = "tu-tf_efficientnet_lite0"
DIVISOR = 32  # of the height and width of what the network takes
VAL_BATCH_SIZE = 4


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        imagenet: whether the encoder starts from ImageNet weights.
        augmentation: "example", of the library's example, or "light": scale, flip and colours.
        crop: height and width of the random crops.
        scale: least and greatest factor of the images' size before that, for the light augmentation.
        batch_size: images of a step.
        optimizer: of torch.optim.
        learning_rate: its greatest.
        final_learning_rate: to which a cosine brings it down.
        encoder_lr_multiplier: of the learning rate, for the encoder.
        warmup: fraction of the time in which the learning rate rises to its greatest.
        weight_decay: of the optimizer.
        cross_entropy: its weight beside the Dice loss, whose weight is 1.
        autocast: whether PyTorch computes in bfloat16 where it holds that to be safe.
    """

    imagenet: bool = True
    augmentation: str = "example"
    crop: tuple[int, int] = (320, 320)
    scale: tuple[float, float] = (0.5, 2.0)
    batch_size: int = 32
    optimizer: str = "Adam"
    learning_rate: float = 2e-4
    final_learning_rate: float = 1e-5
    encoder_lr_multiplier: float = 1.0
    warmup: float = 0.0
    weight_decay: float = 0.0
    cross_entropy: float = 0.0
    autocast: bool = False


# "documented" is the example's; "fitted" takes more and smaller steps, and the losses and augmentation that most use.
RECIPES = {
    "documented": {},
    "fitted": {
        "augmentation": "light",
        "crop": [352, 480],
        "batch_size": 8,
        "optimizer": "AdamW",
        "learning_rate": 1e-3,
        "final_learning_rate": 0.0,
        "warmup": 0.03,
        "weight_decay": 0.01,
        "cross_entropy": 1.0,
        "autocast": True,
    },
}


def train(
    data: PeerData, out: Path, minutes: float, seed: int, threads: int, settings: dict
) -> tuple[dict, dict[str, Iterator]]:
    """Trains for so long; returns what happened, and masks of the validation split by the weights of the best epoch.

    The clock runs from the first step to the last, with the validation after each epoch but the last.
    """
    import segmentation_models_pytorch
    import timm
    import torch

    recipe = Recipe(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build(recipe, len(data.classes)).to(device, memory_format=torch.channels_last)
    loader = make_loader(data, recipe, seed)
    done = learn(network, loader, data, recipe, 60 * minutes, device)
    network.load_state_dict(done.pop("weights"))
    results = {
        "device": device,
        **done,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "settings": dataclasses.asdict(recipe),
        "versions": {
            "segmentation_models_pytorch": segmentation_models_pytorch.__version__,
            "timm": timm.__version__,
            "torch": torch.__version__,
        },
    }
    return results, {"masks": predict(network, data, device, recipe.autocast)}


def build(recipe: Recipe, classes: int):
    """The network, its encoder with timm's names and the packaged weights."""
    import segmentation_models_pytorch

    network = segmentation_models_pytorch.Unet(ENCODER, encoder_weights=None, classes=classes)
    if recipe.imagenet:
        encoder = network.encoder.model
        weights = make_timm(0).state_dict()
        encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    return network


def learn(network, loader, data: PeerData, recipe: Recipe, limit: float, device: str) -> dict:
    """Trains for so many seconds; returns counts, the epochs' scores, and the weights of the best epoch."""
    import torch

    optimizer = make_optimizer(network, recipe)
    compute_loss = make_loss(recipe)
    steps, images, seconds, history, best = 0, 0, 0.0, [], None
    start = time.monotonic()
    while time.monotonic() - start < limit:
        network.train()
        for pixels, truth in loader:
            for group in optimizer.param_groups:
                group["lr"] = group["multiplier"] * choose_rate(recipe, (time.monotonic() - start) / limit)
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=recipe.autocast):
                logits = network(normalize(pixels, device))
            loss = compute_loss(logits.float(), truth.to(device).long())
            loss.backward()
            optimizer.step()
            steps, images, seconds = steps + 1, images + len(pixels), time.monotonic() - start
            if seconds >= limit:
                break
        score = score_classes(network, data, device, recipe.autocast)
        history.append({"seconds": time.monotonic() - start, "loss": float(loss.detach()), "mean_iou": score})
        print(f"epoch {len(history)}: {seconds:.0f} s, {steps} steps, mean IoU {score:.4f}", flush=True)
        if score >= max(epoch["mean_iou"] for epoch in history):
            best = copy.deepcopy(network.state_dict())
    return {
        "seconds": seconds,
        "steps": steps,
        "images": images,
        "epochs": len(history),
        "history": history,
        "weights": best,
    }


def choose_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after such a part of the time: a linear rise, then half a cosine down."""
    if progress < recipe.warmup:
        return recipe.learning_rate * progress / recipe.warmup
    part = min(1.0, (progress - recipe.warmup) / (1 - recipe.warmup))
    span = recipe.learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + span * (1 + math.cos(math.pi * part)) / 2


def make_optimizer(network, recipe: Recipe):
    import torch

    encoder = list(network.encoder.parameters())
    known = {id(weight) for weight in encoder}
    others = [weight for weight in network.parameters() if id(weight) not in known]
    groups = [
        {"params": encoder, "multiplier": recipe.encoder_lr_multiplier},
        {"params": others, "multiplier": 1.0},
    ]
    make = getattr(torch.optim, recipe.optimizer)
    return make(groups, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def make_loss(recipe: Recipe):
    """Dice, and cross-entropy if it has a weight, both without what is void."""
    import segmentation_models_pytorch
    import torch

    dice = segmentation_models_pytorch.losses.DiceLoss("multiclass", from_logits=True, ignore_index=IGNORED)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)

    def compute(logits, truth):
        loss = dice(logits.contiguous(), truth)
        return loss + recipe.cross_entropy * cross_entropy(logits, truth) if recipe.cross_entropy else loss

    return compute


def normalize(pixels, device: str):
    """Brings uint8 (B, H, W, 3) to what the encoder was trained on, (B, 3, H, W) with the channels last in memory."""
    return (pixels.to(device).permute(0, 3, 1, 2).float() - MEAN) / SCALE


class Images:
    """Images and masks for PyTorch's DataLoader."""

    def __init__(self, data: PeerData, split: str, augmentation=None):
        self.data, self.paths, self.augmentation = data, data.images(split), augmentation

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        path = self.paths[index]
        pair = {"image": decode_file(read_file(path)), "mask": decode_mask(read_file(self.data.mask(path)))}
        pair = pair if self.augmentation is None else self.augmentation(**pair)
        return pair["image"], pair["mask"]


def make_loader(data: PeerData, recipe: Recipe, seed: int):
    """Shuffled and augmented batches of an epoch."""
    import torch

    images = Images(data, "train", make_augmentation(recipe, seed))
    if len(images) < recipe.batch_size:
        raise ValueError(
            f"{data.folder}: has {len(images)} images to train on, fewer than a batch of {recipe.batch_size}"
        )
    order = torch.Generator().manual_seed(seed)
    return torch.utils.data.DataLoader(images, recipe.batch_size, shuffle=True, drop_last=True, generator=order)


def make_augmentation(recipe: Recipe, seed: int):
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would look for a newer release of itself
    import albumentations as A

    height, width = recipe.crop
    pad = A.PadIfNeeded(height, width, border_mode=0, fill_mask=IGNORED)
    crop = A.RandomCrop(height, width)
    if recipe.augmentation == "light":
        least, greatest = recipe.scale
        steps = [
            A.RandomScale((least - 1, greatest - 1), p=1),
            pad,
            crop,
            A.HorizontalFlip(p=0.5),
            A.ColorJitter(brightness=0.2, contrast=0.3, saturation=0.3, hue=10 / 360, p=1),  # as configs/camvid.yaml
        ]
        return A.Compose(steps, seed=seed)
    move = A.Affine(scale=(0.5, 1.5), translate_percent=(-0.1, 0.1), border_mode=0, fill_mask=IGNORED, p=1)
    light = [A.CLAHE(p=1), A.RandomBrightnessContrast(p=1), A.RandomGamma(p=1)]
    sharpness = [A.Sharpen(p=1), A.Blur(blur_limit=3, p=1), A.MotionBlur(blur_limit=3, p=1)]
    colors = [A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)]
    steps = [A.HorizontalFlip(p=0.5), move, pad, crop, A.GaussNoise(p=0.2), A.Perspective(fill_mask=IGNORED, p=0.5)]
    return A.Compose([*steps, *(A.OneOf(kinds, p=0.9) for kinds in (light, sharpness, colors))], seed=seed)


def infer(network, pixels, device: str, autocast: bool):
    """Class ids of whole images, (B, H, W) from uint8 (B, H, W, 3); mirrored at the edges up to a multiple of 32."""
    import torch

    height, width = pixels.shape[1:3]
    rows, columns = -height % DIVISOR, -width % DIVISOR
    top, left = rows // 2, columns // 2
    padding = (left, columns - left, top, rows - top)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=autocast):
        padded = torch.nn.functional.pad(normalize(pixels, device), padding, mode="reflect")
        logits = network(padded.contiguous(memory_format=torch.channels_last))
        return logits[..., top : top + height, left : left + width].argmax(1).cpu()


def score_classes(network, data: PeerData, device: str, autocast: bool) -> float:
    """Mean IoU of the classes that the validation split has, by which the best epoch is chosen."""
    import torch

    network.eval()
    classes = len(data.classes)
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    for pixels, truth in torch.utils.data.DataLoader(Images(data, "val"), VAL_BATCH_SIZE):
        predicted, counted = infer(network, pixels, device, autocast), truth != IGNORED
        cells = truth[counted].long() * classes + predicted[counted]
        matrix += torch.bincount(cells, minlength=classes**2).reshape(classes, classes)
    hits, present = matrix.diag(), matrix.sum(1) > 0
    union = matrix.sum(0) + matrix.sum(1) - hits
    return float((hits / union.clamp(min=1))[present].mean())


def predict(network, data: PeerData, device: str, autocast: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yields id and mask of the images of the validation split, each seen once at its own size."""
    import torch

    network.eval()
    for path in data.images("val"):
        pixels = torch.from_numpy(decode_file(read_file(path)))[None]
        yield path.stem, infer(network, pixels, device, autocast)[0].numpy()
