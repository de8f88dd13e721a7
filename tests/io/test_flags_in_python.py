from typing import TypedDict, Unpack

import pytest
from PIL import Image

import tfseg
from tfseg.io.flags_in_python import note_arguments


class Options(TypedDict, total=False):
    skip_bad: bool


@note_arguments(Options, split="split_lists")
def complain(text: str, kind: type = ValueError, out: str = "", **options: Unpack[Options]) -> None:
    raise kind(text)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("bad; choose another --out, or --skip-bad", "In Python: --out is out, --skip-bad is skip_bad"),
        ("--split train=FILE; --split: twice", "In Python: --split is split_lists"),
    ],
)
def test_flags_in_an_error_get_a_note(text, note):
    with pytest.raises(ValueError) as caught:
        complain(text)
    assert (str(caught.value), caught.value.__notes__) == (text, [note])


@pytest.mark.parametrize("text", ["no flag", "--runner is of the command alone", "a--out", "--outer"])
def test_other_errors_are_left_alone(text):
    with pytest.raises(OSError) as caught:
        complain(text, OSError)
    assert not hasattr(caught.value, "__notes__")


def test_a_conversion_that_names_flags_names_arguments_too(tmp_path):
    for folder, color in (("images", (9, 9, 9)), ("masks", 3)):
        (tmp_path / folder).mkdir()
        Image.new("RGB" if folder == "images" else "L", (8, 8), color).save(tmp_path / folder / "a.png")
    with pytest.raises(ValueError, match="give --label-map,") as caught:
        tfseg.convert_dataset(None, tmp_path / "out", images=tmp_path / "images", masks=tmp_path / "masks")
    assert caught.value.__notes__ == ["In Python: --label-map is label_map"]
