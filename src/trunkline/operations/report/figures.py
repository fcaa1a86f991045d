"""Figures as inline SVG: shapes carry classes that the page's style sheet colours, light or dark."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from trunkline import svg
from trunkline.words import cut, number

_WIDTH = 480
_LEFT, _RIGHT = 144, 24
_ROW = 44
_MOST_CLASSES = 20


class Interval(NamedTuple):
    """A value between the ends of its interval, each a share from 0 to 1."""

    value: float
    low: float
    high: float


def curve(values: Sequence[float], title: str) -> Markup:
    """A line over steps, from the first on the left to the last on the right."""
    if len(values) < 2:
        return Markup("")
    height, left, top, bottom = 220, 52, 12, 30
    low, high = min([0.0, *values]), max(values)
    across, up = (_WIDTH - left - _RIGHT) / (len(values) - 1), (height - top - bottom) / (high - low or 1)
    points = " ".join(f"{left + i * across:.1f},{height - bottom - (y - low) * up:.1f}" for i, y in enumerate(values))
    parts = [
        *(_level(left, height - bottom - (level - low) * up, number(level)) for level in _ticks(low, high)),
        svg.shape("polyline", "line", points=points, fill="none"),
        svg.text(left, height - 8, "step 1", "axis"),
        svg.text(_WIDTH - _RIGHT, height - 8, f"step {len(values)}", "axis end"),
    ]
    return svg.drawing(_WIDTH, height, title, parts)


def _level(left: float, y: float, label: str) -> Markup:
    line = svg.shape("line", "grid", x1=left, y1=f"{y:.1f}", x2=_WIDTH - _RIGHT, y2=f"{y:.1f}")
    return line + svg.text(left - 8, y + 4, label, "axis end")


def _ticks(low: float, high: float) -> list[float]:
    return [low + (high - low) * part / 4 for part in range(5)]


def scores(rows: Sequence[tuple[str, Interval | None, Interval | None]], title: str) -> Markup:
    """Each scorer's production and candidate value with its interval, on one scale from 0 to 100 %."""
    if not rows:
        return Markup("")
    height = len(rows) * _ROW + 34
    span = _WIDTH - _LEFT - _RIGHT
    parts = []
    for part in range(5):
        x = _LEFT + span * part / 4
        parts.append(svg.shape("line", "grid", x1=x, y1=6, x2=x, y2=height - 28))
        parts.append(svg.text(x, height - 8, f"{25 * part} %", "axis middle"))
    for index, (name, production, candidate) in enumerate(rows):
        y = index * _ROW + 26
        parts.append(svg.text(_LEFT - 12, y + 4, cut(name, 17), "label end"))
        parts += _marks(production, y - 7, "production", span)
        parts += _marks(candidate, y + 7, "candidate", span)
    return svg.drawing(_WIDTH, height, title, parts)


def _marks(interval: Interval | None, y: float, side: str, span: float) -> list[Markup]:
    if interval is None:
        return []
    low, value, high = (f"{_LEFT + span * end:.1f}" for end in (interval.low, interval.value, interval.high))
    return [
        svg.shape("line", f"interval {side}", x1=low, y1=y, x2=high, y2=y),
        svg.shape("circle", f"dot {side}", cx=value, cy=y, r=5),
    ]


def bars(rows: Sequence[tuple[str, float, bool]], title: str) -> Markup:
    """Horizontal bars of values between 0 and 1; those that are more than chance are marked."""
    if not rows:
        return Markup("")
    height = len(rows) * 26 + 34
    span = _WIDTH - _LEFT - _RIGHT - 40
    parts = []
    for index, (name, value, marked) in enumerate(rows):
        y = index * 26 + 10
        parts.append(svg.text(_LEFT - 12, y + 12, cut(name, 17), "label end"))
        parts.append(svg.shape("rect", "bar back", x=_LEFT, y=y, width=span, height=16, rx=2))
        width = f"{max(span * min(value, 1), 1):.1f}"
        parts.append(svg.shape("rect", "bar marked" if marked else "bar", x=_LEFT, y=y, width=width, height=16, rx=2))
        parts.append(svg.text(_LEFT + span + 8, y + 12, f"{value:.2f}", "axis"))
    parts.append(svg.text(_LEFT, height - 8, "0", "axis"))
    parts.append(svg.text(_LEFT + span, height - 8, "1", "axis middle"))
    return svg.drawing(_WIDTH, height, title, parts)


def confusion(classes: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> Markup:
    """Rows are the right answers, columns what was answered; a cell's strength is its share of the row."""
    if not classes or len(classes) > _MOST_CLASSES:
        return Markup("")
    left, top = 144, 110
    columns = len(classes) + 1
    size = min(44, (_WIDTH - left - 60) // columns)  # the last slanted label needs 60
    parts = []
    for index, name in enumerate(classes):
        middle = top + index * size + size / 2
        parts.append(svg.text(left - 10, middle + 4, cut(name, 17), "label end"))
    for index in range(columns):
        x = left + index * size + size / 2 + 4
        name = classes[index] if index < len(classes) else "other"
        parts.append(svg.text(x, top - 8, cut(name, 18), "label", transform=f"rotate(-45 {x} {top - 8})"))
    for row, values in enumerate(counts):
        for column, value in enumerate(values):
            parts.append(_cell(left + column * size, top + row * size, size, (value, sum(values), row == column)))
    return svg.drawing(_WIDTH, top + len(classes) * size + 8, title, parts)


def _cell(x: float, y: float, size: float, content: tuple[int, int, bool]) -> Markup:
    value, total, right = content
    part = value / total if total else 0.0
    opacity = f"{0.1 + 0.9 * part:.2f}" if value else 1
    kind = "cell none" if not value else "cell right" if right else "cell wrong"
    cell = svg.shape("rect", kind, x=x + 1, y=y + 1, width=size - 2, height=size - 2, rx=3, fill_opacity=opacity)
    if not value:
        return cell
    return cell + svg.text(x + size / 2, y + size / 2 + 4, f"{value:g}", "count strong" if part > 0.55 else "count")
