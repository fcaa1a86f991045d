"""What ends a rollout at once, whatever the statistics say: so many events in a row on the canary.

If production's last requests are bad too, the failure is shared: then nothing speaks against the canary, and the tests
decide once they can. Half as long a run says so, as either arm may be the first to have the whole of it.
"""

import copy
from collections.abc import Mapping

import numpy as np

from trunkline.rollout.log import Floats, Rows


class HardStops:
    """Runs of events, by column and arm.

    Args:
        most: by column, the length of the run that stops.
    """

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most
        self._runs = {(name, arm): 0 for name in most for arm in (True, False)}
        self.shared: tuple[str, ...] = ()

    def add(self, rows: Rows) -> str | None:
        """Take in rows; the column whose run on the canary is long enough, and on stable is not."""
        stops: list[str] = []
        shared: list[str] = []
        for name, most in self._most.items():
            longest = {}
            for arm in (True, False):
                events = rows.outcomes[name][(rows.canary == arm) & ~np.isnan(rows.outcomes[name])]
                longest[arm], self._runs[name, arm] = _runs(events, self._runs[name, arm])
            if longest[True] >= most:
                (shared if 2 * longest[False] >= most else stops).append(name)
        self.shared = tuple(shared)
        return stops[0] if stops else None

    def peek(self, rows: Rows) -> str | None:
        """What `add` would return, without taking anything in."""
        return copy.deepcopy(self).add(rows)


def _runs(events: Floats, before: int) -> tuple[int, int]:
    """The longest run of events, and the one that lasts; both may have begun ``before``."""
    places = np.flatnonzero(~(events > 0))
    if places.size == 0:
        return before + events.size, before + events.size
    first, last = before + int(places[0]), events.size - 1 - int(places[-1])
    between = int(np.diff(places).max(initial=1)) - 1
    return max(first, last, between), last
