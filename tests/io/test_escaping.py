import pytest

from tfseg.io.escaping import csv_cell, markdown, markdown_code, printable, shorten

MarkdownIt = pytest.importorskip("markdown_it").MarkdownIt


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


NAMES = [
    *("| a | <img src=x onerror=alert(1)> [x](javascript:alert(1))", "a`b``c", "``", "![x](http://x.org/y.png)"),
    *(
        "<b>",
        "</td>",
        "<!-- x",
        "<http://x.org>",
        "&lt;b&gt;",
        "&#60;b>",
        "http://x.org",
        "www.x.org",
        "[x][y]",
        "[x]: y",
    ),
    *(
        "**b**",
        "_i_",
        "*i*",
        "~s~",
        "~~s~~",
        "$x$",
        "a\\",
        "\\<b>",
        "\\\\`x`",
        "\\|",
        ":tada:",
        "a\nb",
        "[x](",
        "<",
        "[x]: y",
    ),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("start", "escape"), [("The class ", markdown), ("| class |\n| --- |\n| ", markdown), ("The class ", markdown_code)]
)
def test_a_name_is_text_to_markdown(name, start, escape):
    """In a paragraph, in a cell of a table, and as code: one text, without any element in it."""
    reader = MarkdownIt("gfm-like", {"html": True, "linkify": False})
    inline = [token for token in reader.parse(f"{start}{escape(name)} end") if token.type == "inline"][-1]
    assert {token.type for token in inline.children} <= {"text", "text_special", "code_inline"}
    shown = "".join(token.content for token in inline.children)
    assert shown == f"{'' if start.startswith('|') else start}{printable(name)} end"


@pytest.mark.parametrize("name", ["road", "traffic_light", "C++", "a - b", "3 * 4", "x < y", "(a) [b]", "-", "a: b"])
def test_ordinary_names_stay_as_they_are(name):
    assert markdown(name) == name
    assert markdown_code(name) == f"`{name}`"


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
