"""The rules by which candidates are compared with production elsewhere, to stand beside the gate.

Each judges many sets of paired differences at once, at the gate's own margin and error rates.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from trunkline.gate import Outcomes, Rule
from trunkline.gate.betting import Floats

_LOOKS = 20  # of somebody who stops as soon as the test says anything

Bools = NDArray[np.bool_]


def non_inferiority(values: Floats, rule: Rule) -> Outcomes:
    """The z test of fixed size against the margin: right, where there are enough units for its normal approximation.

    Args:
        values: (sets, n) paired differences.
        rule: the margin and the error rates.
    """
    return _decided(values, _z(values, -rule.margin) > _quantile(1 - rule.alpha))


def at_least_production(values: Floats, rule: Rule) -> Outcomes:
    """The candidate's mean is not below production's."""
    return _decided(values, values.mean(axis=1) >= 0)


def not_significantly_worse(values: Floats, rule: Rule) -> Outcomes:
    """No test finds the candidate worse: passes whatever there are too few units to tell."""
    return _decided(values, _z(values, 0.0) > _quantile(rule.alpha))


def significantly_better(values: Floats, rule: Rule) -> Outcomes:
    """A test finds the candidate better."""
    return _decided(values, _z(values, 0.0) > _quantile(1 - rule.alpha))


def better_by_the_margin(values: Floats, rule: Rule) -> Outcomes:
    """The candidate's mean is above production's by the margin, as by MLflow's ``min_absolute_change``."""
    return _decided(values, values.mean(axis=1) >= rule.margin)


def drop_within_the_margin(values: Floats, rule: Rule) -> Outcomes:
    """The candidate's mean is not below production's by more than the margin."""
    return _decided(values, values.mean(axis=1) >= -rule.margin)


def peeking(values: Floats, rule: Rule) -> Outcomes:
    """Non-inferiority and inferiority of fixed size, looked at again and again until one of them says anything."""
    sets, size = values.shape
    passed, failed, used = np.zeros(sets, bool), np.zeros(sets, bool), np.full(sets, size)
    for seen in sorted({max(2, size * look // _LOOKS) for look in range(1, _LOOKS + 1)}):
        so_far, open_ = values[:, :seen], ~(passed | failed)
        passes = open_ & (_z(so_far, -rule.margin) > _quantile(1 - rule.alpha))
        fails = open_ & ~passes & (_z(so_far, 0.0) < _quantile(rule.beta))
        used[passes | fails] = seen
        passed, failed = passed | passes, failed | fails
    return Outcomes(passed, failed, used)


RULES: dict[str, Callable[[Floats, Rule], Outcomes]] = {
    "fixed-size non-inferiority": non_inferiority,
    "non-inferiority, peeking": peeking,
    "drop within the margin": drop_within_the_margin,
    "candidate >= production": at_least_production,
    "not significantly worse": not_significantly_worse,
    "significantly better": significantly_better,
    "better by the margin": better_by_the_margin,
}


def _decided(values: Floats, passed: Bools) -> Outcomes:
    return Outcomes(passed, ~passed, np.full(len(values), values.shape[1]))


def _z(values: Floats, boundary: float) -> Floats:
    """(sets,) standard errors of each mean above a boundary."""
    error = np.maximum(values.std(axis=1) / np.sqrt(values.shape[1]), 1e-12)
    return np.asarray((values.mean(axis=1) - boundary) / error)


def _quantile(share: float) -> float:
    return float(special.ndtri(share))
