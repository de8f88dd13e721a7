import pytest

from tfseg.io.escaping import csv_cell, markdown, printable, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 日本 é", "Straße 日本 é"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m\x9b2J", "\\x1b[31m\\x9b2J"),
        ("a\u202eb\u2028c", "a\\u202eb\\u2028c"),
        ("caf\udce9", "caf\\udce9"),
        (7, "7"),
    ],
)
def test_what_no_terminal_shows_becomes_a_number(text, shown):
    assert printable(text) == shown


def test_what_is_too_long_is_cut():
    assert shorten("a" * 300, 10) == "aaaaaaa..."
    assert shorten("\x1b" * 300, 10) == "\\x1b\\x1..."
    assert shorten("a" * 10, 10) == "a" * 10


def test_markdown_shows_signs_as_they_are():
    assert markdown("| a | <b> [x](y) `c`\n# _d_") == (r"\| a \| \<b\> \[x\]\(y\) \`c\`\\n\# \_d\_")
    assert markdown("road 2") == "road 2"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("a=1", "a=1"),
        ("a\r\nb", "a\\r\\nb"),
    ],
)
def test_no_cell_is_a_formula(text, cell):
    assert csv_cell(text) == cell
