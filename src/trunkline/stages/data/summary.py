"""reports/data.md: what a reviewer reads about the data. Everything that came from data is escaped."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

from trunkline.records import Report
from trunkline.verdict import Check

_LONGEST = 400
_MOST_LABELS = 20


def escaped(text: object) -> str:
    """Untrusted text as one short line that Markdown and HTML show as it is."""
    line = " ".join(str(text).split())
    if len(line) > _LONGEST:
        line = line[: _LONGEST - 1] + "…"
    return re.sub(r"([\\`*_{}\[\]()#+!|~@]|:(?=\S)|^-)", r"\\\1", html.escape(line, quote=False))


def render(report: Report) -> str:
    """The report as Markdown, ending in a newline."""
    details: dict[str, Any] = dict(report.details)
    parts = [
        f"# Data: {report.verdict}",
        _table(("check", "verdict", "value", "limit", "finding"), map(_check_row, report.checks)),
        "## Rows",
        _partitions(details["partitions"]),
        "## Rejected rows by rule",
        _counts("rule", details["rejected"]) or "No row was rejected.",
        "## Personal data",
        _counts("kind", details["pii"]) or "None was looked for.",
        "## Labels",
        *(_labels(field, counts) for field, counts in details["labels"].items()),
        "## Shift",
        _shift(details["shift"]),
        "## Near-duplicates",
        *_clusters(details["near_duplicates"]),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _check_row(check: Check) -> tuple[object, ...]:
    value = "not measured" if check.value is None else f"{check.value:.3g}"
    limit = "" if check.limit is None else f"{check.limit:g}"
    return check.name, check.verdict, value, limit, check.message


def _partitions(rows: list[dict[str, Any]]) -> str:
    head = ("partition", "read", "rejected", "duplicates", "conflicts", "kept")
    total = ["all", *(sum(row[column] for row in rows) for column in head[1:])]
    return _table(head, [*([row[column] for column in head] for row in rows), total])


def _counts(name: str, counts: dict[str, int]) -> str:
    return _table((name, "found"), counts.items()) if counts else ""


def _labels(field: str, counts: dict[str, int]) -> str:
    shown: list[tuple[object, object]] = list(counts.items())
    rest = len(shown) - _MOST_LABELS
    if rest > 0:
        shown = [*shown[: _MOST_LABELS // 2], (f"({rest} between)", "…"), *shown[-_MOST_LABELS // 2 :]]
    return _table((escaped(field), "examples"), shown)


def _shift(shift: dict[str, Any]) -> str:
    if not shift["columns"]:
        return f"Not measured, against {shift['against']}."
    new, reference = (escaped(", ".join(shift[side])) for side in ("new", "reference"))
    head = ("column", "effect size", "measure", "p (Holm)", "significant", "reference", "new")
    rows = [
        (
            found["column"],
            _number(found["effect"]),
            {"ks": "Kolmogorov-Smirnov", "tv": "total variation"}[found["measure"]],
            _number(found["p"]),
            "yes" if found["significant"] else "no",
            found["reference"],
            found["new"],
        )
        for found in shift["columns"]
    ]
    intro = f"{new} against {shift['against']} ({reference}), one row a conversation."
    return f"{intro}\n\n{_table(head, rows)}"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def _clusters(near: dict[str, Any]) -> list[str]:
    lines = [f"{near['clusters']} groups of messages that nearly repeat each other; they are kept."]
    for number, texts in enumerate(near["examples"], 1):
        lines.append("\n".join([f"{number}. {escaped(texts[0])}", *(f"   - {escaped(text)}" for text in texts[1:])]))
    return lines
