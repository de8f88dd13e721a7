"""Augmentation of image and mask together, on the device, inside the compiled step.

First everything is drawn, a few numbers per image, as a function of (seed, step). They come together in one matrix, one
colour transform and one kernel per image, which `effects.change` applies. What is off is not computed.
"""

import hashlib
import math
import secrets
from numbers import Real

import keras
import numpy as np
from keras import ops

from tfseg import backend
from tfseg.augmentation import effects
from tfseg.config import schema
from tfseg.config.checks import check_count
from tfseg.config.tables import EFFECTS, FILTERS

IDS = 256  # that a mask of bytes can distinguish
GEOMETRY = {"rotation", "zoom", "shear", "shift", "perspective"}
COLOR = {"brightness", "contrast", "saturation"}
OF_RGB = ("saturation", "hue")  # which say nothing of other channels
CURVE = {"gamma", "tone_curve"}


class Augmenter:
    """Changes each image of a batch in its own way, and its mask with it, as a function of (seed, step).

    Args:
        flip: probability of mirroring left and right.
        rotation: largest angle either way, degrees.
        zoom: range of the factor, drawn evenly on a log scale; above 1 enlarges.
        shear: largest lean of uprights either way, degrees.
        shift: largest shift either way, as a share of height and width.
        perspective: farthest that each corner of what is seen moves inwards, as a share of height and width.
        brightness: largest shift either way, as a share of 255.
        contrast: factor, drawn from 1-contrast..1+contrast.
        saturation: factor about each pixel's grey, drawn from 1-saturation..1+saturation.
        hue: largest turn either way, degrees.
        gamma: range of the exponent, drawn evenly on a log scale; below 1 brightens.
        tone_curve: farthest that the curve's two control points move up or down.
        blur: largest deviation of a Gaussian blur, pixels.
        motion_blur: longest motion, pixels, in any direction.
        sharpen: largest share of the Laplacian that is added.
        noise: largest deviation of Gaussian noise, as a share of 255.
        cutout: largest side of a box that is made grey and void, as a share of height and width.
        class_mix: probability of pasting about half of the classes of the batch's next image.
        probability: effect -> probability, where it is not 1.
        one_of: groups {"effects": names, "p": probability}, of each of which at most one effect comes at a time, with
            chances in proportion to the members' probabilities. Effects that are off are passed over.
        channels: of the images; of others than RGB, saturation and hue are nothing.
        num_classes: of the masks, void included, among which class_mix chooses; None: as many as bytes distinguish.
        seed: of the draws; None for another run every time.

    Raises:
        TypeError: an effect that is not known, or a strength that is no number.
        ValueError: a strength that a config would not have either; saturation or hue of images that are not RGB; an
            effect in two groups, or of blur, motion blur and sharpen more than one outside one group: an image gets one
            of them at most.
    """

    def __init__(
        self,
        *,
        flip=0.0,
        class_mix=0.0,
        probability=None,
        one_of=None,
        channels=3,
        num_classes=None,
        seed=None,
        **strengths,
    ):
        if unknown := sorted(set(strengths) - set(EFFECTS)):
            raise TypeError(f"{unknown[0]}: expected one of {', '.join(EFFECTS)}")
        for name, value in {"flip": flip, "class_mix": class_mix, **strengths}.items():
            check_type(name, value)
        schema.Augment(flip=flip, class_mix=class_mix, probability=probability, one_of=one_of, **strengths)
        self.flip, self.class_mix = flip, class_mix
        self.strength = {name: value for name, value in strengths.items() if not is_off(name, value)}
        check_colors(self.strength, channels)
        self.channels = check_count("channels", channels)
        self.groups = make_groups(self.strength, probability or {}, one_of or [])
        self.num_classes = check_count("num_classes", IDS if num_classes is None else num_classes, most=IDS)
        self.seed = check_count("seed", secrets.randbits(32) if seed is None else seed, 0)

    def __call__(self, image, mask, step=0, replica=0):
        """Changes a batch.

        Args:
            image: (batch, height, width, channels), 0..255, integers or floats; or int8, see `backend.as_floats`.
            mask: integers (batch, height, width), class ids below `num_classes`; or int8, see `backend.as_ids`.
            step: whole number; another one gives other draws.
            replica: number of the device; another one gives other draws.

        Returns:
            float32 image in 0..255 and int32 mask, of the same shapes.

        Raises:
            ValueError: the image is of other channels or of 0..1, or class_mix meets a class id that is none. Within a
                compiled step neither of the latter is looked for: there, what is no class id is not pasted.
        """
        backend.check_pixels(image)
        if self.class_mix:
            backend.check_ids(mask, self.num_classes, "mask")
        batch, height, width, channels = ops.shape(image)
        if channels != self.channels:
            raise ValueError(f"image: expected {self.channels} channels, got {channels}")
        return backend.jit(effects.change)(image, mask, **self.draw(batch, height, width, step, replica))

    def draw(self, batch, height, width, step=0, replica=0) -> dict:
        """Draws what `effects.change` takes, for a batch of images of one size."""
        numbers = self.draw_numbers(batch, step, replica)
        on = self.draw_which(numbers)
        ones = ops.ones((batch,))

        def between(name, low, high, neutral, place=0):
            """From `low` to `high` where an effect is on, else `neutral`."""
            if name not in self.strength:
                return neutral * ones
            return neutral + on[name] * (low - neutral + (high - low) * numbers[name][:, place])

        def around(name, neutral=0.0, unit=1.0, place=0):
            reach = self.strength.get(name, 0.0) * unit
            return between(name, neutral - reach, neutral + reach, neutral, place)

        def factor(name):
            low, high = map(math.log, self.strength.get(name, (1.0, 1.0)))
            return ops.exp(between(name, low, high, 0.0))

        drawn = {}
        if self.class_mix:
            mixed = ops.cast(numbers["class_mix"][:, :1] < self.class_mix, "float32")
            drawn["classes"] = mixed * ops.cast(numbers["class_mix"][:, 1:] < 0.5, "float32")
        if self.flip or GEOMETRY & set(self.strength):
            mirrored = ops.cast(numbers["flip"][:, 0] < self.flip, "float32")
            radians = math.pi / 180
            matrix = effects.affine_matrix(
                around("rotation", unit=radians),
                factor("zoom"),
                around("shear", unit=radians),
                around("shift", unit=width),
                around("shift", unit=height, place=1),
                mirrored,
            )
            if "perspective" in self.strength:
                reach = self.strength["perspective"]
                inwards = [between("perspective", 0.0, reach, 0.0, place) for place in range(8)]
                matrix = ops.matmul(matrix, effects.perspective_matrix(inwards, height, width))
            drawn["matrix"] = effects.from_corner(matrix, height, width)
        if COLOR & set(self.strength):
            drawn["color"] = effects.color_matrix(
                around("contrast", 1.0), around("brightness", unit=255), around("saturation", 1.0), self.channels
            )
        if "hue" in self.strength:
            drawn["turn"] = around("hue", unit=1 / 360)
        if CURVE & set(self.strength):
            drawn["curve"] = factor("gamma"), around("tone_curve", 1 / 3), around("tone_curve", 2 / 3, place=1)
        if set(FILTERS) & set(self.strength):
            drawn["kernel"] = effects.filter_kernel(
                self.kernel_size(),
                sigma=between("blur", 0.0, self.strength.get("blur"), 0.0),
                length=between("motion_blur", 1.0, self.strength.get("motion_blur"), 1.0),
                angle=math.pi * numbers["motion_blur"][:, 1],
                alpha=between("sharpen", 0.0, self.strength.get("sharpen"), 0.0),
            )
        if "noise" in self.strength:
            deviation = between("noise", 0.0, 255 * self.strength["noise"], 0.0)[:, None, None, None]
            key = Key("noise", self.seed, step, replica)
            drawn["noise"] = deviation * keras.random.normal((batch, height, width, self.channels), seed=key)
        if "cutout" in self.strength:
            tall, wide = (between("cutout", 0.0, self.strength["cutout"], 0.0, place) for place in (0, 1))
            middle = numbers["cutout"][:, 2] * height, numbers["cutout"][:, 3] * width
            drawn["box"] = effects.box_around(*middle, tall * height, wide * width)
        return drawn

    def draw_numbers(self, batch, step, replica) -> dict:
        """Draws numbers from 0 to 1: name of an effect or "which" -> (batch, as many as it takes)."""
        counts = {
            "flip": 1,
            "class_mix": 1 + self.num_classes,
            **{name: effect.draws for name, effect in EFFECTS.items()},
        }
        counts["which"] = len(self.groups)
        key = Key("parameters", self.seed, step, replica)
        numbers = keras.random.uniform((batch, sum(counts.values())), seed=key)
        columns, first = {}, 0
        for name, count in counts.items():
            columns[name] = numbers[:, first : first + count]
            first += count
        return columns

    def draw_which(self, numbers) -> dict:
        """Chooses at most one effect of each group: effect -> (batch,), 1 where it is on, else 0."""
        on = {}
        for place, group in enumerate(self.groups):
            number = numbers["which"][:, place]
            low = 0.0
            for name, chance in group.items():
                on[name] = ops.cast((number >= low) & (number < low + chance), "float32")
                low += chance
        return on

    def kernel_size(self) -> int:
        """Side of the smallest kernel that holds the strongest filter: three deviations of a blur, a whole motion."""
        reach = max(3 * self.strength.get("blur", 0), (self.strength.get("motion_blur", 1) - 1) / 2, 1)
        return 2 * math.ceil(reach) + 1


def check_colors(strengths, channels: int) -> None:
    """Raises ValueError if effects that take RGB apart are on, and images have other channels."""
    if channels != 3 and (named := [name for name in OF_RGB if name in strengths]):
        images = f"these images have {channels} channel{'s' if channels > 1 else ''}"
        settings = " and ".join(f"augment.{name}" for name in named)
        raise ValueError(f"{settings}: of RGB alone, but {images}; set {'both' if len(named) > 1 else 'it'} to 0")


def check_type(name: str, value) -> None:
    """Raises TypeError unless an effect's strength is a number, or two where it is a range."""
    is_range = name in EFFECTS and isinstance(EFFECTS[name].off, tuple)
    whole = all(isinstance(part, Real) for part in value) if is_range and np.iterable(value) else False
    if not (whole if is_range else isinstance(value, Real)):
        raise TypeError(f"{name}: expected {'two numbers' if is_range else 'a number'}, got {value!r}")


def is_off(name: str, value) -> bool:
    """Whether a strength, of the right type, changes nothing."""
    off = EFFECTS[name].off
    return tuple(value) == off if isinstance(off, tuple) else value == off


def make_groups(strengths, probability: dict, one_of: list) -> list[dict]:
    """Sorts effects into groups of which at most one comes at a time: [effect -> its chance], those alone last.

    Raises:
        ValueError: an effect is in two groups, or two filters are not in one.
    """
    named = [name for group in one_of for name in group["effects"]]
    if twice := [name for name in dict.fromkeys(named) if named.count(name) > 1]:
        raise ValueError(f"one_of: expected each effect in one group, got {twice[0]} twice")
    groups = []
    for group in one_of:
        weights = {name: probability.get(name, 1.0) for name in group["effects"] if name in strengths}
        total = sum(weights.values())
        groups.append({name: group["p"] * weight / total for name, weight in weights.items() if total})
    groups += [{name: probability.get(name, 1.0)} for name in strengths if name not in named]
    if sum(bool(set(FILTERS) & set(group)) for group in groups) > 1:
        raise ValueError(
            "one_of: blur, motion_blur and sharpen are one filter per image: put those that are on into one group"
        )
    return groups


class Key(keras.random.SeedGenerator):
    """The seed of one draw, where `keras.random` asks for a generator; it has no state."""

    def __init__(self, kind: str, seed: int, step, replica):
        digest = hashlib.sha256(f"{kind} {seed}".encode()).digest()
        self.first, self.step = int.from_bytes(digest[:4]) >> 2, step  # of 30 bits
        self.replica = replica

    def next(self, ordered=True):
        dtype = "uint32" if keras.backend.backend() in ("jax", "mlx") else "int32"
        first = ops.cast(self.replica, dtype) * 7919 + self.first
        return ops.stack([ops.cast(first, dtype), ops.cast(self.step, dtype)])
