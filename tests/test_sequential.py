"""E-processes: expectation at most 1 by enumeration, the same however they are fed, and quick where it counts."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import sequential
from trunkline.sequential import Bets, SampleRatio, Tally
from trunkline.sequential.scores import Claim

WEIGHTS = np.array([0.05, 0.05, 0.25, 0.25, 0.5, 0.5, 0.5, 0.05])
arms = st.lists(st.booleans(), min_size=1, max_size=60)


def tally_of(canary: np.ndarray, weights: np.ndarray) -> Tally:
    tally = Tally()
    tally.add(weights, canary)
    return tally


def expectation(e_value, ratio: float) -> float:
    """The mean e-value over all ways in which eight votes can fall when the risk ratio is this."""
    shares = WEIGHTS * ratio / (WEIGHTS * ratio + 1 - WEIGHTS)
    total = 0.0
    for votes in product((False, True), repeat=WEIGHTS.size):
        canary = np.array(votes)
        total += float(np.prod(np.where(canary, shares, 1 - shares))) * math.exp(e_value(tally_of(canary, WEIGHTS)))
    return total


@pytest.mark.parametrize("tolerated", [1.0, 1.25])
def test_votes_for_worse_are_fair_at_the_tolerated_ratio_and_lose_below_it(tolerated):
    found = [expectation(lambda tally: sequential.at_most(tally, tolerated), tolerated * r) for r in (0.3, 0.8, 1, 1.2)]
    assert found[2] == pytest.approx(1)
    assert found[0] < found[1] < 1 < found[3]


@pytest.mark.parametrize("margin", [1.5, 2.0, 3.0])
def test_votes_for_no_worse_are_fair_at_the_margin_and_lose_above_it(margin):
    found = [expectation(lambda tally: sequential.at_least(tally, margin), margin * r) for r in (0.8, 1, 1.3, 4)]
    assert found[1] == pytest.approx(1)
    assert found[0] > 1 > found[2] > found[3]


@given(canary=arms, cut=st.integers(0, 60), seed=st.integers(0, 99))
def test_votes_are_the_same_however_they_are_cut_into_windows(canary, cut, seed):
    votes = np.array(canary)
    weights = np.random.default_rng(seed).choice([0.05, 0.25, 0.5], votes.size)
    whole, parts = tally_of(votes, weights), tally_of(votes[:cut], weights[:cut])
    parts.add(weights[cut:], votes[cut:])
    assert parts.votes == whole.votes
    assert (whole.canary, whole.stable) == (int(votes.sum()), int((~votes).sum()))


def test_votes_at_weight_0_and_1_say_nothing():
    tally = tally_of(np.array([False, True]), np.array([0.0, 1.0]))
    assert sequential.at_most(tally) == pytest.approx(0)
    assert sequential.at_least(tally, 2.0) == pytest.approx(0)
    assert sequential.bound(tally, 0.05) == math.inf


def test_the_bound_tightens_with_evidence():
    bounds = []
    for times in (1, 3, 10, 100):
        tally = Tally()
        tally.votes[0.25] = (5 * times, 15 * times)
        bounds.append(sequential.bound(tally, 0.05))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > 3
    assert bounds[-1] < 1.3


def test_watching_votes_for_ever_alarms_at_most_alpha_of_the_time():
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(300):
        canary, tally = rng.random(400) < 0.25, Tally()
        for start in range(0, 400, 20):
            tally.add(np.full(20, 0.25), canary[start : start + 20])
            if sequential.reached(sequential.at_most(tally), 0.05):
                alarms += 1
                break
    assert alarms <= 0.05 * 300


SCORES = np.array([0.0, 1.0, 0.5, 0.9, 0.2, 1.0])
CLAIMS = (Claim(-1, 0.0), Claim(-1, 0.1), Claim(1, 0.05), Claim(1, 0.2))


def mean_capital(canary_scores: np.ndarray, weights: np.ndarray) -> dict[Claim, float]:
    """Mean capital over all assignments of six units whose scores on stable are SCORES."""
    total = dict.fromkeys(CLAIMS, 0.0)
    for assigned in product((False, True), repeat=SCORES.size):
        canary, bets = np.array(assigned), Bets(CLAIMS)
        bets.add(np.where(canary, canary_scores, SCORES), weights, canary)
        chance = float(np.prod(np.where(canary, weights, 1 - weights)))
        for claim, log in bets.logs.items():
            total[claim] += chance * math.exp(log)
    return total


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_bets_on_scores_are_fair_while_their_claims_hold(weight):
    weights = np.full(SCORES.size, weight)
    same = mean_capital(SCORES, weights)
    assert same[CLAIMS[0]] == pytest.approx(1)
    assert same[CLAIMS[1]] < 1
    assert all(same[claim] > 1 for claim in CLAIMS[2:])
    worse = mean_capital(np.maximum(SCORES - 0.3, 0), weights)
    assert worse[CLAIMS[0]] > worse[CLAIMS[1]]
    assert worse[CLAIMS[2]] < 1


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=40), seed=st.integers(0, 99), cut=st.integers(0, 40))
def test_bets_never_lose_all_and_are_the_same_however_they_are_cut(scores, seed, cut):
    rng = np.random.default_rng(seed)
    values, weights = np.array(scores), rng.choice([0.001, 0.05, 0.5, 0.999], len(scores))
    canary = rng.random(values.size) < weights
    whole, parts = Bets(CLAIMS), Bets(CLAIMS)
    whole.add(values, weights, canary)
    for part in (slice(0, cut), slice(cut, None)):
        parts.add(values[part], weights[part], canary[part])
    assert list(parts.logs.values()) == pytest.approx(list(whole.logs.values()), abs=1e-9)
    assert all(math.isfinite(log) for log in whole.logs.values())


def test_scores_find_a_loss_and_prove_that_there_is_none():
    rng = np.random.default_rng(3)
    weights = np.full(4000, 0.25)
    canary = rng.random(4000) < weights
    scores = np.clip(rng.normal(0.8, 0.2, 4000), 0, 1)
    same, worse = Bets(CLAIMS), Bets(CLAIMS)
    same.add(scores, weights, canary)
    worse.add(np.where(canary, scores * 0.85, scores), weights, canary)
    assert sequential.reached(same.logs[CLAIMS[2]], 0.05)
    assert not sequential.reached(same.logs[CLAIMS[0]], 0.05)
    assert sequential.reached(worse.logs[CLAIMS[0]], 0.05)
    assert not sequential.reached(worse.logs[CLAIMS[2]], 0.05)
    assert worse.sums[True][0] == canary.sum()


def units(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.uint64)


def seconds_to_alarm(ratio: SampleRatio, kept: float, seed: int, rate: int = 50, limit: int = 400) -> int | None:
    """Polls of 5 s until a canary at 5 % that leaves a share of its requests is noticed; every unit is new."""
    rng = np.random.default_rng(seed)
    for poll in range(limit):
        canary = rng.random(rate) < 0.05
        left = ~canary | (rng.random(rate) < kept)
        if ratio.add(5.0 * poll, units(poll * rate, rate)[left], np.full(left.sum(), 0.05), canary[left]):
            return 5 * (poll + 1)
    return None


def test_a_dead_canary_is_noticed_in_seconds_and_one_that_loses_half_in_minutes():
    assert np.median([seconds_to_alarm(SampleRatio(0.01), 0.0, seed) for seed in range(40)]) <= 20
    assert np.median([seconds_to_alarm(SampleRatio(0.01), 0.5, seed) or 9999 for seed in range(20)]) <= 150


@pytest.mark.parametrize(("lost", "silent"), [(True, True), (False, False)], ids=["the canary", "stable"])
def test_it_is_told_which_arm_is_heard_of_too_little(lost, silent):
    rng, ratio = np.random.default_rng(1), SampleRatio(0.01)
    for poll in range(100):
        canary = rng.random(50) < 0.25
        left = (canary != lost) | (rng.random(50) < 0.3)
        ratio.add(5.0 * poll, units(poll * 50, 50)[left], np.full(left.sum(), 0.25), canary[left])
    assert (ratio.alarmed, ratio.silent) == (True, silent)


def test_the_share_of_both_arms_is_a_fair_bet_by_enumeration():
    total = 0.0
    for votes in product((False, True), repeat=WEIGHTS.size):
        canary, ratio = np.array(votes), SampleRatio(0.01)
        for window, start in enumerate(range(0, WEIGHTS.size, 2)):
            here = slice(start, start + 2)
            ratio.add(100.0 * window, units(start, 2), WEIGHTS[here], canary[here])
        total += float(np.prod(np.where(canary, WEIGHTS, 1 - WEIGHTS))) * math.exp(ratio.log)
    assert total == pytest.approx(1)


def test_a_canary_that_dies_later_is_noticed_as_fast():
    rng, found = np.random.default_rng(8), []
    for number in range(20):
        ratio = SampleRatio(0.01)
        for poll in range(400):
            canary = rng.random(50) < 0.05
            left = ~canary if poll >= 100 + number else np.ones(50, dtype=bool)
            if ratio.add(5.0 * poll, units(50 * poll, 50)[left], np.full(left.sum(), 0.05), canary[left]):
                found.append(5 * (poll + 1 - 100 - number))
                break
    assert len(found) == 20
    assert min(found) > 0
    assert np.median(found) <= 40


def test_arms_that_are_there_alarm_at_most_alpha_of_the_time():
    alarms = sum(seconds_to_alarm(SampleRatio(0.05), 1.0, seed, limit=60) is not None for seed in range(40))
    assert alarms <= 0.05 * 40


def test_a_canary_that_dies_after_all_users_were_seen_is_noticed_too():
    rng, ratio = np.random.default_rng(5), SampleRatio(0.01)
    users, canary = units(0, 1500), rng.random(1500) < 0.05
    alarmed = []
    for poll in range(240):
        here = rng.integers(0, 1500, 25)
        here = here[~canary[here]] if poll >= 120 else here
        alarmed.append(ratio.add(5.0 * poll, users[here], np.full(here.size, 0.05), canary[here]))
    assert not any(alarmed[:120])
    assert alarmed[-1]
    assert ratio.silent


def test_alpha_is_spent_up_to_the_horizon_and_no_further():
    spent = [sequential.spent(0.04, elapsed, 100) for elapsed in (-5, 0, 25, 100, 1000)]
    assert spent == pytest.approx([0, 0, 0.02, 0.04, 0.04])


@given(logs=st.lists(st.floats(-50, 50), min_size=1, max_size=6))
def test_the_average_of_e_values_is_their_mean(logs):
    assert sequential.average(logs) == pytest.approx(math.log(np.mean(np.exp(logs))), abs=1e-9)
    assert sequential.average([]) == 0
