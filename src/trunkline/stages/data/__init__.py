"""Check the raw data and keep what is valid: data/raw -> data/examples.parquet.

Every row that is left out is counted with its reasons. Data that break a limit stop the pipeline here,
with the reports written and the previous examples as they were.
"""

import logging
from pathlib import Path

from trunkline import examples
from trunkline.clients import files, tables
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Production, Report
from trunkline.stages.data.summary import render
from trunkline.verdict import Verdict

EXAMPLES = Path("data/examples.parquet")
REJECTED = Path("data/rejected.parquet")
REPORT = Path("reports/data.json")
SUMMARY = Path("reports/data.md")

logger = logging.getLogger("trunkline")


def run(params: Params) -> None:
    """Read, check, mask and deduplicate the partitions; write the examples unless a limit is broken.

    Raises:
        Error: the folder is a link, a partition cannot be read, a limit's ``fail`` is exceeded, or no example is left.
    """
    settings = params.data
    production = Production.read(Path(params.production.pinned))
    raw = tables.read(files.unlinked(Path(settings.folder)), examples.columns(settings))
    found = examples.examine(raw.rows, raw.unreadable, settings, production.partitions)
    report = found.report
    files.write_table(REJECTED, found.rejected)
    files.write_text(SUMMARY, render(report))
    files.write_text(REPORT, report.text())
    if report.verdict is Verdict.FAIL or found.examples.is_empty():
        raise _broken(report)
    files.write_table(EXAMPLES, found.examples)
    read, kept = report.metrics["rows"], found.examples.height
    logger.info("data: %d of %d rows are examples, %s; see %s", kept, read, report.verdict, SUMMARY)


def _broken(report: Report) -> Error:
    broken = [
        f"{check.name}: {check.message} ({check.value:.3g}, limit {check.limit:g})"
        for check in report.checks
        if check.verdict is Verdict.FAIL and check.value is not None and check.limit is not None
    ]
    broken = broken or ["no example is left"]
    return Error(
        "\n".join(["the data are not fit to train on; the previous examples are untouched", *broken]),
        f"see {SUMMARY}, and {REJECTED} for each row; correct the data, or data.limits in params.yaml",
    )
