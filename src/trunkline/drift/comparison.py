"""A window beside its reference: for each thing that is watched, how far it went and whether that is chance."""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from trunkline.drift import exact
from trunkline.drift.exact import Bools, Counts, Floats
from trunkline.drift.watched import Watched

# A conversation is extreme that is in this part of window and reference together.
PART = 0.05


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


def compare(watched: Watched, window: pl.DataFrame, reference: pl.DataFrame, terms: Terms) -> Compared | None:
    """Compare one thing.

    Args:
        watched: names the column.
        window: one row a conversation: ``prediction`` and the columns.
        reference: one row a conversation: the columns.
        terms: see `Terms`.

    Returns:
        None where one of the two is too small to tell, or does not hold it.
    """
    here, there = (_holding(frame, watched.column) for frame in (window, reference))
    if min(here.height, there.height) < terms.least:
        return None
    if watched.form == "label":
        return _labels(watched, here, there, terms)
    if watched.form == "flag":
        mine, theirs = (frame[watched.column].to_numpy() for frame in (here, there))
        return _flag(watched, here, (mine, theirs), terms)
    return _most(watched, here, there[watched.column].to_numpy(), terms)


def _holding(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    return frame.filter(pl.col(column).is_not_null()) if column in frame.columns else frame.clear()


def _flag(watched: Watched, here: pl.DataFrame, sides: tuple[Bools, Bools], terms: Terms) -> Compared:
    mine, theirs = sides
    counts = Counts(int(mine.sum()), mine.size, int(theirs.sum()), theirs.size)
    limit = exact.limit(counts, terms.level)
    examples = here.filter(pl.Series(mine))["prediction"].head(terms.examples)
    return _one(watched.told(0.0, ""), counts, limit, tuple(examples))


def _most(watched: Watched, here: pl.DataFrame, theirs: Floats, terms: Terms) -> Compared:
    mine: Floats = here[watched.column].to_numpy()
    found = exact.largest(mine, theirs, PART)
    if found is None:
        nothing = exact.Extreme(np.zeros(mine.size, bool), np.zeros(theirs.size, bool), float(mine[0]))
        found = nothing
    counts = Counts(int(found.window.sum()), mine.size, int(found.reference.sum()), theirs.size)
    limit = exact.limit(counts, terms.level, of_all=True)
    order = np.argsort(-mine, kind="stable")[: min(terms.examples, counts.hits)]
    return _one(watched.told(found.at, ""), counts, limit, tuple(here["prediction"].gather(order)))


def _one(told: str, counts: Counts, limit: float | None, examples: tuple[str, ...]) -> Compared:
    gone = counts.share - counts.reference_share
    direction: Literal["up", "down", "none"] = "up" if gone > 0 else "down" if gone < 0 else "none"
    return Compared(counts, exact.chance(counts), direction, told, counts.share, limit, examples)


def _labels(watched: Watched, here: pl.DataFrame, there: pl.DataFrame, terms: Terms) -> Compared:
    """Every value of a closed field, in both directions; the one that is least likely to be chance is told."""
    mine, theirs = here[watched.column], there[watched.column]
    values = sorted({*mine.unique(), *theirs.unique()})
    tables = [dict(side.value_counts().iter_rows()) for side in (mine, theirs)]
    found = []
    for value in values:
        up = Counts(tables[0].get(value, 0), len(mine), tables[1].get(value, 0), len(theirs))
        p, direction = exact.either(up)
        gone = up.share - up.reference_share
        found.append((min(1.0, p * len(values)), -abs(gone), gone < 0, value, up, direction))
    p, _, _, value, counts, direction = min(found, key=lambda one: one[:4])
    apart = sum(abs(one[4].share - one[4].reference_share) for one in found) / 2
    # Where a value became rare, what came in its place says more than its few conversations.
    risen = max(found, key=lambda one: one[4].share - one[4].reference_share)[3]
    examples = here.filter(mine == (value if direction == "up" else risen))["prediction"].head(terms.examples)
    return Compared(counts, p, direction, watched.told(0.0, value), apart, None, tuple(examples))
