import threading
import time

import numpy as np
import pytest

from tfseg.serving.batching import Batcher, QueueFull


def image(value, height=2, width=3):
    return np.full((height, width, 3), value, np.uint8)


def submit(batcher, image):
    return batcher.submit(image, image.shape[:2])


def first_channel(images, sizes):
    return images[..., 0]


def seen_batches(batcher, classify=first_channel):
    """Runs all that waits: the first value of each image of each batch that the model sees."""
    seen = []

    def look(images, sizes):
        seen.append(images[:, 0, 0, 0].tolist())
        return classify(images, sizes)

    batcher.close()
    batcher.work(look)
    return seen


@pytest.mark.parametrize(
    ("waiting", "batches"),
    [(1, [1]), (2, [2]), (3, [2, 1]), (5, [4, 1]), (6, [6]), (7, [6, 1]), (11, [6, 4, 1])],
)
def test_batches_are_full_or_powers_of_two(waiting, batches):
    batcher = Batcher(max_batch=6, max_pixels=1000, wait=0, capacity=20)
    for value in range(waiting):
        submit(batcher, image(value))
    assert [*map(len, seen_batches(batcher))] == batches


def test_images_of_one_size_are_seen_together_the_oldest_first():
    batcher = Batcher(max_batch=3, max_pixels=1000, wait=0, capacity=10)
    futures = [submit(batcher, image(value, width=4 if value % 2 else 3)) for value in range(8)]
    assert seen_batches(batcher) == [[0, 2, 4], [1, 3, 5], [6], [7]]
    for value, future in enumerate(futures):
        assert (future.result().class_ids == value).all()
        assert future.result().class_ids.shape == (2, 4 if value % 2 else 3)
    assert [future.result().batch for future in futures] == [3, 3, 3, 3, 3, 3, 1, 1]


def test_a_batch_has_no_more_pixels_than_one_image_may():
    batcher = Batcher(max_batch=8, max_pixels=13, wait=0, capacity=10)
    for value in range(5):
        submit(batcher, image(value))  # 6 pixels each
    submit(batcher, image(9, height=4, width=4))
    assert seen_batches(batcher) == [[0, 1], [2, 3], [4], [9]]


def test_a_full_queue_refuses():
    batcher = Batcher(max_batch=1, max_pixels=1000, wait=0, capacity=2)
    submit(batcher, image(0))
    assert not batcher.is_full
    submit(batcher, image(1))
    assert batcher.is_full and len(batcher) == 2
    with pytest.raises(QueueFull):
        submit(batcher, image(2))
    assert seen_batches(batcher) == [[0], [1]]


def test_a_free_model_waits_for_others():
    batcher = Batcher(max_batch=2, max_pixels=1000, wait=60, capacity=4)
    worker = threading.Thread(target=batcher.work, args=(first_channel,), daemon=True)
    worker.start()
    first = submit(batcher, image(1))
    assert not first.done()  # for a minute, unless another one comes
    second = submit(batcher, image(2))
    assert [future.result(timeout=10).batch for future in (first, second)] == [2, 2]
    batcher.close()
    worker.join(timeout=10)
    assert not worker.is_alive() and not batcher.running


def test_what_is_cancelled_is_not_seen():
    batcher = Batcher(max_batch=2, max_pixels=1000, wait=0, capacity=4)
    futures = [submit(batcher, image(value)) for value in range(3)]
    assert futures[0].cancel() and futures[2].cancel()
    assert seen_batches(batcher) == [[1]]


def test_what_is_cancelled_is_not_counted():
    """Of four that wait, one is cancelled: two are seen, and one after them, not three."""
    batcher = Batcher(max_batch=6, max_pixels=1000, wait=0, capacity=4)
    futures = [submit(batcher, image(value)) for value in range(4)]
    assert batcher.is_full
    futures[1].cancel()
    assert len(batcher) == 3 and not batcher.is_full
    assert seen_batches(batcher) == [[0, 2], [3]]


def test_what_is_cancelled_while_it_is_waited_for_does_not_end_the_work():
    batcher = Batcher(max_batch=2, max_pixels=1000, wait=0.2, capacity=4)
    worker = threading.Thread(target=batcher.work, args=(first_channel,), daemon=True)
    first = submit(batcher, image(1))
    worker.start()
    time.sleep(0.05)
    first.cancel()
    second = submit(batcher, image(2, width=4))
    assert second.result(timeout=10).batch == 1 and batcher.running
    batcher.close()
    worker.join(timeout=10)


def test_an_error_is_that_of_its_batch_alone():
    def fail_at_one(images, sizes):
        if (images == 1).any():
            raise RuntimeError("out of memory")
        return images[..., 0]

    batcher = Batcher(max_batch=1, max_pixels=1000, wait=0, capacity=4)
    futures = [submit(batcher, image(value)) for value in range(3)]
    seen_batches(batcher, fail_at_one)
    with pytest.raises(RuntimeError, match="out of memory"):
        futures[1].result()
    assert futures[2].result().class_ids.tolist() == [[2, 2, 2], [2, 2, 2]]


def test_batches_are_counted():
    counted = []
    batcher = Batcher(2, 1000, 0, 4, on_batch=lambda images, seconds: counted.append((images, seconds >= 0)))
    for value in range(3):
        submit(batcher, image(value))
    seen_batches(batcher)
    assert counted == [(2, True), (1, True)]
