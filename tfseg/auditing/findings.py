"""What an audit finds: one ranked list over all kinds of faults."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Kind -> what a finding of it says, in the order in which equal scores stand.
KINDS = {
    "duplicates": "an image is there twice: the same, resized, encoded again, brighter or mirrored",
    "leakage": "frames of one drive that look alike lie in two splits",
    "shifted_masks": "the borders of a mask fit the image better somewhere else",
    "label_errors": "a model is sure that a region is of another class than its ground truth",
    "constant_masks": "a mask is all void, or of one class alone",
    "odd_masks": "the shares of the classes in a mask are unlike those of all others",
    "coverage": "a class is missing from a split, or nearly so",
}
LIKELY = 0.5  # score from which a finding counts as a fault for an exit code

Box = tuple[int, int, int, int]  # top, left, height, width, in pixels of the stored image


@dataclass(frozen=True)
class Finding:
    """One thing that is likely to be wrong.

    Attributes:
        kind: one of `KINDS`.
        split: where; for what concerns a pair of splits, the one to mend.
        id: of the image; "" for what concerns a whole split.
        what: one sentence without its end.
        score: 0..1, the share of such findings that are expected to be faults; what ranks all kinds together.
        box: of the region; None for a whole image.
        details: numbers and names of the kind, as they are written to audit.json.
    """

    kind: str
    split: str
    id: str
    what: str
    score: float
    box: Box | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Split and id, for a table."""
        return f"{self.split}/{self.id}" if self.id else self.split


def rank(findings: Iterable[Finding]) -> list[Finding]:
    """Sorts findings, the most suspicious first; the order of equal scores is always the same."""
    kinds = list(KINDS)
    return sorted(findings, key=lambda one: (-one.score, kinds.index(one.kind), one.split, one.id, one.what))
