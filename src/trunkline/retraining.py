"""Whether new labelled rows are worth and fit for a pull request, what it will cost, and what a human must look at.

The data stage judges all partitions together, among which a bad new one may vanish; here its own rows are held to the
same limits.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from trunkline.records import Report
from trunkline.records.monitoring import Monitoring, Signal
from trunkline.verdict import Check, Limit, Verdict, within
from trunkline.words import as_number, as_object, as_rows

BRANCHES = "retrain/"


class Cost(NamedTuple):
    """What training is expected to take, from what it took the last time and how many more examples there are.

    Attributes:
        last: GPU hours of the last run.
        ratio: examples now for each one before.
        hours: GPU hours expected.
        usd: what they cost.
    """

    last: float
    ratio: float
    hours: float
    usd: float


def name(month: str, taken: Sequence[str]) -> str:
    """The name of the next partition: the month, or where it is taken the month with a number behind it.

    Partitions are read in the order of their names; an underscore sorts behind the dot of a suffix.

    Args:
        taken: names of the partitions that are there, without their suffixes.
    """
    number = 2
    found = month
    while found in taken:
        found, number = f"{month}_{number}", number + 1
    return found


def checks(report: Report, partition: str, unreadable: int, limits: Mapping[str, Limit]) -> tuple[Check, ...]:
    """The shares of the new partition alone that are rejected, repeated and contradicted.

    Args:
        report: of the data stage with the partition among the others.
        partition: its file's name.
        unreadable: lines of files that no row could be made of.
        limits: ``data.limits`` by name.
    """
    row = _of(report, partition)
    read, rejected = (int(as_number(row.get(column)) or 0) for column in ("read", "rejected"))
    valid = read - rejected
    counted = (
        ("rejected", rejected + unreadable, read + unreadable, "failed a schema rule"),
        ("duplicates", int(as_number(row.get("duplicates")) or 0), valid, "repeat an earlier message"),
        ("conflicts", int(as_number(row.get("conflicts")) or 0), valid, "have another answer elsewhere"),
    )
    return tuple(
        within(
            f"data.limits.{key}", count / total if total else None, limits[key], f"{count} of {total} new rows {what}"
        )
        for key, count, total, what in counted
    )


def failures(found: Sequence[Check]) -> list[str]:
    """What makes data unfit, one sentence each."""
    return [_sentence(check) for check in found if check.verdict is Verdict.FAIL]


def cost(last: Report | None, data: Report, partition: str, usd_per_hour: float) -> Cost | None:
    """The expected cost; None where no run has left what it took.

    Args:
        last: the report of the last training.
        data: of the data stage with the new partition.
    """
    spent = None if last is None else as_number(last.metrics.get("gpu_hours"))
    after = as_number(data.metrics.get("examples")) or 0.0
    before = after - (as_number(_of(data, partition).get("kept")) or 0.0)
    if spent is None or before <= 0:
        return None
    ratio = after / before
    return Cost(spent, ratio, spent * ratio, spent * ratio * usd_per_hour)


def unusual(
    found: Sequence[Check], monitoring: Monitoring | None, expected: Cost | None, most_hours: float
) -> list[str]:
    """Why a human has to look before this is merged, one sentence each; nothing where nothing is unusual.

    Args:
        found: all checks of the data.
        monitoring: what the monitor found; None: it was not asked.
        most_hours: ``train.max_gpu_hours``.
    """
    reasons = [_sentence(check) for check in found if check.verdict is not Verdict.PASS]
    if monitoring is None:
        reasons.append("the monitor has left no report, so nothing is known of what serves")
    reasons += strange(monitoring)
    if expected is None:
        reasons.append("what training will cost is not known, as no run has left its report")
    elif not expected.hours <= most_hours:
        reasons.append(f"training may take {expected.hours:.3g} GPU hours, and train.max_gpu_hours is {most_hours:g}")
    return reasons


def strange(monitoring: Monitoring | None) -> list[str]:
    """The alarms after which a human looks before a model is replaced, in one sentence; nothing without any."""
    keys = [signal.key for signal in alarms(monitoring) if not signal.learnable]
    return [f"newer data do not mend the alarms {', '.join(keys)}"] if keys else []


def alarms(monitoring: Monitoring | None) -> list[Signal]:
    """The signals that are alarms."""
    return [] if monitoring is None else [one for one in monitoring.signals if one.verdict is Verdict.FAIL]


def less(text: str, lines: str) -> str:
    """A partition's text without these lines of it."""
    gone = set(lines.splitlines())
    return "".join(f"{line}\n" for line in text.splitlines() if line not in gone)


def worth(before: str, now: str, least: int) -> bool:
    """Whether an open pull request's partition is written anew, which trains anew.

    It is for ``least`` more rows, and for a row that must not be there any more, such as an erased customer's.
    """
    old, new = set(before.splitlines()), set(now.splitlines())
    return len(new - old) >= least or outdated(before, now)


def outdated(before: str, now: str) -> bool:
    """Whether an open pull request's partition holds a row that must not be there any more."""
    return not set(before.splitlines()) <= set(now.splitlines())


def _of(report: Report, partition: str) -> dict[str, JsonValue]:
    rows = as_rows(as_object(report.details).get("partitions"))
    return next((row for row in rows if row.get("partition") == partition), {})


def _sentence(check: Check) -> str:
    if check.value is None or check.limit is None:
        return f"{check.name}: {check.message}"
    return f"{check.name}: {check.message} ({check.value:.3g}, limit {check.limit:g})"
