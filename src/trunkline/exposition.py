"""Prometheus' text format, version 0.0.4: samples by label, and histograms.

Written by hand: names and labels are ours (or TGI's, whose counters lack the ``_total`` that client libraries
force on them), and a sample costs an addition.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts of values below growing bounds, and their sum."""

    def __init__(self, bounds: Iterable[float]) -> None:
        """Start empty; +Inf is added to ``bounds``."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value; one that equals a bound is below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, name: str, labels: Mapping[str, str]) -> list[str]:
        """Its lines: a cumulated count for each bound, the sum, and the number of values."""
        bounds = [*(f"{bound:.10g}" for bound in self._bounds), "+Inf"]
        totals = list(accumulate(self._counts))
        lines = [
            sample(f"{name}_bucket", {**labels, "le": bound}, total)
            for bound, total in zip(bounds, totals, strict=True)
        ]
        return [*lines, sample(f"{name}_sum", labels, self._sum), sample(f"{name}_count", labels, totals[-1])]


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """One line: a metric's value under these labels."""
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value:.10g}" if shown else f"{name} {value:.10g}"


def head(name: str, kind: str, explained: str | None = None) -> list[str]:
    """The lines before a metric's samples: its help, where there is one, and its kind."""
    shown = [] if explained is None else [f"# HELP {name} {explained}"]
    return [*shown, f"# TYPE {name} {kind}"]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
