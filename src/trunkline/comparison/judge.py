"""Each criterion of the gate on the answers of both models: its verdict, and what a reader wants to know."""

import math
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import JsonValue

from trunkline import criteria, gate, scoring
from trunkline.comparison.answered import Answered
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.gate import Decision, sentences
from trunkline.gate.betting import Floats
from trunkline.gate.sentences import Sizes
from trunkline.records import SCORE_PREFIX, SIDES, Terms
from trunkline.verdict import Check, Verdict


class Judged(NamedTuple):
    """A criterion's check, and the row about it for the report."""

    check: Check
    row: dict[str, JsonValue]


class Values(NamedTuple):
    """A criterion's values, example by example.

    Attributes:
        production: its values; the candidate's again where production was not asked and need not be.
        candidate: its values.
        units: the unit of each value.
        planned: units of the whole holdout.
        unit: what a unit is, singular.
        both: whether production was asked.
    """

    production: Floats
    candidate: Floats
    units: list[str]
    planned: int
    unit: str
    both: bool


def judge(criterion: Criterion, answered: Answered, terms: Terms) -> Judged:
    """Judge one criterion.

    Raises:
        Error: its values were not written, are NaN, leave their range, or do not average to its value.
    """
    found = values_of(criterion, answered, terms.unit)
    if isinstance(found, str):
        return _unmeasured(criterion, found)
    seed, rule = terms.seed, criterion.rule
    try:
        values = criteria.units_of(criterion, found.production, found.candidate, found.units, seed)
        decision = gate.decide(values, rule, found.planned)
    except Error as error:
        raise Error(f"{criterion.path}: {error.problem}", error.hint) from None
    power = gate.power(values, rule, seed)
    row = _row(criterion, decision.verdict) | {
        "estimate": decision.difference,
        "low": decision.low,
        "high": decision.high,
        "units": decision.units,
        "used": decision.used,
        "more": decision.more,
        "power": power,
        "shown": _shown(criterion, decision, found),
    }
    return Judged(_check(criterion, decision, found, power), row)


def values_of(criterion: Criterion, answered: Answered, unit: str) -> Values | str:
    """The criterion's values, or why there are none.

    Raises:
        Error: they were not written, or do not average to the criterion's value.
    """
    probed = {side: table.filter(pl.col("metric") == criterion.name) for side, table in answered.probes.items()}
    asked = [side for side in SIDES if side in probed and probed[side].height]
    # A floor looks at the candidate alone, so production may not have been asked.
    if asked and (asked == list(SIDES) or criterion.kind == "floor"):
        production, candidate = (probed[side]["score"].to_numpy() for side in (asked[0], asked[-1]))
        return Values(production, candidate, probed[asked[-1]]["id"].to_list(), len(candidate), "probe", len(asked) > 1)
    column = criteria.column_of(criterion)
    if any(column not in table.columns for table in answered.predictions.values()):
        raise Error(f"the answers have no scores {column} on both sides", "run `dvc repro evaluate`")
    if column.startswith(SCORE_PREFIX):
        _check_mean(criterion.name)
    rows = answered.examples.select("unit", *(answered.predictions[side][column].alias(side) for side in SIDES))
    empty = pl.sum_horizontal(pl.col(side).is_null() for side in SIDES)
    one_sided = rows.filter(empty == 1).height
    if one_sided:
        return f"{criterion.name} is missing for one of the two models on {one_sided} examples"
    both = rows.filter(empty == 0)
    if both.is_empty():
        return f"{criterion.name} applies to no example of the holdout, so it says nothing"
    production, candidate = (both[side].cast(pl.Float64).to_numpy() for side in SIDES)
    # Units to which a score does not apply never bet, so what is planned shrinks by the same share.
    planned = round(answered.planned * both["unit"].n_unique() / rows["unit"].n_unique())
    return Values(production, candidate, both["unit"].to_list(), max(planned, both["unit"].n_unique()), unit, True)


def _check_mean(name: str) -> None:
    aggregate = scoring.find([name])[0].aggregate
    if aggregate != "mean":
        raise Error(
            f"gate: {name} is a {aggregate}, not a mean over examples, so it cannot decide",
            "let exact_match decide, which counts the same answers, and read this one beside it",
        )


def _unmeasured(criterion: Criterion, why: str) -> Judged:
    check = Check(name=criterion.path, verdict=Verdict.INCONCLUSIVE, value=None, limit=_limit(criterion), message=why)
    return Judged(check, _row(criterion, Verdict.INCONCLUSIVE))


def _row(criterion: Criterion, verdict: Verdict) -> dict[str, JsonValue]:
    return {
        "name": criterion.name,
        "path": criterion.path,
        "kind": criterion.kind,
        "margin": criterion.margin,
        "higher_is_better": criterion.higher_is_better,
        "verdict": str(verdict),
    }


def _limit(criterion: Criterion) -> float:
    """As the reader of params.yaml knows it, in the unit of the check's value."""
    if criterion.kind == "slow":
        return criteria.SLOW
    return -criterion.margin if criterion.kind == "score" else criterion.margin


def _check(criterion: Criterion, decision: Decision, found: Values, power: float) -> Check:
    kind, value = criterion.kind, decision.difference
    sizes = Sizes(found.unit, power)
    if kind == "amount":
        value = sentences.share_more(decision.difference)
        message = sentences.of_amount(_words(criterion.name), decision, criterion.margin, sizes)
    elif kind == "slow":
        value = 1 - decision.difference
        limit_ms = criteria.slow_ms(found.production, criterion.margin)
        message = sentences.of_slow(criteria.SLOW, limit_ms, decision, sizes)
    elif kind == "floor":
        value = decision.difference if criterion.higher_is_better else 1 - decision.difference
        ceiling = not criterion.higher_is_better
        message = sentences.of_floor(criterion.name, decision, criterion.rule, sizes, ceiling)
    else:
        message = sentences.of_score(criterion.name, decision, criterion.rule, sizes)
    return Check(
        name=criterion.path, verdict=decision.verdict, value=_finite(value), limit=_limit(criterion), message=message
    )


def _shown(criterion: Criterion, decision: Decision, found: Values) -> dict[str, JsonValue]:
    """What a table shows: both sides, and the difference (of a floor: the value) as a reader knows it."""
    value, low, high = decision.difference, decision.low, decision.high
    if criterion.kind == "amount":
        value, low, high = (sentences.share_more(end) for end in (value, high, low))
    elif criterion.kind == "slow" or not criterion.higher_is_better:
        whole = 0.0 if criterion.kind == "score" else 1.0
        value, low, high = whole - value, whole - high, whole - low
    return {
        "production": _summary(criterion, found.production, found.units) if found.both else None,
        "candidate": _summary(criterion, found.candidate, found.units),
        "difference": _finite(value),
        "low": _finite(low),
        "high": _finite(high),
    }


def _summary(criterion: Criterion, values: Floats, units: list[str]) -> float:
    """One number for a side: the mean over units, of amounts over examples, or the 95 % quantile."""
    if criterion.kind == "slow":
        return float(np.quantile(values, 1 - criteria.SLOW))
    if criterion.kind == "amount":
        return float(values.mean()) * (1000 if criterion.name == "usd_per_1000" else 1)
    return float(gate.unit_means(values, units, 0).mean())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _words(name: str) -> str:
    return {"tokens_out": "tokens out", "usd_per_1000": "money"}[name]
