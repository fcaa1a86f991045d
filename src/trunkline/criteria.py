"""What decides a pull request: each criterion of the gate, and how its examples become one value a unit.

`compare` judges by them, `evaluate` stops by them, `drill` tests them: all three see the same numbers.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from trunkline import gate
from trunkline.gate import Rule
from trunkline.gate.betting import Floats
from trunkline.records import AMOUNTS, SCORE_PREFIX, Limits

LATENCY, SLOW = "latency_ms_p95", 0.05  # the share of answers that the 95 % quantile leaves above it

Kind = Literal["score", "amount", "slow", "floor"]


class Criterion(NamedTuple):
    """One measured value against its limit.

    Attributes:
        name: of the scorer, amount or probe.
        path: of its limit in params.yaml.
        kind: ``score`` (paired difference against a margin), ``amount`` (relative difference), ``slow``
            (share of slow answers) or ``floor`` (the candidate's own score against an absolute limit).
        margin: as params.yaml has it.
        rule: what its units are judged by.
        higher_is_better: the direction in which a model improves.
    """

    name: str
    path: str
    kind: Kind
    margin: float
    rule: Rule
    higher_is_better: bool


def plan(limits: Limits, lower_is_better: Iterable[str]) -> list[Criterion]:
    """Every criterion: the primary first, then the guardrails, then the floors.

    Args:
        limits: of params.yaml; ``margins`` includes the primary's.
        lower_is_better: names of which less is better.
    """
    lower = {*lower_is_better, *AMOUNTS}
    names = [limits.primary, *(name for name in limits.margins if name != limits.primary)]
    found = [_paired(name, limits, name not in lower) for name in names]
    return found + [_floor(name, floor, limits, name not in lower) for name, floor in limits.floors.items()]


def _paired(name: str, limits: Limits, higher: bool) -> Criterion:
    margin = limits.margins[name]
    path = "gate.margin" if name == limits.primary else f"gate.guardrails.{name}"
    if name == LATENCY:
        rule = Rule(SLOW, limits.alpha, limits.beta, floor=1 - SLOW)
        return Criterion(name, path, "slow", margin, rule, higher)
    if name in AMOUNTS:
        rule = Rule(margin / (2 + margin), limits.alpha, limits.beta)
        return Criterion(name, path, "amount", margin, rule, higher)
    return Criterion(name, path, "score", margin, Rule(margin, limits.alpha, limits.beta), higher)


def _floor(name: str, floor: float, limits: Limits, higher: bool) -> Criterion:
    # Of a score where less is better, the limit is a ceiling.
    least = floor if higher else 1 - floor
    rule = Rule(min(least, 1 - least), limits.alpha, limits.beta, floor=least)
    return Criterion(name, f"gate.floors.{name}", "floor", floor, rule, higher)


def slow_ms(production: Floats, margin: float) -> float:
    """From when on an answer of the candidate is slow: production's 95 % quantile and the share tolerated."""
    return float(np.quantile(production, 1 - SLOW)) * (1 + margin)


def units_of(criterion: Criterion, production: Floats, candidate: Floats, units: Sequence[str], seed: int) -> Floats:
    """(units,) the values that the criterion's rule judges, in betting order.

    Args:
        criterion: which.
        production: (n,) the criterion's column of production's answers.
        candidate: (n,) the same of the candidate's, on the same examples in the same order.
        units: (n,) the unit of each example.
        seed: of the order.

    Raises:
        Error: the sides do not belong together, or a value is not a finite number.
    """
    if criterion.kind == "amount":
        return gate.relative(candidate, production, units, seed)
    if criterion.kind == "slow":
        quick = (candidate <= slow_ms(production, criterion.margin)).astype(np.float64)
        return gate.unit_means(quick, units, seed)
    if criterion.kind == "floor":
        return gate.unit_means(candidate if criterion.higher_is_better else 1 - candidate, units, seed)
    difference = gate.differences(candidate, production, units, seed)
    return difference if criterion.higher_is_better else -difference


def column_of(criterion: Criterion) -> str:
    """The column of the predictions that the criterion reads."""
    return AMOUNTS.get(criterion.name, SCORE_PREFIX + criterion.name)
