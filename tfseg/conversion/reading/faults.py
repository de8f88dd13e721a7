"""What is wrong with files of a data set: of each a line with its name, those of all in one error."""

from collections.abc import Sequence
from typing import NamedTuple

MOST_NAMED = 20  # bad files, the others are counted


class Fault(NamedTuple):
    """Why a sample cannot be converted, with the name of the file."""

    message: str
    split: str = ""
    id: str = ""  # of the sample; empty: several files contradict each other, and none of them is the bad one


class Skipped(NamedTuple):
    """What is left out of a data set because it is bad."""

    split: str  # empty: it lies in no folder of a split
    id: str
    image: str  # its path; empty: there is none
    mask: str  # likewise
    fault: str  # what is wrong; then, after a semicolon, what to do


class BadFilesError(ValueError):
    """Files of the source cannot be converted.

    Attributes:
        faults: of the first `MOST_NAMED` of them, a line each.
        count: of all.
        all: of each, in the order in which they were met.
    """

    def __init__(self, faults: Sequence[Fault | str]):
        self.all = [fault if isinstance(fault, Fault) else Fault(fault) for fault in faults]
        self.count = len(self.all)
        self.faults = [fault.message for fault in self.all[:MOST_NAMED]]
        more = f"; and {self.count - len(self.faults)} bad files more" if self.count > len(self.faults) else ""
        super().__init__("; ".join(self.faults) + more)

    @property
    def can_be_skipped(self) -> bool:
        """Whether each fault is of one sample, which can be left out."""
        return all(fault.id for fault in self.all)
