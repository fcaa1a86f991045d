"""A release's first windows, with which later ones are compared for as long as it serves, however soon the log forgets.

What counts is the log, as feedback on its predictions may still come. Numbers of these windows are kept besides, and
take the place of one when the log holds fewer predictions of it.
"""

import logging
from collections.abc import Sequence

import polars as pl
from pydantic import ValidationError

from trunkline.clients import predictions
from trunkline.clients.predictions import Database
from trunkline.drift import comparison, observed
from trunkline.drift.observed import Seen
from trunkline.drift.watched import Watched
from trunkline.params import LogParams
from trunkline.records.monitoring import Begun

logger = logging.getLogger("trunkline")


def table(start: Sequence[Seen]) -> pl.DataFrame:
    """The conversations of the first windows, each in the first one that it was in."""
    numbered = [one.conversations.with_columns(pl.lit(one.window.number).alias(comparison.WINDOW)) for one in start]
    return pl.concat(numbered, how="diagonal_relaxed").unique("unit", keep="first", maintain_order=True)


def restore(database: Database, name: tuple[str, str], every: Sequence[Seen], first: int) -> list[Seen]:
    """Windows in order, the newest as it is, the first ones as they were when the log held most of them.

    Args:
        name: release and environment.
        first: how many windows are the first ones.

    Raises:
        Error: the log does not answer.
    """
    begun = predictions.remembered(database, *name, Begun)
    known = {} if begun is None else {(one.since, one.until): one for one in begun.windows}
    found = []
    for one in every:
        old = known.get((one.window.since.isoformat(), one.window.until.isoformat()))
        if old is not None and one.window.number < first and one is not every[-1]:
            try:
                before = observed.restored(old, one.window)
            except ValidationError:  # another version of Trunkline kept it
                before = one
            found.append(before if before.totals.predictions > one.totals.predictions else one)
        else:
            found.append(one)
    return found


def keep(log: LogParams, name: tuple[str, str], start: Sequence[Seen], watched: Sequence[Watched]) -> None:
    """Keep what is known of the first windows now; a log that only may be read is told of, as what was found holds.

    Args:
        name: release and environment.
        start: the first windows.
        watched: what is compared with them.
    """
    if not sum(one.totals.predictions for one in start):
        return
    columns = sorted({one.column for one in watched if one.against == "start"})
    rows = table(start)
    own = [one._replace(conversations=rows.filter(pl.col(comparison.WINDOW) == one.window.number)) for one in start]
    found = Begun(windows=tuple(observed.kept(one, columns) for one in own))
    try:
        with predictions.reading(log) as database:
            if predictions.remembered(database, *name, Begun) != found:
                predictions.remember(database, *name, found)
    except predictions.Unreachable as error:
        logger.warning("monitor  the numbers of the first windows are not kept: %s", error.problem)
