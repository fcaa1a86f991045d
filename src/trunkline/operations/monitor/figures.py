"""Small figures of the same form, one a signal, so that one that left its place is seen at once; and a time line."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from trunkline import svg
from trunkline.words import cut

WIDTH, HEIGHT = 320, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 10, 24
_LINE_HEIGHT = 64
_ROOM = 1.15  # above the highest point


class Point(NamedTuple):
    """A window of one signal; None where it was not measured, or there is no such thing.

    Attributes:
        limit: beyond which it would be an alarm.
        alarm: whether it is one.
    """

    value: float | None
    reference: float | None
    limit: float | None
    alarm: bool


class Span(NamedTuple):
    """What served from when to when."""

    name: str
    since: datetime
    until: datetime


def series(points: Sequence[Point], ends: tuple[str, str], show: Callable[[float], str], title: str) -> Markup:
    """A value over windows with its reference and its limit; windows that were not measured are gaps.

    Args:
        points: in order.
        ends: what stands under the first and the last window.
        show: a value in words.
        title: for those who do not see it.

    Returns:
        Nothing where no window was measured.
    """
    known = [value for point in points for value in point[:3] if value is not None]
    if not any(point.value is not None for point in points):
        return Markup("")
    highest = max([*known, 0.0])
    top = highest * _ROOM or 1.0
    across = (WIDTH - _LEFT - _RIGHT) / max(len(points) - 1, 1)
    up = (HEIGHT - _TOP - _BOTTOM) / top

    def place(index: int, value: float) -> tuple[float, float]:
        return _LEFT + index * across, HEIGHT - _BOTTOM - value * up

    parts = [_level(level, show(level), up) for level in sorted({0.0, highest})]
    for kind, pick in (("limit", 2), ("reference", 1), ("line", 0)):
        parts += _lines([point[pick] for point in points], place, kind)
    for index, point in enumerate(points):
        if point.value is not None:
            x, y = place(index, point.value)
            kind = "dot alarm" if point.alarm else "dot"
            parts.append(svg.shape("circle", kind, cx=f"{x:.1f}", cy=f"{y:.1f}", r=4 if point.alarm else 2))
    parts += [
        svg.text(_LEFT, HEIGHT - 6, ends[0], "axis"),
        svg.text(WIDTH - _RIGHT, HEIGHT - 6, ends[1], "axis end"),
    ]
    return svg.drawing(WIDTH, HEIGHT, title, parts)


def _level(value: float, label: str, up: float) -> Markup:
    y = f"{HEIGHT - _BOTTOM - value * up:.1f}"
    line = svg.shape("line", "grid", x1=_LEFT, y1=y, x2=WIDTH - _RIGHT, y2=y)
    return line + svg.text(_LEFT - 6, float(y) + 4, label, "axis end")


def _lines(
    values: Sequence[float | None], place: Callable[[int, float], tuple[float, float]], kind: str
) -> list[Markup]:
    """A line through each stretch of values without a gap."""
    found, stretch = [], []
    for index, value in enumerate([*values, None]):
        if value is not None:
            stretch.append("{:.1f},{:.1f}".format(*place(index, value)))
            continue
        if len(stretch) > 1:
            found.append(svg.shape("polyline", kind, points=" ".join(stretch), fill="none"))
        stretch = []
    return found


def served(spans: Sequence[Span], since: datetime, until: datetime) -> Markup:
    """What served when, as a bar from the left to the right."""
    seconds = (until - since).total_seconds()
    if seconds <= 0:
        return Markup("")
    width = 960
    parts = []
    for number, span in enumerate(spans):
        begin, end = (
            min(max((moment - since).total_seconds() / seconds, 0.0), 1.0) * width
            for moment in (span.since, span.until)
        )
        if end <= begin:
            continue
        kind = "bar" if number == len(spans) - 1 else "bar other"
        parts.append(svg.shape("rect", kind, x=f"{begin:.1f}", y=6, width=f"{end - begin:.1f}", height=26, rx=3))
        parts.append(svg.text(begin + 8, 24, cut(span.name, max(int((end - begin) / 9), 1)), "label strong"))
    parts += [
        svg.text(0, _LINE_HEIGHT - 8, f"{since:%Y-%m-%d %H:%M}", "axis"),
        svg.text(width, _LINE_HEIGHT - 8, f"{until:%Y-%m-%d %H:%M}", "axis end"),
    ]
    return svg.drawing(width, _LINE_HEIGHT, "what served when", parts)
