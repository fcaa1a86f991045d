"""What is watched: each event, each quantile that an amount may exceed, each score.

The quantiles are production's, from the rows before the rollout. Without enough of them they are those of both
arms together at its beginning; which arm a row is on plays no part, so every test stays exact.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trunkline.records.rollout import AmountMetric, Plan, ScoreMetric
from trunkline.rollout.log import Floats, Rows

# Rows above a quantile that must have been seen before it is used.
_ABOVE = 20
# A unit's own history counts as if this many of its requests had been like everybody's.
_SHRINKAGE = 5
# Outcomes are compared with the mean of at least this many last ones.
_RECENT = 100


class Signal(NamedTuple):
    """One thing to watch.

    Attributes:
        name: as a reader sees it, such as ``latency_ms above p95``.
        column: of the log.
        quantile: for amounts, else None.
        is_score: whether more is better; otherwise 1 is harm.
        tolerated: a risk ratio, or for scores a loss.
        margins: by step, likewise.
    """

    name: str
    column: str
    quantile: float | None
    is_score: bool
    tolerated: float
    margins: tuple[float, ...]

    @property
    def tolerates(self) -> bool:
        """Whether some harm is tolerated, so that a test of no difference at all is not for it."""
        return self.tolerated > (0.0 if self.is_score else 1.0)


def signals_of(plan: Plan) -> tuple[Signal, ...]:
    """The signals of a plan, in its order."""
    found = []
    for column, metric in plan.metrics.items():
        is_score = isinstance(metric, ScoreMetric)
        for quantile in metric.quantiles if isinstance(metric, AmountMetric) else (None,):
            name = column if quantile is None else f"{column} above p{100 * quantile:g}"
            found.append(Signal(name, column, quantile, is_score, metric.tolerated, metric.margins))
    return tuple(found)


class Surplus(NamedTuple):
    """Harm beyond what was to be expected, whichever arm a row is on.

    Attributes:
        values: (n, signals) harm beyond a unit's own history and beyond what all had lately; 0 where not measured.
        ranks: (n, signals) where the value stands among all recent ones, from -1/2 to 1/2; 0 where not measured.
    """

    values: Floats
    ranks: Floats


class Reader:
    """Turns rows into one column of harm a signal, and says what harm was to be expected.

    Args:
        signals: of the plan.
        before: the rows before the rollout.
    """

    def __init__(self, signals: tuple[Signal, ...], before: Rows) -> None:
        self._signals = signals
        self.cuts: list[float | None] = [None for _ in signals]
        self._amounts: dict[str, Floats] = {signal.column: np.empty(0) for signal in signals if signal.quantile}
        self._calibrate(before)
        self._expected = [_History(before.unit, column) for column in self.harm(before).T]
        self._recent = np.full((0, len(signals)), np.nan)

    def harm(self, rows: Rows) -> Floats:
        """(n, signals) 1 for an event, 1 - score; NaN where nothing was measured or no quantile is known yet."""
        columns = []
        for signal, cut in zip(self._signals, self.cuts, strict=True):
            values = rows.outcomes[signal.column]
            if signal.quantile is not None:
                harm = np.where(np.isnan(values), np.nan, values > (np.nan if cut is None else cut))
                columns.append(harm if cut is not None else np.full(values.size, np.nan))
            else:
                columns.append(1 - values if signal.is_score else values)
        return np.stack(columns, axis=1) if columns else np.empty((rows.time.size, 0))

    def surplus(self, rows: Rows, harm: Floats) -> Surplus:
        """The harm of these rows beside each unit's own history and beside what all had lately."""
        expected = np.stack([history.of(rows.unit) for history in self._expected], axis=1)
        beyond = harm - expected
        recent = np.concatenate([self._recent, beyond])[-max(_RECENT, beyond.shape[0]) :]
        self._recent = recent[-_RECENT:]
        known = ~np.isnan(recent)
        centre = np.where(known, recent, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        ranks = [_ranks(column, of[here]) for column, of, here in zip(beyond.T, recent.T, known.T, strict=True)]
        return Surplus(np.nan_to_num(beyond - centre, nan=0.0), np.stack(ranks, axis=1))

    def learn(self, rows: Rows) -> None:
        """Take rows in for quantiles that are not known yet; they serve from the next window on."""
        if any(cut is None and signal.quantile for cut, signal in zip(self.cuts, self._signals, strict=True)):
            self._calibrate(rows)

    def _calibrate(self, rows: Rows) -> None:
        for column, seen in self._amounts.items():
            values = rows.outcomes[column]
            self._amounts[column] = np.concatenate([seen, values[~np.isnan(values)]])
        for place, signal in enumerate(self._signals):
            if signal.quantile is not None and self.cuts[place] is None:
                seen = self._amounts[signal.column]
                if seen.size * (1 - signal.quantile) >= _ABOVE:
                    self.cuts[place] = float(np.quantile(seen, signal.quantile))


def _ranks(values: Floats, among: Floats) -> Floats:
    ordered = np.sort(among)
    places = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.where(np.isnan(values), 0.0, places / (2 * max(ordered.size, 1)) - 0.5)


class _History:
    """Each unit's mean harm before the rollout, shrunk towards everybody's."""

    def __init__(self, units: NDArray[np.uint64], harm: Floats) -> None:
        known = ~np.isnan(harm)
        self._overall = float(harm[known].mean()) if known.any() else 0.0
        self._units, places = np.unique(units[known], return_inverse=True)
        total = np.bincount(places, weights=harm[known], minlength=self._units.size)
        count = np.bincount(places, minlength=self._units.size)
        self._means = (total + _SHRINKAGE * self._overall) / (count + _SHRINKAGE)

    def of(self, units: NDArray[np.uint64]) -> Floats:
        """(n,) what is expected of these units."""
        if self._units.size == 0:
            return np.full(units.size, self._overall)
        places = np.minimum(np.searchsorted(self._units, units), self._units.size - 1)
        return np.where(self._units[places] == units, self._means[places], self._overall)
