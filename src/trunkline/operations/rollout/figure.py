"""The figure of a rollout: the ramp, the evidence and the bad requests, one above the other on one axis of time."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from trunkline import svg
from trunkline.records.rollout import Rollout
from trunkline.rollout.trace import Point
from trunkline.words import number

_WIDTH, _LEFT, _RIGHT = 760, 64, 150
_PANEL, _GAP, _TOP = 130, 44, 30
_HIGHEST = 1e4  # of an e-value that is drawn
_STYLE = (
    "text{font:12px sans-serif;fill:#5d636d}.head{font-weight:600}.end{text-anchor:end}"
    ".grid{stroke:#8884;stroke-width:1}.limit{stroke:#b3261e;stroke-width:1;stroke-dasharray:5 4}"
    ".canary,.no_worse{stroke:#1f6feb}.stable{stroke:#8a8f98}.worse{stroke:#b3261e}"
    "polyline{stroke-width:2;fill:none;stroke-linejoin:round}"
)


class _Panel(NamedTuple):
    """One drawing: its place, its scale, and the seconds that its axis spans."""

    top: float
    low: float
    high: float
    span: tuple[float, float]

    def x(self, time: float) -> float:
        first, last = self.span
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (time - first) / (last - first or 1)

    def y(self, value: float) -> float:
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low or 1)
        return self.top + _PANEL * (1 - part)

    def level(self, value: float, label: str, kind: str = "grid") -> Markup:
        y = self.y(value)
        line = svg.shape("line", kind, x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}")
        return line + svg.text(_LEFT - 8, y + 4, label, "end")

    def curve(self, values: Sequence[tuple[float, float]], kind: str) -> Markup:
        places = " ".join(f"{self.x(time):.1f},{self.y(value):.1f}" for time, value in values)
        return svg.shape("polyline", kind, points=places)

    def name(self, value: float, label: str) -> Markup:
        return svg.text(_WIDTH - _RIGHT + 8, self.y(value) + 4, label, "name")

    def head(self, label: str) -> Markup:
        return svg.text(_LEFT, self.top - 12, label, "head")


def draw(changes: Sequence[Rollout], points: Sequence[Point]) -> str:
    """The whole file.

    Args:
        changes: what the branch said, the oldest first; at least one.
        points: the looks, by time; at least one.
    """
    last = changes[-1]
    begun = datetime.fromisoformat(last.started).timestamp()
    ended = max(points[-1].time, datetime.fromisoformat(last.since).timestamp())
    tops = [_TOP + place * (_PANEL + _GAP) for place in range(3)]
    span = (begun, ended)
    parts = [
        *_ramp(changes, _Panel(tops[0], 0.0, 1.0, span)),
        *_evidence(points, _Panel(tops[1], 0.0, math.log10(_HIGHEST), span)),
        *_bad(points, _Panel(tops[2], 0.0, max(1.0, *(max(point.bad.values()) for point in points)), span)),
    ]
    height = tops[2] + _PANEL + _GAP
    minutes = (ended - begun) / 60
    parts.append(svg.text(_LEFT, height - 14, f"{last.started}", "axis"))
    parts.append(svg.text(_WIDTH - _RIGHT, height - 14, f"{minutes:.3g} minutes later", "end"))
    return str(svg.document(_WIDTH, height, f"{last.name}: {last.state}", _STYLE, parts))


def _ramp(changes: Sequence[Rollout], panel: _Panel) -> list[Markup]:
    corners: list[tuple[float, float]] = []
    for change in changes:
        time = datetime.fromisoformat(change.since).timestamp()
        if corners:
            corners.append((time, corners[-1][1]))
        corners.append((time, change.weight))
    corners.append((panel.span[1], corners[-1][1]))
    levels = [panel.level(part / 4, f"{25 * part} %") for part in range(5)]
    name = panel.name(corners[-1][1], changes[-1].state.replace("_", " "))
    before = changes[-1].plan.shadow
    mirrored = "" if before is None else f"; before its first step {100 * before.share:.4g} % of requests are mirrored"
    head = panel.head(f"share of the units on the canary{mirrored}")
    return [head, *levels, panel.curve(corners, "canary"), name]


def _evidence(points: Sequence[Point], panel: _Panel) -> list[Markup]:
    """On a scale of powers of ten: e-values of 1 and less say nothing."""
    limits = points[-1].decision.limits
    worse = [(point.time, _log(_mean([state.e_worse for state in point.decision.signals]))) for point in points]
    proof = [(point.time, _log(min(state.e_no_worse for state in point.decision.signals))) for point in points]
    return [
        panel.head("e-values: worse than tolerated (mean), and within the margin (the least shown signal)"),
        *(panel.level(power, f"1e{power}" if power else "1") for power in range(0, 5, 2)),
        panel.level(_log(limits["e_worse_mean"]), "", "limit"),
        panel.name(_log(limits["e_worse_mean"]), f"worse from {number(limits['e_worse_mean'])}"),
        panel.level(_log(limits["e_no_worse"]), "", "limit"),
        panel.name(_log(limits["e_no_worse"]), f"shown from {number(limits['e_no_worse'])}"),
        panel.curve(worse, "worse"),
        panel.curve(proof, "no_worse"),
    ]


def _bad(points: Sequence[Point], panel: _Panel) -> list[Markup]:
    parts = [panel.head("bad requests so far")]
    parts += [panel.level(panel.high * part / 2, number(panel.high * part / 2)) for part in range(3)]
    for arm in ("stable", "canary"):
        parts.append(panel.curve([(point.time, float(point.bad[arm])) for point in points], arm))
        parts.append(panel.name(float(points[-1].bad[arm]), arm))
    return parts


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _log(value: float) -> float:
    return math.log10(max(value, 1.0))
