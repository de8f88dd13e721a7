"""From measures to the share of findings that are faults."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.auditing.calibration import MOST_SCORE, Calibration

GOOD, FAULTS = np.linspace(0, 1, 101), np.linspace(5, 9, 101)


def test_measures_that_lie_apart_are_told_apart():
    calibration = Calibration(GOOD, FAULTS, 0.01, 0.1)
    assert calibration.score(0.5) < 0.03
    assert calibration.score(6) == MOST_SCORE


def test_measures_that_overlap_say_little():
    assert Calibration(GOOD, GOOD, 0.01, 0.1).score(0.5) == pytest.approx(0.01)


def test_bayes_by_hand():
    """Half of the faults and a fifth of the good reach 0.8; a fault is 1 of 10: 0.05 against 0.05 + 0.9 * 0.2."""
    good, faults = np.linspace(0, 1, 101)[1:], np.linspace(0.6, 1, 101)[1:]
    assert Calibration(good, faults, 0.1, 0.01).score(0.8) == pytest.approx(0.05 / (0.05 + 0.18), abs=0.01)


def test_too_few_measures_leave_the_prior():
    assert Calibration(GOOD[:9], FAULTS, 0.01, 0.1).score(100) == 0.01
    assert Calibration(GOOD, FAULTS[:9], 0.01, 0.1).score(100) == 0.01


def test_beyond_all_faults_is_no_less_suspicious():
    calibration = Calibration(GOOD, FAULTS, 0.01, 0.1)
    assert calibration.score(1000) == MOST_SCORE


def test_equal_measures_need_a_scale():
    calibration = Calibration(np.zeros(50), FAULTS, 0.01, 0.5)
    assert calibration.score(0) < 0.02 < calibration.score(1) < calibration.score(2) < calibration.score(6)


@settings(max_examples=30, deadline=None)
@given(st.floats(-10, 20))
def test_a_score_is_a_share(measure):
    assert 0 <= Calibration(GOOD, FAULTS, 0.01, 0.1).score(measure) <= MOST_SCORE
