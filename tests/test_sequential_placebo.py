"""P: exact for units that come back, where tests of requests are not; blind to no evidence."""

import numpy as np
import pytest
from scipy import stats

from trunkline import assignment, sequential
from trunkline.sequential import Conditional, Counts, Placebos

REPETITIONS, PLACEBOS, LOOKS, REQUESTS, USERS = 2000, 99, 4, 80, 80
ALPHA = 0.05


def lower_limit(events: int, of: int) -> float:
    return float(stats.beta.ppf(0.01, events, of - events + 1)) if events else 0.0


def sticky(seed: int, harm: float = 0.0) -> tuple[bool, bool]:
    """Whether P and X roll back; a few of the users make most of the requests, and a few have most of the errors."""
    rng = np.random.default_rng(seed)
    salt = f"rollout {seed}"
    seeds = assignment.seeds_of([salt, *assignment.placebo_salts(salt, PLACEBOS)])
    users = rng.integers(0, 2**63, USERS).astype(np.uint64)
    activity, rate = rng.lognormal(0, 1.2, USERS), np.minimum(rng.gamma(0.1, 1.0, USERS), 0.9)
    activity /= activity.sum()
    placebos, counts, found = Placebos(PLACEBOS + 1, 3, {2: 1}), Conditional(), [False, False]
    for look in range(1, LOOKS + 1):
        who = rng.choice(USERS, REQUESTS, p=activity)
        weights = np.full(REQUESTS, 0.1 if look <= 2 else 0.4)
        canary = assignment.canaries(seeds, users[who], weights)
        error = (rng.random(REQUESTS) < rate[who] + harm * canary[0]).astype(float)
        slow = rate[who] + rng.random(REQUESTS)
        order = slow.argsort().argsort() / REQUESTS - 0.5
        placebos.add(canary, weights, np.stack([error - error.mean(), slow - slow.mean(), order], axis=1))
        e1, n1 = int(error[canary[0]].sum()), int(canary[0].sum())
        counts.add(Counts(n1, e1, REQUESTS - n1, int(error.sum()) - e1))
        allowed = sequential.spent(ALPHA, look, LOOKS)
        found[0] |= placebos.look(allowed)
        found[1] |= counts.events >= counts.look(allowed)
    return found[0], found[1]


def test_identical_canaries_are_rolled_back_at_most_alpha_of_the_time_although_users_come_back():
    found = np.array([sticky(seed) for seed in range(REPETITIONS)])
    by_placebo, by_counts = found.sum(axis=0).tolist()
    assert by_placebo > 0
    assert lower_limit(by_placebo, REPETITIONS) <= ALPHA
    # The very streams on which a test of requests, exact where they are independent, is not.
    assert lower_limit(by_counts, REPETITIONS) > ALPHA


def test_a_worse_canary_is_rolled_back():
    assert np.mean([sticky(seed, harm=0.5)[0] for seed in range(60)]) > 0.6


def flags(rows: int, n: int, seed: int, weight: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, n)) < weight


def test_no_evidence_stops_nothing_however_much_alpha_there_is():
    placebos = Placebos(100, 2)
    assert not placebos.look(0.5)
    placebos.add(flags(100, 50, 1), np.full(50, 0.3), np.zeros((50, 2)))
    assert not placebos.look(0.5)
    assert placebos.worse_than == 0


def test_rows_that_are_equally_extreme_leave_together_or_not_at_all():
    canary = np.zeros((100, 4), dtype=bool)
    canary[:10] = True  # ten rows with all the harm, of which five may leave
    placebos = Placebos(100, 1)
    placebos.add(canary, np.full(4, 0.1), np.ones((4, 1)))
    assert not placebos.look(0.05)
    assert placebos.look(0.10)


def test_a_canary_that_is_better_is_never_rolled_back():
    canary = flags(100, 200, 3)
    placebos = Placebos(100, 1)
    placebos.add(canary, np.full(200, 0.3), -canary[0].astype(float)[:, None])
    assert placebos.scaled[0, 0] < -2
    assert not placebos.look(0.9)


@pytest.mark.parametrize("follows", [{}, {1: 0}])
def test_only_as_many_leave_as_alpha_affords(follows):
    rng = np.random.default_rng(7)
    left = []
    for look in range(1, 21):
        placebos = Placebos(1000, 2, follows)
        placebos.add(flags(1000, 300, look), np.full(300, 0.3), rng.normal(size=(300, 2)))
        placebos.look(0.05)
        left.append(int((~placebos._here).sum()))
    assert set(left) == {50}


@pytest.mark.parametrize("cut", [0, 7, 40])
def test_sums_are_the_same_however_requests_are_cut(cut):
    canary, outcomes = flags(50, 40, 9), np.random.default_rng(9).normal(size=(40, 3))
    weights = np.full(40, 0.3)
    whole, parts = Placebos(50, 3), Placebos(50, 3)
    whole.add(canary, weights, outcomes)
    for part in (slice(0, cut), slice(cut, None)):
        parts.add(canary[:, part], weights[part], outcomes[part])
    assert parts.scaled == pytest.approx(whole.scaled)


def test_a_row_is_the_harm_of_its_own_canary_beyond_the_share_of_all_harm():
    canary, outcomes = flags(700, 30, 11), np.random.default_rng(11).normal(size=(30, 2))
    placebos = Placebos(700, 2)
    placebos.add(canary, np.full(30, 0.3), outcomes)
    sums = np.array([outcomes[row].sum(axis=0) for row in canary]) - 0.3 * outcomes.sum(axis=0)
    assert placebos.scaled == pytest.approx(sums / np.sqrt(np.mean(sums**2, axis=0)))


@pytest.mark.parametrize(("other", "stopped"), [(0.1, True), (-0.1, False)])
def test_a_metric_that_follows_another_counts_only_where_that_one_is_harmful_too(other, stopped):
    canary = flags(500, 400, 13)
    outcomes = np.stack([other * canary[0], 1.0 * canary[0]], axis=1)
    noise = np.random.default_rng(13).normal(size=(400, 2)) * [1.0, 0.5]
    placebos = Placebos(500, 2, {1: 0})
    placebos.add(canary, np.full(400, 0.3), outcomes + noise - (outcomes + noise).mean(axis=0))
    assert (placebos.scaled[0, 0] > 0) == stopped
    assert placebos.look(0.02) == stopped


def harmful_until_stopped(seed: int, *rows: int) -> list[int]:
    """Harmful answers until X stops a canary, and until P with so many placebos does; each unit asks once."""
    rng, looks, weights = np.random.default_rng(seed), 30, np.full(200, 0.1)
    counts, placebos, served = Conditional(), [Placebos(number + 1, 1) for number in rows], 0
    found: list[int | None] = [None] * (1 + len(rows))
    for look in range(1, looks + 1):
        canary = rng.random((max(rows) + 1, 200), dtype=np.float32) < 0.1
        harm = (rng.random(200) < np.where(canary[0], 0.12, 0.04)).astype(float)
        e1, n1 = int(harm[canary[0]].sum()), int(canary[0].sum())
        served += e1
        counts.add(Counts(n1, e1, 200 - n1, int(harm.sum()) - e1))
        allowed = sequential.spent(0.04, look, looks)
        stopped = [counts.events >= counts.look(allowed)]
        for number, test in zip(rows, placebos, strict=True):
            test.add(canary[: number + 1], weights, (harm - harm.mean())[:, None])
            stopped.append(test.look(allowed))
        found = [served if place is None and now else place for place, now in zip(found, stopped, strict=True)]
        if None not in found:
            break
    return [served if place is None else place for place in found]


def test_few_placebos_cost_bad_answers_and_as_many_as_the_plan_has_hardly_any():
    exact, few, enough = np.mean([harmful_until_stopped(seed, 199, 4999) for seed in range(60)], axis=0)
    assert few > 1.2 * exact
    assert enough < 1.08 * exact


def test_harm_in_any_metric_counts():
    canary = flags(200, 400, 5)
    noise = np.random.default_rng(5).normal(size=(400, 3))
    noise[:, 1] += canary[0]
    placebos = Placebos(200, 3)
    placebos.add(canary, np.full(400, 0.3), noise - noise.mean(axis=0))
    assert placebos.look(0.05)
    assert np.flatnonzero(placebos.scaled[0] > placebos.limit).tolist() == [1]
    assert placebos.worse_than == 1
