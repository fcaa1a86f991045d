"""Write what the stages found as a page, as Markdown for the pull request, and as a short table."""

from pathlib import Path
from typing import Any

from trunkline import excerpt
from trunkline.clients import files
from trunkline.operations.report import context, page, terminal
from trunkline.operations.report.evidence import gather
from trunkline.params import Params
from trunkline.verdict import Verdict
from trunkline.words import template

MARKDOWN = Path("reports/report.md")
PAGE = Path("reports/report.html")
# GitHub refuses comments of more than 65,536 characters.
MOST_CHARACTERS = 60_000


def run(params: Params) -> tuple[str, Verdict]:
    """Write ``reports/report.md`` and ``reports/report.html`` from whatever reports are there.

    Returns:
        The summary for a terminal, and the verdict that ``trunkline gate`` would give.

    Raises:
        Error: the files cannot be written.
    """
    evidence = gather(params)
    shown = context.build(evidence, params)
    files.write_text(MARKDOWN, render_markdown(shown))
    files.write_text(PAGE, page.render(shown, evidence, params))
    return terminal.summary(shown, evidence.verdict, (PAGE, MARKDOWN)), evidence.verdict


def render_markdown(shown: dict[str, Any]) -> str:
    """The report as Markdown of at most `MOST_CHARACTERS`, cut at the end of a line with a notice."""
    text = template("report.md.j2").render(shown)
    notice = f"\n\nCut at {MOST_CHARACTERS:,} characters; {PAGE} shows everything.\n"
    return excerpt.fit(text.strip() + "\n", MOST_CHARACTERS, notice)
