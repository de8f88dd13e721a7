import pytest

from tfseg.io.renamed import FLAGS, accept_renamed


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("predict", "--window 512x1024 --overlap 0.25", "--sliding-window 512x1024 --overlap 0.25"),
        ("predict", "--window=512x1024 a.png", "--sliding-window=512x1024 a.png"),
        ("predict", "a.png --flip --out o", "a.png --tta flip --out o"),
        ("predict", "--scales 0.75 1.0 1.25", "--tta-scales 0.75 1.0 1.25"),
        ("predict", "--video drive --rate 5", "--video drive --fps 5"),
        ("evaluate", "--masks m --learn-void", "--masks m --ignore-class none"),
        ("export", "--pictures 0", "--images 0"),
        ("serve", "--window 8x8 --flip", "--sliding-window 8x8 --tta flip"),
    ],
)
def test_an_old_flag_is_rewritten_with_one_warning(capsys, verb, old, new):
    assert accept_renamed(old.split(), verb) == new.split()
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == sum(word.partition("=")[0] in FLAGS[verb] for word in old.split())
    assert all(line.startswith("warning: --") and " is now called --" in line for line in warnings)


def test_a_flag_that_is_given_twice_is_warned_of_once(capsys):
    assert accept_renamed(["--flip", "--flip"], "serve") == ["--tta", "flip", "--tta", "flip"]
    assert capsys.readouterr().err == (
        "warning: --flip is now called --tta flip; the old name goes with the next release\n"
    )


def test_the_flags_of_today_stay_as_they_are(capsys):
    words = ["--sliding-window", "8x8", "--tta", "flip", "--tta-scales", "1", "2", "--fps", "3", "--", "--window"]
    assert accept_renamed(words, "predict") == words
    assert capsys.readouterr().err == ""


def test_the_command_line_of_the_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["export.py", "--pictures", "3"])
    assert accept_renamed(None, "export") == ["--images", "3"]


@pytest.mark.parametrize("words", ["--window 8x8 --sliding-window 8x8", "--sliding-window=8x8 --window=8x8"])
def test_both_names_at_once_are_refused(words):
    with pytest.raises(ValueError, match="--window is the old name of --sliding-window, and both are given"):
        accept_renamed(words.split(), "serve")
