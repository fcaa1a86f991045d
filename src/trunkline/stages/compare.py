"""Judge the candidate against production on the answers both gave to the same holdout examples."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue
from scipy import stats

from trunkline import gate, scoring
from trunkline.clients import files, project
from trunkline.errors import Error
from trunkline.gate import Rule
from trunkline.params import GateParams, Params
from trunkline.records import (
    EXAMPLE_COLUMNS,
    INPUT_COLUMN,
    PREDICTION_COLUMNS,
    SCORE_PREFIX,
    SIDES,
    Answer,
    Report,
    Task,
)
from trunkline.scoring import Scorer
from trunkline.verdict import Check, Verdict

PREDICTIONS = Path("data/predictions")
HOLDOUT = Path("data/holdout.parquet")
TASK = Path("data/task.json")
REPORT = Path("reports/compare.json")

_log = logging.getLogger(__name__)
# A column with more values than this is not a slice but an identifier or free text.
_SLICE_VALUES = 100


class _Paired(NamedTuple):
    """One scorer's scores where it applies to both sides, better being higher; rows follow the holdout.

    Attributes:
        rows: the holdout with the columns ``production``, ``candidate`` (as scored) and ``unit``.
        sign: 1 where higher is better, -1 where lower is.
        one_sided: examples that only one side has a score for.
    """

    scorer: Scorer
    rows: pl.DataFrame
    sign: int
    one_sided: int


def run(params: Params) -> None:
    """Write reports/compare.json with the gate's verdict; a bad verdict is no Error.

    Raises:
        Error: a side is missing, the sides answer other examples than the holdout's, a score is NaN,
            or a scorer that decides cannot (its values leave 0 to 1, or it has no mean).
    """
    project.load(params.project.module)
    holdout = files.read_table(HOLDOUT, EXAMPLE_COLUMNS)
    sides = {side: _read_side(side, holdout) for side in SIDES}
    pairs = {pair.scorer.name: pair for pair in _pair(holdout, sides, params.compare.unit)}
    rules = _rules(params.gate)
    checks = tuple(_check(name, pairs[name], rule, params) for name, rule in _gated(pairs, rules))
    base = rules[params.gate.primary]
    metrics = {name: _metric(pair, rules.get(name), base, params) for name, pair in pairs.items()}
    primary = pairs[params.gate.primary]
    answer = Task.read(TASK).answer
    details: dict[str, JsonValue] = {
        "unit": params.compare.unit,
        "units": holdout[params.compare.unit].n_unique(),
        "examples": holdout.height,
        "primary": params.gate.primary,
        "changed": _changed(primary),
        "slices": list(_slices(primary, answer, base, params.compare.seed)),
    }
    report = Report.of("compare", checks, metrics, details)
    files.write_text(REPORT, report.text())
    for check in checks:
        _log.info("compare  %s: %s", check.verdict, check.message)


def _read_side(side: str, holdout: pl.DataFrame) -> pl.DataFrame:
    """One side's predictions in the holdout's order.

    Raises:
        Error: they are not exactly one a holdout example.
    """
    path = PREDICTIONS / f"{side}.parquet"
    table = files.read_table(path, PREDICTION_COLUMNS)
    expected, found = set(holdout["id"]), set(table["id"])
    hint = "run `dvc repro evaluate`: both models must answer every example of the holdout once"
    if table.height != len(found):
        raise Error(f"{path} answers {table.height - len(found)} examples more than once", hint)
    if expected != found:
        raise Error(
            f"{path} lacks {len(expected - found)} and adds {len(found - expected)} examples "
            f"to the {len(expected)} of {HOLDOUT}",
            hint,
        )
    return holdout.select("id").join(table, on="id", how="left", maintain_order="left")


def _pair(holdout: pl.DataFrame, sides: dict[str, pl.DataFrame], unit: str) -> Iterator[_Paired]:
    scores = {side: {name for name in table.columns if name.startswith(SCORE_PREFIX)} for side, table in sides.items()}
    names = sorted(name.removeprefix(SCORE_PREFIX) for name in scores["production"] & scores["candidate"])
    rows = holdout.with_columns(unit=pl.col(unit).cast(pl.String))
    for scorer in scoring.find(names):
        column = SCORE_PREFIX + scorer.name
        scored = rows.with_columns(sides[side][column].cast(pl.Float64).alias(side) for side in SIDES)
        empty = pl.sum_horizontal(pl.col(side).is_null() for side in SIDES)
        both = scored.filter(empty == 0)
        if both.select(pl.any_horizontal(pl.col(SIDES).is_finite().not_().any())).item():
            raise Error(f"the scores {scorer.name} of {PREDICTIONS} hold NaN or infinity", "correct the scorer")
        yield _Paired(scorer, both, 1 if scorer.higher_is_better else -1, scored.filter(empty == 1).height)


def _rules(settings: GateParams) -> dict[str, Rule]:
    margins = {settings.primary: settings.margin, **settings.guardrails, settings.primary: settings.margin}
    return {name: Rule(margin, settings.alpha, settings.beta) for name, margin in margins.items()}


def _gated(pairs: dict[str, _Paired], rules: dict[str, Rule]) -> list[tuple[str, Rule]]:
    """The scorers that decide, with their rules.

    Raises:
        Error: one was not scored on both sides, or its examples do not average to its value.
    """
    for name in rules:
        if name not in pairs:
            raise Error(f"{PREDICTIONS} has no scores {SCORE_PREFIX}{name} on both sides", "run `dvc repro evaluate`")
        if pairs[name].scorer.aggregate != "mean":
            raise Error(
                f"gate: {name} is a {pairs[name].scorer.aggregate}, not a mean over examples, so it cannot decide",
                "let exact_match decide, which counts the same answers, and read this one beside it",
            )
    return list(rules.items())


def _differences(pair: _Paired, rows: pl.DataFrame, seed: int) -> gate.Floats:
    """(units,) improvements, positive when the candidate is better."""
    candidate, production = rows["candidate"].to_numpy(), rows["production"].to_numpy()
    return pair.sign * gate.differences(candidate, production, rows["unit"].to_list(), seed)


def _check(name: str, pair: _Paired, rule: Rule, params: Params) -> Check:
    path = "gate.margin" if name == params.gate.primary else f"gate.guardrails.{name}"
    missing = _unmeasured(pair)
    if missing:
        return Check(name=path, verdict=Verdict.INCONCLUSIVE, value=None, limit=-rule.margin, message=missing)
    try:
        decision = gate.decide(_differences(pair, pair.rows, params.compare.seed), rule)
    except Error as error:
        raise Error(f"{path}: {error.problem}", error.hint) from None
    message = gate.sentence(name, decision, rule, params.compare.unit)
    return Check(name=path, verdict=decision.verdict, value=decision.difference, limit=-rule.margin, message=message)


def _unmeasured(pair: _Paired) -> str:
    if pair.rows.is_empty():
        return f"{pair.scorer.name} applies to no example of the holdout, so it says nothing"
    if pair.one_sided:
        return f"{pair.scorer.name} is missing for one of the two models on {pair.one_sided} examples"
    return ""


def _metric(pair: _Paired, rule: Rule | None, base: Rule, params: Params) -> JsonValue:
    """Both sides and their difference as candidate - production, averaged over units."""
    values: dict[str, JsonValue] = {
        "production": None,
        "candidate": None,
        "difference": None,
        "low": None,
        "high": None,
        "units": pair.rows["unit"].n_unique(),
        "higher_is_better": pair.scorer.higher_is_better,
        "margin": rule.margin if rule else None,
    }
    if pair.rows.is_empty() or pair.scorer.aggregate != "mean":
        return values
    interval = _interval(pair, _differences(pair, pair.rows, params.compare.seed), rule or base)
    return values | {side: _unit_mean(pair.rows, side) for side in SIDES} | interval


def _unit_mean(rows: pl.DataFrame, side: str) -> float:
    return float(rows.group_by("unit", maintain_order=True).agg(pl.col(side).mean())[side].to_numpy().mean())


def _interval(pair: _Paired, difference: gate.Floats, rule: Rule) -> dict[str, JsonValue]:
    """The gate's interval for scores between 0 and 1; for others the t interval of the same levels, if any."""
    scores = pair.rows.select(pl.col(SIDES)).to_numpy()
    mean = float(difference.mean())
    low: float | None = None
    high: float | None = None
    if scores.min() >= 0 and scores.max() <= 1:
        decision = gate.decide(difference, rule)
        low, high = decision.low, decision.high
    elif difference.size > 1:
        spread = float(difference.std(ddof=1)) / difference.size**0.5
        low = mean - spread * float(stats.t.ppf(1 - rule.alpha, difference.size - 1))
        high = mean + spread * float(stats.t.ppf(1 - rule.beta, difference.size - 1))
    if pair.sign < 0:
        low, high = (None if end is None else -end for end in (high, low))
    return {"difference": pair.sign * mean, "low": low, "high": high}


def _changed(pair: _Paired) -> JsonValue:
    """Examples on which the candidate's score is better, worse, or the same."""
    change = pair.sign * (pair.rows["candidate"] - pair.rows["production"])
    return {
        "better": int((change > 0).sum()),
        "worse": int((change < 0).sum()),
        "same": int((change == 0).sum()),
    }


def _slices(pair: _Paired, answer: Answer, rule: Rule, seed: int) -> Iterator[JsonValue]:
    """The primary scorer's difference in each value of each slice column and each closed answer field."""
    rows = pair.rows
    if rows.is_empty():
        return
    fields = [scoring.classes(text, answer) for text in rows["answer"]]
    rows = rows.with_columns(
        pl.Series(f"answer.{field}", [found.get(field) for found in fields], dtype=pl.String)
        for field in answer.allowed
    )
    known = {*EXAMPLE_COLUMNS, INPUT_COLUMN, *SIDES, "unit"}
    for column in (name for name in rows.columns if name not in known):
        values = rows[column].cast(pl.String).drop_nulls().unique().sort()
        for value in values if 1 < len(values) <= _SLICE_VALUES else []:
            part = rows.filter(pl.col(column).cast(pl.String) == value)
            found = _interval(pair, _differences(pair, part, seed), rule)
            yield {"column": column, "value": value, "examples": part.height, "units": part["unit"].n_unique()} | {
                **{side: _unit_mean(part, side) for side in SIDES},
                **found,
            }
