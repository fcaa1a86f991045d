"""Deleting in the prediction log: a customer's data, and what is older than it may be kept.

Erasing keeps the row: arm, time and measurements are no personal data, and a rollout whose rows vanish would be
judged by others than it was planned for. Customer, input, output and words are deleted, and the unit, which may
name a conversation, is replaced by a random name, the same for all its rows that are erased together.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from trunkline.clients.predictions import ids
from trunkline.clients.predictions.tables import Row, assignments, erasures, feedback, outcomes

PRUNED_AT_ONCE = 2_000
_AT_ONCE = 500
_NOTHING_SAID = {"label": None, "comment": None}


def erase(connection: sa.Connection, customer: str, before: int) -> int:
    """Redact a customer's predictions and remember to redact what arrives later; how many were found.

    All that is there, also what a gateway whose clock is ahead has written: nothing of it came after the erasure.
    """
    of_customer = assignments.c.customer == customer
    newest = connection.scalar(sa.select(sa.func.max(assignments.c.time)).where(of_customer))
    _remember(connection, _digest(customer), max(before, newest or before))
    found = connection.execute(sa.select(assignments.c.prediction, assignments.c.unit).where(of_customer)).all()
    names = _names()
    for unit in {row.unit for row in found}:
        changed = {"customer": None, "input": None, "unit": names[unit], "erased": True}
        connection.execute(sa.update(assignments).where(of_customer, assignments.c.unit == unit).values(changed))
    _redact(connection, [row.prediction for row in found])
    return len(found)


def redact_late(connection: sa.Connection, assigned: list[Row], ended: list[Row], said: list[Row]) -> None:
    """Redact, in rows about to be written and those of the same predictions that are, what was erased meanwhile."""
    digests = {id(row): _digest(row["customer"]) for row in assigned if row["customer"] is not None}
    limits = _limits(connection, set(digests.values()))
    late = [row for row in assigned if row["time"] <= limits.get(digests.get(id(row), ""), -1)]
    names = _names()
    for row in late:
        row.update(customer=None, input=None, unit=names[row["unit"]], erased=True)
    _redact(connection, [row["prediction"] for row in late])
    erased = {row["prediction"] for row in late} | _erased(connection, {row["prediction"] for row in (*ended, *said)})
    for row in ended:
        if row["prediction"] in erased:
            row["output"] = None
    for row in [row for row in said if row["prediction"] in erased]:
        row.update(_NOTHING_SAID)
        if row["score"] is None:
            said.remove(row)


def known(connection: sa.Connection, customers: Iterable[str]) -> set[str]:
    """Those of these customers that were erased; what is older than the log keeps predictions is forgotten."""
    digests = {_digest(customer): customer for customer in customers}
    return {digests[digest] for digest in _limits(connection, set(digests))}


def prune(connection: sa.Connection, before: int) -> int:
    """Delete some predictions of before a moment and all that belongs to them; how many."""
    column = assignments.c
    query = sa.select(column.prediction).where(column.time < before).limit(PRUNED_AT_ONCE)
    found = list(connection.scalars(query))
    for some in _parts(found):
        for table in (feedback, outcomes, assignments):
            connection.execute(sa.delete(table).where(table.c.prediction.in_(some)))
    if len(found) < PRUNED_AT_ONCE:
        # Outcomes and feedback whose assignment never came; later than their prediction, so nothing else is hit.
        for table in (feedback, outcomes):
            alone = ~sa.exists().where(column.prediction == table.c.prediction)
            connection.execute(sa.delete(table).where(table.c.time < before, alone))
        connection.execute(sa.delete(erasures).where(erasures.c.before < before))
    return len(found)


def limit(connection: sa.Connection, customer: str) -> int | None:
    """Up to when (microseconds since 1970) a customer was erased; None where never."""
    digest = _digest(customer)
    return _limits(connection, {digest}).get(digest)


def _redact(connection: sa.Connection, predictions: Sequence[str]) -> None:
    for some in _parts(predictions):
        of_ended, of_said = outcomes.c.prediction.in_(some), feedback.c.prediction.in_(some)
        connection.execute(sa.update(outcomes).where(of_ended).values(output=None))
        connection.execute(sa.delete(feedback).where(of_said, feedback.c.score.is_(None)))
        connection.execute(sa.update(feedback).where(of_said).values(_NOTHING_SAID))


def _remember(connection: sa.Connection, digest: str, before: int) -> None:
    connection.execute(sa.delete(erasures).where(erasures.c.customer == digest, erasures.c.before <= before))
    if not _limits(connection, {digest}):
        connection.execute(sa.insert(erasures).values(customer=digest, before=before))


def _limits(connection: sa.Connection, digests: set[str]) -> dict[str, int]:
    """Up to when the customers of these digests were erased."""
    found: dict[str, int] = {}
    for some in _parts(sorted(digests)):
        query = sa.select(erasures.c.customer, erasures.c.before).where(erasures.c.customer.in_(some))
        found |= {row.customer: row.before for row in connection.execute(query)}
    return found


def _erased(connection: sa.Connection, predictions: set[str]) -> set[str]:
    found: set[str] = set()
    for some in _parts(sorted(predictions)):
        query = sa.select(assignments.c.prediction).where(assignments.c.prediction.in_(some), assignments.c.erased)
        found |= set(connection.scalars(query))
    return found


def _digest(customer: str) -> str:
    return hashlib.sha256(customer.encode()).hexdigest()


def _names() -> "defaultdict[Any, str]":
    return defaultdict(ids.new)


def _parts(values: Sequence[str]) -> Iterable[list[str]]:
    return (list(values[at : at + _AT_ONCE]) for at in range(0, len(values), _AT_ONCE))
