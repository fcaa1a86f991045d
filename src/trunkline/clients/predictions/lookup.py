"""What lineage asks of the prediction log: a customer's predictions, and what a release's engine first said it is."""

from datetime import datetime

import sqlalchemy as sa

from trunkline.clients.predictions import connection, erasure
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.tables import assignments, from_row, outcomes, time_of
from trunkline.records.prediction import Held, Outcome


def first_answer(database: Database, release: str) -> Outcome | None:
    """The outcome of a release's first prediction whose engine said what it is; None where none did."""
    said = sa.or_(outcomes.c.engine_model.is_not(None), outcomes.c.engine_fingerprint.is_not(None))
    both = sa.join(assignments, outcomes, assignments.c.prediction == outcomes.c.prediction)
    query = sa.select(outcomes).select_from(both).where(assignments.c.release == release, said)
    with connection.transaction(database.engine, reads=True) as open_:
        row = open_.execute(query.order_by(assignments.c.time).limit(1)).mappings().first()
    return None if row is None else from_row(Outcome, row)


def of_customer(database: Database, customer: str) -> tuple[Held, ...]:
    """How many predictions of each release name a customer; the release that was asked first before the others.

    Args:
        database: the log.
        customer: as it is logged: as it is, or hashed.
    """
    column = assignments.c
    first = sa.func.min(column.time)
    query = sa.select(column.release, sa.func.count(), first, sa.func.max(column.time))
    query = query.where(column.customer == customer).group_by(column.release).order_by(first)
    with connection.transaction(database.engine, reads=True) as open_:
        rows = open_.execute(query).all()
    return tuple(Held(release, count, time_of(start), time_of(end)) for release, count, start, end in rows)


def erased_until(database: Database, customer: str) -> datetime | None:
    """Up to when a customer's predictions were erased; None where they never were."""
    with connection.transaction(database.engine, reads=True) as open_:
        limit = erasure.limit(open_, customer)
    return None if limit is None else time_of(limit)


def nameless_texts(database: Database) -> bool:
    """Whether texts are kept of predictions that name no customer."""
    nameless = sa.and_(assignments.c.customer.is_(None), ~assignments.c.erased)
    answered = sa.exists().where(outcomes.c.prediction == assignments.c.prediction, outcomes.c.output.is_not(None))
    query = sa.select(assignments.c.prediction).where(nameless, sa.or_(assignments.c.input.is_not(None), answered))
    with connection.transaction(database.engine, reads=True) as open_:
        return open_.execute(query.limit(1)).first() is not None
