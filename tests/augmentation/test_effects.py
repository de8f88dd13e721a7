"""Each effect against OpenCV, against albumentations' formulas in NumPy, or against what one can count."""

import cv2
import numpy as np
import pytest
from keras import ops

from tfseg.augmentation import effects

HEIGHT, WIDTH = 48, 64


def f32(*values):
    return ops.convert_to_tensor(values, "float32")


def batch_of(array):
    """One image, mask or matrix as a batch."""
    return ops.convert_to_tensor(array[None], "float32")


def to_numpy(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


@pytest.fixture
def image():
    """Smooth, so that a place a thirty-second of a pixel beside, as OpenCV rounds it, is less than a grey level off."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 20, 235, cv2.NORM_MINMAX)


@pytest.fixture
def mask():
    blocks = np.random.default_rng(0).integers(1, 8, (6, 8), np.uint8)
    return cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)


@pytest.fixture
def colors():
    """Every hue, with greys, black and white among them."""
    drawn = np.random.default_rng(0).integers(0, 256, (4, 48, 3))
    drawn[0, :6] = [[0, 0, 0], [255, 255, 255], [9, 9, 9], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    return drawn.astype(np.float32)


# ---- geometry


def corner_matrix(**settings):
    """A (3, 3) matrix for images of 48x64."""
    names = ("angle", "zoom", "shear", "shift_x", "shift_y", "mirrored")
    values = [settings.get(name, 1.0 if name == "zoom" else 0.0) for name in names]
    matrix = effects.affine_matrix(*(f32(value) for value in values))
    inwards = [f32(value) for value in settings.get("inwards", [0] * 8)]
    matrix = ops.matmul(matrix, effects.perspective_matrix(inwards, HEIGHT, WIDTH))
    return ops.convert_to_numpy(effects.from_corner(matrix, HEIGHT, WIDTH))[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"angle": 0.2},
        {"angle": -0.4, "zoom": 1.3, "shear": 0.1},
        {"zoom": 0.73, "shift_x": 5.3, "shift_y": -3.2},
        {"inwards": [0.1, 0.05, 0, 0.2, 0.03, 0.1, 0.15, 0]},
        {"mirrored": 1, "angle": 0.3, "zoom": 0.9, "shear": -0.2, "shift_x": 2, "inwards": [0.1] * 8},
    ],
)
def test_warp_equals_opencv(image, mask, settings):
    matrix = corner_matrix(**settings)
    warped, labels = to_numpy(effects.warp(batch_of(image), batch_of(mask), batch_of(matrix)))

    def theirs(pixels, interpolation, border):
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(pixels, matrix.astype(np.float64), (WIDTH, HEIGHT), flags=flags, borderMode=border)

    assert np.abs(warped[0] - theirs(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)).max() <= 1
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    x, y, depth = np.einsum("ij,jhw->ihw", matrix.astype(np.float64), np.stack([columns, rows, np.ones_like(rows)]))
    clear = (np.abs((x / depth) % 1 - 0.5) > 0.02) & (np.abs((y / depth) % 1 - 0.5) > 0.02)  # which pixel is nearest
    assert clear.mean() > 0.85
    np.testing.assert_array_equal(labels[0][clear], theirs(mask, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)[clear])


def test_identity_warps_nothing(image, mask):
    warped, labels = to_numpy(effects.warp(batch_of(image), batch_of(mask), batch_of(np.eye(3))))
    np.testing.assert_array_equal(warped[0], image)
    np.testing.assert_array_equal(labels[0], mask)


def test_quarter_turn_is_counter_clockwise():
    mask = np.float32([[[1, 2], [3, 4]]])
    image = np.repeat(mask[..., None], 3, axis=-1)
    turn = effects.affine_matrix(f32(np.pi / 2), f32(1), f32(0), f32(0), f32(0), f32(0))
    warped, labels = to_numpy(effects.warp(image, mask, effects.from_corner(turn, 2, 2)))
    np.testing.assert_array_equal(labels[0], [[2, 4], [1, 3]])
    np.testing.assert_allclose(warped[0, :, :, 0], [[2, 4], [1, 3]], atol=1e-4)


@pytest.mark.parametrize(
    "settings, row",
    [
        ({"mirrored": 1}, [4, 3, 2, 1]),
        ({"shift_x": 1}, [0, 1, 2, 3]),
        ({"shift_x": -2}, [3, 4, 0, 0]),
        ({"mirrored": 1, "shift_x": 1}, [0, 4, 3, 2]),
        ({"zoom": 2}, [2, 2, 3, 3]),
        ({"zoom": 0.5}, [0, 1, 3, 0]),
    ],
)
def test_affine_steps_in_a_row_of_four(settings, row):
    names = ("angle", "zoom", "shear", "shift_x", "shift_y", "mirrored")
    matrix = effects.affine_matrix(*(f32(settings.get(name, 1 if name == "zoom" else 0)) for name in names))
    mask = np.float32([[[1, 2, 3, 4]]])
    _, labels = to_numpy(effects.warp(np.zeros((1, 1, 4, 3), np.float32), mask, effects.from_corner(matrix, 1, 4)))
    if settings == {"zoom": 0.5}:  # the outer places are ties: -1 and 5 to the outer edge
        assert labels[0, 0, 1] in (1, 2) and labels[0, 0, 2] in (3, 4)
    else:
        np.testing.assert_array_equal(labels[0, 0], row)


def test_perspective_sees_the_quadrilateral_whole():
    """The output's corners come from the corners of the quadrilateral."""
    inwards = [0.1, 0.2, 0.05, 0.1, 0.2, 0.15, 0.0, 0.3]
    matrix = corner_matrix(inwards=inwards)
    w, h = WIDTH - 1, HEIGHT - 1
    corners = np.float32([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]])
    places = corners @ matrix.T
    wanted = [[0.1 * w, 0.2 * h], [0.95 * w, 0.1 * h], [0.8 * w, 0.85 * h], [0, 0.7 * h]]
    np.testing.assert_allclose(places[:, :2] / places[:, 2:], wanted, atol=1e-3)


def test_batches_of_more_pixels_than_float32_can_number(monkeypatch, image, mask):
    image = ops.convert_to_tensor(np.stack([image, image[::-1], image[:, ::-1]]))
    mask = ops.convert_to_tensor(np.stack([mask] * 3).astype(np.float32))
    matrix = ops.convert_to_tensor(np.stack([corner_matrix(angle=angle) for angle in (0.1, 0.2, 0.3)]))
    whole = to_numpy(effects.warp(image, mask, matrix))
    monkeypatch.setattr(effects, "EXACT_FLOATS", HEIGHT * WIDTH)
    for part, same in zip(to_numpy(effects.warp(image, mask, matrix)), whole, strict=True):
        np.testing.assert_array_equal(part, same)
    monkeypatch.setattr(effects, "EXACT_FLOATS", HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match="expected images of at most 3,071 pixels, got 48x64"):
        effects.warp(image, mask, matrix)


# ---- colour: albumentations 2.0, functional.py, in its float form


def recolored(colors, contrast=1.0, brightness=0.0, saturation=1.0):
    color = effects.color_matrix(f32(contrast), f32(brightness), f32(saturation))
    return ops.convert_to_numpy(effects.recolor(batch_of(colors), *color))[0]


def test_contrast_and_brightness(colors):
    np.testing.assert_allclose(
        recolored(colors, contrast=1.3, brightness=-20.0), np.clip(colors * 1.3 - 20, 0, 255), atol=0.01
    )


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_saturation(colors, factor):
    grey = colors @ np.float32([0.299, 0.587, 0.114])
    wanted = np.clip(factor * colors + (1 - factor) * grey[..., None], 0, 255)
    np.testing.assert_allclose(recolored(colors, saturation=factor), wanted, atol=0.01)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.03, 1 / 3, 0.5])
def test_hue(colors, turn):
    hsv = cv2.cvtColor(colors / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + turn * 360, 360)
    wanted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    np.testing.assert_allclose(
        ops.convert_to_numpy(effects.turn_hue(batch_of(colors), f32(turn)))[0], wanted, atol=0.05
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.8])
def test_gamma(colors, gamma):
    curved = ops.convert_to_numpy(effects.apply_curve(batch_of(colors), f32(gamma), f32(1 / 3), f32(2 / 3)))[0]
    np.testing.assert_allclose(curved, np.power(colors / 255, gamma) * 255, atol=0.3)


@pytest.mark.parametrize("low, high", [(0.2, 0.8), (0.5, 0.6), (0.0, 1.0)])
def test_tone_curve(colors, low, high):
    t = colors / 255
    wanted = (3 * (1 - t) ** 2 * t * low + 3 * (1 - t) * t**2 * high + t**3) * 255
    curved = ops.convert_to_numpy(effects.apply_curve(batch_of(colors), f32(1), f32(low), f32(high)))[0]
    np.testing.assert_allclose(curved, wanted, atol=0.01)


# ---- filters


def kernel(size=7, **settings):
    values = {"sigma": 0.0, "length": 1.0, "angle": 0.0, "alpha": 0.0} | settings
    return ops.convert_to_numpy(effects.filter_kernel(size, **{name: f32(value) for name, value in values.items()}))[0]


def test_neutral_kernel():
    np.testing.assert_allclose(kernel(3), [[0, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-6)


def test_gaussian_kernel():
    column = cv2.getGaussianKernel(7, 1.2)
    np.testing.assert_allclose(kernel(sigma=1.2), column @ column.T, atol=1e-6)


@pytest.mark.parametrize(
    "angle, row",
    [(0, [0, 1, 1, 1, 0]), (np.pi / 2, [0, 0, 1, 0, 0])],
)
def test_motion_kernel(angle, row):
    motion = kernel(5, length=3.0, angle=angle)
    np.testing.assert_allclose(motion[2], np.divide(row, 3), atol=1e-6)
    np.testing.assert_allclose(motion.sum(), 1, atol=1e-5)


def test_motion_is_as_long_in_any_direction():
    for angle in np.linspace(0, np.pi, 7):
        motion = kernel(9, length=7.0, angle=angle)
        rows, columns = np.mgrid[-4:5, -4:5]
        spread = (motion * (np.cos(angle) * columns + np.sin(angle) * rows) ** 2).sum()
        np.testing.assert_allclose(spread, 4, rtol=0.15)  # of 7 in a row: (7*7 - 1) / 12


def test_sharpening_kernel():
    identity, laplacian = np.float32([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), np.float32([[-1] * 3, [-1, 8, -1], [-1] * 3])
    np.testing.assert_allclose(
        kernel(3, alpha=0.3), (1 - 0.3) * identity + 0.3 * (laplacian + 1.0 * identity), atol=1e-6
    )


@pytest.mark.parametrize("settings", [{"sigma": 1.5}, {"length": 6.0, "angle": 0.7}, {"alpha": 0.5}])
def test_filter_equals_opencv(image, settings):
    weights = kernel(**settings)
    filtered = ops.convert_to_numpy(effects.filter_pixels(batch_of(image), batch_of(weights)))[0]
    wanted = np.clip(cv2.filter2D(image, -1, weights, borderType=cv2.BORDER_REFLECT_101), 0, 255)
    np.testing.assert_allclose(filtered, wanted, atol=0.02)


# ---- pieces


def test_cut_out():
    image, mask = np.full((1, 4, 4, 3), 200, np.float32), np.full((1, 4, 4), 5, np.float32)
    box = effects.box_around(f32(2.0), f32(1.0), f32(2.0), f32(4.0))  # rows 1 and 2, columns 0 to 2
    cut, labels = to_numpy(effects.cut_out(image, mask, box))
    wanted = np.full((4, 4), 5)
    wanted[1:3, :3] = 0
    np.testing.assert_array_equal(labels[0], wanted)
    np.testing.assert_array_equal(cut[0, ..., 1], np.where(wanted == 0, 127.5, 200))


def test_mix_classes_takes_from_the_next_image():
    mask = np.float32([[[1, 1, 1, 1]], [[2, 3, 0, 2]]])
    image = np.stack([mask * 10] * 3, axis=-1)
    chosen = np.zeros((2, 8), np.float32)
    chosen[0, [0, 2]] = 1  # void is never taken
    mixed, labels = to_numpy(effects.mix_classes(image, mask, ops.convert_to_tensor(chosen)))
    np.testing.assert_array_equal(labels, [[[2, 1, 1, 2]], [[2, 3, 0, 2]]])
    np.testing.assert_array_equal(mixed[..., 0], labels * 10)


# ---- all of it


def test_change_takes_the_effects_in_turn(image, mask):
    """Against the same in NumPy and OpenCV, on any backend of Keras."""
    matrix = corner_matrix(angle=0.2, zoom=1.2, inwards=[0.05] * 8)
    noise = np.random.default_rng(1).normal(0, 5, (HEIGHT, WIDTH, 3)).astype(np.float32)
    weights = kernel(sigma=1.0)
    changed, labels = to_numpy(
        effects.change(
            image[None].astype(np.uint8),
            mask[None],
            matrix=batch_of(matrix),
            color=effects.color_matrix(f32(1.2), f32(10), f32(0.8)),
            turn=f32(0.05),
            curve=(f32(0.9), f32(0.3), f32(0.7)),
            kernel=batch_of(weights),
            noise=batch_of(noise),
            box=effects.box_around(f32(20), f32(30), f32(10), f32(12)),
        )
    )
    assert (changed.dtype, labels.dtype) == (np.float32, np.int32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = cv2.warpPerspective(
        image.astype(np.uint8).astype(np.float32), matrix, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    wanted = recolored(wanted, 1.2, 10, 0.8)
    hsv = cv2.cvtColor(wanted / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + 18, 360)
    t = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) ** 0.9
    wanted = (3 * (1 - t) ** 2 * t * 0.3 + 3 * (1 - t) * t**2 * 0.7 + t**3) * 255
    wanted = cv2.filter2D(wanted, -1, weights, borderType=cv2.BORDER_REFLECT_101)
    wanted = np.clip(wanted + noise, 0, 255)
    wanted[15:25, 24:36] = 127.5
    assert np.abs(changed[0] - wanted).max() <= 1
    assert (labels[0, 15:25, 24:36] == 0).all()


def test_albumentations_agrees(colors):
    functional = pytest.importorskip("albumentations.augmentations.pixel.functional")
    hue = functional.adjust_hue_torchvision(colors / 255, 0.1) * 255
    np.testing.assert_allclose(ops.convert_to_numpy(effects.turn_hue(batch_of(colors), f32(0.1)))[0], hue, atol=1)
    grey = np.clip(functional.adjust_saturation_torchvision(colors.astype(np.uint8), 1.5), 0, 255)
    np.testing.assert_allclose(recolored(colors, saturation=1.5), grey, atol=1)
    gamma = functional.gamma_transform(colors.astype(np.uint8), 1.3)
    curve = effects.apply_curve(batch_of(colors), f32(1.3), f32(1 / 3), f32(2 / 3))
    np.testing.assert_allclose(ops.convert_to_numpy(curve)[0], gamma, atol=1)
    tone = functional.move_tone_curve(colors.astype(np.uint8), 0.2, 0.9)
    curve = effects.apply_curve(batch_of(colors), f32(1), f32(0.2), f32(0.9))
    np.testing.assert_allclose(ops.convert_to_numpy(curve)[0], tone, atol=1)
    albumentations = pytest.importorskip("albumentations")
    change = albumentations.RandomBrightnessContrast((0.1, 0.1), (0.2, 0.2), p=1)
    changed = change(image=colors.astype(np.uint8))["image"]
    np.testing.assert_allclose(recolored(colors, contrast=1.2, brightness=25.5), changed, atol=1)
    image = np.random.default_rng(0).integers(60, 180, (16, 16, 3)).astype(np.uint8)
    sharp = albumentations.Sharpen((0.3, 0.3), (1.0, 1.0), p=1)(image=image)["image"]
    mine = effects.filter_pixels(batch_of(image), batch_of(kernel(3, alpha=0.3)))
    np.testing.assert_allclose(ops.convert_to_numpy(mine)[0], sharp, atol=1)
