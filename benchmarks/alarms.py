"""How soon an alarm of serving comes, and how often a false one: `trunkline monitor` beside rules of dashboards.

    python benchmarks/alarms.py --streams 60

A release serves 500 conversations a day. Either all days are alike, or they have the rhythm of a week: on its five
busy days answers take a quarter longer and fail three times as often as at its end. In its third week something
changes and stays. Trunkline compares with the first week (`monitor.first` 7, as params.yaml has it) or with the first
day; all else is params.yaml's, and alpha is shared with the signals that are not drawn here. The rules: errors more
than twice as frequent as, or a 95th percentile of latency 1.2 times that of, the first week or the same day of the
week before; with at least five errors, which is more lenient than most are.

A month of 30 days without any change has so many days with a false alarm; a change is told within a day, a week or
thirty days in so many of the streams. All contenders see the same streams.
"""

import argparse
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkline import params
from trunkline.drift import judging, observed, watched, windows
from trunkline.drift.comparison import WINDOW
from trunkline.drift.judging import Rule
from trunkline.drift.observed import Seen
from trunkline.records import Answer

SIZE, CHANGES, DAYS, WEEK = 500, 14, 30, 7
ERRORS, MEDIAN_LOG, SPREAD = 0.015, 6.0, 0.4
BUSY = 5
START = datetime(2026, 10, 5, tzinfo=UTC)
THINGS = ("serving/errors", "serving/latency", "serving/first_token")


class Change(NamedTuple):
    """What happens to a release: times the errors, and times the latency."""

    name: str
    errors: float
    latency: float


class Day(NamedTuple):
    """Conversations of a day: whether each failed, and milliseconds of the whole answer and of its first token."""

    failed: NDArray[np.bool_]
    latency: NDArray[np.float64]
    first: NDArray[np.float64]


NOTHING = Change("nothing", 1, 1)
EVERY = (
    Change("errors x 2", 2, 1),
    Change("errors x 3", 3, 1),
    Change("errors x 5", 5, 1),
    Change("latency x 1.1", 1, 1.1),
    Change("latency x 1.2", 1, 1.2),
    Change("latency x 1.5", 1, 1.5),
)
Watch = Callable[[list[Day]], list[bool]]


def stream(change: Change, weekly: bool, rng: np.random.Generator) -> tuple[list[Day], int]:
    """Days from the release's first on, and the number of the one that the change begins on."""
    began = CHANGES + int(rng.integers(0, WEEK))
    days = []
    for number in range(began + DAYS):
        busy = weekly and number % WEEK < BUSY
        calm = weekly and not busy
        after = number >= began
        chance = ERRORS * (1.2 if busy else 0.4 if calm else 1.0) * (change.errors if after else 1.0)
        slower = (1.25 if busy else 1.0) * (change.latency if after else 1.0)
        took = rng.lognormal(MEDIAN_LOG, SPREAD, SIZE) * slower
        days.append(Day(rng.random(SIZE) < chance, took, took * rng.uniform(0.2, 0.4, SIZE)))
    return days, began


def by_trunkline(first: int) -> Watch:
    """The monitor's own tests of the signals that are drawn here."""
    settings = params.load(Path(__file__).parents[1] / "params.yaml")
    monitor = settings.monitor
    answer = Answer(format="json", fields=settings.data.answer.fields, allowed=settings.data.answer.allowed)
    every = watched.everything(monitor.features, answer, settings.serve.guard)
    things = [one for one in every if one.key in THINGS]
    rule = Rule(
        least=monitor.conversations.least,
        alpha=monitor.alpha * len(things) / len(every),
        clear=monitor.clear,
        tolerated=dict(monitor.tolerated),
        a_month=windows.a_month(monitor.hours),
        together=monitor.together,
        first=first,
        examples=0,
    )
    totals = observed.Totals(SIZE, SIZE, None, None, None, None, None, None, None, {})

    def watch(days: list[Day]) -> list[bool]:
        seen = []
        for number, day in enumerate(days):
            ids = [f"{number}-{place}" for place in range(SIZE)]
            columns = {"failed": day.failed, "latency_ms": day.latency, "ttft_ms": day.first}
            table = pl.DataFrame({"prediction": ids, "unit": ids, **columns})
            seen.append(Seen(windows.at(START, number, monitor.hours), totals, table, {}, np.empty(0), ()))
        start = [one.conversations.with_columns(pl.lit(one.window.number).alias(WINDOW)) for one in seen[:first]]
        found = judging.series(seen, things, {"start": pl.concat(start)}, rule)
        return [any(step.alarm for step in steps) for steps in zip(*found.values(), strict=True)]

    return watch


def by_rule(before: Callable[[list[Day], int], list[Day]]) -> Watch:
    """Twice the errors or 1.2 times the latency of some days before."""

    def watch(days: list[Day]) -> list[bool]:
        alarms = [False] * WEEK
        for number in range(WEEK, len(days)):
            those, day = before(days, number), days[number]
            usual = np.mean([one.failed.mean() for one in those])
            slow = np.mean([np.quantile(one.latency, 0.95) for one in those])
            failed = day.failed.sum() >= 5 and day.failed.mean() > 2 * usual
            alarms.append(bool(failed or np.quantile(day.latency, 0.95) > 1.2 * slow))
        return alarms

    return watch


CONTENDERS: dict[str, Watch] = {
    "Trunkline, first week": by_trunkline(WEEK),
    "Trunkline, first day": by_trunkline(1),
    "rule, first week": by_rule(lambda days, _: days[:WEEK]),
    "rule, same day last week": by_rule(lambda days, number: [days[number - WEEK]]),
}


def false(watch: Watch, streams: list[tuple[list[Day], int]]) -> str:
    """Days a month with an alarm, and the standard error of that."""
    counts = [sum(watch(days)[began:]) for days, began in streams]
    return f"{statistics.mean(counts):.2f} +- {statistics.stdev(counts) / len(counts) ** 0.5:.2f}"


def told(watch: Watch, streams: list[tuple[list[Day], int]]) -> str:
    """Of streams, the share told within a day, a week and thirty days; an alarm before the change does not count."""
    delays = []
    for days, began in streams:
        alarms = watch(days)[began:]
        delays.append(alarms.index(True) if True in alarms else DAYS)
    shares = (sum(one < within for one in delays) / len(delays) for within in (1, WEEK, DAYS))
    return " / ".join(f"{share:.0%}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=60, help="of each change; five times as many without any")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"{'':<30}" + "".join(f"{name:>26}" for name in CONTENDERS), flush=True)
    for weekly in (False, True):
        days = "a week's rhythm" if weekly else "days alike"
        for number, change in enumerate((NOTHING, *EVERY)):
            rng = np.random.default_rng((arguments.seed, weekly, number))
            count = arguments.streams * (5 if change is NOTHING else 1)
            streams = [stream(change, weekly, rng) for _ in range(count)]
            measure = false if change is NOTHING else told
            row = [measure(watch, streams) for watch in CONTENDERS.values()]
            print(f"{days + ', ' + change.name:<30}" + "".join(f"{cell:>26}" for cell in row), flush=True)


if __name__ == "__main__":
    main()
