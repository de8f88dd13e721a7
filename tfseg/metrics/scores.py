"""Scores of masks in memory: arrays in; IoU and F1 by class and their means out, in an object that shows itself."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from numbers import Integral
from typing import Any, Literal

import numpy as np

from tfseg.io.escaping import printable
from tfseg.io.notebooks import color_square, html_table
from tfseg.records.labels import VOID

NO_CLASS = 255  # what many tools write for pixels of no class
MOST_NUMBERED = 2**12  # classes without names: their confusion matrix takes 128 MiB
_OF_PROBABILITIES = {"calibration_error", "batch_mean_iou_with_void", "batch_mean_f1_with_void"}


@dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Scores of a set of masks, see `score`; printed, or shown in a notebook, it is a table.

    Rates are in 0..1, and nan where there is nothing to score: of a class that is neither in the ground truth nor
    predicted, and of the ignored one; neither has a part in a mean.

    Attributes:
        classes: their names, by class id.
        ignore_class: the label whose ground truth counts nowhere, a class or a value that is none; None: all count.
        iou, f1: float64 (classes,), by this rule.
        iou_with_void, f1_with_void: the same with the ignored class as a class like the others.
        boundary_iou: float64 (classes,), IoU of boundaries alone (Cheng et al. 2021, arXiv:2103.16562).
        support: int64 (classes,), pixels of the ground truth.
        confusion_matrix: int64 (classes, classes), rows are ground truth, columns are prediction.
        mean_iou, mean_f1, mean_iou_with_void, mean_f1_with_void, mean_boundary_iou: means of these over classes.
        pixel_accuracy: share of the pixels that count and are right.
        calibration_error: expected calibration error (Guo et al. 2017, arXiv:1706.04599); None without probabilities.
        batch_mean_iou_with_void, batch_mean_f1_with_void: see `segmentation.PixelScores.result`; None likewise.
        palette: red, green, blue in 0..255 of each class, for `_repr_html_`; None: no colours.

    Example:
        >>> import numpy as np
        >>> from tfseg import score
        >>> scores = score(np.array([[0, 1, 1, 2]]), np.array([[1, 1, 2, 2]]), classes=["void", "road", "sky"])
        >>> scores
        Scores(mean_iou=0.5, mean_f1=0.6667, classes=3, ignore_class=0)
        >>> print(scores)
        class                  IoU %  F1 %  boundary IoU %  share of pixels %
        void                       -     -               -               25.0
        road                    50.0  66.7             0.0               50.0
        sky                     50.0  66.7            50.0               25.0
        mean, void left out     50.0  66.7            25.0
        mean, void as a class   27.8  38.9
        pixel accuracy 66.7 %; ignore_class=0: ground truth of void counts nowhere
    """

    classes: tuple[str, ...]
    ignore_class: int | None
    iou: np.ndarray
    f1: np.ndarray
    iou_with_void: np.ndarray
    f1_with_void: np.ndarray
    boundary_iou: np.ndarray
    support: np.ndarray
    confusion_matrix: np.ndarray
    mean_iou: float
    mean_f1: float
    mean_iou_with_void: float
    mean_f1_with_void: float
    mean_boundary_iou: float
    pixel_accuracy: float
    calibration_error: float | None = None
    batch_mean_iou_with_void: float | None = None
    batch_mean_f1_with_void: float | None = None
    palette: tuple[tuple[int, int, int], ...] | None = field(default=None, kw_only=True)

    @classmethod
    def from_dict(
        cls, content: Mapping[str, Any], palette: Sequence[Sequence[int]] | np.ndarray | None = None
    ) -> "Scores":
        """Reads what `to_dict` gives, or a file of scores holds: metrics.json, scores-SPLIT.json; the rest is left out.

        Args:
            content: of the file.
            palette: as of `score`.

        Raises:
            ValueError: a score is missing or is no number, or there are not as many as classes.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"expected scores as scores-SPLIT.json has them, got {type(content).__name__}")
        classes = tuple(map(str, content.get("classes", ())))
        values = {"boundary_iou": [None] * len(classes), "mean_boundary_iou": None, **content}  # older files lack these
        wanted = {each.name for each in fields(cls)} - {"classes", "ignore_class", "palette"}
        try:
            found = {name: _from_json(values[name]) for name in wanted - _OF_PROBABILITIES}
            found |= {name: _from_json(values[name]) for name in wanted & _OF_PROBABILITIES & values.keys()}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"expected scores as scores-SPLIT.json has them, got {error} missing or no number"
            ) from None
        if any(len(value) != len(classes) for value in found.values() if isinstance(value, np.ndarray)):
            raise ValueError(f"expected scores of {len(classes)} classes, as many as have names, got others")
        ignore_class = content.get("ignore_class", None if content.get("learn_void") else VOID)
        colors = None if palette is None else tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
        return cls(classes=classes, ignore_class=ignore_class, palette=colors, **found)

    @property
    def learn_void(self) -> bool:
        """Whether no class is ignored, so that `iou` is `iou_with_void`, and so on."""
        return self.ignore_class not in range(len(self.classes))

    @property
    def rule(self) -> str:
        """Which pixels count, in words."""
        if self.ignore_class is None:
            return "ignore_class=None: all classes count"
        if self.learn_void:
            return f"ignore_class={self.ignore_class}: pixels of that label, which is no class, count nowhere"
        return f"ignore_class={self.ignore_class}: ground truth of {self.classes[self.ignore_class]} counts nowhere"

    def to_dict(self) -> dict:
        """Gives the scores under the names of scores-SPLIT.json, as what JSON has: lists, numbers, and None for nan."""
        given = {name: value for name, value in vars(self).items() if value is not None and name != "palette"}
        if self.ignore_class == VOID:  # as in files, `learn_void` says so
            del given["ignore_class"]
        return {name: _as_json(value) for name, value in {**given, "learn_void": self.learn_void}.items()}

    def rows(self) -> list[tuple[str, ...]]:
        """Gives the table as text, its head first: a row a class in percent, then the means."""
        total = max(self.support.sum(), 1)
        columns = (self.iou, self.f1, self.boundary_iou, self.support / total)
        rows = [("class", "IoU %", "F1 %", "boundary IoU %", "share of pixels %")]
        rows += [(name, *map(_percent, own)) for name, *own in zip(self.classes, *columns, strict=True)]
        means = *map(_percent, (self.mean_iou, self.mean_f1, self.mean_boundary_iou)), ""
        if self.learn_void or self.ignore_class is None:
            return [*rows, ("mean", *means)]
        ignored = self.classes[self.ignore_class]
        with_void = _percent(self.mean_iou_with_void), _percent(self.mean_f1_with_void)
        return [*rows, (f"mean, {ignored} left out", *means), (f"mean, {ignored} as a class", *with_void, "", "")]

    def table(self) -> str:
        """Lays the scores out as plain text, with the rule by which pixels count in the last line."""
        rows = [tuple(map(printable, row)) for row in self.rows()]
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = [
            "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
            for name, *cells in rows
        ]
        return "\n".join([*(line.rstrip() for line in lines), printable(self._footer())])

    def _footer(self) -> str:
        return f"pixel accuracy {_percent(self.pixel_accuracy)} %; {self.rule}"

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        means = f"mean_iou={self.mean_iou:.4g}, mean_f1={self.mean_f1:.4g}"
        return f"Scores({means}, classes={len(self.classes)}, ignore_class={self.ignore_class})"

    def _repr_html_(self) -> str:
        """The table for a notebook, its text escaped."""
        head, *rows = self.rows()
        squares = [*map(color_square, self.palette or ()), *[""] * len(rows)]
        cells = [[square + escape(name), *values] for square, (name, *values) in zip(squares, rows, strict=False)]
        return html_table([*map(escape, head)], cells, self._footer())


def score(
    truth: Any,
    prediction: Any,
    classes: Iterable[str] | None = None,
    ignore_class: int | Literal["auto"] | None = "auto",
    palette: Sequence[Sequence[int]] | np.ndarray | None = None,
) -> Scores:
    """Scores predicted masks against the ground truth, over all images together.

    The figures are those of `tfseg evaluate`, and `mean_iou` is that of `metrics.MeanIoU`.

    Args:
        truth: class ids, integers or bool: one mask (height, width), masks (images, height, width) or (images, height,
            width, 1), or an iterable of masks, whose sizes may differ.
        prediction: likewise for the same images: class ids, or probabilities with a last axis of classes, floats in
            0..1, of which the highest is the prediction.
        classes: names, by class id; None: the ids that occur up to the highest, or as many as there are probabilities.
        ignore_class: id of the class whose ground truth counts nowhere, and which has no part in the means; predicted
            on other pixels it is a miss. Or a value that is no class, such as 255. None: all count. "auto": 0 if
            `classes` are given and the first is "void", else None.
        palette: red, green, blue in 0..255 of each class, shown in a notebook.

    Returns:
        The scores; printed, they say which rule of these was used.

    Raises:
        ValueError: the images differ in number or size, or a mask holds something else; it says which.

    Example:
        Of class 1, one pixel of two is found; of class 2, one, with one too many. The last pixel is not labelled.

        >>> import numpy as np
        >>> from tfseg import score
        >>> scores = score(np.array([[1, 1, 2, 255]]), np.array([[1, 2, 2, 1]]), ignore_class=255)
        >>> scores.iou.tolist()
        [nan, 0.5, 0.5]
        >>> scores.support.tolist()
        [0, 2, 1]
    """
    from tfseg.metrics.segmentation import PixelScores  # imports Keras

    if classes is not None:
        if isinstance(classes, str | bytes) or not np.iterable(classes):
            raise ValueError(f"classes: expected a list of their names, or None, got {classes!r}")
        classes = [*map(str, classes)]
    if ignore_class is not None and ignore_class != "auto":
        if isinstance(ignore_class, bool) or not isinstance(ignore_class, Integral):
            raise ValueError(f'ignore_class: expected a whole number, None or "auto", got {ignore_class!r}')
        ignore_class = int(ignore_class)
    images = list(_pair(truth, prediction))
    if ignore_class == "auto":
        ignore_class = VOID if classes is not None and classes[:1] == ["void"] else None
        if classes is None and any((true == NO_CLASS).any() for true, _, _ in images):
            raise ValueError(
                f"truth: holds {NO_CLASS}, which often stands for no class; pass ignore_class={NO_CLASS}, or None if "
                "it is a class"
            )
    names = _number(images, ignore_class) if classes is None else tuple(classes)
    if palette is not None and np.shape(palette) != (len(names), 3):
        raise ValueError(f"palette: expected {len(names)} times red, green, blue, got the shape {np.shape(palette)}")
    pixels = PixelScores(names, ignore_class)
    for index, image in enumerate(images):
        _check_classes(index, *image, len(names), ignore_class)
        true, predicted, probabilities = image
        pixels.add_mask(predicted, true, probabilities)
    result = pixels.result()
    del result["learn_void"]
    values = {name: np.array(value) if isinstance(value, list) else value for name, value in result.items()}
    colors = None if palette is None else tuple((int(red), int(green), int(blue)) for red, green, blue in palette)
    return Scores(**{**values, "classes": names, "ignore_class": ignore_class, "palette": colors})


def _pair(truth: Any, prediction: Any) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yields of each image the ids of truth and prediction, int64 (height, width), and the probabilities or None."""
    true, predicted = _split(truth), _split(prediction)
    if isinstance(true, np.ndarray) and true.ndim == 2:
        true, predicted = [true], [predicted] if isinstance(predicted, np.ndarray) else predicted
    if len(true) != len(predicted) or not len(true):
        raise ValueError(
            f"prediction: expected as many images as truth has, {len(true)}, and one at least, got {len(predicted)}"
        )
    for index, (mask, found) in enumerate(zip(true, predicted, strict=True)):
        mask, found = _squeeze(np.asarray(mask), 2), np.asarray(found)
        if mask.ndim != 2 or not mask.size:
            raise ValueError(f"truth of image {index}: expected class ids (height, width), got the shape {mask.shape}")
        of_ids = found.dtype.kind != "f"
        found = _squeeze(found, 2) if of_ids else found
        if found.shape[:2] != mask.shape or found.ndim != (2 if of_ids else 3):
            raise ValueError(
                f"prediction of image {index}: expected class ids as integers {mask.shape}, or probabilities as floats "
                f"{(*mask.shape, 'classes')}, got {found.dtype} of the shape {found.shape}"
            )
        ids = _as_ids(mask, f"truth of image {index}")
        if of_ids:
            yield ids, _as_ids(found, f"prediction of image {index}"), None
        else:
            if not (found.size and found.min() >= -1e-3 and found.max() <= 1 + 1e-3):
                raise ValueError(
                    f"prediction of image {index}: expected probabilities in 0..1; apply softmax to logits"
                )
            yield ids, found.argmax(axis=-1), np.clip(found, 0, 1, dtype=np.float32)


def _split(masks: Any) -> Any:
    """Gives an array as it is, and an iterable of images as a list; nested lists of numbers are an array."""
    if any(hasattr(masks, name) for name in ("shape", "__array__", "__array_interface__")):
        return np.asarray(masks)
    images = list(masks)
    return np.asarray(images) if images and np.ndim(images[0]) < 2 else images


def _squeeze(array: np.ndarray, axes: int) -> np.ndarray:
    return array[..., 0] if array.ndim == axes + 1 and array.shape[-1] == 1 else array


def _as_ids(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.dtype.kind not in "iub":
        raise ValueError(f"{name}: expected class ids as integers, got {mask.dtype}")
    return mask.astype(np.int64)


def _number(images: list, ignore_class: int | None) -> tuple[str, ...]:
    """Names classes by their ids."""
    count = 1
    for true, predicted, probabilities in images:
        counted = true != ignore_class
        highest = max(ids[counted].max(initial=0) for ids in (true, predicted))
        if highest >= MOST_NUMBERED:
            raise ValueError(
                f"expected class ids below {MOST_NUMBERED} where classes are not named, got {highest}; name them, or "
                "the value of pixels that are of none as ignore_class"
            )
        count = max(count, int(highest) + 1, 0 if probabilities is None else probabilities.shape[-1])
    return tuple(map(str, range(count)))


def _check_classes(index: int, true, predicted, probabilities, count: int, ignore_class: int | None) -> None:
    """Raises ValueError unless an image, by its place, has no other classes than there are."""
    _check_ids(true[true != ignore_class], count, f"truth of image {index}")
    counted = slice(None) if ignore_class in range(count) else true != ignore_class
    _check_ids(predicted[counted], count, f"prediction of image {index}")
    if probabilities is not None and probabilities.shape[-1] != count:
        raise ValueError(
            f"prediction of image {index}: expected probabilities of {count} classes, got {probabilities.shape[-1]}"
        )


def _check_ids(ids: np.ndarray, count: int, name: str) -> None:
    wrong = (ids < 0) | (ids >= count)
    if wrong.any():
        raise ValueError(
            f"{name}: expected class ids in 0..{count - 1}, got {ids[wrong][0]} ({wrong.sum():,} pixels are of none); "
            "name a value that is no class, such as 255, as ignore_class"
        )


def _percent(rate: float) -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:.1f}"


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        array = np.array(value)
        return array if array.dtype.kind == "i" else np.array(value, np.float64)  # None is nan
    return math.nan if value is None else float(value)


def _as_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
