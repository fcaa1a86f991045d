"""From the prediction log to the log of a rollout: what each column of a plan is of a request.

A request is known when its outcome is, or when it is older than any answer may take: then it was never answered,
which is a failure of the arm it was assigned to. Until then it is left out. A score comes later than its answer, so
it is a row of its own, at its own time; of several scores of one prediction the first counts, as what was decided
on must not change.
"""

from collections.abc import Collection
from itertools import count
from typing import NamedTuple

import polars as pl

from trunkline import assignment, faults
from trunkline.errors import Error
from trunkline.records.judgement import JUDGES
from trunkline.records.rollout import LATE, LOG_COLUMNS, AmountMetric, EventMetric, Plan, ScoreMetric

# The source of what production itself answered, which says nothing about it.
OURSELVES = "production"
# What a plan may name, besides the guards, and what each is.
EVENTS = ("error", "format_error", "blocked", "empty")
AMOUNTS = ("latency_ms", "ttft_ms", "tokens_out", "usd")
SCORE = "score"


class Arm(NamedTuple):
    """What one arm has been through.

    Attributes:
        requests: that are known.
        units: different ones.
        bad: requests with any of the plan's events, or never answered.
    """

    requests: int
    units: int
    bad: int


def check(plan: Plan, guards: Collection[str], output: str) -> None:
    """Refuse a plan that asks for what the prediction log does not hold.

    Args:
        plan: of a rollout that is to start.
        guards: of ``serve.guard``.
        output: ``serve.log.output``.

    Raises:
        Error: it names another column, or one of another kind.
    """
    kinds = {EventMetric: {*EVENTS, *guards}, AmountMetric: set(AMOUNTS), ScoreMetric: {SCORE}}
    wrong = [name for name, metric in plan.metrics.items() if name not in kinds[type(metric)]]
    wrong += [name for name in plan.hard_stops if name not in kinds[EventMetric]]
    if wrong:
        problem = f"rollout names {', '.join(wrong)}, which the prediction log does not hold as such"
        known = f"events are {', '.join(sorted(kinds[EventMetric]))}; amounts are {', '.join(AMOUNTS)}; score is one"
        raise Error(problem, f"{known}; correct rollout.metrics and rollout.hard_stops")
    if "empty" in (*plan.metrics, *plan.hard_stops) and output != "text":
        raise Error("rollout names empty, but serve.log.output keeps no text", "set it to text, or leave empty out")


def table(window: pl.DataFrame, feedback: pl.DataFrame, plan: Plan, timeout_s: float, now: float) -> pl.DataFrame:
    """The rollout's log, ready for `trunkline.rollout.from_table` and for `trunkline rollout replay`.

    Args:
        window: from the prediction log; a row a prediction.
        feedback: on them.
        plan: of the rollout.
        timeout_s: seconds after which a request without outcome was never answered.
        now: seconds since 1970; what became known later is left out.
    """
    known = pl.coalesce("ended", pl.col("time") + pl.duration(microseconds=round(1e6 * timeout_s)))
    window = _stood_in(window.with_columns(known=known), plan.salt)
    names = list(dict.fromkeys((*plan.metrics, *plan.hard_stops)))
    place = ("prediction", "unit", "arm", "weight")
    rows = window.select(*place, time="known", **{LATE: pl.lit(False)}, **{name: _column(name) for name in names})
    if SCORE in names:
        rows = pl.concat([rows, _scores(window, feedback, names)], how="diagonal")
    rows = rows.filter(pl.col("time") <= pl.lit(round(1e6 * now)).cast(pl.Datetime("us", "UTC")))
    return rows.sort("time", "prediction", LATE).select(*LOG_COLUMNS, LATE, *names)


def _column(name: str) -> pl.Expr:
    """What a column of the plan is of a prediction; null where it was not measured."""
    answered = pl.col("ended").is_not_null()
    whole = answered & pl.col("error").is_null()
    match name:
        case "error":
            return pl.when(answered).then(faults.failed())
        case "format_error":
            return pl.when(whole).then(~pl.col("format_ok"))
        case "blocked":
            return pl.when(answered).then(faults.blocked().fill_null(False))
        case "empty":
            return pl.when(whole).then(pl.col("empty"))
        case "score":
            return pl.lit(None, dtype=pl.Float64)
        case "latency_ms" | "ttft_ms":
            # A client that left waited at least so long: without these a slow arm would seem faster.
            return pl.when(whole | faults.left()).then(pl.col(name))
        case "tokens_out" | "usd":
            return pl.when(whole).then(pl.col(name))
        case _:
            return pl.when(answered).then(
                pl.col("findings").list.eval(pl.element().str.starts_with(f"{name}:")).list.any()
            )


def _scores(window: pl.DataFrame, feedback: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """A row for the first score of each prediction that others than production, and than its judge, gave."""
    others = (pl.col("source") != OURSELVES) & ~pl.col("source").str.starts_with(JUDGES)
    said = feedback.filter(pl.col("score").is_between(0, 1) & others)
    said = said.sort("time", "source", "score").unique("prediction", keep="first", maintain_order=True)
    rows = window.join(said.select("prediction", "score", said="time"), on="prediction")
    empty = [pl.lit(None).alias(name) for name in names if name != SCORE]
    time = pl.max_horizontal("said", "known")
    place = ("prediction", "unit", "arm", "weight")
    return rows.select(*place, "score", *empty, time=time, **{LATE: pl.lit(True)})


def _stood_in(window: pl.DataFrame, salt: str | None) -> pl.DataFrame:
    """Units that were erased have a random name, which the salt puts anywhere: one that is on their arm stands in."""
    erased = window.filter("erased")
    if salt is None or erased.is_empty():
        return window
    names = {
        str(unit): _stand_in(str(unit), salt, rows.select("arm", "weight").unique().rows())
        for (unit,), rows in erased.group_by("unit")
    }
    return window.with_columns(pl.when("erased").then(pl.col("unit").replace(names)).otherwise("unit").alias("unit"))


def _stand_in(unit: str, salt: str, places: list[tuple[str, float]]) -> str:
    """The first of this unit's further names that is on these arms at these weights."""
    low = max((weight for arm, weight in places if arm == "stable"), default=0.0)
    high = min((weight for arm, weight in places if arm == "canary"), default=1.0)
    if low >= high:
        return unit  # no name can be there: the check of the arms will tell
    names = (f"{unit}/{number}" for number in count())
    return next(name for name in names if low <= assignment.position(salt, name) < high)


def arms(log: pl.DataFrame, plan: Plan) -> dict[str, Arm]:
    """What canary and stable have been through since the rollout began."""
    events = [name for name, metric in plan.metrics.items() if isinstance(metric, EventMetric)]
    names = list(dict.fromkeys((*events, *plan.hard_stops)))
    failures = {name for name in events if plan.metrics[name].kind == "failure"}
    bad = [pl.col(name).fill_null(name in failures) for name in names]
    requests = log.filter(~pl.col(LATE) & (pl.col("weight") > 0))
    requests = requests.with_columns(bad=pl.any_horizontal(*bad) if bad else pl.lit(False))
    found = requests.group_by("arm").agg(pl.len(), pl.col("unit").n_unique(), pl.col("bad").sum())
    rows = {row["arm"]: Arm(row["len"], row["unit"], row["bad"]) for row in found.iter_rows(named=True)}
    return {arm: rows.get(arm, Arm(0, 0, 0)) for arm in ("canary", "stable")}
