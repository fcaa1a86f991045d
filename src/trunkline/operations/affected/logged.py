"""Looks for a customer in the prediction log, which names customers as they are, as keyed hashes, or not at all."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import predictions
from trunkline.clients.predictions import Database
from trunkline.errors import Error
from trunkline.params import LogParams
from trunkline.records.prediction import Held


class Logged(NamedTuple):
    """What the prediction log holds of the customer.

    Attributes:
        found: by form (``text`` or ``hash``), the predictions by release.
        form: in which `serve.log` has customers logged now, and in which alone `predictions erase` finds them.
        erased: up to when the customer was erased; None where never.
        problems: why something could not be looked at.
    """

    found: dict[str, tuple[Held, ...]]
    form: str
    erased: datetime | None
    problems: tuple[str, ...]

    @property
    def number(self) -> int:
        """Predictions that name the customer."""
        return sum(held.number for some in self.found.values() for held in some)


def search(log: LogParams, customer: str, served: bool) -> Logged:
    """Look for a customer's predictions, in whatever form they may have been logged.

    Args:
        log: where they are logged, and in which form.
        customer: as in the raw data.
        served: whether any release was ever let serve: then there is a log, if not on this machine.
    """
    path = predictions.absent(log)
    if path is not None:
        elsewhere = f"there is no prediction log {path} here: run this where the gateway runs"
        return Logged({}, log.customer, None, (elsewhere,) if served else ())
    forms, problems = _forms(log, customer)
    try:
        with predictions.reading(log) as database:
            found = {form: predictions.of_customer(database, text) for form, text in forms.items()}
            erased = [predictions.erased_until(database, text) for text in forms.values()]
            problems += _unnamed(log, database)
        problems += _not_there(log)
    except Error as error:
        return Logged({}, log.customer, None, (*problems, error.problem))
    return Logged(found, log.customer, max((time for time in erased if time), default=None), tuple(problems))


def _forms(log: LogParams, customer: str) -> tuple[dict[str, str], list[str]]:
    """How the log may name the customer, and what stands in the way of knowing.

    The form may have been another one when a prediction was logged, so all that can be made here are looked for.
    """
    try:
        hashed = predictions.Kept(log.model_copy(update={"customer": "hash"})).text("customer", customer)
    except Error as error:
        return {"text": customer}, [f"serve.log: {error.hint}"] if log.customer == "hash" else []
    return {"text": customer, "hash": str(hashed)}, []


def _unnamed(log: LogParams, database: Database) -> list[str]:
    if log.customer != "none" or not predictions.nameless_texts(database):
        return []
    return ["serve.log.customer is none: the log keeps inputs or outputs, and nobody can tell whose they are"]


def _not_there(log: LogParams) -> list[str]:
    """What was recorded and did not reach the database."""
    waiting, aside = predictions.waiting(log), Path(log.spool) / predictions.REJECTED
    problems = []
    if waiting:
        problems.append(f"{waiting:,} records wait in {log.spool} for a gateway to move them into the log")
    if aside.exists():
        problems.append(f"{aside} holds records that the database refused: look through it yourself")
    return problems
