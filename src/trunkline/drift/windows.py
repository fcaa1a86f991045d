"""Windows of the prediction log: fixed by the release's start alone, so that looking twice is no second chance."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

MONTH_HOURS = 30 * 24


class Window(NamedTuple):
    """A stretch of a release's time, counted from 0.

    Attributes:
        since: its first moment, UTC.
        until: the moment after its last.
    """

    number: int
    since: datetime
    until: datetime


def at(start: datetime, number: int, hours: float) -> Window:
    """The window of a number.

    Args:
        start: when the release began to serve.
        hours: that a window lasts.
    """
    length = timedelta(hours=hours)
    return Window(number, start + number * length, start + (number + 1) * length)


def whole(start: datetime, now: datetime, hours: float) -> int:
    """How many windows have ended by now."""
    return max(0, (now - start) // timedelta(hours=hours))


def numbers(count: int, first: int, shown: int) -> list[int]:
    """The windows that are looked at: the first ones, which the others are compared with, and the last ones."""
    return sorted({*range(min(first, count)), *range(max(0, count - shown), count)})


def runs(numbers: Sequence[int], size: int) -> list[list[int]]:
    """Every so many windows in a row, the first ones behind the last ones again; all, where there are no more.

    What comes and goes with the days of a week is there in one of them as it is in any other so many days, if the
    windows are a week.
    """
    count = len(numbers)
    starts = range(count if size < count else 1)
    return [[numbers[(start + place) % count] for place in range(min(size, count))] for start in starts]


def began(windows: Sequence[Window], place: int) -> str | None:
    """The start of the window that an alarm goes back to, as it is told.

    Args:
        windows: that were looked at, in order.
        place: the alarm's first one.

    Returns:
        None where the one before it was not looked at: the alarm may be older. Which window is the first one that is
        looked at changes with time, and an alarm that goes on is none that begins.
    """
    before = windows[place - 1].number if place else -1
    return windows[place].since.isoformat() if windows[place].number == before + 1 else None


def a_month(hours: float) -> float:
    """How many windows a month of 30 days has."""
    return MONTH_HOURS / hours
