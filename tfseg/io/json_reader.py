"""JSON files of a run, a model or a data set -> values, whatever a file holds, with one line for what is wrong."""

import json
from pathlib import Path

from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file

LARGEST = 64 * 2**20  # bytes; the scores of a split take some ten thousand


def read_json(path: Path, most: int = LARGEST) -> object:
    """Reads a file of JSON.

    Raises:
        ValueError: it has more bytes, is no JSON, or is nested deeper than Python goes; in one line, with the path.
        OSError: it cannot be read.
    """
    try:
        return json.loads(read_file(path, most).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{printable(path)}: is no JSON that can be read: nested too deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{printable(path)}: is no JSON: {shorten(error)}") from None
    except ValueError as error:  # a number of more digits than Python reads, or a file that is none
        shown = printable(path)
        raise ValueError(str(error) if str(error).startswith(shown) else f"{shown}: {shorten(error)}") from None
