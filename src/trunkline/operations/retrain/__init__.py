"""New labelled rows become the next partition, and one pull request that trains on it.

Nothing is merged, trained or registered here: the pull request goes the way of every other.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from trunkline import notices, retraining
from trunkline.clients import actor, git
from trunkline.clients.git import branches
from trunkline.clients.github import GitHub, workflow
from trunkline.clients.github.pulls import Pull
from trunkline.errors import Error
from trunkline.operations.retrain import evidence, incoming, proposal, tree
from trunkline.operations.retrain.evidence import Evidence
from trunkline.operations.retrain.proposal import LABEL, REMOTE, Proposal
from trunkline.operations.retrain.tree import Gathered, Tree
from trunkline.params import Params
from trunkline.records.monitoring import Monitoring
from trunkline.records.notice import Notice
from trunkline.retraining import BRANCHES
from trunkline.verdict import Verdict

MONITORED = Path("reports/monitor.json")
# Its alarms over time, where any has a figure.
DRAWN = MONITORED.with_suffix(".svg")
# Of the issue that asks about data which are not fit; `trunkline alert` labels its own alike.
ISSUES = "alert"
# What this account opens or pushes starts no workflow.
SILENT = "github-actions[bot]"
# The status without which no model may be merged.
GATE = "trunkline/gate"


class _Job(NamedTuple):
    """What this run works with.

    Attributes:
        base: name and commit that the pull request is for.
        pull: the open one; None where there is none.
        now: the moment of this run.
        why: in words.
    """

    params: Params
    github: GitHub
    login: str
    base: tuple[str, str]
    pull: Pull | None
    now: datetime
    why: str


def run(params: Params, reason: str | None = None, wait: Callable[[float], None] = time.sleep) -> tuple[str, Verdict]:
    """Collect new labelled rows and open the pull request, or bring the open one up to date.

    Args:
        reason: why somebody runs it by hand, who does not wait for the cool-down.
        wait: called with the seconds to wait before GitHub is asked again.

    Returns:
        What was done; and inconclusive where there are too few rows, fail where they are not fit to train on.

    Raises:
        Error: this is no GitHub Actions job with the default branch checked out, or Git, GitHub, the log or a file
            cannot be read.
    """
    github = GitHub(workflow.here(), wait)
    monitoring = _monitoring(params.project.name)
    now = datetime.now(UTC)
    pulls = github.pulls.open(BRANCHES)
    job = _Job(params, github, github.login(), _base(), next(iter(pulls), None), now, _why(reason, monitoring))
    rest = None if job.pull or reason else _cooling(job)
    if rest is not None:
        return rest, Verdict.PASS
    with tree.of(params, job.base[1]) as made:
        gathered = tree.gather(params, made, now)
        count, least = gathered.new.rows.height, params.retrain.min_rows
        if job.pull is None and count < least:
            return _few(gathered, least), Verdict.INCONCLUSIVE
        if job.pull is not None and not count:
            _hold(job, "none of its rows may be used any more")
            raise Error(f"none of the rows of {job.pull.url} may be used any more", "close it and delete its branch")
        return _judged(job, made, gathered, monitoring)


def _base() -> tuple[str, str]:
    """Name of the default branch, and the commit of it that is checked out."""
    found, head = branches.default(REMOTE), git.head()
    if found is None or head is None:
        raise Error("origin names no default branch, or nothing is checked out here", "check out the default branch")
    behind = branches.unmerged(REMOTE, head)
    if behind is not None:
        raise Error(f"{head[:12]} is not merged into {behind}", f"check out {behind} and run this again")
    return found[0], head


def _monitoring(project: str) -> Monitoring | None:
    if not MONITORED.exists():
        return None
    try:
        found = Monitoring.read(MONITORED)
    except Error as error:
        raise Error(error.problem, "run `trunkline monitor`, or remove it") from None
    if found.model != project:
        raise Error(f"{MONITORED} is about {found.model}, not about {project}", "run `trunkline monitor`")
    return found


def _why(reason: str | None, monitoring: Monitoring | None) -> str:
    if reason:
        return f"by {actor.name()}, by hand: {reason}"
    count = len(retraining.alarms(monitoring))
    return f"as the monitor has {count} alarm{'s' * (count > 1)}" if count else "by the schedule"


def _cooling(job: _Job) -> str | None:
    last = job.github.pulls.last(LABEL)
    days = job.params.retrain.cooldown_days
    if last is None or job.now - last >= timedelta(days=days):
        return None
    until = (last + timedelta(days=days)).strftime("%Y-%m-%d")
    return f"nothing to do: the last retraining pull request is of {last:%Y-%m-%d}, the next is not before {until}"


def _few(gathered: Gathered, least: int) -> str:
    left = [f"{count} {why}" for why, count in gathered.incoming.left_out.items()]
    parts = [f"{gathered.new.repeats} were there already", *left]
    return f"{gathered.new.rows.height} new labelled rows, and {least} are needed ({', '.join(parts)})"


def _judged(job: _Job, made: Tree, gathered: Gathered, monitoring: Monitoring | None) -> tuple[str, Verdict]:
    """Have the rows checked by the data stage; propose what is fit, ask a human about what is not."""
    params = job.params
    name = _name(job, made)
    where = proposal.branch(BRANCHES + name, job.base[1])
    partition = f"{params.data.folder}/{name}.jsonl"
    before = proposal.text(where, partition)
    finished = job.pull is not None and LABEL in job.pull.labels and evidence.tells(job.pull.body, before)
    # A commit keeps what became too old since; some does with every hour, and each new commit is a training.
    before = retraining.less(before, incoming.aged(params, made.layout, before, job.now))
    if job.pull and finished and not retraining.worth(before, gathered.text, params.retrain.min_rows):
        now_strange = retraining.strange(monitoring) + _refused(job)
        if now_strange:
            _hold(job, "; ".join(now_strange))
        said = f"nothing to do: {job.pull.url} holds what was collected, but for fewer rows than are worth a training"
        return said, Verdict.PASS
    report, changes = tree.judge(params, made, name, gathered.text)
    own = retraining.checks(report, f"{name}.jsonl", gathered.incoming.unreadable, dict(params.data.limits))
    checks = (*report.checks, *own)
    failures = retraining.failures(checks)
    _tell(job, name, evidence.refusal(gathered, failures) if failures else None)
    if failures:
        if retraining.outdated(before, gathered.text):
            _hold(job, "it holds rows that may not be used any more, and what came besides is not fit")
        return "\n".join(["the new rows are not fit to train on", *failures]), Verdict.FAIL
    cost = retraining.cost(made.trained, report, f"{name}.jsonl", params.retrain.usd_per_gpu_hour)
    pinned = params.production.pinned if params.production.pinned in changes else None
    found = Evidence(
        name, job.base[0], job.why, monitoring, checks, cost, pinned, SILENT if job.login == SILENT else None
    )
    wanted = Proposal(
        where=where,
        changes=changes,
        title=f"Retrain on {gathered.new.rows.height:,} new labelled rows ({name})",
        figure=DRAWN.read_bytes() if monitoring is not None and DRAWN.exists() else None,
        body=lambda reasons, figure: evidence.body(found, made, gathered, reasons, figure),
        reasons=_reasons(job, found),
        reviewers=params.retrain.reviewers,
    )
    return proposal.make(job.github, job.pull, job.base, wanted), Verdict.PASS


def _hold(job: _Job, why: str) -> None:
    """Let GitHub not merge the open pull request by itself, which stays as it is otherwise, and ask people."""
    pull = job.pull
    if pull is None:
        return
    if pull.merges:
        job.github.pulls.hold(pull.node)
    text = evidence.held(pull.body, job.base[0], why)
    if text != pull.body:
        # The text last: while it promises a merge, the next run does all of this again.
        proposal.ask(job.github, pull, job.params.retrain.reviewers)
        job.github.pulls.edit(pull.number, pull.title, text)


def _reasons(job: _Job, found: Evidence) -> list[str]:
    """Why GitHub must not merge it by itself, what is wrong before what is only so set."""
    reasons = retraining.unusual(found.checks, found.monitoring, found.cost, job.params.train.max_gpu_hours)
    return reasons + _refused(job)


def _refused(job: _Job) -> list[str]:
    """Why GitHub must not merge whatever there is."""
    reasons = []
    if job.login == SILENT:
        reasons.append(f"the checks of a pull request of {SILENT} do not start by themselves")
    if not job.params.retrain.auto_merge:
        reasons.append("retrain.auto_merge is false")
    elif GATE not in job.github.settings.required(job.base[0]):
        # GitHub waits for what is required and for nothing else.
        reasons.append(f"{job.base[0]} can be merged into without {GATE}")
    return reasons


def _name(job: _Job, made: Tree) -> str:
    if job.pull is None:
        return retraining.name(f"{job.now:%Y-%m}", made.partitions)
    name = job.pull.branch.removeprefix(BRANCHES)
    if name in made.partitions:
        raise Error(f"{job.base[0]} holds a partition {name} already", f"close {job.pull.url}")
    return name


def _tell(job: _Job, name: str, body: str | None) -> None:
    """Ask a human once about data that are not fit, and take that back when they are."""
    project = job.params.project.name
    title = f"{project}: new labelled rows are not fit to train on"
    notice = Notice(f"retrain:{project}", "open" if body else "cleared", name, title, body or "New rows are fit again.")
    job.github.issues.settle(job.login, ISSUES, lambda known: notices.changes([notice], known))
