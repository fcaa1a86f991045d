"""Whether this pull request may be merged: the worst verdict of all reports, if they are up to date."""

from trunkline import findings
from trunkline.clients import reports
from trunkline.params import Params
from trunkline.verdict import Verdict


def run(params: Params) -> tuple[str, Verdict]:
    """Read every report, and ask DVC whether they still describe this working tree.

    Returns:
        One line a finding that is not a pass and a last line with the verdict; and the verdict.
    """
    found = findings.collect(reports.read(findings.REQUIRED), reports.changed_stages())
    lines = [f"{finding.verdict:<14}{finding.step:<12}{finding.text}" for finding in found]
    return "\n".join([*lines, f"{params.project.name}: {findings.sentence(found)}"]), findings.verdict_of(found)
