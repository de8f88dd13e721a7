"""Windows, mirror images and scales, of a network that is a function."""

import argparse

import numpy as np
import pytest

from tfseg.inference.tta import InferenceSettings, add_options, lay_windows, read_options

CLASSES = 3
LEVELS = np.array([20.0, 120.0, 220.0])


def pixelwise(images):
    """Tells each class by how near a pixel's red is to its level: nothing but the pixel itself counts."""
    near = np.exp(-(((images[..., :1] - LEVELS) / 60) ** 2))
    return (near / near.sum(axis=-1, keepdims=True)).astype(np.float32)


def draw(random, *shape):
    return random.integers(0, 256, (*shape, 3), np.uint8)


class Seen:
    """Notes what the network is shown."""

    def __init__(self, predict=pixelwise):
        self.predict, self.images = predict, []

    def __call__(self, images):
        self.images.append(images.copy())
        return self.predict(images)

    @property
    def sizes(self):
        return [images.shape[1:3] for images in self.images]


@pytest.mark.parametrize("seed", range(40))
def test_windows_of_a_pixelwise_network_give_what_the_whole_image_gives(seed):
    random = np.random.default_rng(seed)
    images = draw(random, *random.integers((1, 1, 1), (3, 50, 50)))
    window, overlap = tuple(random.integers(1, 60, 2)), random.choice([0.0, 0.25, 0.5, random.random()])
    inference = InferenceSettings(tuple(map(int, window)), float(overlap), flip=bool(seed % 2))
    seen = Seen()
    likely = inference.probabilities(seen, images, CLASSES)
    assert likely.dtype == np.float32
    np.testing.assert_allclose(likely, pixelwise(images), rtol=1e-5, atol=1e-7)
    assert set(seen.sizes) == {tuple(np.minimum(window, images.shape[1:3]))}


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("window", [1, 2, 7, 16, 40, 50])
@pytest.mark.parametrize("side", [1, 2, 16, 39, 40, 41])
def test_windows_reach_from_end_to_end(side, window, overlap):
    laid = lay_windows(side, window, overlap)
    starts, stops = ([getattr(place, end) for place, _ in laid] for end in ("start", "stop"))
    length = min(window, side)
    assert starts[0] == 0 and stops[-1] == side
    assert {stop - start for start, stop in zip(starts, stops, strict=True)} == {length}
    steps = np.diff(starts)
    assert np.all(steps >= 1) and np.all(steps <= max(round(length * (1 - overlap)), 1))
    total = np.zeros(side)
    for place, weights in laid:
        assert np.all(weights > 0)
        total[place] += weights
    np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_as_few_windows_as_do():
    def starts(*arguments):
        return [place.start for place, _ in lay_windows(*arguments)]

    assert starts(100, 40, 0.5) == [0, 20, 40, 60]
    assert starts(100, 40, 0.25) == [0, 30, 60]
    assert starts(100, 40, 0.0) == [0, 30, 60], "evenly, and not 0, 40, 60"
    assert starts(2048, 1024, 0.5) == [0, 512, 1024]


def test_a_window_counts_less_towards_its_edges():
    """The first of two windows says 1, the second 0; from the one's middle to the other's it goes smoothly."""
    answers = iter((1.0, 0.0))

    def predict(images):
        return np.full((*images.shape[:3], 1), next(answers), np.float32)

    inference = InferenceSettings((4, 40), 0.5)
    likely = inference.probabilities(predict, draw(np.random.default_rng(0), 1, 4, 60), 1)[0, :, :, 0]
    assert np.array_equal(likely, np.repeat(likely[:1], 4, axis=0))
    row = likely[0]
    assert np.all(row[:20] == 1) and np.all(row[40:] == 0), "where there is but one"
    assert np.all(np.diff(row[20:40]) < 0)
    np.testing.assert_allclose(row + row[::-1], 1, atol=1e-6)
    # Pixel 25 is 5.5 from the first middle, 14.5 from the second; the deviation is 5.
    np.testing.assert_allclose(row[25], 1 / (1 + np.exp((5.5**2 - 14.5**2) / 50)), rtol=1e-5)


def test_the_mirror_image_is_turned_back():
    def by_column(images):
        """Likely is what lies on the right."""
        return np.broadcast_to(np.array([0, 0.25, 1], np.float32)[None, None, :, None], (*images.shape[:3], 1))

    images = draw(np.random.default_rng(0), 2, 4, 3)
    seen = Seen(by_column)
    likely = InferenceSettings(flip=True).probabilities(seen, images, 1)
    np.testing.assert_allclose(likely[..., 0], np.broadcast_to([0.5, 0.25, 0.5], (2, 4, 3)))
    assert np.array_equal(seen.images[0], images)
    assert np.array_equal(seen.images[1], images[:, :, ::-1])


def test_scales_by_hand():
    """Shrunk by averaging over areas; enlarged, and probabilities resized, linearly between the middles of pixels."""

    def red(images):
        return images[..., :1].astype(np.float32) / 255

    row = np.array([0, 100, 200, 40], np.uint8)
    images = np.broadcast_to(row[None, None, :, None], (1, 2, 4, 3)).copy()

    def likely(*scales):
        seen = Seen(red)
        return InferenceSettings(scales=scales).probabilities(seen, images, 1)[0, 0, :, 0] * 255, seen

    _, seen = likely(0.25)
    assert seen.images[0].tolist() == [[[[85, 85, 85]]]]
    half, seen = likely(0.5)
    assert seen.images[0][0, :, :, 0].tolist() == [[50, 120]]
    np.testing.assert_allclose(half, [50, 67.5, 102.5, 120], rtol=1e-5)
    double, seen = likely(2.0)
    assert seen.images[0][0, 0, :, 0].tolist() == [0, 25, 75, 125, 175, 160, 80, 40]
    np.testing.assert_allclose(double, [12.5, 100, 167.5, 60], rtol=1e-5)
    both, seen = likely(0.5, 1.0, 2.0)
    assert seen.sizes == [(1, 2), (2, 4), (4, 8)]
    np.testing.assert_allclose(both, (half + row + double) / 3, rtol=1e-5)


def test_each_scale_is_seen_by_windows_and_mirrored():
    seen = Seen()
    images = np.full((2, 40, 60, 3), (120, 0, 0), np.uint8)
    likely = InferenceSettings((32, 32), 0.0, True, (0.5, 1.0, 1.5)).probabilities(seen, images, CLASSES)
    np.testing.assert_allclose(likely, pixelwise(images), rtol=1e-5)
    assert seen.sizes == 2 * [(20, 30)] + 2 * 4 * [(32, 32)] + 2 * 6 * [(32, 32)]
    assert {len(images) for images in seen.images} == {2}, "a window of all images at a time"


def test_images_of_a_batch_have_nothing_to_do_with_each_other():
    images = draw(np.random.default_rng(0), 3, 20, 31)
    inference = InferenceSettings((8, 16), 0.3, True, (0.7, 1.3))
    together = inference.probabilities(pixelwise, images, CLASSES)
    apart = [inference.probabilities(pixelwise, images[i : i + 1], CLASSES)[0] for i in range(3)]
    np.testing.assert_array_equal(together, np.stack(apart))


@pytest.mark.parametrize(
    "inference",
    [
        InferenceSettings(),
        InferenceSettings(scales=(1.0,)),
        InferenceSettings((40, 40)),
        InferenceSettings((40, 40), 0.9),
    ],
)
def test_nothing_is_changed_without_need(inference):
    images = draw(np.random.default_rng(0), 2, 20, 31)
    seen = Seen()
    assert np.array_equal(inference.probabilities(seen, images, CLASSES), pixelwise(images))
    assert len(seen.images) == 1 and np.array_equal(seen.images[0], images)


@pytest.mark.parametrize("classes", [1, 5, 200])
def test_any_number_of_classes_is_resized(classes):
    def predict(images):
        return np.broadcast_to(np.arange(classes, dtype=np.float32), (*images.shape[:3], classes))

    likely = InferenceSettings(scales=(0.5,)).probabilities(predict, draw(np.random.default_rng(0), 1, 6, 8), classes)
    np.testing.assert_allclose(likely, predict(np.zeros((1, 6, 8, 3))), rtol=1e-6)


def test_an_image_never_shrinks_to_nothing():
    seen = Seen()
    likely = InferenceSettings(scales=(0.01,)).probabilities(seen, draw(np.random.default_rng(0), 1, 3, 9), CLASSES)
    assert likely.shape == (1, 3, 9, CLASSES)
    assert seen.sizes == [(1, 1)]


# ---- options


def parse(*arguments):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return read_options(parser.parse_args(arguments))


def test_options():
    assert parse() == InferenceSettings()
    assert parse().is_plain and parse("--tta-scales", "1").is_plain
    assert parse("--sliding-window", "512x1024") == InferenceSettings((512, 1024), 0.5)
    everything = parse(
        "--sliding-window", "9x7", "--overlap", "0.25", "--tta", "flip", "--tta-scales", "0.75", "1", "1.25"
    )
    assert everything == InferenceSettings((9, 7), 0.25, True, (0.75, 1.0, 1.25))
    for one in (
        ("--sliding-window", "9x7"),
        (
            "--tta",
            "flip",
        ),
        ("--tta-scales", "1", "2"),
    ):
        assert not parse(*one).is_plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--sliding-window 0x5", "--sliding-window: expected a size as HEIGHTxWIDTH, such as 512x1024, got '0x5'"),
        ("--sliding-window 512", "--sliding-window: expected a size"),
        ("--sliding-window 8x8 --overlap 1.0", "overlap must be at least 0 and below 1, got 1.0"),
        ("--sliding-window 8x8 --overlap -0.1", "overlap must be .* got -0.1"),
        ("--sliding-window 8x8 --overlap nan", "overlap must be .* got nan"),
        ("--overlap 0.5", "--overlap is that of sliding windows; give their --sliding-window HxW, too"),
        ("--tta-scales 1.0 0", "scales must be numbers above 0, got 1.0 0.0"),
        ("--tta-scales -0.5", "scales must be .* got -0.5"),
        ("--tta-scales inf", "scales must be .* got inf"),
        ("--tta-scales nan", "scales must be .* got nan"),
    ],
)
def test_bad_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        parse(*arguments.split())


def test_bad_values_are_named():
    with pytest.raises(ValueError, match=r"window must be .* got \(0, 5\)"):
        InferenceSettings((0, 5))
    with pytest.raises(ValueError, match="scales must be numbers above 0, got none"):
        InferenceSettings(scales=())


def test_an_image_after_the_scales(capsys):
    with pytest.raises(SystemExit):
        parse("--tta-scales", "0.5", "street.png")
    assert "--tta-scales: expected numbers, got 'street.png'; images go before --tta-scales" in capsys.readouterr().err
