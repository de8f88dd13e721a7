import numpy as np
import pytest

from tfseg.config.schema import Augment, Config, Data, Train
from tfseg.records.record_set import open_records
from tfseg.training.batches import open_batches
from tfseg.training.preview import read_batch


def make_config(records, seed=0, **augment):
    return Config(Data(str(records), size="24x32"), "none", augment=Augment(**augment), train=Train(3, 4, seed))


@pytest.mark.long
def test_batch_is_that_of_the_training(tiny_records):
    """20 images in batches of 4: step 3 of epoch 1 is the ninth batch of the stream."""
    image, mask = read_batch(make_config(tiny_records), open_records(tiny_records), 1, 3)
    batches = open_batches(make_config(tiny_records), open_records(tiny_records))()
    ninth = list(batches.take(9).as_numpy_iterator())[8]
    np.testing.assert_array_equal(image, ninth["image"])
    np.testing.assert_array_equal(mask, ninth["mask"])


@pytest.mark.long
def test_what_is_seen_is_augmented(tiny_records):
    plain, plain_mask = read_batch(make_config(tiny_records), open_records(tiny_records), 0, 0)
    image, mask = read_batch(make_config(tiny_records, flip=1.0), open_records(tiny_records), 0, 0)
    np.testing.assert_array_equal(mask, plain_mask[:, :, ::-1])
    np.testing.assert_array_equal(image, plain[:, :, ::-1])
