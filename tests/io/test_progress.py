"""Progress bars: on a terminal, unless a caller wants none."""

import io

import pytest

from tfseg.io.progress import show_progress, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def put_terminal(monkeypatch):
    """In the test itself: pytest takes stderr anew once fixtures are made."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_a_terminal_shows_how_far_it_is(monkeypatch):
    terminal = put_terminal(monkeypatch)
    assert list(track([1, 2, 3], unit="image", desc="reading")) == [1, 2, 3]
    assert "reading: 100%" in terminal.getvalue() and "3/3" in terminal.getvalue()


def test_nothing_else_does(monkeypatch):
    terminal = put_terminal(monkeypatch)
    monkeypatch.setattr(Terminal, "isatty", lambda self: False)
    assert list(track([1, 2, 3], unit="image")) == [1, 2, 3] and terminal.getvalue() == ""


def test_a_caller_wants_none(monkeypatch):
    terminal = put_terminal(monkeypatch)
    with show_progress(False):
        assert list(track(iter("ab"), unit="shard", total=2)) == ["a", "b"]
        with show_progress(True):  # what is called within knows nothing of it
            list(track("ab", unit="shard"))
    assert terminal.getvalue() == ""
    list(track("ab", unit="shard"))
    assert "2/2" in terminal.getvalue()


def test_what_is_hidden_is_shown_again_after_an_error(monkeypatch):
    terminal = put_terminal(monkeypatch)
    with pytest.raises(KeyError), show_progress(False):
        raise KeyError
    with track(total=2, unit="image") as bar:
        bar.update(2)
    assert "2/2" in terminal.getvalue()
