"""A rollout's log, checked once and then trusted: one row a request, in the order in which outcomes were known.

``time`` is when the outcome was known: the answer, its failure, or the time-out. Rows of weight 0 before the
rollout are production alone; rows after the weight fell back to 0 are over and left out. What becomes known later,
such as a score, is a row of its own that is marked ``late``: nothing that was decided on ever changes.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline import assignment
from trunkline.errors import Error
from trunkline.records.rollout import LATE, LOG_COLUMNS, AmountMetric, EventMetric, Plan, ScoreMetric

Floats = NDArray[np.float64]
# Years that can be written: from 1 to 9999, in seconds since 1970.
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_800.0
_LOG_HINT = "write the log with time, unit, arm, weight and one column for each metric of the plan"


class Rows(NamedTuple):
    """Requests, in order of time.

    Attributes:
        time: (n,) seconds since 1970, or since any moment.
        unit: (n,) digests, see `trunkline.assignment`.
        canary: (n,) the arm.
        weight: (n,) the canary's share of the units when the request was assigned.
        outcomes: by column, (n,) numbers; booleans are 0 and 1, and NaN was not measured.
        late: (n,) whether the row only brings an outcome, such as a score, of a request that had its row before.
    """

    time: Floats
    unit: NDArray[np.uint64]
    canary: NDArray[np.bool_]
    weight: Floats
    outcomes: dict[str, Floats]
    late: NDArray[np.bool_]

    def taken(self, where: NDArray[np.bool_] | slice) -> "Rows":
        """Some of the rows."""
        outcomes = {name: values[where] for name, values in self.outcomes.items()}
        taken = (self.time[where], self.unit[where], self.canary[where], self.weight[where])
        return Rows(*taken, outcomes, self.late[where])


def from_table(table: pl.DataFrame, plan: Plan) -> Rows:
    """Check a log against its plan; an empty one is fine.

    Raises:
        Error: as `part`, or the weights go down.
    """
    rows, units = _read(table, plan)
    rows = rows.taken(_going_on(rows, plan.silence_seconds))
    _check_arms(rows, units, plan)
    return rows


def part(table: pl.DataFrame, plan: Plan) -> Rows:
    """Check some rows of a log, in which the ramp may be at any place.

    Raises:
        Error: a column is missing, of the wrong type, or holds what it cannot; the times go back; or the arms are
            not what the plan's salt gives.
    """
    rows, units = _read(table, plan)
    _check_arms(rows, units, plan)
    return rows


def _read(table: pl.DataFrame, plan: Plan) -> tuple[Rows, pl.Series]:
    columns = (*LOG_COLUMNS, *dict.fromkeys((*plan.metrics, *plan.hard_stops)))
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise Error(f"the log lacks the columns {missing}; it has {table.columns}", _LOG_HINT)
    time, weight = _times(table["time"]), _numbers(table["weight"])
    _check(table["weight"], (weight >= 0) & (weight <= 1), "is no share from 0 to 1")
    _check(
        table["time"], np.diff(time, prepend=time[:1]) >= 0, "is earlier than the row before", "sort the log by time"
    )
    units = _texts(table["unit"])
    arms = _texts(table["arm"])
    _check(arms, arms.is_in(["canary", "stable"]).to_numpy(), "is neither canary nor stable")
    late = _late(table)
    outcomes = {name: _outcome(table[name], plan, late) for name in columns[len(LOG_COLUMNS) :]}
    rows = Rows(time, assignment.digests_of(units), (arms == "canary").to_numpy(), weight, outcomes, late)
    return rows, units


def _times(column: pl.Series) -> Floats:
    _no_nulls(column)
    if isinstance(column.dtype, pl.Datetime):
        times = column.dt.epoch("us").to_numpy().astype(np.float64) / 1e6
    else:
        times = _numbers(column, "a datetime or a number of seconds")
    # In seconds, as Python cannot say it otherwise.
    _check(pl.Series(column.name, times), (times >= _FIRST) & (times < _LAST), "is in no year from 1 to 9999")
    return times


def _check_number(column: pl.Series, wanted: str) -> None:
    if not column.dtype.is_numeric():
        raise Error(f"the log's {column.name} is {column.dtype}, not {wanted}", _LOG_HINT)


def _numbers(column: pl.Series, wanted: str = "a number") -> Floats:
    _check_number(column, wanted)
    _no_nulls(column)
    values = column.to_numpy().astype(np.float64)
    _check(column, np.isfinite(values), "is not finite")
    return values


def _texts(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        raise Error(f"the log's {column.name} is {column.dtype}, not text", _LOG_HINT)
    _no_nulls(column)
    return column


def _no_nulls(column: pl.Series) -> None:
    _check(column, column.is_not_null().to_numpy(), "is missing")


def _check(column: pl.Series, fine: NDArray[np.bool_], what: str, hint: str = _LOG_HINT) -> None:
    if not fine.all():
        row = int(np.argmin(fine))
        many = int((~fine).sum())
        raise Error(f"the log's {column.name} {what} in {many} rows, first in row {row}: {column[row]}", hint)


def _late(table: pl.DataFrame) -> NDArray[np.bool_]:
    if LATE not in table.columns:
        return np.zeros(table.height, dtype=np.bool_)
    if table[LATE].dtype != pl.Boolean:
        raise Error(f"the log's {LATE} is {table[LATE].dtype}, not boolean", "cast it to true or false")
    _no_nulls(table[LATE])
    return table[LATE].to_numpy()


def _outcome(column: pl.Series, plan: Plan, late: NDArray[np.bool_]) -> Floats:
    metric = plan.metrics.get(column.name)
    if metric is None or isinstance(metric, EventMetric):
        if column.dtype not in (pl.Boolean, pl.Null):
            raise Error(f"the log's {column.name} is {column.dtype}, not boolean", "cast it to true, false or null")
    elif column.dtype != pl.Null:
        _check_number(column, "a number")  # before Polars fills what it cannot
        values = _numbers(column.fill_null(0))
        if isinstance(metric, AmountMetric):
            _check(column, values >= 0, "is negative")
        if isinstance(metric, ScoreMetric):
            _check(column, (values >= 0) & (values <= 1), "is outside 0 to 1")
    outcome: Floats = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    # Assigned and never answered is a failure of the arm it was assigned to.
    never_answered = isinstance(metric, EventMetric) and metric.kind == "failure"
    return np.where(np.isnan(outcome) & ~late, 1.0, outcome) if never_answered else outcome


def _going_on(rows: Rows, silence: float) -> slice:
    """The rows until the weight falls back to 0, which ends a rollout.

    A request that was assigned at a smaller weight, or before the rollout, may be answered after one of the next
    step: such rows stay. At 0 it is for good, or for longer than ``silence`` seconds.
    """
    weight = rows.weight
    begun = np.flatnonzero(weight > 0)
    fallen = np.flatnonzero((weight == 0) & ~rows.late & (np.arange(weight.size) > begun[0])) if begun.size else begun
    following = np.searchsorted(begun, fallen)
    again = np.append(rows.time[begun], np.inf)[following]
    ended = fallen[again - rows.time[fallen] > silence]
    going_on = slice(0, int(ended[0]) if ended.size else weight.size)
    _, first = np.unique(weight[going_on], return_index=True)
    back = np.flatnonzero(np.diff(first) < 0)
    if back.size:
        # Weights are in order here, so the smaller of the two came first in the ramp, but later in the log.
        row = int(first[back[0]])
        problem = f"the log's weight goes down in row {row}, from {weight[row - 1]:g} to {weight[row]:g}"
        raise Error(problem, "a ramp only goes up: replay one rollout at a time")
    return going_on


def _check_arms(rows: Rows, units: pl.Series, plan: Plan) -> None:
    if plan.salt is None:
        if plan.method == "placebo" and rows.time.size > 0:
            hint = "give the plan as it was committed, with its salt; or use `method: counts`"
            raise Error("the plan has no salt, so the arms cannot be compared with placebo canaries", hint)
        return
    told = assignment.canaries(assignment.seeds_of([plan.salt]), rows.unit, rows.weight)[0]
    wrong = np.flatnonzero(told != rows.canary)
    if wrong.size:
        row = int(wrong[0])
        arm = "canary" if told[row] else "stable"
        problem = (
            f"{wrong.size} of {rows.time.size} rows are not on the arm that the plan's salt gives; row {row}, unit "
            f"{units[row]!r} at weight {rows.weight[row]:g}, should be {arm}"
        )
        hint = "give the plan whose salt this rollout used; units must be the ids that were hashed"
        raise Error(problem, f"{hint}; of one that runs: was its branch rewritten? roll back, and start again")
