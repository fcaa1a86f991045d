"""The comparison, made again from what both models answered: a report is a file that anybody can write."""

import json
from pathlib import Path

from trunkline import comparison
from trunkline.agreement import differences
from trunkline.clients import answers, project
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Report, Task

TASK = "task.json"


def check(folder: Path, params: Params, committed: Report) -> None:
    """Compare anew and hold the result against the commit's ``reports/compare.json``.

    Args:
        folder: holdout, task and predictions of the commit, as `contents.gather` left them.
        params: the commit's, and its module the one checked out here.
        committed: the report.

    Raises:
        Error: the two differ by more than the last digits of a number, or the answers cannot be compared at all.
    """
    project.load(params.project.module)
    answered = comparison.match(*answers.read(folder), params.terms)
    found = comparison.compare(answered, Task.read(folder / TASK).answer, params.terms)
    wrong = list(differences(json.loads(committed.text()), json.loads(found.text())))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Error(
            f"reports/compare.json is not what the answers of both models say: {wrong[0]}{more}",
            "in a pull request: `dvc repro --pull --force --single-item compare`, commit dvc.lock and reports/",
        )
