"""What a pull request would have to run: nothing is fetched, nothing runs, and no data need be here."""

from pathlib import Path

from trunkline import lock
from trunkline.clients import pipeline
from trunkline.clients.github import workflow
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Report

LOCK = Path("dvc.lock")
REPORT = Path("reports/train.json")


def run(params: Params) -> str:
    """Compare dvc.lock with code, params and data, and set the step's output ``changed`` to true or false.

    Returns:
        One line a reason, and a last line that says what follows.

    Raises:
        Error: there is no pipeline here, or DVC cannot read it.
    """
    unreadable = _unreadable()
    reasons = {"dvc.lock": unreadable} if unreadable else pipeline.stale(Path())
    workflow.set_outputs(changed="true" if reasons else "false")
    lines = [f"{stage:<12}{reason}" for stage, found in reasons.items() for reason in found]
    if not reasons:
        return "nothing has changed: there is nothing to run"
    if params.train.method != "none" and (unreadable or "train" in reasons):
        lines.append(_expected(params))
    what = "the pipeline has to run" if unreadable else f"{len(reasons)} stages have to run"
    return "\n".join([*lines, f"{what}: dvc repro --pull"])


def _unreadable() -> list[str]:
    """Why dvc.lock cannot be read and what to do; nothing where it can, or is not there yet."""
    try:
        lock.stages(LOCK.read_bytes())
    except FileNotFoundError:
        return []
    except Error as error:
        return [error.problem, error.hint]
    return []


def _expected(params: Params) -> str:
    """What training may cost and what it cost the last time, as far as its report tells."""
    budget = params.train.max_gpu_hours
    text = f"{'train':<12}may take {budget:g} GPU hours (train.max_gpu_hours)"
    try:
        spent = Report.read(REPORT).metrics.get("gpu_hours")
    except Error:
        return text
    if not isinstance(spent, int | float):
        return text
    return f"{text}; the last run took {spent:.3g}" + (", so it may not end" if spent > budget else "")
