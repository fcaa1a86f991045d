"""Runs one stage in a folder of its own, on data that are in no commit yet: the stage itself, not a copy of it."""

import os
import subprocess
import sys
from pathlib import Path

from trunkline.clients import files
from trunkline.clients.reports import FOLDER
from trunkline.errors import Error
from trunkline.records import Report

_SECONDS = 3600.0
# Where the caller's outputs, summary and token are is not for a trial to know.
_OF_A_JOB = ("GITHUB_", "GH_", "ACTIONS_")


def run(step: str, folder: Path) -> Report:
    """The report that ``trunkline <step>`` writes in a folder, also where it stops there.

    Args:
        folder: holds params.yaml and whatever the stage reads.

    Raises:
        Error: the stage stopped before it had a report.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OF_A_JOB)}
    # A report that the folder already holds is of other data.
    report = folder / FOLDER / f"{step}.json"
    files.remove(report)
    # -P: the folder's own files are data, also one that is named like a module.
    command = [sys.executable, "-P", "-m", "trunkline", step]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Error(f"the stage {step} did not end within an hour", "run `dvc repro` where the data are") from None
    try:
        return Report.read(report)
    except Error:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        problem, hint = (_after(head, said) for head in ("error: ", "hint: "))
        problem = problem or (said or ["it said nothing"])[-1]
        raise Error(f"the stage {step} could not judge the new data: {problem}", hint or "run `dvc repro`") from None


def _after(head: str, lines: list[str]) -> str:
    return next((line.removeprefix(head) for line in lines if line.startswith(head)), "")
