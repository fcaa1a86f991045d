"""Whether this pull request may be merged: the worst verdict of all reports, if they are up to date."""

from trunkline import findings
from trunkline.clients import reports
from trunkline.findings import Standing
from trunkline.params import Params
from trunkline.verdict import Verdict


def run(params: Params, commit: str | None = None) -> tuple[str, Verdict]:
    """Read every report, and ask DVC whether they still describe this working tree.

    Args:
        commit: judge what this commit holds instead, without its data; 40 hex digits.

    Returns:
        One line a finding that is not a pass and a last line with the verdict; and the verdict.

    Raises:
        Error: there is no such commit.
    """
    left = reports.here(findings.REQUIRED) if commit is None else reports.of_commit(commit, findings.REQUIRED)
    judged = findings.judge(left.reports, Standing(left.changed, left.unwritten))
    # A line that a report broke off could begin with what GitHub Actions takes for a command.
    lines = [f"{finding.verdict:<14}{finding.step:<12}{' '.join(finding.text.split())}" for finding in judged.found]
    return "\n".join([*lines, f"{params.project.name}: {judged.sentence}"]), judged.verdict
