"""The report as a few aligned lines for a terminal."""

import textwrap
from pathlib import Path
from typing import Any

from trunkline.terminal import table
from trunkline.verdict import Verdict
from trunkline.words import cut

_WIDTH = 118


def summary(shown: dict[str, Any], verdict: Verdict, written: tuple[Path, Path]) -> str:
    """Verdict, the main table, cost, baseline, data and where to look.

    Args:
        shown: the templates' context.
        verdict: of all reports.
        written: the page and the Markdown file.
    """
    head = ("metric", "production", "candidate", "difference", "margin", "verdict")
    blocks = [
        f"{shown['project']}: {verdict}",
        *(_finding(item.verdict, item.step, item.text) for item in shown["findings"]),
        *(_finding(check.verdict, "compare", check.message) for check in shown["sentences"]),
        "",
        *_table([head, *shown["metrics"]]),
        "",
        *_table([("", "production", "candidate", "change"), *shown["costs"]]),
        *_pairs(shown),
        f"look at  {written[0]} (page), {written[1]} (text)",
    ]
    lines = "\n".join(blocks).split("\n")
    kept = [line for index, line in enumerate(lines) if line or (index and lines[index - 1])]
    return "\n".join(kept)


def _finding(verdict: Verdict, step: str, text: str) -> str:
    return textwrap.fill(f"{verdict}  {step}: {cut(text, 400)}", _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    return table(rows, numbers=True) if len(rows) > 1 else []


def _pairs(shown: dict[str, Any]) -> list[str]:
    lines = [""]
    if shown["baseline"]:
        lines.append(textwrap.fill(f"baseline {shown['baseline']}", _WIDTH, subsequent_indent=" " * 9))
    if shown["partitions"]:
        kept = sum(int(row[-1].replace(",", "")) for row in shown["partitions"])
        read = sum(int(row[1].replace(",", "")) for row in shown["partitions"])
        text = f"data     {read:,} rows read, {kept:,} kept. {shown['split']}"
        lines.append(textwrap.fill(text, _WIDTH, subsequent_indent=" " * 9))
    if shown["spark"]:
        lines.append(f"training {shown['spark']}  loss {shown['first_loss']} to {shown['last_loss']}")
    return lines
