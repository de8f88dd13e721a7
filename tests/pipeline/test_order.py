"""Who reads what, where shares cannot be equal: 13 records in shards of 5, 4 and 4."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tfseg.pipeline.order import File, Share, _deal, is_even, number_in_passes, read_in_passes

COUNTS = [5, 4, 4]
PLACES = [0, 5, 9]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("order")
    made = []
    for place, count in zip(PLACES, COUNTS, strict=True):
        path = str(folder / f"{place}.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for number in range(place, place + count):
                writer.write(str(number).encode())
        made.append(File(path, count, place))
    return made


def draw_rows(key, count):
    return tf.range(count) + tf.cast(key[1], tf.int32)  # that of each record is its number


def read(files, share, kind, seed=3, start=0, take=40):
    """Numbers of the records that a reader takes."""
    if kind == "numbered":
        data = number_in_passes(COUNTS, draw_rows, seed=seed, start=start, share=share)
    else:
        data = read_in_passes(files, draw_rows, shuffle=3, seed=seed, start=start, share=share)
    pairs = [(int(drawn), int(record)) for drawn, record in data.take(take).as_numpy_iterator()]
    assert all(drawn == record for drawn, record in pairs), "what is drawn goes with its record"
    return [record for _, record in pairs]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["numbered", "read"])
@pytest.mark.parametrize("readers", [2, 3])
def test_no_record_comes_more_often_than_another(files, readers, kind):
    """Also where each reader draws an order of its own, as without a seed."""
    assert not is_even("abc", COUNTS, readers)
    seen = [read(files, Share(index, readers), kind, seed=index) for index in range(readers)]
    for taken in (3, 13, 20, 39, 40):
        times = Counter(record for records in seen for record in records[:taken])
        whole = taken * readers // 13
        assert sum(times.values()) == taken * readers
        # All are in the same pass, but those whose part of it is behind them, or not yet begun, by one record.
        assert max(times.values()) <= whole + 2 and (taken < 13 or min(times[n] for n in range(13)) >= whole - 1)
    assert Counter(record for records in seen for record in records[:39]) == dict.fromkeys(range(13), 3 * readers)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["numbered", "read"])
def test_a_reader_goes_on_anywhere(files, kind):
    share = Share(1, 3)
    whole = read(files, share, kind)
    for start in (4, 27):
        assert read(files, share, kind, start=start, take=40 - start) == whole[start:]


def test_one_reader_has_the_order_of_before(files):
    assert read(files, None, "read", take=26) != read(files, None, "read", seed=4, take=26)
    assert sorted(read(files, None, "read", take=13)) == list(range(13))
    assert read(files, None, "numbered") == read(files, Share(), "numbered")


def test_each_reads_whole_shards_but_at_its_ends():
    counts = [5, 4, 4, 9, 1, 2, 8, 8]
    for number in range(10):
        dealt = [_deal(counts, tf.constant(number, tf.int64), Share(index, 3)) for index in range(3)]
        lengths = np.array([(end - begin).numpy() for begin, end in dealt])
        assert lengths.sum(axis=0).tolist() == counts
        assert np.ptp(lengths.sum(axis=1)) <= 1
        assert (lengths > 0).sum() <= len(counts) + 2
