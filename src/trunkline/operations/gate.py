"""Whether this pull request may be merged: the worst verdict of all reports, if they are up to date."""

from pathlib import Path

from trunkline import findings, registry
from trunkline.clients import reports
from trunkline.clients.git import tags
from trunkline.findings import Judgement, Standing
from trunkline.params import Params
from trunkline.verdict import Verdict


def run(params: Params, commit: str | None = None, base: str | None = None) -> tuple[str, Verdict]:
    """Read every report, and ask DVC whether they still describe this working tree.

    Args:
        commit: judge what this commit holds instead, without its data, and whether what it was compared with still
            serves; 40 hex digits.
        base: with a commit: one of the branch that it goes to. Where nothing that is judged has changed since the two
            parted, that is a pass, whatever was found there.

    Returns:
        One line a finding that is not a pass and a last line with the verdict; and the verdict.

    Raises:
        Error: there is no such commit or base.
    """
    judged = _judge_here(params) if commit is None else _judge(params, commit, base)
    # A line that a report broke off could begin with what GitHub Actions takes for a command.
    lines = [f"{finding.verdict:<14}{finding.step:<12}{' '.join(finding.text.split())}" for finding in judged.found]
    return "\n".join([*lines, f"{params.project.name}: {judged.sentence}"]), judged.verdict


def _judge_here(params: Params) -> Judgement:
    left = reports.here(findings.REQUIRED, Path(params.production.pinned))
    return findings.judge(left.reports, Standing(left.changed, left.unwritten))


def _judge(params: Params, commit: str, base: str | None) -> Judgement:
    left = reports.of_commit(commit, findings.REQUIRED, Path(params.production.pinned), base or None)
    outdated = registry.outdated(left.pinned, registry.of(tags.known(), params.project.name))
    return findings.judge(left.reports, Standing(left.changed, left.unwritten, outdated, left.inherited))
