"""What the reports of a pull request add up to: everything in them that is not a pass."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trunkline.errors import Error
from trunkline.records import Report
from trunkline.verdict import Verdict, worst

# The stages whose reports must be there and pass; `trunkline gate` exits with the worst of them.
REQUIRED = ("base", "data", "features", "production", "train", "evaluate", "compare")
UNTOUCHED = "nothing that is judged has changed"


class Finding(NamedTuple):
    """One thing that keeps the pull request from passing."""

    verdict: Verdict
    step: str
    text: str


class Standing(NamedTuple):
    """Whether the reports are of the code, data and params that they lie beside.

    Attributes:
        changed: the stages whose reports are not, or why that is unknown.
        unwritten: the steps whose report no stage writes.
        outdated: why they compare with what no longer serves, None where they do not or nobody asked.
        inherited: whether they are the base branch's own.
    """

    changed: Sequence[str] | Error
    unwritten: Sequence[str] = ()
    outdated: str | None = None
    inherited: bool = False

    @property
    def untouched(self) -> bool:
        """Whether a pull request leaves all that is judged as it is: what its base was found to be is not its fault."""
        return self.inherited and self.changed == [] and not self.unwritten


class Judgement(NamedTuple):
    """What is said of a pull request.

    Attributes:
        found: everything that is not a pass.
        untouched: whether it changes nothing that is judged.
    """

    found: list[Finding]
    untouched: bool

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return verdict_of(self.found)

    @property
    def sentence(self) -> str:
        """The verdict and why."""
        return f"{self.verdict} ({UNTOUCHED})" if self.untouched else sentence(self.found)


def judge(reports: Mapping[str, Report | Error], standing: Standing) -> Judgement:
    """What the reports of a pull request add up to.

    Args:
        reports: every required report, or why it cannot be read.
        standing: whether they are of it.
    """
    if standing.untouched:
        return Judgement([], untouched=True)
    return Judgement(collect(reports, standing), untouched=False)


def collect(reports: Mapping[str, Report | Error], standing: Standing) -> list[Finding]:
    """All findings, the worst first. Missing, unreadable or stale reports are inconclusive.

    Args:
        reports: every required report, or why it cannot be read.
        standing: whether they are of this tree.
    """
    found = _stale(standing.changed)
    found += [Finding(Verdict.INCONCLUSIVE, step, nobodys(step)) for step in standing.unwritten]
    if standing.outdated is not None:
        found.append(Finding(Verdict.INCONCLUSIVE, "production", standing.outdated))
    for step in REQUIRED:
        report = reports.get(step, Error(f"there is no report of {step}", "run `dvc repro`"))
        if isinstance(report, Error):
            found.append(Finding(Verdict.INCONCLUSIVE, step, f"{report.problem}; {report.hint}"))
        else:
            found += _in_report(step, report)
    return sorted(found, key=lambda finding: finding.verdict is not Verdict.FAIL)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The worst verdict; pass when every required report was read and held nothing else."""
    return worst([Verdict.PASS, *(finding.verdict for finding in findings)])


def sentence(findings: Sequence[Finding]) -> str:
    """The verdict and what it counts, such as ``fail (1 failed, 2 for a human to decide)``."""
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    count = f"{failed} failed, {len(findings) - failed} for a human to decide"
    if not findings:
        count = f"every check of {len(REQUIRED)} reports passed"
    return f"{verdict_of(findings)} ({count})"


def nobodys(step: str) -> str:
    """What is wrong with a report that no stage writes."""
    return f"no stage of dvc.yaml writes reports/{step}.json, so nothing tells of what it is: take the stage back"


def _in_report(step: str, report: Report) -> list[Finding]:
    found = [
        Finding(check.verdict, step, f"{check.name}: {check.message}")
        for check in report.checks
        if check.verdict is not Verdict.PASS
    ]
    if not report.checks:
        found.append(Finding(Verdict.INCONCLUSIVE, step, "it checked nothing"))
    elif report.verdict is not worst(check.verdict for check in report.checks):
        # Edited by hand, or by a merge: neither of the two can be trusted.
        found.append(Finding(worst([report.verdict, Verdict.INCONCLUSIVE]), step, "its verdict is not its checks'"))
    return found


def _stale(changed: Sequence[str] | Error) -> list[Finding]:
    if isinstance(changed, Error):
        text = f"cannot tell whether the reports are of this code, data and params: {changed.problem}; {changed.hint}"
    elif changed:
        text = f"the reports are not of this code, data and params ({', '.join(changed)} changed): run `dvc repro`"
    else:
        return []
    return [Finding(Verdict.INCONCLUSIVE, "dvc", text)]
