"""Post the report as the pull request's comment, and set the commit status ``trunkline/gate``.

One comment a project, found by a hidden marker among the token's own and edited from then on. Where the
token may not write, as for a fork, the job's summary shows the report instead.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trunkline import excerpt, findings, registry
from trunkline.clients import cml, reports
from trunkline.clients.git import tags
from trunkline.clients.github import Comment, GitHub, PullRequest, Refused, State, Workflow, workflow
from trunkline.errors import Error
from trunkline.findings import Judgement, Standing
from trunkline.params import Params
from trunkline.verdict import Verdict

CONTEXT = "trunkline/gate"
# A required status that is pending blocks the merge as a failed one does, and says what is true: nothing was
# shown to be wrong, and nothing is decided until a human looks. The job that runs `trunkline gate` is red anyway.
STATES: dict[Verdict, State] = {
    Verdict.PASS: "success",
    Verdict.FAIL: "failure",
    Verdict.INCONCLUSIVE: "pending",
}
# GitHub takes 65,536 characters of a comment, some of which may be CML's watermark.
MOST_CHARACTERS = 65_536 - cml.WATERMARK_CHARACTERS
# GitHub takes 1 MiB of a step's summary, and a character has up to four bytes.
MOST_OF_SUMMARY = 2**20 // 4

_UNTOUCHED = (
    "Nothing that is judged has changed: `dvc.lock` and the reports are those of the branch that this goes to, and no "
    "stage has to run"
)

_log = logging.getLogger(__name__)


class _Judged(NamedTuple):
    """What is posted about a commit; None where there is no pull request.

    Attributes:
        page: the report, or why there is none of this verdict.
    """

    commit: str | None
    sentence: str
    verdict: Verdict
    page: str | Error


def run(
    params: Params, wait: Callable[[float], None] = time.sleep, commit: str | None = None, base: str | None = None
) -> tuple[str, Verdict]:
    """Set the status and post ``reports/report.md``.

    Args:
        wait: called with the seconds to wait before GitHub is asked again.
        commit: judge what this commit holds instead of the working tree, and set the status on it; 40 hex
            digits. A report that it lacks, or that is not of this verdict, is replaced by what was found.
        base: as in ``trunkline gate``.

    Returns:
        What was done where, and the verdict that ``trunkline gate`` gives.

    Raises:
        Error: this is no GitHub Actions job, there is no such commit or no report of this verdict, or GitHub
            cannot be reached.
    """
    job = workflow.here()
    judged = _judge_here(params, job) if commit is None else _judge(params, commit, base)
    if job.pull is None:
        workflow.add_summary(_document(params, job, judged, MOST_OF_SUMMARY))
        return "this run has no pull request: the report is in the job's summary", judged.verdict
    github = GitHub(job, wait)
    # The status comes first: whatever happens to the comment, an earlier verdict must not stand.
    status = _set_status(github, judged, job.run)
    try:
        body = _document(params, job, judged, MOST_CHARACTERS)
        where = _post(github, job, job.pull, body, params)
    except Refused as refused:
        _log.warning("comment  %s; the report goes to the job's summary (%s)", refused.problem, refused.hint)
        workflow.add_summary(_document(params, job, judged, MOST_OF_SUMMARY))
        where = "the report is in the job's summary"
    return f"{where}\n{status}", judged.verdict


def _judge_here(params: Params, job: Workflow) -> _Judged:
    left = reports.here(findings.REQUIRED, Path(params.production.pinned))
    judged = findings.judge(left.reports, Standing(left.changed, left.unwritten))
    page = _of_verdict(left.page, judged.verdict)
    return _Judged(job.pull.head if job.pull else None, _sentence(params, judged), judged.verdict, page)


def _judge(params: Params, commit: str, base: str | None) -> _Judged:
    left = reports.of_commit(commit, findings.REQUIRED, Path(params.production.pinned), base or None)
    outdated = registry.outdated(left.pinned, registry.of(tags.known(), params.project.name))
    judged = findings.judge(left.reports, Standing(left.changed, left.unwritten, outdated, left.inherited))
    # The report there is of another pull request, where this one changes nothing.
    page = Error(_UNTOUCHED, "") if judged.untouched else _of_verdict(left.page, judged.verdict)
    shown = page if isinstance(page, str) else _found(params, judged, page.problem)
    return _Judged(commit, _sentence(params, judged), judged.verdict, shown)


def _found(params: Params, judged: Judgement, why: str) -> str:
    """What stands in the place of a report."""
    page = f"## {params.project.name}: {judged.verdict}\n\n{why}."
    if not judged.found:
        return page
    # Names of stages and messages of checks are not ours: nothing of them is rendered.
    texts = (" ".join(finding.text.replace("`", "'").split()) for finding in judged.found)
    lines = [f"{one.verdict}  {one.step}  {text}" for one, text in zip(judged.found, texts, strict=True)]
    return f"{page}\n\n```text\n" + "\n".join(lines) + "\n```"


def _sentence(params: Params, judged: Judgement) -> str:
    return f"{params.project.name}: {judged.sentence}"


def _of_verdict(page: str | Error, verdict: Verdict) -> str | Error:
    """The report, unless it says something else than the gate."""
    if isinstance(page, Error):
        return page
    first = page.strip().partition("\n")[0]
    # A report left over from another tree would say pass above a status that says fail.
    if not first.endswith(f": {verdict}"):
        problem = f"{reports.PAGE} begins with {first[:80]!r}, but the gate says {verdict}"
        return Error(problem, "run `trunkline report`, then this again")
    return page.strip()


def _set_status(github: GitHub, judged: _Judged, run: str) -> str:
    state, commit = STATES[judged.verdict], judged.commit or ""
    try:
        github.set_status(commit, CONTEXT, state, judged.sentence, run)
    except Refused as refused:
        _log.warning("comment  %s; %s stays as it was (%s)", refused.problem, CONTEXT, refused.hint)
        return f"{CONTEXT} was not set to {state} on {commit[:12]}"
    return f"{CONTEXT} is {state} on {commit[:12]}"


def _document(params: Params, job: Workflow, judged: _Judged, limit: int) -> str:
    """The marker, the report as far as it fits, and what it was made of."""
    if isinstance(judged.page, Error):
        raise judged.page
    head = f"{_marker(params)}\n"
    commit = f" for {judged.commit}" if judged.commit else ""
    foot = f"\n\n{CONTEXT}{commit} says {judged.sentence} in [this run]({job.run}).\n"
    notice = f"\n\nThe report is longer than GitHub allows here; [this run]({job.run}) has the whole of it."
    return head + excerpt.fit(judged.page, limit - len(head) - len(foot), notice) + foot


def _marker(params: Params) -> str:
    return f"<!-- trunkline:report:{params.project.name} -->"


def _post(github: GitHub, job: Workflow, pull: PullRequest, body: str, params: Params) -> str:
    """Post by whichever means params.yaml and this machine allow, and say where."""
    wanted = params.report.comment_with
    if wanted == "cml" or (wanted == "auto" and cml.found()):
        try:
            return _post_with_cml(github, job, pull, body, params)
        except cml.Failed as failed:
            if wanted == "cml":
                raise
            # It may have posted before it failed: what follows looks for that first.
            _log.warning("comment  %s; going on without CML", failed.problem)
    return _post_with_github(github, pull, body, _own(github, github.comments(pull.number), _marker(params)))


def _post_with_github(github: GitHub, pull: PullRequest, body: str, own: list[Comment]) -> str:
    if not own:
        return f"posted {github.add_comment(pull.number, body).url}"
    *doubles, newest = own
    address = github.edit_comment(newest.id, body).url
    _retire(github, doubles, address)
    return f"updated {address}"


def _post_with_cml(github: GitHub, job: Workflow, pull: PullRequest, body: str, params: Params) -> str:
    """Let CML post or update where it is certain to touch the right comment, and do it without CML elsewhere."""
    comments = github.comments(pull.number)
    own = _own(github, comments, _marker(params))
    wanted = cml.Comment(pull.number, body, f"trunkline {params.project.name}")
    if not own:
        return f"posted {cml.comment('create', wanted, job)} with CML"
    place = cml.would_update([comment.body for comment in comments], wanted.title)
    if place is None or comments[place].id != own[-1].id:
        _log.info("comment  CML would not find the comment that is already there; updating it without CML")
        return _post_with_github(github, pull, body, own)
    address = cml.comment("update", wanted, job)
    _retire(github, own[:-1], address)
    return f"updated {address} with CML"


def _own(github: GitHub, comments: list[Comment], marker: str) -> list[Comment]:
    """The comments with this marker that this token wrote, the oldest first.

    A marker is no secret, and a token that may write may edit anybody's comment.
    """
    marked = [comment for comment in comments if comment.body.startswith(marker)]
    if not marked:
        return []
    login = github.login()
    return [comment for comment in marked if comment.author == login]


def _retire(github: GitHub, doubles: list[Comment], address: str) -> None:
    """Two runs at once may both have posted: what is left of the others leads to the one that is kept up."""
    for double in doubles:
        github.edit_comment(double.id, f"This report has moved to {address}.")
