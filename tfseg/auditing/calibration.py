"""From a measure of suspicion to the share of findings that are faults, so that kinds can be ranked together.

Nobody knows which masks of a data set are bad. But how a bad one would look can be tried: a mask is shifted, an object
is given another class, and what was measured before is measured again. Where the measures of such faults and of the
masks as they are lie far apart, a high measure means a fault; where they overlap, it means little. A model that errs
often, or masks with ragged borders, lower the scores in this way by themselves.
"""

import numpy as np

USUAL = 0.9  # share of the masks whose measures describe what is usual; faults are taken to be among the others
FEWEST = 10  # measures of either side from which anything can be said
MOST_SCORE = 0.99  # nothing is certain that nobody has looked at


class Calibration:
    """Expected precision of a measure of which higher is more suspicious.

    By Bayes: `prior` times how often a fault has this measure or more, against that plus how often a good mask has.
    The latter follows the observed measures up to their quantile `USUAL`, and falls from there as an exponential
    function does that goes through their median: beyond it there are too few to count, and faults among them.

    Args:
        observed: measures of the data as they are, whatever is wrong in them.
        simulated: measures of faults that were made on purpose.
        prior: the share that are faults, as far as one can say before looking, above 0 and below 1.
        narrowest: scale of the exponential, at least; for measures that are nearly all equal.

    Example:
        Where good masks measure 0 to 1 and shifted ones 5 to 9, 0.5 is scored as nearly 0, and 6 as nearly 1.
    """

    def __init__(self, observed: np.ndarray, simulated: np.ndarray, prior: float, narrowest: float):
        self.simulated = np.sort(simulated)
        self.prior = prior
        self.known = min(len(observed), len(simulated)) >= FEWEST
        self.observed = np.sort(observed)
        if self.known:
            middle, self.edge = np.quantile(observed, [0.5, USUAL])
            self.scale = max((self.edge - middle) / np.log(0.5 / (1 - USUAL)), narrowest)

    def score(self, measure: float) -> float:
        """Gives the expected precision at a measure, 0..`MOST_SCORE`; the prior where too little is known."""
        if not self.known:
            return self.prior
        of_faults = self._share_from(self.simulated, measure)
        of_good = self._share_from(self.observed, measure)
        if measure > self.edge:
            of_good = (1 - USUAL) * float(np.exp(-min((measure - self.edge) / self.scale, 500)))
        expected = self.prior * of_faults
        return min(expected / (expected + (1 - self.prior) * of_good), MOST_SCORE)

    @staticmethod
    def _share_from(ordered: np.ndarray, measure: float) -> float:
        """The share that is at least as large; never 0, since a measure beyond all others is no less suspicious."""
        count = len(ordered) - int(np.searchsorted(ordered, measure, side="left"))
        return max(count, 1) / len(ordered)
