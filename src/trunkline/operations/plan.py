"""What a pull request would have to run: nothing is fetched, nothing runs, and no data need be here."""

from pathlib import Path

from pydantic import ValidationError

from trunkline import findings, lock, registry
from trunkline.clients import git, pipeline, reports, snapshot
from trunkline.clients.git import branches, tags
from trunkline.clients.github import workflow
from trunkline.params import Params
from trunkline.records import Report
from trunkline.words import as_number

LOCK = Path("dvc.lock")
REPORT = Path("reports/train.json")


def run(params: Params, base: str | None = None) -> str:
    """Compare dvc.lock with code, params and data, and set the step's output ``changed`` to true or false.

    It is false too where a run would be in vain, because what it finds could not be released, and where the branch has
    spent its budget.

    Args:
        base: the branch or commit that this one goes to: what was run on it since then counts.

    Returns:
        One line a reason, and a last line that says what follows.

    Raises:
        Error: there is no pipeline here, DVC cannot read it or its lock, this is no Git repository, or it has no such
            base.
    """
    if LOCK.exists():
        lock.stages(LOCK.read_bytes())  # says what to do about a conflict, where DVC only finds the file wrong
    reasons = pipeline.stale(Path())
    trains = params.train.method != "none" and "train" in reasons
    spent = _spent(base) if trains and base is not None else 0.0
    vain = _vain(params) if reasons else []
    if trains and spent >= params.train.max_gpu_hours:
        vain.append(
            f"{'train':<12}the runs of this branch have taken {spent:.3g} GPU hours, and train.max_gpu_hours is"
            f" {params.train.max_gpu_hours:g}: raise it to go on"
        )
    workflow.set_outputs(changed="true" if reasons and not vain else "false")
    if not reasons:
        return "nothing has changed: there is nothing to run"
    lines = [f"{stage:<12}{reason}" for stage, found in reasons.items() for reason in found]
    if vain:
        workflow.annotate("warning", "\n".join(vain))
        return "\n".join([*lines, *vain, "inconclusive: nothing is run before that is mended"])
    if trains:
        lines.append(_expected(params, spent))
    return "\n".join([*lines, f"{len(reasons)} stages have to run: dvc repro --pull"])


def _vain(params: Params) -> list[str]:
    """Why a run could only be inconclusive, told before a GPU is spent on it."""
    lines = [f"{step:<12}{findings.nobodys(step)}" for step in reports.unwritten(findings.REQUIRED)]
    pinned = reports.pinned(Path(params.production.pinned))
    outdated = registry.outdated(pinned, registry.of(tags.known(), params.project.name))
    return lines if outdated is None else [*lines, f"{'production':<12}{outdated}"]


def _expected(params: Params, spent: float) -> str:
    """What training may cost, what it cost the last time, as far as its report tells, and what the branch has spent."""
    budget = params.train.max_gpu_hours
    usd = budget * params.retrain.usd_per_gpu_hour
    text = f"{'train':<12}may take {budget:g} GPU hours (train.max_gpu_hours), {usd:.3g} US dollars"
    text += f"; the runs of this branch have taken {spent:.3g}" if spent else ""
    last = _hours(REPORT.read_bytes() if REPORT.is_file() else b"")
    text += f"; the last run took {last:.3g}" if last else ""
    return f"{text}, so it may not end" if last > budget else text


def _spent(base: str) -> float:
    """GPU hours of the runs that the branch's commits hold and its base's do not; one that was restored counts once."""
    path, since = snapshot.prefix() + str(REPORT), git.resolve(base)
    fork = snapshot.fork(since, git.resolve("HEAD"))
    before = branches.at(fork, path) if fork is not None else None
    return sum(map(_hours, set(branches.versions("HEAD", path, since)) - {before}))


def _hours(report: bytes) -> float:
    """What a training took by its report; 0 where there is none, or none that says it."""
    try:
        found = as_number(Report.model_validate_json(report).metrics.get("gpu_hours"))
    except ValidationError:
        return 0.0
    return max(0.0, found or 0.0)
