"""Judge the candidate against production on the answers both gave to the same holdout examples."""

import logging
from pathlib import Path

from trunkline import comparison
from trunkline.clients import answers, files, project
from trunkline.params import Params
from trunkline.records import Task

TASK = Path("data/task.json")
REPORT = Path("reports/compare.json")

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Write reports/compare.json with the gate's verdict; a bad verdict is no Error.

    Raises:
        Error: a side is missing, the sides answer other examples than the holdout's, a score is NaN,
            or a scorer that decides cannot (its values leave 0 to 1, or it has no mean).
    """
    project.load(params.project.module)
    answered = comparison.match(*answers.read(), params.terms)
    report = comparison.compare(answered, Task.read(TASK).answer, params.terms)
    files.write_text(REPORT, report.text())
    for check in report.checks:
        _log.info("compare  %s: %s", check.verdict, check.message)
