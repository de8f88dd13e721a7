import cv2
import numpy as np
import pytest

from tfseg import show_batch

REQUIRED = ["--data.size", "24x32", "--train.batch_size", "3"]


@pytest.mark.long
def test_sheet_is_written(tiny_records, tmp_path, capsys):
    out = tmp_path / "batch.png"
    show_batch.main([*REQUIRED, "--data.records", str(tiny_records), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}: 3 images of 24x32\n"
    sheet = cv2.imread(str(out))
    assert sheet.shape[1] == pytest.approx(3 * 360, abs=2)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 30


@pytest.mark.parametrize("wrong", [["--out", "batch.jpg"], ["--out", "batch.png", "--step", "-1"], []])
def test_wrong_arguments(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        show_batch.main([*REQUIRED, "--data.records", "x", *wrong])
    assert "--out" in capsys.readouterr().err or "--step" in wrong
