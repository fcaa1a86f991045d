"""What the page, the Markdown file and the terminal show, computed once."""

import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from trunkline import pii, terminal
from trunkline.drift.observed import Seen, Totals
from trunkline.operations.monitor.looking import Looked
from trunkline.params import Params
from trunkline.records.monitoring import Signal
from trunkline.registry import Entry
from trunkline.verdict import Verdict
from trunkline.words import as_number, cut, number, share, template

_WIDTH = 118
_MOST_TEXT = 600


class Row(NamedTuple):
    """One signal of a table."""

    key: str
    verdict: str
    value: str
    reference: str
    n: str
    sentence: str


class Alarm(NamedTuple):
    """One alarm: what was found, and the start of its first window."""

    key: str
    sentence: str
    since: str


class Example(NamedTuple):
    """One prediction behind an alarm, personal data masked."""

    id: str
    time: str
    input: str
    output: str


class Card(NamedTuple):
    """One number of the newest window, and the same of the first windows."""

    name: str
    value: str
    start: str


def build(looked: Looked, params: Params) -> dict[str, Any]:
    """Names and values for the templates; everything is text or rows of it."""
    found = looked.found
    return {
        "project": found.model,
        "environment": found.environment,
        "release": found.release,
        "verdict": str(found.verdict),
        "since": moment(found.since),
        "until": moment(found.until),
        "hours": f"{params.monitor.hours:g}",
        "alpha": f"{params.monitor.alpha:g}",
        "asked": None if found.asked is None else moment(found.asked),
        "head": headline(looked),
        "alarms": [_alarm(one) for one in found.signals if one.verdict is Verdict.FAIL],
        "rows": [_row(one) for one in found.signals],
        "cards": _cards(looked),
        "examples": [(one.key, _examples(one, looked)) for one in found.signals if one.examples],
        "answers": [(one.key, one.answers) for one in found.signals if one.answers],
        "history": [_served(one) for one in reversed(looked.served.history)],
    }


def moment(text: str) -> str:
    """A time as people read it, UTC."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def headline(looked: Looked) -> str:
    """What was looked at, in a sentence."""
    found = looked.found
    counts = {verdict: sum(one.verdict is verdict for one in found.signals) for verdict in Verdict}
    alarms = counts[Verdict.FAIL]
    told = "no alarm" if not alarms else "1 alarm" if alarms == 1 else f"{alarms} alarms"
    measured = len(found.signals) - counts[Verdict.INCONCLUSIVE]
    return (
        f"{found.release} in {found.environment}: {told}; {measured} of {len(found.signals)} signals were measured on"
        f" {number(found.predictions)} predictions from {moment(found.since)} to {moment(found.until)} UTC."
    )


def markdown(shown: dict[str, Any]) -> str:
    """The report as Markdown; every value is escaped."""
    return template("monitor.md.j2").render(shown).strip() + "\n"


def summary(shown: dict[str, Any], written: tuple[Path, Path]) -> str:
    """Verdict, alarms, the table and where to look, for a terminal."""
    lines = [f"{shown['project']}: {shown['verdict']}", *textwrap.wrap(cut(shown["head"], 400), _WIDTH)]
    for one in shown["alarms"]:
        text = f"{Verdict.FAIL}  {one.key}: {cut(one.sentence, 400)}"
        lines.append(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    "))
    head = ("signal", "verdict", "value", "reference", "n")
    table = terminal.table([head, *(row[:5] for row in shown["rows"])])
    return "\n".join([*lines, "", *table, "", f"look at  {written[0]} (page), {written[1]} (text)"])


def _alarm(one: Signal) -> Alarm:
    return Alarm(one.key, one.sentence, "" if one.since is None else moment(one.since))


def _row(one: Signal) -> Row:
    show = number if one.kind == "cost" else share
    undecided = "not measured" if one.value is None else "shown"
    verdict = undecided if one.verdict is Verdict.INCONCLUSIVE else str(one.verdict)
    return Row(one.key, verdict, show(one.value), show(one.reference), f"{one.n:,}", one.sentence)


def _served(one: Entry) -> tuple[str, ...]:
    until = "now" if one.until is None else moment(one.until)
    return (str(one.version or "?"), moment(one.time), until, one.action, one.by, one.reason or "no reason is recorded")


def _cards(looked: Looked) -> list[Card]:
    if not looked.seen:
        return []
    here = _figures(looked.seen[-1].totals)
    there = _mean([_figures(one.totals) for one in looked.start])
    labels = int(looked.seen[-1].losses.size)
    shown = [Card(name, show(here[name]), show(there.get(name))) for name, show in _SHOWN.items()]
    return [*shown, Card("labels", number(labels), number(_labels(looked.start)))]


def _labels(start: Sequence[Seen]) -> float | None:
    return sum(one.losses.size for one in start) / len(start) if start else None


_SHOWN = {
    "predictions": number,
    "conversations": number,
    "failed": share,
    "latency ms p50": number,
    "latency ms p95": number,
    "first token ms p95": number,
    "tokens in": number,
    "tokens out": number,
    "usd per 1,000 predictions": number,
    "usd per million tokens": number,
    "hits of the busiest guard": share,
}


def _figures(totals: Totals) -> dict[str, float | None]:
    """The numbers of `_SHOWN`, in its order."""
    latencies = totals.latency_ms or (None, None)
    values = (
        float(totals.predictions),
        float(totals.conversations),
        totals.failed,
        *latencies,
        totals.ttft_ms,
        totals.tokens_in,
        totals.tokens_out,
        totals.usd_per_1000,
        totals.usd_per_million,
        max(totals.guards.values(), default=None),
    )
    return dict(zip(_SHOWN, values, strict=True))


def _mean(rows: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _SHOWN:
        known = [value for row in rows if (value := as_number(row[name])) is not None]
        found[name] = sum(known) / len(known) if known else None
    return found


def _examples(one: Signal, looked: Looked) -> list[Example]:
    rows = []
    for id in one.examples:
        prediction = looked.examples.get(id)
        if prediction is None:
            continue
        said = None if prediction.outcome is None else prediction.outcome.output
        asked = prediction.assignment.input
        texts = ("(not kept)" if text is None else pii.mask(cut(text, _MOST_TEXT)) for text in (asked, said))
        rows.append(Example(id, moment(prediction.assignment.time.isoformat()), *texts))
    return rows
