"""Verdicts: nothing measured is never a pass."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.verdict import Limit, Verdict, within, worst

LIMIT = Limit(**{"pass": 0.1, "fail": 0.2})


def test_the_worst_of_nothing_is_inconclusive():
    assert worst([]) is Verdict.INCONCLUSIVE


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_worst_verdict_wins_in_any_order(verdicts):
    expected = next(v for v in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if v in verdicts)
    assert worst(verdicts) is worst(reversed(verdicts)) is expected


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.0, "pass"), (0.1, "pass"), (0.15, "inconclusive"), (0.2, "inconclusive"), (0.21, "fail"), (math.inf, "fail")],
)
def test_two_limits_make_three_verdicts(value, verdict):
    if math.isinf(value):
        with pytest.raises(ValueError, match="finite"):
            within("x", value, LIMIT, "m")
    else:
        assert within("x", value, LIMIT, "m").verdict == verdict


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_was_not_measured_is_inconclusive(value):
    check = within("x", value, LIMIT, "the share")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert check.message == "the share: not measured"
