"""What a pull request would have to run: nothing is fetched, nothing runs, and no data need be here."""

from pathlib import Path

from trunkline import findings, lock, registry
from trunkline.clients import pipeline, reports
from trunkline.clients.git import tags
from trunkline.clients.github import workflow
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Report

LOCK = Path("dvc.lock")
REPORT = Path("reports/train.json")


def run(params: Params) -> str:
    """Compare dvc.lock with code, params and data, and set the step's output ``changed`` to true or false.

    It is false too where a run would be in vain, because what it finds could not be released.

    Returns:
        One line a reason, and a last line that says what follows.

    Raises:
        Error: there is no pipeline here, DVC cannot read it or its lock, or this is no Git repository.
    """
    if LOCK.exists():
        lock.stages(LOCK.read_bytes())  # says what to do about a conflict, where DVC only finds the file wrong
    reasons = pipeline.stale(Path())
    vain = _vain(params) if reasons else []
    workflow.set_outputs(changed="true" if reasons and not vain else "false")
    if not reasons:
        return "nothing has changed: there is nothing to run"
    lines = [f"{stage:<12}{reason}" for stage, found in reasons.items() for reason in found]
    if vain:
        return "\n".join([*lines, *vain, "inconclusive: nothing is run before that is mended"])
    if params.train.method != "none" and "train" in reasons:
        lines.append(_expected(params))
    return "\n".join([*lines, f"{len(reasons)} stages have to run: dvc repro --pull"])


def _vain(params: Params) -> list[str]:
    """Why a run could only be inconclusive, told before a GPU is spent on it."""
    lines = [f"{step:<12}{findings.nobodys(step)}" for step in reports.unwritten(findings.REQUIRED)]
    pinned = reports.pinned(Path(params.production.pinned))
    outdated = registry.outdated(pinned, registry.of(tags.known(), params.project.name))
    return lines if outdated is None else [*lines, f"{'production':<12}{outdated}"]


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
