"""Masks that lie beside their images, found by the edges of the images."""

from collections.abc import Sequence

import numpy as np

from tfseg.auditing.calibration import Calibration
from tfseg.auditing.features import Features
from tfseg.auditing.findings import Finding

PRIOR = 0.01  # 1 mask of 100
NARROWEST = 0.15  # deviations; measures of masks in place are nearly all 0
SHOWN = 0.05  # score from which a mask is worth a line


def find_shifted(features: Sequence[Features]) -> list[Finding]:
    """Finds masks that would fit their image better elsewhere, see `alignment`.

    The measure is calibrated on the same masks, each shifted on purpose by 1/40 to 1/16 of the longer side.
    """
    usable = [one for one in features if one.shift is not None]
    observed = np.array([one.shift.measure for one in usable if one.shift is not None])
    simulated = np.array([one.simulated_shift for one in usable if one.simulated_shift is not None])
    calibration = Calibration(observed, simulated, PRIOR, NARROWEST)
    findings = []
    for one in usable:
        if one.shift is None or not one.shift.measure or not calibration.known:
            continue
        score = calibration.score(one.shift.measure)
        if score >= SHOWN:
            what = f"the mask fits the edges of the image best when it is moved {describe(*one.shift[1:])}"
            details = {"down": one.shift.down, "right": one.shift.right, "measure": round(one.shift.measure, 3)}
            findings.append(Finding("shifted_masks", one.split, one.id, what, score, details=details))
    return findings


def describe(down: int, right: int) -> str:
    """Words a translation: (-3, 12) -> "3 pixels up and 12 right"."""
    parts = [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
    parts += [f"{abs(right)} {'right' if right > 0 else 'left'}"] if right else []
    first, *others = parts
    amount, _, way = first.partition(" ")
    return " and ".join([f"{amount} pixels {way}", *others])
