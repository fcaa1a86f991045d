"""What was asked and answered, of predictions that are known by their ids."""

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa

from trunkline.clients.predictions import connection
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import assignments, outcomes

_AT_ONCE = 500


class Exchange(NamedTuple):
    """A question and its answer, as the log keeps them."""

    input: str
    output: str


def exchanges(database: Database, predictions: Iterable[str]) -> dict[str, Exchange]:
    """Those of these predictions that were answered without an error, and whose texts are there, by id."""
    ids = sorted(set(predictions))
    found: dict[str, Exchange] = {}
    both = assignments.join(outcomes, assignments.c.prediction == outcomes.c.prediction)
    query = sa.select(assignments.c.prediction, assignments.c.input, outcomes.c.output).select_from(both)
    query = query.where(
        outcomes.c.status < 400,
        outcomes.c.error.is_(None),
        assignments.c.input.is_not(None),
        outcomes.c.output.is_not(None),
        ~assignments.c.erased,
    )
    with connection.transaction(database.engine, reads=True) as open_:
        for at in range(0, len(ids), _AT_ONCE):
            some = open_.execute(query.where(assignments.c.prediction.in_(ids[at : at + _AT_ONCE])))
            found |= {id: Exchange(asked, answered) for id, asked, answered in some}
    return found
