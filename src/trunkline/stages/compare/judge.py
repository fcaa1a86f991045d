"""Each criterion of the gate on the answers of both models: its verdict, and what a reader wants to know."""

import math
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline import criteria, gate, scoring
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.gate import Decision, sentences
from trunkline.gate.betting import Floats
from trunkline.params import Params
from trunkline.records import SCORE_PREFIX, SIDES
from trunkline.stages.compare.sides import PREDICTIONS, Answered
from trunkline.verdict import Check, Verdict


class Judged(NamedTuple):
    """A criterion's check, and the row about it for the report."""

    check: Check
    row: dict[str, JsonValue]


class _Values(NamedTuple):
    """A criterion's values on both sides, example by example, and their units."""

    production: Floats
    candidate: Floats
    units: list[str]
    planned: int
    unit: str


def judge(criterion: Criterion, answered: Answered, params: Params) -> Judged:
    """Judge one criterion.

    Raises:
        Error: its values were not written, are NaN, leave their range, or do not average to its value.
    """
    found = _values(criterion, answered, params.compare.unit)
    if isinstance(found, str):
        return _unmeasured(criterion, found)
    seed, rule = params.compare.seed, criterion.rule
    try:
        values = criteria.units_of(criterion, found.production, found.candidate, found.units, seed)
        decision = gate.decide(values, rule, found.planned)
    except Error as error:
        raise Error(f"{criterion.path}: {error.problem}", error.hint) from None
    row = _row(criterion, decision.verdict) | {
        "estimate": decision.difference,
        "low": decision.low,
        "high": decision.high,
        "units": decision.units,
        "used": decision.used,
        "more": decision.more,
        "power": gate.power(values, rule, seed) if rule.floor is None else None,
    }
    return Judged(_check(criterion, decision, found), row)


def _values(criterion: Criterion, answered: Answered, unit: str) -> _Values | str:
    """The criterion's values, or why there are none."""
    probes = {side: table.filter(pl.col("metric") == criterion.name) for side, table in answered.probes.items()}
    if probes and probes[SIDES[0]].height:
        production, candidate = (probes[side]["score"].to_numpy() for side in SIDES)
        return _Values(production, candidate, probes[SIDES[0]]["id"].to_list(), len(production), "probe")
    column = criteria.column_of(criterion)
    if any(column not in table.columns for table in answered.predictions.values()):
        raise Error(f"{PREDICTIONS} has no scores {column} on both sides", "run `dvc repro evaluate`")
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
    return _Values(production, candidate, both["unit"].to_list(), max(planned, both["unit"].n_unique()), unit)


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
        "verdict": str(verdict),
    }


def _limit(criterion: Criterion) -> float:
    """As the reader of params.yaml knows it, in the unit of the check's value."""
    if criterion.kind == "slow":
        return criteria.SLOW
    return -criterion.margin if criterion.kind == "score" else criterion.margin


def _check(criterion: Criterion, decision: Decision, found: _Values) -> Check:
    kind, value = criterion.kind, decision.difference
    if kind == "amount":
        value = sentences.share_more(decision.difference)
        message = sentences.of_amount(_words(criterion.name), decision, criterion.margin, found.unit)
    elif kind == "slow":
        value = 1 - decision.difference
        limit_ms = criteria.slow_ms(found.production, criterion.margin)
        message = sentences.of_slow(criteria.SLOW, limit_ms, decision, found.unit)
    elif kind == "floor":
        value = decision.difference if criterion.higher_is_better else 1 - decision.difference
        ceiling = not criterion.higher_is_better
        message = sentences.of_floor(criterion.name, decision, criterion.rule, found.unit, ceiling)
    else:
        message = sentences.of_score(criterion.name, decision, criterion.rule, found.unit)
    known = value if math.isfinite(value) else None
    return Check(name=criterion.path, verdict=decision.verdict, value=known, limit=_limit(criterion), message=message)


def _words(name: str) -> str:
    return {"tokens_out": "tokens out", "usd_per_1000": "money"}[name]
