"""X and E2: exact against enumeration and scipy, blind to what hits both arms, valid by simulation."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from trunkline import sequential
from trunkline.sequential import Conditional, Counts, Stratified

small = st.integers(0, 12)
windows = st.builds(lambda n1, n0, e1, e0: Counts(n1, min(e1, n1), n0, min(e0, n0)), small, small, small, small)
TINY = (Counts(2, 1, 5, 1), Counts(3, 0, 4, 2), Counts(4, 2, 3, 1))
EMPTY = (Counts(7, 0, 9, 0), Counts(0, 0, 9, 3), Counts(0, 0, 0, 0))
REPETITIONS = 2000


def lower_limit(events: int, of: int) -> float:
    """The exact lower 99 % limit of a rate (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.01, events, of - events + 1)) if events else 0.0


@given(window=windows, ratio=st.sampled_from([1.0, 1.25, 3.0]))
def test_chances_are_those_of_scipy(window, ratio):
    low, chances = sequential.conditional_chances(window, ratio)
    events, total = window.canary_events + window.stable_events, window.canary + window.stable
    assume(total > 0)
    k = low + np.arange(chances.size)
    if ratio == 1:
        known = stats.hypergeom.pmf(k, total, window.canary, events)
    else:
        known = stats.nchypergeom_fisher.pmf(k, total, window.canary, events, ratio)
    assert chances == pytest.approx(known, abs=1e-9)
    assert chances.sum() == pytest.approx(1)


def paths(margins: tuple[Counts, ...], ratio: float) -> list[tuple[float, tuple[Counts, ...]]]:
    """Every way in which the canary's events can fall, with its chance."""
    choices = []
    for window in margins:
        low, chances = sequential.conditional_chances(window, ratio)
        events = window.canary_events + window.stable_events
        choices.append(
            [
                (chance, Counts(window.canary, low + k, window.stable, events - low - k))
                for k, chance in enumerate(chances.tolist())
            ]
        )
    return [(math.prod(chance for chance, _ in path), tuple(w for _, w in path)) for path in product(*choices)]


def stops(path: tuple[Counts, ...], alpha: float) -> tuple[bool, float]:
    test, stopped = Conditional(), False
    for number, window in enumerate(path, 1):
        test.add(window)
        stopped |= test.events >= test.look(sequential.spent(alpha, number, len(path)))
    return stopped, test.used


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_the_chance_to_stop_is_exactly_what_was_used_by_enumeration(alpha):
    found = [(chance, *stops(path, alpha)) for chance, path in paths(TINY, 1.0)]
    used = {round(used, 12) for _, _, used in found}
    assert len(used) == 1
    assert sum(chance for chance, stopped, _ in found if stopped) == pytest.approx(used.pop())
    assert sum(chance for chance, stopped, _ in found if stopped) <= alpha


@pytest.mark.parametrize("tolerated", [1.0, 1.5])
def test_the_e_process_is_fair_at_the_tolerated_ratio_and_loses_below_it(tolerated):
    means = []
    for ratio in (0.5, 1.0, 1.5):
        mean = 0.0
        for chance, path in paths(TINY, tolerated * ratio):
            process = Stratified(tolerated)
            for window in path:
                process.add(window)
            mean += chance * math.exp(process.log)
        means.append(mean)
    assert means[1] == pytest.approx(1)
    assert means[0] < 1 < means[2]


@given(
    path=st.lists(windows, max_size=5),
    empty=st.sampled_from([Counts(7, 0, 9, 0), Counts(0, 0, 9, 3), Counts(0, 0, 0, 0)]),
)
@settings(max_examples=50)
def test_windows_without_events_or_with_one_arm_change_nothing(path, empty):
    plain, padded = (Conditional(), Stratified()), (Conditional(), Stratified())
    for window in path:
        for process in plain:
            process.add(window)
        for process in padded:
            process.add(empty)
            process.add(window)
    assert padded[0].events == plain[0].events
    assert padded[0].look(0.3) == plain[0].look(0.3)
    assert padded[1].log == pytest.approx(plain[1].log, abs=1e-9)


def traffic(rng: np.random.Generator, canary: np.ndarray, stable: np.ndarray, weight: float = 0.2) -> list[Counts]:
    """Windows of two hundred requests at these error rates."""
    windows = []
    for one, other in zip(canary, stable, strict=True):
        n1 = int(rng.binomial(200, weight))
        windows.append(Counts(n1, int(rng.binomial(n1, one)), 200 - n1, int(rng.binomial(200 - n1, other))))
    return windows


@pytest.mark.parametrize("base", [0.003, 0.02])
def test_no_more_than_alpha_of_identical_canaries_are_rolled_back(base):
    rng = np.random.default_rng(11)
    rates = np.full(15, base)
    rates[5:8] *= 6  # an incident on both arms
    stopped = sum(stops(tuple(traffic(rng, rates, rates)), 0.05)[0] for _ in range(REPETITIONS))
    assert lower_limit(stopped, REPETITIONS) <= 0.05
    assert stopped > 0


def test_a_worse_canary_is_rolled_back():
    rng = np.random.default_rng(12)
    canary, stable = np.full(15, 0.06), np.full(15, 0.02)
    assert sum(stops(tuple(traffic(rng, canary, stable)), 0.05)[0] for _ in range(100)) >= 95


def test_a_ramp_during_an_incident_is_no_evidence_although_pooled_counts_say_so():
    """Simpson's paradox: the canary's share grows while both arms fail."""
    path = [Counts(10, 0, 190, 2)] * 5 + [Counts(100, 10, 100, 10)] * 5
    canary, stable = (
        (sum(w[0] for w in path), sum(w[1] for w in path)),
        (sum(w[2] for w in path), sum(w[3] for w in path)),
    )
    pooled = stats.fisher_exact([[canary[1], canary[0] - canary[1]], [stable[1], stable[0] - stable[1]]], "greater")
    assert pooled.pvalue < 0.001
    process = Stratified()
    for window in path:
        process.add(window)
    assert not stops(tuple(path), 0.05)[0]
    assert process.log < math.log(2)
