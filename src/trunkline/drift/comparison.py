"""A window beside its reference: for each thing that is watched, how far it went and whether that is chance."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline.drift import exact, windows
from trunkline.drift.exact import Counts
from trunkline.drift.watched import Watched

# A conversation is extreme that is in this part of window and reference together.
PART = 0.05
# Beyond the reference are larger amounts than all but this part of it has.
FEW = 0.02
# The window that a row of a reference is of, where that has several.
WINDOW = "window"


class Compared(NamedTuple):
    """What a window says of one thing.

    Attributes:
        counts: of the window and of the reference; of the label that moved the most.
        p: chance of such a window without any change, for this one thing.
        direction: where it went.
        told: what is counted, in words.
        drawn: what a figure shows: the window's share, or the distance of two mixes of labels (total variation).
        limit: the smallest share that would have been an alarm; None where there is none to draw.
        examples: ids of predictions, those that drive it most first.
    """

    counts: Counts
    p: float
    direction: Literal["up", "down", "none"]
    told: str
    drawn: float
    limit: float | None
    examples: tuple[str, ...]

    @property
    def effect(self) -> float:
        """Difference of the two shares, in points of 1."""
        return self.counts.share - self.counts.reference_share


class Terms(NamedTuple):
    """How windows are compared.

    Attributes:
        least: conversations without which there is nothing to say.
        level: of one test, for the limits that figures show.
        examples: at most.
    """

    least: int
    level: float
    examples: int


class Values(NamedTuple):
    """What is known of one thing, one value a conversation, and the predictions that they are of, if any."""

    values: NDArray[Any]
    ids: pl.Series


def values(frame: pl.DataFrame, column: str) -> Values:
    """The values of a table's column that are not null; none where it has no such column."""
    if column not in frame.columns:
        return Values(np.empty(0), pl.Series(dtype=pl.String))
    known = frame.filter(pl.col(column).is_not_null())
    kind = {pl.String: object, pl.Boolean: np.bool_}.get(type(frame.schema[column]), np.float64)
    ids = known["prediction"] if "prediction" in known.columns else known[column]
    return Values(known[column].to_numpy().astype(kind), ids)


def parts(table: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    """A reference, or of one that has windows every ``size`` of them in a row (`windows.runs`)."""
    if WINDOW not in table.columns:
        return [table]
    numbers = table[WINDOW].unique().sort().to_list()
    return [table.filter(pl.col(WINDOW).is_in(run)) for run in windows.runs(numbers, size)]


def nearest(watched: Watched, here: Values, those: Sequence[Values], terms: Terms) -> Compared | None:
    """The comparison that says the least, with whichever of several references the window is most like.

    That something changed against all of them has a chance of at most the level if nothing changed against one of
    them, whichever that is (intersection-union test: Berger, Technometrics 1982).
    """
    found = [compare(watched, here, there, terms) for there in those]
    return max((one for one in found if one is not None), key=lambda one: one.p, default=None)


def compare(watched: Watched, here: Values, there: Values, terms: Terms) -> Compared | None:
    """Compare one thing.

    Args:
        watched: what is compared.
        here: the window's.
        there: the reference's.
        terms: see `Terms`.

    Returns:
        None where one of the two is too small to tell, or does not hold it.
    """
    if min(here.values.size, there.values.size) < terms.least:
        return None
    if watched.form == "label":
        return _labels(watched, here, there, terms)
    if watched.form == "flag":
        return _flag(watched, here, there, terms)
    if watched.form == "beyond":
        return _beyond(watched, here, there, terms)
    return _most(watched, here, there, terms)


def _flag(watched: Watched, here: Values, there: Values, terms: Terms) -> Compared:
    counts = Counts(int(here.values.sum()), here.values.size, int(there.values.sum()), there.values.size)
    limit = exact.limit(counts, terms.level)
    return _one(watched.told(0.0, ""), counts, limit, tuple(here.ids.filter(here.values).head(terms.examples)))


def _most(watched: Watched, here: Values, there: Values, terms: Terms) -> Compared:
    found = exact.largest(here.values, there.values, PART)
    if found is None:
        found = exact.Extreme(here.values > np.inf, there.values > np.inf, float(here.values[0]))
    counts = Counts(int(found.window.sum()), here.values.size, int(found.reference.sum()), there.values.size)
    limit = exact.limit(counts, terms.level, of_all=True)
    return _one(watched.told(found.at, ""), counts, limit, _first(here, counts, terms))


def _beyond(watched: Watched, here: Values, there: Values, terms: Terms) -> Compared:
    counts, at = exact.beyond(here.values, there.values, FEW)
    return _one(watched.told(at, ""), counts, exact.limit(counts, terms.level), _first(here, counts, terms))


def _first(here: Values, counts: Counts, terms: Terms) -> tuple[str, ...]:
    """Those with the largest amounts."""
    order = np.argsort(-here.values, kind="stable")[: min(terms.examples, counts.hits)]
    return tuple(here.ids.gather(order))


def _one(told: str, counts: Counts, limit: float | None, examples: tuple[str, ...]) -> Compared:
    gone = counts.share - counts.reference_share
    direction: Literal["up", "down", "none"] = "up" if gone > 0 else "down" if gone < 0 else "none"
    return Compared(counts, exact.chance(counts), direction, told, counts.share, limit, examples)


def _labels(watched: Watched, here: Values, there: Values, terms: Terms) -> Compared:
    """Every value of a closed field, in both directions; the one that is least likely to be chance is told."""
    mine, theirs = (Counter(side.values.tolist()) for side in (here, there))
    values = sorted({*mine, *theirs})
    found = []
    for value in values:
        counts = Counts(mine[value], here.values.size, theirs[value], there.values.size)
        p, direction = exact.either(counts)
        gone = counts.share - counts.reference_share
        found.append((min(1.0, p * len(values)), -abs(gone), gone < 0, value, counts, direction))
    p, _, _, value, counts, direction = min(found, key=lambda one: one[:4])
    apart = -sum(one[1] for one in found) / 2
    # Where a value became rare, what came in its place says more than its few conversations.
    risen = max(found, key=lambda one: one[4].share - one[4].reference_share)[3]
    examples = here.ids.filter(here.values == (value if direction == "up" else risen)).head(terms.examples)
    return Compared(counts, p, direction, watched.told(0.0, value), apart, None, tuple(examples))
