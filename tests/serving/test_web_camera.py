import base64

import pytest
from helper_files import PNG

from tfseg.serving.web_camera import MOST_BYTES, read_frame


def sent(number, content):
    return {"frame": {"number": number, "jpeg": base64.b64encode(content).decode()}}


def test_the_latest_frame():
    assert read_frame(sent(7, PNG)) == (7, PNG)


@pytest.mark.parametrize("state", [None, {}, {"frame": None}])
def test_before_the_first(state):
    assert read_frame(state) is None


@pytest.mark.parametrize(
    "frame",
    [
        "text",
        [],
        {},
        {"number": "7", "jpeg": ""},
        {"number": True, "jpeg": ""},
        {"number": 7, "jpeg": None},
        {"number": 7, "jpeg": "no base64!"},
        {"number": 7, "jpeg": "\u00e9"},
        {"number": 7, "jpeg": "A" * (2 * MOST_BYTES)},
    ],
)
def test_what_is_no_frame(frame):
    with pytest.raises(ValueError, match="the camera sent no frame"):
        read_frame({"frame": frame})
