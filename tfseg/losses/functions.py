"""Losses over pixels: pure functions of (mask, logits), each one value per image; `losses` has them as classes.

All arithmetic is float32, whatever the network's precision: a sum over 320x320 pixels overflows float16. No finite
logits give nan or infinity.

Void pixels: with `ignore_class` 0 they count nowhere, neither in the ground truth nor in the prediction. Like every
class that is absent from the ground truth, void then has no part in a mean over classes. Pixels of no class, such as
255, count nowhere either way.
"""

from keras import ops

from tfseg.backend import as_ids, mean_over_replicas, one_hot, sum_over_replicas
from tfseg.config.tables import AUXILIARY_STRIDE, OHEM_MIN_KEPT
from tfseg.losses.hard_examples import keep_hardest
from tfseg.records.labels import VOID

LOWEST = -1e30  # of a log probability: minus infinity times 0 is nan, and of this one a batch can be summed


def dice_loss(mask, logits, ignore_class: int | None = VOID, class_weights=None):
    """Soft Dice loss (Milletari et al. 2016): 1 - mean of 2 |truth x prediction| / (|truth| + |prediction|) by class.

    The sums run over the whole batch: a class too rare for one image still has a steady share. A class absent from
    the batch's truth is left out of the mean: its Dice is 0 for any prediction, so it could only add a constant. What
    is wrongly taken for it is missing from the class it belongs to. A batch without any truth has the loss 0.

    Args:
        mask: integers (batch, height, width), class ids.
        logits: float (batch, height, width, classes).
        ignore_class: 0, that of void, whose pixels count nowhere; None: it is a class like the others.
        class_weights: of each class, 0 or more, by class id; the mean over classes is weighted by them. None: all 1.

    Returns:
        float32 (batch,) in 0..1: the batch's value, repeated, so that a mean over several devices' images is right.
    """
    return tversky_loss(mask, logits, ignore_class, class_weights, alpha=0.5, beta=0.5)


def jaccard_loss(mask, logits, ignore_class: int | None = VOID, class_weights=None):
    """Soft Jaccard loss (Rahman and Wang 2016): 1 - mean of |truth x prediction| / |truth or prediction| by class.

    Of sure predictions it is 1 - mean IoU. Sums, arguments and what is returned as in `dice_loss`.
    """
    return tversky_loss(mask, logits, ignore_class, class_weights, alpha=1.0, beta=1.0)


def tversky_loss(
    mask, logits, ignore_class: int | None = VOID, class_weights=None, alpha: float = 0.3, beta: float = 0.7
):
    """Tversky loss (Salehi et al. 2017, arXiv:1706.05721): 1 - mean of TP / (TP + alpha FP + beta FN) by class.

    With more beta than alpha, more of a class is found, and more is wrongly taken for it. Sums, other arguments and
    what is returned as in `dice_loss`.

    Args:
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, above 0.
    """
    logits = ops.cast(logits, "float32")
    truth = _one_hot(mask, logits.shape[-1], ignore_class)  # (B, H, W, C), all zero where void
    prediction = ops.softmax(logits) * ops.sum(truth, axis=-1, keepdims=True)
    hits, truth_size = _sum_over_pixels(truth * prediction), _sum_over_pixels(truth)  # (C,)
    size = (1 - alpha - beta) * hits + alpha * _sum_over_pixels(prediction) + beta * truth_size
    return _one_minus_mean(hits / ops.where(truth_size > 0, size, 1.0), truth_size, mask, class_weights)


def lovasz_loss(mask, logits, ignore_class: int | None = VOID, class_weights=None):
    """Lovasz-Softmax (Berman et al. 2018, arXiv:1705.08790): the IoU's own extension to probabilities.

    Of each class, the errors |truth - probability| of all pixels of the batch are sorted, the largest first. Each has
    the weight by which the IoU falls if that pixel is wrong beside those before it. Of sure predictions it is
    1 - mean IoU, as the Jaccard loss, which has other gradients. Of devices that share a batch each sorts its part.

    Sorting is dear: with its gradient, an image of 1024x2048 in 8 classes takes over 4 s on two shared CPU cores, of
    Dice 0.2 s, and 0.8 GiB, of Dice 0.4. Counts are exact up to 2**24 pixels a batch, as far as float32 counts.
    Arguments and what is returned as in `dice_loss`.
    """
    logits = ops.cast(logits, "float32")
    truth = _one_hot(mask, logits.shape[-1], ignore_class)
    errors = ops.abs(truth - ops.softmax(logits))
    errors = ops.where(ops.sum(truth, axis=-1, keepdims=True) > 0, errors, -1.0)  # void last, where no weight is left
    first = _first_class(ignore_class)
    truth, errors = (_by_class(x[..., first:]) for x in (truth, errors))  # (C, B * H * W)
    order = ops.stop_gradient(ops.argsort(-errors, axis=-1))  # MLX would want the gradient of places
    truth, errors = (ops.take_along_axis(x, order, axis=-1) for x in (truth, errors))
    truth_size = ops.sum(truth, axis=-1)
    intersection = truth_size[:, None] - ops.cumsum(truth, axis=-1)
    union = truth_size[:, None] + ops.cumsum(1 - truth, axis=-1)
    # What 1 - intersection / union is more than at the pixel before; as a difference it would be all rounding.
    growth = ops.where(truth > 0, 1 / ops.maximum(union, 1), intersection / ops.maximum(union * (union - 1), 1))
    rows = ops.reshape(errors * growth, (truth.shape[0], -1, ops.shape(mask)[2]))
    losses = ops.sum(ops.sum(rows, axis=-1), axis=-1)
    weights = None if class_weights is None else _as_weights(class_weights, logits.shape[-1])[first:]
    return _one_minus_mean(1 - losses, truth_size, mask, weights)


def cross_entropy_loss(
    mask,
    logits,
    ignore_class: int | None = VOID,
    class_weights=None,
    label_smoothing: float = 0.0,
    ohem_threshold: float | None = None,
    ohem_min_kept: float = OHEM_MIN_KEPT,
):
    """Softmax cross-entropy, averaged over the batch's valid pixels, or over the hardest of them.

    Args:
        mask, logits, ignore_class: as in `dice_loss`.
        class_weights: of each class, 0 or more, by class id; the mean over pixels is weighted by those of their true
            classes. None: all 1.
        label_smoothing: share of the truth that is spread evenly over the classes to learn (Szegedy et al. 2016), which
            void is if `ignore_class` is None; 0 to below 1.
        ohem_threshold: above 0, below 1: only pixels count whose true class has at most this probability, see
            `hard_examples.keep_hardest`. None: all valid pixels do.
        ohem_min_kept: share of the valid pixels, 0..1, that count at least.

    Returns:
        float32 (batch,), >= 0: each image's weighted sum over the batch's mean sum of weights, so that the mean over
        images is the mean over pixels that count. 0 for a batch without any truth.
    """
    logits = ops.cast(logits, "float32")
    truth, logs = _one_hot(mask, logits.shape[-1], ignore_class), _log_probabilities(logits)
    if ohem_threshold is not None:
        losses, valid = -ops.sum(truth * logs, axis=-1), ops.sum(truth, axis=-1)  # (B, H, W)
        truth *= keep_hardest(losses, valid, ohem_threshold, ohem_min_kept)[..., None]
    return _mean_over_pixels(truth, logs, ignore_class, class_weights, label_smoothing)


def focal_loss(
    mask, logits, ignore_class: int | None = VOID, class_weights=None, label_smoothing: float = 0.0, gamma: float = 2.0
):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002): each pixel's cross-entropy times (1 - p) ** gamma.

    p is the probability of its true class: pixels that are right already count little. The paper's alpha is
    `class_weights` here, and its sum over an image's objects a mean over pixels. Other arguments and what is returned
    as in `cross_entropy_loss`.

    Args:
        gamma: 0 or more; 0 is the cross-entropy.
    """
    logits = ops.cast(logits, "float32")
    truth, logs = _one_hot(mask, logits.shape[-1], ignore_class), _log_probabilities(logits)
    factor = 1.0
    if gamma:
        probability = ops.exp(ops.sum(truth * logs, axis=-1, keepdims=True))
        factor = ops.power(ops.maximum(1 - probability, 1e-7), gamma)  # at 0, the gradient of a root is infinite
    return _mean_over_pixels(truth, logs, ignore_class, class_weights, label_smoothing, factor)


def auxiliary_loss(mask, logits, ignore_class: int | None = VOID, class_weights=None, label_smoothing: float = 0.0):
    """Cross-entropy of logits at stride 16, those of an auxiliary head (Zhao et al. 2017, arXiv:1612.01105).

    Each prediction stands for the 16x16 pixels that it lies over: the loss is the cross-entropy of the logits, enlarged
    to the mask's size by nearest neighbour. It is computed at their own size, from the number of pixels of each class
    there: every pixel counts, a pole of two pixels too, and void does not.

    Args:
        mask: integers (batch, height, width), class ids.
        logits: float (batch, rows, columns, classes), with at least height / 16 rows and width / 16 columns.
        ignore_class, class_weights, label_smoothing: as in `cross_entropy_loss`.

    Returns:
        float32 (batch,), as of `cross_entropy_loss`.
    """
    logits = ops.cast(logits, "float32")
    _, rows, columns, classes = ops.shape(logits)
    truth = _sum_over_squares(_one_hot(mask, classes, ignore_class), rows, columns, AUXILIARY_STRIDE)
    return _mean_over_pixels(truth, _log_probabilities(logits), ignore_class, class_weights, label_smoothing)


def check_shapes(y_true, y_pred):
    """Returns labels as (batch, height, width); raises ValueError unless they fit the predictions."""
    wanted, got = tuple(y_pred.shape), tuple(y_true.shape)
    if len(wanted) != 4:
        raise ValueError(f"y_pred: expected floats (batch, height, width, classes), got the shape {wanted}")
    if wanted[-1] == 1:
        raise ValueError("y_pred: expected 2 classes or more, got 1; an object and what is around it are 2 classes")
    size = got[:3] if len(got) == 4 and got[3] == 1 else got
    if len(size) != 3 or any(a != b for a, b in zip(size, wanted, strict=False) if None not in (a, b)):
        hint = "; take the argmax of one-hot labels" if len(got) == 4 and got[3] == wanted[3] else ""
        raise ValueError(
            f"y_true: expected class ids (batch, height, width), of y_pred {wanted[:3]}, got the shape {got}{hint}"
        )
    return y_true if len(got) == 3 else ops.squeeze(y_true, axis=-1)


def put_first(mask, logits, ignore_class: int | None, class_weights: list[float] | None):
    """Makes of any id to ignore what the losses above know: the first class, or none.

    Args:
        mask: integers (batch, height, width), class ids.
        logits: (batch, height, width, classes).
        ignore_class: a class id, which becomes 0 while those before it move up by one; or None, or a value of no class,
            whose pixels count nowhere anyway.
        class_weights: as of `dice_loss`.

    Returns:
        (mask, logits, ignore_class, class_weights), as the losses take them.
    """
    if ignore_class is None or not 0 <= ignore_class < logits.shape[-1]:
        return mask, logits, None, class_weights
    if ignore_class == VOID:
        return mask, logits, VOID, class_weights
    ids = as_ids(ops.convert_to_tensor(mask))
    before = ops.logical_and(ids >= 0, ids < ignore_class)
    ids = ops.where(ids == ignore_class, VOID, ops.where(before, ids + 1, ids))
    order = slice(ignore_class, ignore_class + 1), slice(ignore_class), slice(ignore_class + 1, None)
    logits = ops.concatenate([logits[..., part] for part in order], axis=-1)
    weights = class_weights and [weight for part in order for weight in class_weights[part]]
    return ids, logits, VOID, weights


def _log_probabilities(logits):
    return ops.maximum(ops.log_softmax(logits), LOWEST)


def _mean_over_pixels(truth, logs, ignore_class: int | None, class_weights, label_smoothing: float, factor=1.0):
    """Cross-entropy of each image over the batch's mean sum of weights, see `cross_entropy_loss`.

    Args:
        truth: float32 (batch, height, width, classes), pixels of each class.
        logs: float32 of the same shape, log probabilities.
        factor: by which each place's loss is multiplied, but not its weight.
    """
    weighted = truth if class_weights is None else truth * _as_weights(class_weights, truth.shape[-1])
    losses = factor * _smooth(weighted, label_smoothing, ignore_class) * logs
    sums = -ops.sum(ops.sum(losses, axis=(2, 3)), axis=1)  # (B,)
    weights = ops.sum(ops.sum(weighted, axis=(2, 3)), axis=1)
    return sums / _or_one(mean_over_replicas(ops.mean(weights)))


def _one_hot(mask, classes: int, ignore_class: int | None):
    truth = one_hot(as_ids(ops.convert_to_tensor(mask)), classes)
    return truth if ignore_class is None else truth * ops.cast(ops.arange(classes) != ignore_class, "float32")


def _as_weights(class_weights, classes: int):
    """Weights of classes, in a list, a tuple or an array, as a tensor."""
    weights = ops.convert_to_tensor(class_weights, "float32")
    if tuple(weights.shape) != (classes,):
        raise ValueError(
            f"class_weights: expected {classes} numbers, one a class, got the shape {tuple(weights.shape)}"
        )
    return weights


def _first_class(ignore_class: int | None) -> int:
    return 0 if ignore_class is None else 1


def _by_class(x):
    """(batch, height, width, classes) -> (classes, batch * height * width)."""
    return ops.transpose(ops.reshape(x, (-1, x.shape[-1])))


def _smooth(truth, share: float, ignore_class: int | None):
    """Spreads a share of each pixel's truth evenly over the classes that are learnt."""
    if not share:
        return truth
    classes, first = truth.shape[-1], _first_class(ignore_class)
    even = ops.cast(ops.arange(classes) >= first, "float32") / (classes - first)
    return (1 - share) * truth + share * ops.sum(truth, axis=-1, keepdims=True) * even


def _sum_over_pixels(x):
    """(batch, height, width, classes) -> (classes,)."""
    # A row, an image, a batch: one float32 sum over a million pixels at once is off by a percent on TensorFlow's CPU.
    return sum_over_replicas(ops.sum(ops.sum(ops.sum(x, axis=2), axis=1), axis=0))


def _sum_over_squares(x, rows: int, columns: int, side: int):
    """(batch, height, width, classes) -> (batch, rows, columns, classes), over side x side pixels each.

    Beyond the image, below and right, there is nothing to sum.
    """
    _, height, width, classes = ops.shape(x)
    x = ops.pad(x, [[0, 0], [0, rows * side - height], [0, columns * side - width], [0, 0]])
    x = ops.sum(ops.reshape(x, (-1, side, columns * side * classes)), axis=1)  # (B * rows, columns * side * classes)
    x = ops.sum(ops.reshape(x, (-1, side, classes)), axis=1)  # (B * rows * columns, classes)
    return ops.reshape(x, (-1, rows, columns, classes))


def _one_minus_mean(scores, truth_size, mask, class_weights):
    """(classes,) -> (batch,): the weighted mean over the classes that have truth, as every image's loss."""
    weights = ops.cast(truth_size > 0, "float32")
    if class_weights is not None:
        weights *= _as_weights(class_weights, weights.shape[0])
    total = ops.sum(weights)
    return ops.broadcast_to((total - ops.sum(weights * scores)) / _or_one(total), ops.shape(mask)[:1])


def _or_one(x):
    """A sum to divide by: where there is nothing to sum, there is nothing to divide either."""
    return ops.where(x > 0, x, 1.0)
