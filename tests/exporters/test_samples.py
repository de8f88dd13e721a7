import pytest

from tfseg.exporters.samples import spread


@pytest.mark.parametrize(
    ("images", "count", "places"),
    [(101, 3, [0, 50, 100]), (15, 8, [0, 2, 4, 6, 8, 10, 12, 14]), (3, 4, [0, 1, 2]), (5, 1, [0]), (0, 4, [])],
)
def test_images_are_taken_from_the_whole(images, count, places):
    assert spread([*range(images)], count) == places
