"""What people have said is the right answer, with what was asked: what a model can learn from."""

from collections.abc import Iterable, Sequence

import polars as pl
import sqlalchemy as sa

from trunkline.clients.predictions import connection, erasure
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import assignments, feedback, microseconds
from trunkline.records.prediction import Selection

_TIME = pl.Datetime("us", "UTC")
_COLUMNS = {
    "prediction": assignments.c.prediction,
    "time": assignments.c.time,
    "unit": assignments.c.unit,
    "customer": assignments.c.customer,
    "input": assignments.c.input,
    "said": feedback.c.id,
    "source": feedback.c.source,
    "label": feedback.c.label,
}


def labelled(database: Database, selection: Selection, sources: Sequence[str]) -> pl.DataFrame:
    """Every label of these sources on a prediction whose input is there, in the order of predictions and of labels.

    What was erased has neither input nor label, and is not among them.

    Args:
        selection: which predictions; only its times count.

    Returns:
        ``prediction``, ``time``, ``unit``, ``customer``, ``input``, ``said`` (id of the feedback, in order of time),
        ``source`` and ``label``.
    """
    there = [
        feedback.c.source.in_(sources),
        feedback.c.label.is_not(None),
        assignments.c.input.is_not(None),
        assignments.c.shadow_of.is_(None),
        ~assignments.c.erased,
    ]
    if selection.since is not None:
        there.append(assignments.c.time >= microseconds(selection.since))
    if selection.until is not None:
        there.append(assignments.c.time < microseconds(selection.until))
    joined = assignments.join(feedback, assignments.c.prediction == feedback.c.prediction)
    columns = [column.label(name) for name, column in _COLUMNS.items()]
    query = sa.select(*columns).select_from(joined).where(*there).order_by(assignments.c.prediction, feedback.c.id)
    with connection.transaction(database.engine, reads=True) as open_:
        rows = [tuple(row) for row in open_.execute(query)]
    schema = {name: pl.Int64 if name == "time" else pl.String for name in _COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("time").cast(_TIME))


def erased(database: Database, customers: Iterable[str]) -> set[str]:
    """Those of these customers, named as they are logged, whose data were erased at any time that is remembered."""
    with connection.transaction(database.engine, reads=True) as open_:
        return erasure.known(open_, customers)
