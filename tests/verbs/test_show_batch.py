import cv2
import numpy as np
import pytest

from tfseg import show_batch
from tfseg.config.schema import Augment, Config, Data, Train
from tfseg.records.record_set import open_records
from tfseg.training.batches import make_batches

REQUIRED = ["show_batch.py", "--data.size", "24x32", "--train.batch_size", "3"]


def make_config(records, seed=0, **augment):
    return Config(Data(str(records), size="24x32"), "none", augment=Augment(**augment), train=Train(3, 4, seed))


def test_sheet_is_written(tiny_records, tmp_path, monkeypatch, capsys):
    out = tmp_path / "batch.png"
    monkeypatch.setattr("sys.argv", [*REQUIRED, "--data.records", str(tiny_records), "--out", str(out)])
    show_batch.main()
    assert capsys.readouterr().out == f"{out}: 3 pictures of 24x32\n"
    sheet = cv2.imread(str(out))
    assert sheet.shape[1] == pytest.approx(3 * 360, abs=2)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 30


def test_batch_is_that_of_the_training(tiny_records):
    """20 pictures in batches of 4: step 3 of epoch 1 is the ninth batch of the stream."""
    image, mask = show_batch.read_batch(make_config(tiny_records), open_records(tiny_records), 1, 3)
    batches, _ = make_batches(make_config(tiny_records), open_records(tiny_records))
    ninth = list(batches.take(9).as_numpy_iterator())[8]
    np.testing.assert_array_equal(image, ninth["image"])
    np.testing.assert_array_equal(mask, ninth["mask"])


def test_what_is_seen_is_augmented(tiny_records):
    records = open_records(tiny_records)
    plain, plain_mask = show_batch.read_batch(make_config(tiny_records), records, 0, 0)
    image, mask = show_batch.read_batch(make_config(tiny_records, flip=1.0), records, 0, 0)
    np.testing.assert_array_equal(mask, plain_mask[:, :, ::-1])
    np.testing.assert_array_equal(image, plain[:, :, ::-1])


@pytest.mark.parametrize("wrong", [["--out", "batch.jpg"], ["--out", "batch.png", "--step", "-1"], []])
def test_wrong_arguments(wrong, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [*REQUIRED, "--data.records", "x", *wrong])
    with pytest.raises(SystemExit, match="2"):
        show_batch.main()
    assert "--out" in capsys.readouterr().err or "--step" in wrong
