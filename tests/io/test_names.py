import pytest

from tfseg.io.names import check_id, check_name, check_text, quote


@pytest.mark.parametrize(
    "id",
    [
        "ulm_000000_000019",
        "a b",
        "seq/0001/007",
        "a..b",
        "...",
        "é日",
        "a\\b",
        "c:",
        "x" * 4096,
        "\u0645\u06cc\u200c",
        "~",
    ],
)
def test_ids_that_stay_in_their_folder(id):
    assert check_id(id) == id


@pytest.mark.parametrize(
    ("id", "shown"),
    [
        ("../../x", "'../../x'"),
        ("a/../b", "'a/../b'"),
        ("..", "'..'"),
        ("./a", "'./a'"),
        ("/etc/passwd", "'/etc/passwd'"),
        ("a//b", "'a//b'"),
        ("a/", "'a/'"),
        ("..\\x", r"'..\x'"),
        ("a\\..\\..\\x", r"'a\..\..\x'"),
        ("\\\\server\\x", r"'\\server\x'"),
        ("C:\\x", r"'C:\x'"),
        ("c:/x", "'c:/x'"),
    ],
)
def test_ids_that_lead_out_of_it(id, shown):
    with pytest.raises(ValueError) as raised:
        check_id(id)
    assert str(raised.value) == f"has the id {shown}, expected one that is not absolute and has no part that is . or .."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the class '' of 0 bytes, expected 1 to 255"),
        ("é" * 128, f"has the class '{'é' * 77}...' of 256 bytes, expected 1 to 255"),
        ("a\nb", r"has the class 'a\nb', expected no line breaks and no other control characters"),
        ("\0", r"has the class '\x00', expected no line breaks and no other control characters"),
        ("\x1b[2J", r"has the class '\x1b[2J', expected no line breaks and no other control characters"),
        ("a\u2028b", r"has the class 'a\u2028b', expected no line breaks and no other control characters"),
        ("\ud800", r"has the class '\ud800', which cannot be written in UTF-8"),
    ],
)
def test_text_that_does_not_stay_in_its_line(text, message):
    for check in (check_text, check_name):
        with pytest.raises(ValueError) as raised:
            check(text, "class")
        assert str(raised.value) == message


@pytest.mark.parametrize("name", ["a/b", "/", "a\\b", ".", ".."])
def test_names_of_files_have_no_folders(name):
    with pytest.raises(
        ValueError, match=r"^has the split .*, expected a name without / and \\ that is not \. or \.\.$"
    ):
        check_name(name, "split")


def test_names_in_use():
    assert check_name("train-extra.v2", "split") == "train-extra.v2"
    assert check_text("traffic light / sign", "class") == "traffic light / sign"


def test_quotes_are_short_and_printable():
    assert quote("a\u202egnp") == r"'a\u202egnp'"
    assert quote("x" * 10**6) == f"'{'x' * 77}...'"
    assert quote(10**30) == f"'{10**30}'"
