"""What a pull request would have to run: nothing is fetched, nothing runs, and no data need be here."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from trunkline import findings, lock, registry
from trunkline.clients import artifact, git, pipeline, reports, snapshot
from trunkline.clients.git import branches, log, tags
from trunkline.clients.github import GitHub, workflow
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Report
from trunkline.words import as_number

LOCK = Path("dvc.lock")
REPORT = Path("reports/train.json")
# Where pull requests train.
WORKFLOW = "model-pr.yml"
JOB = "train"


class _Spent(NamedTuple):
    """What a branch has had of its budget, in GPU hours.

    Attributes:
        recorded: by the reports in its commits.
        lost: how long the jobs held their machine whose result no commit of it holds; or why that is not known.
    """

    recorded: float
    lost: float | Error

    @property
    def hours(self) -> float:
        return self.recorded + (0.0 if isinstance(self.lost, Error) else self.lost)

    def __str__(self) -> str:
        lost = self.lost if isinstance(self.lost, float) else 0.0
        return f"{self.hours:.3g}" + (f" ({lost:.3g} of it for nothing that was kept)" if lost else "")


def run(params: Params, base: str | None = None, wait: Callable[[float], None] = time.sleep) -> str:
    """Compare dvc.lock with code, params and data, and set the step's output ``changed`` to true or false.

    It is false too where a run would be in vain, because what it finds could not be released, and where the branch has
    spent its budget.

    Args:
        base: the branch or commit that this one goes to: what was run on it since then counts, and in the job of a
            pull request what failed or was cancelled too.
        wait: called with the seconds to wait before GitHub is asked again.

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
    spent = _spent(base, wait) if trains and base is not None else _Spent(0.0, 0.0)
    vain = _vain(params) if reasons else []
    if trains and spent.hours >= params.train.max_gpu_hours:
        vain.append(
            f"{'train':<12}the runs of this branch have taken {spent} GPU hours, and train.max_gpu_hours is"
            f" {params.train.max_gpu_hours:g}: raise it to go on"
        )
    workflow.set_outputs(changed="true" if reasons and not vain else "false")
    if not reasons:
        return "nothing has changed: there is nothing to run"
    lines = [f"{stage:<12}{reason}" for stage, found in reasons.items() for reason in found]
    if isinstance(spent.lost, Error):
        lines.append(f"{'train':<12}what failed or was cancelled is not counted: {spent.lost.problem}")
        workflow.annotate("warning", f"{lines[-1]} ({spent.lost.hint})")
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


def _expected(params: Params, spent: _Spent) -> str:
    """What training may cost, what it cost the last time, as far as its report tells, and what the branch has spent."""
    budget = params.train.max_gpu_hours
    usd = budget * params.retrain.usd_per_gpu_hour
    text = f"{'train':<12}may take {budget:g} GPU hours (train.max_gpu_hours), {usd:.3g} US dollars"
    text += f"; the runs of this branch have taken {spent}" if spent.hours else ""
    last = _hours(REPORT.read_bytes() if REPORT.is_file() else b"")
    text += f"; the last run took {last:.3g}" if last else ""
    return f"{text}, so it may not end" if last > budget else text


def _spent(base: str, wait: Callable[[float], None]) -> _Spent:
    since = git.resolve(base)
    recorded = _recorded(since)
    try:
        return _Spent(recorded, _lost(since, wait))
    except Error as error:
        return _Spent(recorded, error)


def _lost(since: str, wait: Callable[[float], None]) -> float:
    """Hours of the jobs of this pull request that no commit of its branch records; GitHub tells of no GPUs in them.

    Raises:
        Error: this is no job of a pull request, or GitHub does not tell it.
    """
    job = workflow.here()
    if job.pull is None:
        raise Error("this run has no pull request", "run this in the workflow of one")
    kept = set(log.subjects(since, "HEAD"))
    jobs = GitHub(job, wait).runs.jobs(WORKFLOW, job.pull.branch, job.pull.created)
    return sum(
        one.hours
        for one in jobs
        if one.name == JOB and not (one.conclusion == "success" and artifact.subject(one.head_sha) in kept)
    )


def _recorded(since: str) -> float:
    """GPU hours of the runs that the branch's commits hold and its base's do not; one that was restored counts once."""
    path = snapshot.prefix() + str(REPORT)
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
