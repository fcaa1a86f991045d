"""The test that has a horizon, by either of the plan's methods: P on requests, or X on counts."""

from collections.abc import Iterator

import numpy as np

from trunkline import assignment
from trunkline.records.rollout import Plan
from trunkline.rollout.log import Floats, Rows
from trunkline.rollout.signals import Reader, Signal
from trunkline.sequential import Conditional, Counts, Placebos


def counts_of(rows: Rows, harm: Floats) -> Iterator[Counts]:
    """The four integers of a window, of the rows in which this was measured, by the share that they were assigned at.

    Around a step of the ramp a window holds requests of two shares, and where gateways' clocks differ so do many.
    Pooled, an incident among those of one share would look like the canary's.
    """
    known = ~np.isnan(harm)
    for weight in np.unique(rows.weight[known]).tolist():
        canary = known & rows.canary & (rows.weight == weight)
        stable = known & ~rows.canary & (rows.weight == weight)
        yield Counts(int(canary.sum()), int(harm[canary].sum()), int(stable.sum()), int(harm[stable].sum()))


class ByPlacebo:
    """P over the signals that tolerate nothing: a score by its value, and where that is lower also by its rank.

    Scores crowd at the top, so a loss that many answers share shows in their order sooner than in the mean, and one
    of few answers in the mean. A canary with the better mean is never rolled back by ranks.
    """

    def __init__(self, plan: Plan, signals: tuple[Signal, ...]) -> None:
        self._places = [place for place, signal in enumerate(signals) if not signal.tolerates]
        self._ranked = [place for place in self._places if signals[place].is_score]
        self._names = [signals[place].name for place in (*self._places, *self._ranked)]
        salt = plan.salt or ""
        self._seeds = assignment.seeds_of([salt, *assignment.placebo_salts(salt, plan.placebos)])
        follows = {len(self._places) + k: self._places.index(place) for k, place in enumerate(self._ranked)}
        self._placebos = Placebos(self._seeds.size, len(self._names), follows)

    def add(self, rows: Rows, harm: Floats, reader: Reader) -> None:
        """Take in a window; ``harm`` is (n, signals) from the reader."""
        if self._places:
            canary = assignment.canaries(self._seeds, rows.unit, rows.weight)
            surplus = reader.surplus(rows, harm)
            outcomes = [surplus.values[:, self._places], surplus.ranks[:, self._ranked]]
            self._placebos.add(canary, rows.weight, np.concatenate(outcomes, axis=1))

    def look(self, allowed: float) -> tuple[str, ...]:
        """Spend alpha up to ``allowed``: the signals by which to roll back, the worst first."""
        if not self._places or not self._placebos.look(allowed):
            return ()
        real = self._placebos.scaled[0]
        order = np.argsort(-real)
        return tuple(dict.fromkeys(self._names[place] for place in order if real[place] > self._placebos.limit))

    @property
    def worse_than(self) -> float | None:
        """The share of placebo canaries that look better than the canary."""
        return self._placebos.worse_than if self._places else None


class ByCounts:
    """X for each event that tolerates nothing or a ratio, each with an even part of alpha."""

    def __init__(self, plan: Plan, signals: tuple[Signal, ...]) -> None:
        self._tests = {
            place: (signal.name, Conditional(signal.tolerated))
            for place, signal in enumerate(signals)
            if not signal.is_score
        }

    def add(self, rows: Rows, harm: Floats, reader: Reader) -> None:
        """Take in a window; ``harm`` is (n, signals) from the reader."""
        for place, (_, test) in self._tests.items():
            for counts in counts_of(rows, harm[:, place]):
                test.add(counts)

    def look(self, allowed: float) -> tuple[str, ...]:
        """Spend alpha up to ``allowed``: the signals by which to roll back, the worst first."""
        # Every test looks, so that none keeps alpha that another look would spend otherwise.
        found = [(name, test.events - test.look(allowed / len(self._tests))) for name, test in self._tests.values()]
        return tuple(name for name, beyond in sorted(found, key=lambda pair: -pair[1]) if beyond >= 0)

    @property
    def worse_than(self) -> float | None:
        """None: there are no placebos."""
        return None
