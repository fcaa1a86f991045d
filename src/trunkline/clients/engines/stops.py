"""Cuts an answer where a stop text begins, while it is written."""

from collections.abc import Sequence


class Stops:
    """Holds text back as long as it may be the beginning of a stop text.

    Attributes:
        text: what may be shown of the answer so far.
        found: the stop text that ended it; None before.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Watch for ``stops``, none of them empty."""
        self._stops = tuple(stops)
        self._held = ""
        self.text = ""
        self.found: str | None = None

    def add(self, text: str) -> str:
        """Take what was written next and return what may be shown now; nothing once a stop text was found."""
        if self.found is not None:
            return ""
        self._held += text
        places = [(place, stop) for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            # Of two that begin at one place the longer was meant.
            place, self.found = min(places, key=lambda pair: (pair[0], -len(pair[1])))
            return self._show(place)
        return self._show(len(self._held) - self._beginning())

    def rest(self) -> str:
        """The answer has ended: return what was held back, as it was no stop text."""
        return "" if self.found is not None else self._show(len(self._held))

    def _beginning(self) -> int:
        """Length of the longest end of the held text that begins a stop text."""
        longest = max(map(len, self._stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0

    def _show(self, size: int) -> str:
        shown, self._held = self._held[:size], self._held[size:]
        self.text += shown
        return shown
