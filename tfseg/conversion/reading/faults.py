"""What is wrong with files of a data set: of each a line with its name, those of all in one error."""

from collections.abc import Sequence
from typing import NamedTuple

MOST_NAMED = 20  # bad files, the others are counted


class Fault(NamedTuple):
    """Why a sample cannot be converted, with the name of the file."""

    message: str


class BadFilesError(ValueError):
    """Files of the source cannot be converted.

    Attributes:
        faults: of the first `MOST_NAMED` of them, a line each.
        count: of all.
    """

    def __init__(self, faults: Sequence[str], count: int | None = None):
        self.count = len(faults) if count is None else count
        self.faults = list(faults[:MOST_NAMED])
        more = f"; and {self.count - len(self.faults)} bad files more" if self.count > len(self.faults) else ""
        super().__init__("; ".join(self.faults) + more)
