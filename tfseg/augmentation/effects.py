"""The effects of augmentation as pure functions of their parameters, one of each kind per image.

All geometry is one 3x3 matrix and one resampling. All colour is one matrix, one turn of the hue and one tone curve. All
filters are one small kernel. So nothing is blurred or rounded twice, and ten effects cost what one costs.

Shapes: B images, (height, width) pixels. Images are float32 in 0..255, masks float32 whole numbers, since devices
have no kernels for integers. Parameters are float32 (B,).

Operations are those that Metal has a kernel for: index arithmetic in float32, no rounding but floor, no sines but of
single numbers.
"""

from keras import ops

from tfseg.backend import as_floats, gather
from tfseg.records.labels import VOID

GREY = 127.5
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as OpenCV and albumentations have it
EXACT_FLOATS = 2**24  # whole numbers that float32 can distinguish


def change(
    image, mask, *, classes=None, matrix=None, color=None, turn=None, curve=None, kernel=None, noise=None, box=None
):
    """Changes a batch by what was drawn for it; what is None is left out.

    Args:
        image: (B, height, width, channels), 0..255, integers or floats; or int8, see `backend.as_floats`.
        mask: integers (B, height, width); or int8 of the same bits.
        classes: for `mix_classes`.
        matrix: for `warp`.
        color: what `color_matrix` returned.
        turn: for `turn_hue`.
        curve: gamma, low and high for `apply_curve`.
        kernel: what `filter_kernel` returned.
        noise: (B, height, width, channels), added.
        box: four edges for `cut_out`.

    Returns:
        float32 image in 0..255 and int32 mask, of the same shapes.
    """
    image, mask = as_floats(image), as_floats(mask)
    if classes is not None:
        image, mask = mix_classes(image, mask, classes)
    if matrix is not None:
        image, mask = warp(image, mask, matrix)
    if color is not None:
        image = recolor(image, *color)
    if turn is not None:
        image = turn_hue(image, turn)
    if curve is not None:
        image = apply_curve(image, *curve)
    if kernel is not None:
        image = filter_pixels(image, kernel)
    if noise is not None:
        image = ops.clip(image + noise, 0, 255)
    if box is not None:
        image, mask = cut_out(image, mask, box)
    return image, ops.cast(mask, "int32")


# ---- geometry: matrices (B, 3, 3) that take a place in the output to its place in the input


def affine_matrix(angle, zoom, shear, shift_x, shift_y, mirrored):
    """Mirror, then shear, rotate and enlarge, then shift, as the image shows it; about the centre.

    Args:
        angle: radians, counter-clockwise on the screen.
        zoom: factor, above 1 enlarges.
        shear: radians by which uprights lean.
        shift_x: pixels to the right.
        shift_y: pixels down.
        mirrored: 1 where left and right change places, else 0.

    Returns:
        (B, 3, 3) on (x, y, 1), both measured from the centre.
    """
    one, zero = ops.ones_like(angle), ops.zeros_like(angle)
    back = _matrix([one, zero, -shift_x], [zero, one, -shift_y], [zero, zero, one])
    cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
    turn = _matrix([cos, -sin, zero], [sin, cos, zero], [zero, zero, one])
    lean = _matrix([one, ops.tan(shear), zero], [zero, one, zero], [zero, zero, one])
    mirror = _matrix([1 - 2 * mirrored, zero, zero], [zero, one, zero], [zero, zero, one])
    return ops.matmul(mirror, ops.matmul(lean, ops.matmul(turn, back)))


def perspective_matrix(inwards, height, width):
    """The projection that spreads a quadrilateral of the input over the whole output (Heckbert 1989, section 2.2.3).

    Args:
        inwards: how far each corner of the quadrilateral is inside the image's, as shares of width and height: across
            and down at the upper left, then at the others clockwise; 8 times (B,).
        height: of the image.
        width: of the image.

    Returns:
        (B, 3, 3) on (x, y, 1), both measured from the centre in pixels.
    """
    x0, y0, x1, y1, x2, y2, x3, y3 = inwards
    x1, x2, y2, y3 = 1 - x1, 1 - x2, 1 - y2, 1 - y3
    across_x, across_y = x1 - x2, y1 - y2
    down_x, down_y = x3 - x2, y3 - y2
    rest_x, rest_y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    area = across_x * down_y - down_x * across_y
    g = (rest_x * down_y - down_x * rest_y) / area
    h = (across_x * rest_y - rest_x * across_y) / area
    unit = _matrix(
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, ops.ones_like(g)]
    )
    right, bottom = width - 1.0, height - 1.0
    to_unit = ops.convert_to_tensor([[1 / right, 0, 0.5], [0, 1 / bottom, 0.5], [0, 0, 1]], "float32")
    to_pixels = ops.convert_to_tensor([[right, 0, -right / 2], [0, bottom, -bottom / 2], [0, 0, 1]], "float32")
    return ops.matmul(to_pixels, ops.matmul(unit, to_unit))


def from_corner(matrix, height, width):
    """Lets a matrix measure from the centre of the upper left pixel, as OpenCV does, instead of the image's."""
    x, y = (width - 1) / 2, (height - 1) / 2
    to_centre = ops.convert_to_tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1]], "float32")
    to_corner = ops.convert_to_tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], "float32")
    return ops.matmul(to_corner, ops.matmul(matrix, to_centre))


def _matrix(*rows):
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def warp(image, mask, matrix):
    """Resamples image and mask at the places that a matrix names; OpenCV's `warpPerspective` with WARP_INVERSE_MAP.

    Args:
        image: (B, height, width, channels).
        mask: (B, height, width).
        matrix: (B, 3, 3), from output to input, x and y measured from the centre of the upper left pixel.

    Returns:
        The image, bilinear, its edge continued outside; the mask, nearest, void outside.

    Raises:
        ValueError: an image of more than 2**24 pixels, which float32 cannot number.
    """
    batch, height, width, channels = ops.shape(image)
    if height * width > EXACT_FLOATS:
        raise ValueError(f"expected images of at most {EXACT_FLOATS:,} pixels, got {height}x{width}")
    if isinstance(batch, int) and batch * height * width > EXACT_FLOATS:
        halves = slice(batch // 2), slice(batch // 2, batch)
        images, masks = zip(*(warp(image[half], mask[half], matrix[half]) for half in halves), strict=True)
        return ops.concatenate(images), ops.concatenate(masks)
    columns = ops.arange(width, dtype="float32")[None, None, :]
    rows = ops.arange(height, dtype="float32")[None, :, None]
    m = [[matrix[:, row, column][:, None, None] for column in range(3)] for row in range(3)]
    depth = m[2][0] * columns + m[2][1] * rows + m[2][2]  # (B, height, width)
    x = (m[0][0] * columns + m[0][1] * rows + m[0][2]) / depth
    y = (m[1][0] * columns + m[1][1] * rows + m[1][2]) / depth
    left, top = ops.floor(x), ops.floor(y)
    right_share, low_share = x - left, y - top
    first = ops.arange(batch, dtype="float32")[:, None, None] * (height * width)  # each image's first pixel

    flat = ops.concatenate([image, mask[..., None]], axis=-1)  # one gather brings colours and class
    flat = ops.reshape(flat, (batch * height * width, channels + 1))

    def pixels_at(row, column):
        place = first + ops.clip(row, 0, height - 1) * width + ops.clip(column, 0, width - 1)
        return gather(flat, ops.cast(place, "int32"))

    upper_left, upper_right = pixels_at(top, left), pixels_at(top, left + 1)
    lower_left, lower_right = pixels_at(top + 1, left), pixels_at(top + 1, left + 1)
    to_right, down = right_share[..., None], low_share[..., None]
    upper = upper_left[..., :-1] + (upper_right[..., :-1] - upper_left[..., :-1]) * to_right
    lower = lower_left[..., :-1] + (lower_right[..., :-1] - lower_left[..., :-1]) * to_right
    warped = upper + (lower - upper) * down

    is_right, is_low = right_share >= 0.5, low_share >= 0.5  # the nearest is one of the four
    nearest_above = ops.where(is_right, upper_right[..., -1], upper_left[..., -1])
    nearest_below = ops.where(is_right, lower_right[..., -1], lower_left[..., -1])
    inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return warped, ops.where(inside, ops.where(is_low, nearest_below, nearest_above), float(VOID))


# ---- colour


def color_matrix(contrast, brightness, saturation, channels=3):
    """One matrix and offset of contrast and brightness, then saturation.

    Args:
        contrast: factor, and ...
        brightness: ... what is added, as in albumentations' RandomBrightnessContrast.
        saturation: factor about each pixel's grey by `LUMA`, as in albumentations' and torchvision's ColorJitter.
        channels: of the images; of others than three there is no saturation.

    Returns:
        (B, channels, channels) on columns of channels, and (B,) that is added to each channel.
    """
    if channels != 3:
        return contrast[:, None, None] * ops.eye(channels), brightness
    grey = ops.convert_to_tensor([LUMA] * 3, "float32")
    factor = saturation[:, None, None]
    matrix = (factor * ops.eye(3) + (1 - factor) * grey) * contrast[:, None, None]
    return matrix, brightness


def recolor(image, matrix, offset):
    """Applies what `color_matrix` returned to (B, height, width, channels) and clips to 0..255."""
    batch, height, width, channels = ops.shape(image)
    pixels = ops.matmul(ops.reshape(image, (batch, height * width, channels)), ops.transpose(matrix, (0, 2, 1)))
    return ops.reshape(ops.clip(pixels + offset[:, None, None], 0, 255), (batch, height, width, channels))


def turn_hue(image, turn):
    """Turns the hue of HSV, saturation and value as they are (Smith 1978).

    Args:
        image: (B, height, width, 3), RGB, in 0..255.
        turn: shares of the whole circle, as in albumentations' ColorJitter.
    """
    red, green, blue = (image[..., channel] for channel in range(3))
    value = ops.maximum(ops.maximum(red, green), blue)
    chroma = value - ops.minimum(ops.minimum(red, green), blue)
    safe = ops.maximum(chroma, 1e-3)  # of a grey pixel the hue is any
    sector = ops.where(value == red, (green - blue) / safe, 2 + (blue - red) / safe)
    sector = ops.where((value == blue) & (value > red) & (value > green), 4 + (red - green) / safe, sector)
    sector = sector + (turn * 6)[:, None, None]

    def channel(place):
        k = place + sector
        k = k - 6 * ops.floor(k / 6)
        return value - chroma * ops.clip(ops.minimum(k, 4 - k), 0, 1)

    return ops.concatenate([channel(place)[..., None] for place in (5.0, 3.0, 1.0)], axis=-1)


def apply_curve(image, gamma, low, high):
    """One tone curve: a power, then a Bezier curve.

    Args:
        image: (B, height, width, channels) in 0..255.
        gamma: exponent, below 1 brightens, as in albumentations' RandomGamma.
        low: height of the curve's first control point, 1/3 for none, as in albumentations' RandomToneCurve ...
        high: ... and of its second, 2/3 for none.
    """
    gamma, low, high = (value[:, None, None, None] for value in (gamma, low, high))
    t = ops.exp(gamma * ops.log(ops.maximum(image / 255, 1e-6)))  # the power, in a third of the time of `ops.power`
    u = 1 - t
    return ops.clip(t * (3 * u * (u * low + t * high) + t * t), 0, 1) * 255


# ---- filters


def filter_kernel(size, *, sigma, length, angle, alpha):
    """Weights of one filter per image: a blur, a motion, or a sharpening; of each image the other two are neutral.

    Args:
        size: odd whole number.
        sigma: deviation of a Gaussian blur in pixels, 0 for none.
        length: of a motion along a line in pixels, 1 for none ...
        angle: ... and its direction, radians.
        alpha: share of albumentations' Sharpen with lightness 1, which adds so much of the Laplacian; 0 for none.

    Returns:
        (B, size, size), each of which adds up to 1.
    """
    places = ops.arange(size, dtype="float32") - size // 2
    rows, columns = places[None, :, None], places[None, None, :]
    sigma, length, angle, alpha = (value[:, None, None] for value in (sigma, length, angle, alpha))
    one = ops.cast(ops.abs(rows) + ops.abs(columns) < 0.5, "float32")  # changes nothing
    near = ops.cast(ops.maximum(ops.abs(rows), ops.abs(columns)) < 1.5, "float32")
    gaussian = ops.exp(-(rows * rows + columns * columns) / (2 * ops.square(ops.maximum(sigma, 1e-2))))
    along = ops.abs(columns * ops.cos(angle) + rows * ops.sin(angle))
    across = ops.abs(rows * ops.cos(angle) - columns * ops.sin(angle))
    motion = ops.clip((length + 1) / 2 - along, 0, 1) * ops.clip(1 - across, 0, 1)
    motion = ops.where(length > 1, motion, one)
    laplacian = 9 * one - near
    total = ops.sum(gaussian, axis=(1, 2), keepdims=True), ops.sum(motion, axis=(1, 2), keepdims=True)
    return gaussian / total[0] + motion / total[1] - one + alpha * laplacian


def filter_pixels(image, kernel):
    """Applies kernels (B, size, size) to (B, height, width, channels), mirrored at the edges, and clips to 0..255."""
    height, width = ops.shape(image)[1:3]
    size = kernel.shape[-1]
    margin = size // 2
    padded = ops.pad(image, [[0, 0], [margin, margin], [margin, margin], [0, 0]], mode="reflect")
    weights = kernel[:, :, :, None, None]
    total = 0
    for row in range(size):
        for column in range(size):
            total = total + padded[:, row : row + height, column : column + width] * weights[:, row, column, None]
    return ops.clip(total, 0, 255)


# ---- pieces


def box_around(row, column, height, width):
    """(B,) each, in pixels -> top, left, bottom and right edges."""
    return row - height / 2, column - width / 2, row + height / 2, column + width / 2


def cut_out(image, mask, box):
    """Cutout (DeVries and Taylor 2017): in a box of four edges in pixels the image is grey and the mask void."""
    height, width = ops.shape(mask)[1:]
    rows = ops.arange(height, dtype="float32")[None, :, None] + 0.5
    columns = ops.arange(width, dtype="float32")[None, None, :] + 0.5
    top, left, bottom, right = (edge[:, None, None] for edge in box)
    hole = (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
    return ops.where(ops.expand_dims(hole, -1), GREY, image), ops.where(hole, float(VOID), mask)


def mix_classes(image, mask, chosen):
    """ClassMix (Olsson et al. 2021): pastes some classes of the next image of the batch, image and mask.

    Args:
        image: (B, height, width, channels).
        mask: (B, height, width).
        chosen: (B, classes), 1 for each class that is taken from the next image, else 0. Void never is, nor what is
            no class: an id of `classes` or more.
    """
    batch, classes = ops.shape(chosen)
    following = ops.concatenate([ops.arange(1, batch), ops.arange(1)])
    other_image, other_mask = gather(image, following), gather(mask, following)
    # No id may reach into another image's row: XLA reads on there, or at the end, where TensorFlow raises an error.
    place = ops.clip(other_mask, 0, classes - 1) + ops.arange(batch, dtype="float32")[:, None, None] * classes
    taken = gather(ops.reshape(chosen, (-1,)), ops.cast(place, "int32")) > 0.5
    taken = taken & (other_mask != VOID) & (other_mask > -1) & (other_mask < classes)
    return ops.where(ops.expand_dims(taken, -1), other_image, image), ops.where(taken, other_mask, mask)
