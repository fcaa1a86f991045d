"""Seeded traffic for benchmarks/rollout.py: what every request would be on either arm, before anything is decided."""

from dataclasses import dataclass

import numpy as np

from trunkline import assignment
from trunkline.rollout import Rows

SALT = "benchmark of rollouts"
STEPS = (0.05, 0.25, 0.50)
MINUTES = 60
SIGMA = 0.6
P95 = float(np.exp(SIGMA * 1.6448536))
Array = np.ndarray


@dataclass(frozen=True)
class Scenario:
    """What is true of a canary.

    Attributes:
        rate: requests a minute.
        base: production's error rate.
        ratio: the canary's error rate as a multiple of it; `failing` instead, if positive, is the rate itself.
        scale: factor on the canary's latency.
        tail: factor on the part of the canary's latency above the median.
        score: mean score of the canary; production's is .80.
        users: sticky heavy users in all; 0 makes every request a unit of its own.
        incident: whether both arms' error rate is six times as high for eight minutes.
        before: minutes of production alone before the rollout.
    """

    rate: int = 600
    base: float = 0.01
    ratio: float = 1.0
    failing: float = 0.0
    scale: float = 1.0
    tail: float = 1.0
    score: float = 0.80
    users: int = 0
    incident: bool = False
    before: int = 10
    minutes: int = MINUTES


@dataclass(frozen=True)
class Stream:
    """Requests with both arms' outcomes; column 0 is stable, 1 the canary.

    Attributes:
        time: (n,) seconds, below 0 before the rollout.
        unit: (n,) digests.
        place: (n,) the unit's position by the real salt.
        error, latency, score: (n, 2); the score is NaN where a request is not scored.
    """

    time: Array
    unit: Array
    place: Array
    error: Array
    latency: Array
    score: Array

    def rows(self, where: Array | slice, weight: Array) -> Rows:
        """The requests as a log has them, at given weights."""
        canary = self.place[where] < weight
        arm = canary.astype(int)
        pick = np.arange(arm.size)
        outcomes = {
            "error": self.error[where][pick, arm],
            "latency_ms": self.latency[where][pick, arm],
            "score": self.score[where][pick, arm],
        }
        return Rows(self.time[where], self.unit[where], canary, weight, outcomes, np.zeros(arm.size, dtype=bool))


def salt_of(seed: int) -> str:
    """The salt of a stream's rollout."""
    return f"{SALT} {seed}"


def timed(time: Array) -> Array:
    """The weight of a ramp whose steps last twenty minutes each."""
    step = np.clip(time // (60 * MINUTES / len(STEPS)), 0, len(STEPS) - 1).astype(int)
    return np.where(time < 0, 0.0, np.array(STEPS)[step])


def draw(scenario: Scenario, seed: int) -> Stream:
    """One rollout's traffic."""
    rng = np.random.default_rng(seed)
    before, during = (rng.poisson(scenario.rate * minutes) for minutes in (scenario.before, scenario.minutes))
    time = np.concatenate(
        [-np.sort(60 * scenario.before * rng.random(before))[::-1], np.sort(60 * scenario.minutes * rng.random(during))]
    )
    n = time.size
    unit, rate, slow, good = _units(scenario, n, rng)
    rate = np.minimum(rate * np.where(scenario.incident & (time >= 1500) & (time < 1980), 6.0, 1.0), 1.0)
    canary_rate = np.full(n, scenario.failing) if scenario.failing else np.minimum(rate * scenario.ratio, 1.0)
    chance = rng.random(n)
    error = np.stack([chance < rate, chance < canary_rate], axis=1).astype(float)
    latency = np.exp(slow + SIGMA * rng.standard_normal(n))
    worse = latency * scenario.scale
    worse = np.where(worse > 1, worse ** _tail_power(scenario.tail), worse)
    mean = np.array([0.80, scenario.score])
    spread = mean * (1 - mean) / 0.04 - 1  # a Beta distribution with standard deviation .2
    score = np.stack([rng.beta(m * s, (1 - m) * s, n) for m, s in zip(mean, spread, strict=True)], axis=1)
    score = np.clip(score + good[:, None], 0, 1)
    score[rng.random(n) >= 0.2] = np.nan
    place = assignment.positions(salt_of(seed), unit)
    return Stream(time, unit, place, error, np.stack([latency, worse], axis=1), score)


def _tail_power(tail: float) -> float:
    """What raises p95 by the factor and leaves the median, 1, where it is."""
    return 1 + np.log(tail) / np.log(P95)


def _units(scenario: Scenario, n: int, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Digests, and each request's error rate, shift of log latency and of score by its unit."""
    if not scenario.users:
        unit = rng.integers(0, 2**63, n).astype(np.uint64)
        return unit, np.full(n, scenario.base), np.zeros(n), np.zeros(n)
    activity = rng.lognormal(0.0, 1.2, scenario.users)
    who = rng.choice(scenario.users, n, p=activity / activity.sum())
    # A few users have most of the errors.
    rate = np.minimum(scenario.base * rng.gamma(0.05, 20.0, scenario.users), 0.9)
    slow, good = 0.45 * rng.standard_normal(scenario.users), 0.1 * rng.standard_normal(scenario.users)
    digests = rng.integers(0, 2**63, scenario.users).astype(np.uint64)
    return digests[who], rate[who], slow[who], good[who]
