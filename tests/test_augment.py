import cv2
import numpy as np
import pytest
from keras import ops

from tfseg.augment import Augmentation, hue_matrix, rotation_and_zoom, saturation_matrix, warp

EVERYTHING = {"flip": 0.5, "rotation": 20, "zoom": (0.7, 1.4), "brightness": 0.2, "contrast": 0.3}
EVERYTHING |= {"saturation": 0.3, "hue": 20}


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (4, 24, 32, 3), np.uint8), random.choice([1, 4, 7], (4, 24, 32)).astype(np.uint8)


def numpy(tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def test_defaults_change_nothing(batch):
    image, mask = numpy(Augmentation()(*batch))
    assert (image.dtype, mask.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(image, batch[0])
    np.testing.assert_array_equal(mask, batch[1])


def test_flip_mirrors_both(batch):
    image, mask = numpy(Augmentation(flip=1.0)(*batch))
    np.testing.assert_array_equal(image, batch[0][:, :, ::-1])
    np.testing.assert_array_equal(mask, batch[1][:, :, ::-1])


def test_flip_is_drawn_for_each_picture():
    mask = np.broadcast_to(np.uint8([[1, 2]]), (64, 1, 2))
    _, flipped = numpy(Augmentation(flip=0.5, seed=0)(np.zeros((64, 1, 2, 3)), mask))
    assert 16 < (flipped[:, 0, 0] == 2).sum() < 48


def test_masks_hold_what_was_there_or_void(batch):
    for seed in range(5):
        image, mask = numpy(Augmentation(**EVERYTHING, seed=seed)(*batch))
        assert set(np.unique(mask)) <= {0, 1, 4, 7}
        assert 0 <= image.min() <= image.max() <= 255
        assert image.shape == batch[0].shape


def test_picture_and_mask_move_together():
    """A square painted with its class id is where the mask says it is."""
    mask = np.zeros((8, 40, 40), np.uint8)
    mask[:, 8:20, 14:30] = 5
    image = np.repeat(mask[..., None] * 50, 3, axis=-1)
    warped, labels = numpy(Augmentation(flip=0.5, rotation=30, zoom=(0.7, 1.3), seed=1)(image, mask))
    assert (labels != mask).any(axis=(1, 2)).all()
    np.testing.assert_allclose(warped[labels == 5].mean(), 250, atol=12)
    np.testing.assert_allclose(warped[labels == 0].mean(), 0, atol=5)


def test_same_seed_same_draws_and_each_call_another(batch):
    first, second = Augmentation(**EVERYTHING, seed=7), Augmentation(**EVERYTHING, seed=7)
    one, other = numpy(first(*batch)), numpy(second(*batch))
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert (numpy(first(*batch))[0] != one[0]).any()


def test_quarter_turn():
    mask = np.array([[[1, 2], [3, 4]]], np.int32)
    image = np.repeat(mask[..., None], 3, axis=-1).astype(np.float32)
    matrix = rotation_and_zoom(ops.convert_to_tensor([np.pi / 2], "float32"), ops.convert_to_tensor([1.0], "float32"))
    warped, labels = numpy(warp(image, mask, matrix))
    expected = np.rot90(mask[0])  # counter-clockwise
    np.testing.assert_array_equal(labels[0], expected)
    np.testing.assert_allclose(warped[0, :, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize(("angle", "factor"), [(10, 1.0), (-25, 1.3), (3, 0.8)])
def test_warp_equals_opencv(angle, factor):
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 2)
    mask = cv2.resize(random.integers(1, 8, (6, 8), np.uint8), (64, 48), interpolation=cv2.INTER_NEAREST)
    matrix = rotation_and_zoom(*(ops.convert_to_tensor([v], "float32") for v in (np.radians(angle), factor)))
    warped, labels = numpy(warp(image[None].astype(np.float32), mask[None].astype(np.int32), matrix))

    forward = cv2.getRotationMatrix2D(((64 - 1) / 2, (48 - 1) / 2), angle, factor)
    their_image = cv2.warpAffine(image, forward, (64, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    their_mask = cv2.warpAffine(mask, forward, (64, 48), flags=cv2.INTER_NEAREST, borderValue=0)
    assert np.abs(warped[0] - their_image).max() <= 3  # OpenCV rounds places to 1/32 pixel
    assert (labels[0] == their_mask).mean() > 0.98


def test_colour_matrices():
    pixel = np.float32([200, 100, 50])
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    half = ops.convert_to_numpy(saturation_matrix(ops.convert_to_tensor([0.5], "float32")))[0] @ pixel
    np.testing.assert_allclose(half, (pixel + grey) / 2, rtol=1e-5)
    third = ops.convert_to_numpy(hue_matrix(ops.convert_to_tensor([2 * np.pi / 3], "float32")))[0] @ pixel
    np.testing.assert_allclose(
        third, [50, 200, 100], rtol=1e-4
    )  # a third of a turn: each channel takes the next's place


def test_colour_leaves_the_mask_alone(batch):
    image, mask = numpy(Augmentation(brightness=0.3, contrast=0.3, saturation=0.3, hue=30, seed=0)(*batch))
    np.testing.assert_array_equal(mask, batch[1])
    assert (np.abs(image - batch[0]).mean(axis=(1, 2, 3)) > 1).all()
