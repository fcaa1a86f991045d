"""Whether a commit's code, params, data, lock, pinned production and verdict belong together."""

from pathlib import Path
from typing import NamedTuple

from trunkline import findings, registry
from trunkline.clients import dvc, git, pipeline, process, reports
from trunkline.clients.git import branches, tags
from trunkline.errors import Error
from trunkline.findings import Finding, Standing
from trunkline.params import Params
from trunkline.records import Production, Report
from trunkline.records.release import Approval
from trunkline.registry import Model
from trunkline.verdict import Verdict

CANDIDATE = "models/candidate"


class Judged(NamedTuple):
    """What the reports of a commit say.

    Attributes:
        reports: by step.
        found: everything in them that is not a pass.
        stale: why they do not speak of this commit, or of production as it is now; empty when they do.
    """

    reports: dict[str, Report]
    found: list[Finding]
    stale: list[str]

    @property
    def verdict(self) -> Verdict:
        """The worst of the reports; at best inconclusive when they speak of something else."""
        verdict = findings.verdict_of(self.found)
        return Verdict.INCONCLUSIVE if self.stale and verdict is Verdict.PASS else verdict

    def releasable(self, approval: Approval | None) -> bool:
        """A pass is, and an inconclusive verdict that a human approved; never a fail, never a stale comparison."""
        open_to_humans = self.verdict is Verdict.INCONCLUSIVE and approval is not None
        return not self.stale and (self.verdict is Verdict.PASS or open_to_humans)


def committed() -> str:
    """The commit that is checked out here, merged, with nothing else in the working tree.

    Raises:
        Error: there is none, files differ from it, or ``origin`` does not have it on its default branch.
    """
    commit = git.head()
    if commit is None:
        raise Error("there is no commit here to release", "run this in a clone of the repository, on a merged commit")
    if git.dirty(ignoring=(str(process.LOCKS),)):
        raise Error(
            f"files here are not those of commit {commit[:12]}",
            "release from a clean clone; see `git status`, and commit or remove what it names",
        )
    remote = tags.origin()
    branch = None if remote is None else branches.unmerged(remote, commit)
    if branch is not None:
        raise Error(f"commit {commit[:12]} is not on {remote}/{branch}", "merge its pull request first")
    return commit


def judge(tree: Path, params: Params, state: Model) -> Judged:
    """Read the reports, and whether they belong to this commit and to production as the registry has it.

    Args:
        tree: the commit's files.
        params: the commit's.
        state: the registry's.

    Raises:
        Error: a report is missing or cannot be read: there is nothing to approve.
    """
    found = reports.read(findings.REQUIRED)
    missing = [report for report in found.values() if isinstance(report, Error)]
    if missing:
        raise Error(missing[0].problem, "run `dvc repro` in a pull request, commit dvc.lock and reports/, and merge it")
    stale = []
    changed = [f"{stage} would run again ({reasons[0]})" for stage, reasons in pipeline.stale(tree).items()]
    if changed:
        stale.append(f"dvc.lock is not of this code, data and params: {'; '.join(changed)}")
    stale += [findings.nobodys(step) for step in reports.unwritten(findings.REQUIRED, tree)]
    stale += not_production(params, state)
    whole = {step: report for step, report in found.items() if isinstance(report, Report)}
    return Judged(whole, findings.collect(found, Standing([])), stale)


def not_production(params: Params, state: Model) -> list[str]:
    """How the pinned production differs from what the registry says serves now; empty when it does not."""
    pinned = Production.read(Path(params.production.pinned))
    outdated = registry.outdated(pinned, state)
    if outdated is not None:
        return [outdated]
    if pinned.revision is None:
        return []
    weights = dvc.recorded_hash(git.show(pinned.revision, "dvc.lock"), CANDIDATE)
    if pinned.weights != weights:
        name = pinned.release or pinned.revision[:12]
        return [f"{params.production.pinned} pins {name} with weights {pinned.weights}, but those are {weights}"]
    return []


def refusal(judged: Judged, model: str) -> str:
    """Why a commit is not released, finding by finding, and what to do next."""
    lines = [f"{finding.verdict:<14}{finding.step:<12}{finding.text}" for finding in judged.found]
    lines += [f"{Verdict.INCONCLUSIVE:<14}{'release':<12}{reason}" for reason in judged.stale]
    return "\n".join([*lines, f"{model}: not released ({judged.verdict})", f"next: {_next(judged)}"])


def _next(judged: Judged) -> str:
    if judged.stale:
        return "in a pull request: `trunkline pin` production, `dvc repro`, commit dvc.lock and reports/, and merge it"
    if judged.verdict is Verdict.FAIL:
        return "train a better candidate; a failed one cannot be released"
    return 'get more holdout examples, or let a human decide: trunkline release --approved-by NAME --reason "..."'
