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
    verdict = findings.verdict_of(found)
    lines = [f"{finding.verdict:<14}{finding.step:<12}{finding.text}" for finding in found]
    failed = sum(finding.verdict is Verdict.FAIL for finding in found)
    if found:
        count = f"{failed} failed, {len(found) - failed} for a human to decide"
    else:
        count = f"every check of {len(findings.REQUIRED)} reports passed"
    return "\n".join([*lines, f"{params.project.name}: {verdict} ({count})"]), verdict
