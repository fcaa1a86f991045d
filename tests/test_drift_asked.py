"""Asked again and again: an alarm is rare while nothing changes, whatever a provider is like, and sure when it does."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.drift import pinned, rescored
from trunkline.drift.asked import Budget, answered, period
from trunkline.drift.judging import PARTS
from trunkline.drift.rescored import Rescored
from trunkline.records.serving import Pin, Provider
from trunkline.verdict import Verdict

BUDGET = Budget(alpha=0.05, a_month=720, tests=6, examples=5)


def recorded(pins: int = 3, repeats: int = 10) -> Provider:
    prompts = [({"role": "user", "content": f"message {number}"},) for number in range(pins)]
    return Provider(
        model="large",
        url="http://127.0.0.1",
        key=None,
        usd_input=0,
        usd_output=0,
        retries=0,
        timeout=1,
        concurrent=1,
        messages=(),
        pinned_tokens=4,
        said="large-1",
        fingerprint="fp_1",
        pins=tuple(Pin(prompt=prompt, max_new_tokens=4, output="right") for prompt in prompts),
        repeats=repeats,
    )


def test_a_months_alpha_is_divided_by_its_runs_and_their_tests():
    assert BUDGET.level == pytest.approx(0.05 / PARTS / 720 / 6)
    assert BUDGET.rate(BUDGET.level) == pytest.approx(BUDGET.alpha)
    assert BUDGET.rate(0.9) == 1


@given(
    st.integers(1, 2000),
    st.lists(st.datetimes(datetime(2026, 10, 1), datetime(2026, 10, 31)), max_size=300),
)
def test_whoever_runs_when_a_month_is_asked_no_more_often_than_it_has_periods(a_month, runs):
    """And one more, where it begins and ends within one."""
    moments = [run.replace(tzinfo=UTC) for run in runs]
    assert len({period(one, a_month) for one in moments}) <= a_month + 1
    start = datetime(2026, 10, 1, tzinfo=UTC)
    length = timedelta(days=30) / a_month
    assert period(start + 2 * length, a_month) > period(start, a_month), "and then it is asked again"


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=6),
    st.integers(1, 12),
    st.integers(0, 4),
    st.integers(1, 30),
)
def test_no_provider_misses_its_pinned_answers_by_chance_more_often_than_is_counted(weights, repeats, matches, tries):
    """Whatever a provider's chances of its answers are: pinned by repeating, and then given hardly any more."""
    chances = np.array(weights) / sum(weights)
    few = [
        sum(math.comb(tries, hits) * p**hits * (1 - p) ** (tries - hits) for hits in range(min(matches, tries) + 1))
        for p in chances
    ]
    true = sum(p**repeats * rest for p, rest in zip(chances, few, strict=True))
    assert true <= pinned.chance(repeats, matches, tries) + 1e-12


@given(st.integers(2, 20), st.integers(1, 20))
def test_it_is_asked_as_often_as_shows_a_change_and_no_more(repeats, tests):
    level = BUDGET._replace(tests=tests).level
    count = pinned.tries(repeats, level)
    if count < 50:
        assert pinned.chance(repeats, 0, count) <= level < pinned.chance(repeats, 0, count - 1)


def test_ten_pinned_answers_tell_another_model_by_a_handful_of_questions():
    count = pinned.tries(10, BUDGET.level)
    assert count <= 15
    found = pinned.judge(recorded(), [["right"], ["right"], ["other"] * count], [("large-1", "fp_1")], BUDGET)
    assert (found.verdict, found.n) == (Verdict.FAIL, count + 2)
    once = pinned.judge(
        recorded(), [["right"], ["right"], ["other"] * (count - 1) + ["right"]], [("large-1", None)], BUDGET
    )
    assert once.verdict is Verdict.PASS
    early = pinned.judge(recorded(), [["right"], ["right"], ["other"] * (count - 1)], [("large-1", "fp_1")], BUDGET)
    assert early.verdict is Verdict.INCONCLUSIVE, "what is not shown yet is no pass"


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ([("large-1", "fp_1"), ("large-1", "fp_2")], Verdict.PASS),
        ([("large-1", "fp_1"), ("large-2", "fp_1")], Verdict.INCONCLUSIVE),
        ([("large-2", "fp_1"), ("large-2", "fp_1")], Verdict.FAIL),
        ([(None, None)], Verdict.FAIL),
    ],
)
def test_a_name_that_is_gone_is_a_move_and_one_that_is_new_beside_it_is_not_clear(said, verdict):
    assert pinned.judge(recorded(), [["right"]] * 3, said, BUDGET).verdict is verdict


def test_a_new_name_is_asked_for_again_before_it_is_believed():
    assert pinned.doubtful(recorded(), ["right"] * 3, [("large-1", "x")]) == ()
    assert pinned.doubtful(recorded(), ["right"] * 3, [("large-2", "x")]) == (0,)
    assert pinned.doubtful(recorded(), ["right", "wrong", "wrong"], [("large-2", "x")]) == (1, 2)


@pytest.mark.parametrize(
    ("fingerprint", "said", "verdict"), [("fp_1", "fp_1", "pass"), ("fp_1", "fp_2", "inconclusive")]
)
def test_without_pins_the_same_fingerprint_is_all_there_is(fingerprint, said, verdict):
    nothing = recorded(pins=0).model_copy(update={"fingerprint": fingerprint})
    assert pinned.judge(nothing, [], [("large-1", said)], BUDGET).verdict == verdict
    nameless = nothing.model_copy(update={"fingerprint": None})
    found = pinned.judge(nameless, [], [("large-1", None)], BUDGET)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Could not measure" in found.sentence


def scored(worse: int, better: int, size: int = 100) -> Rescored:
    then, now = np.full(size, 0.5), np.full(size, 0.5)
    now[:worse] = 0.0
    now[worse : worse + better] = 1.0
    return Rescored("exact_match", "examples are right", then, now, [answered(str(n), "a", "b") for n in range(size)])


@pytest.mark.parametrize("differ", [1, 5, 18, 40, 90])
def test_scores_that_rise_and_fall_alike_raise_an_alarm_no_more_often_than_allowed(differ):
    """Counted over all that can happen to so many questions whose answers waver."""
    chance = sum(
        math.comb(differ, worse) / 2**differ
        for worse in range(differ + 1)
        if rescored.judge(scored(worse, differ - worse), BUDGET, 0.0).verdict is Verdict.FAIL
    )
    assert chance <= BUDGET.level


def test_a_loss_is_an_alarm_with_its_worst_answers_unless_it_is_tolerated():
    found = rescored.judge(scored(30, 1), BUDGET, 0.02)
    assert (found.verdict, found.kind, found.direction) == (Verdict.FAIL, "quality", "down")
    assert [one.question for one in found.answers] == ["0", "1", "2", "3", "4"]
    assert "Asked again, 35.5 % of 100 examples are right; when the release was made 50.0 %" in found.sentence
    assert rescored.judge(scored(30, 1), BUDGET, 0.2).verdict is Verdict.PASS
    assert rescored.judge(scored(0, 40), BUDGET, 0.02).verdict is Verdict.PASS, "to get better is no alarm"


def test_so_few_that_nothing_could_be_shown_are_no_pass():
    assert rescored.judge(scored(0, 0, size=17), BUDGET, 0.02).verdict is Verdict.INCONCLUSIVE
    assert rescored.judge(scored(0, 0, size=18), BUDGET, 0.02).verdict is Verdict.PASS
