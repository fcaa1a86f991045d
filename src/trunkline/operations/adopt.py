"""Commit what a training job has left, exactly dvc.lock and reports/, onto the branch it was run for.

The artifact is data of an untrusted writer. It is taken only for the commit that it names, only if the branch is
still there, and only if nothing would have to run again after it: so its commit starts no second training.
"""

import json
import re
from pathlib import Path

from pydantic import ValidationError

from trunkline import findings, lock
from trunkline.clients import artifact, git, pipeline, reports, snapshot
from trunkline.clients.git import branches
from trunkline.clients.github import workflow
from trunkline.errors import Error, first_mistake
from trunkline.params import Params
from trunkline.records import Report

REMOTE = "origin"
_AGAIN = "run `trunkline push` again where it was trained"


def run(params: Params, folder: Path, commit: str | None = None, branch: str | None = None) -> str:
    """Check the artifact in ``folder``, commit it after ``commit`` and push that to ``branch``.

    Sets the step's outputs ``outcome`` (adopted, unchanged or superseded) and ``commit``, the commit that now holds
    the reports; empty when the branch has moved on, whose own run decides.

    Args:
        commit: the pull request's head, 40 hex digits; by default the commit checked out here.
        branch: the pull request's branch; by default the one checked out here.

    Returns:
        The outcome and the commit.

    Raises:
        Error: the artifact is of another commit or is not taken, or Git cannot fetch or push.
    """
    head = _head(commit)
    target = branch or snapshot.branch()
    named, found = artifact.read(folder)
    if named != head:
        raise Error(f"the artifact is of commit {named[:12]}, not of {head[:12]}", _AGAIN)
    if branches.remote_head(REMOTE, target) != head:
        return _moved_on(head, target, found)
    snapshot.fetch(head, REMOTE)
    _check(head, found)
    changes = _changes(head, found)
    if not changes:
        return _unchanged(head)
    made = branches.commit(head, changes, _message(head))
    _check_current(made)
    ref = f"refs/heads/{target}"
    try:
        branches.push(REMOTE, {ref: made}, {ref: head})
    except branches.Rejected:
        return _moved_on(head, target, found)
    workflow.set_outputs(outcome="adopted", commit=made)
    return f"{made} on {target} holds dvc.lock and reports/ of {head[:12]} ({len(changes)} files)"


def _head(commit: str | None) -> str:
    head = commit or git.head() or ""
    if not re.fullmatch(r"[0-9a-f]{40}", head):
        raise Error(f"{head!r} is no commit of 40 hex digits", "give the pull request's head with --commit")
    return head


def _unchanged(commit: str) -> str:
    workflow.set_outputs(outcome="unchanged", commit=commit)
    return f"{commit} already holds dvc.lock and reports/ as they are: nothing to commit"


def _moved_on(head: str, branch: str, found: dict[str, bytes]) -> str:
    """The branch has another head: this artifact's commit, made by a job that ended too early, or news."""
    now = branches.remote_head(REMOTE, branch)
    if now is not None:
        snapshot.fetch(now, REMOTE)
        if snapshot.parents(now) == [head] and not _changes(now, found):
            return _unchanged(now)
    workflow.set_outputs(outcome="superseded", commit="")
    if now is None:
        return f"superseded: {REMOTE} has no branch {branch}: it is gone, or was not pushed yet"
    return f"superseded: {branch} is no longer at {head[:12]}; the run of its new head decides"


def _check(head: str, found: dict[str, bytes]) -> None:
    strangers = lock.strangers(lock.stages(found[artifact.LOCK]), git.show(head, "dvc.yaml"))
    if strangers:
        raise Error(f"the artifact's dvc.lock records stages that dvc.yaml does not have: {strangers[:5]}", _AGAIN)
    for path, content in found.items():
        if path.endswith(".json"):
            _check_json(Path(path), content)


def _check_json(path: Path, content: bytes) -> None:
    """A step's report is a `Report` of that step; what is below in folders, such as metrics, is JSON."""
    try:
        if path.parent != Path(artifact.REPORTS):
            json.loads(content)
        elif Report.model_validate_json(content).step != path.stem:
            raise Error(f"{path} of the artifact is the report of another step", _AGAIN)
    except ValidationError as error:
        raise Error(f"{path} of the artifact is no report: {first_mistake(error, 'the document')}", _AGAIN) from None
    except (ValueError, RecursionError):
        raise Error(f"{path} of the artifact is not JSON", _AGAIN) from None


def _changes(head: str, found: dict[str, bytes]) -> dict[str, bytes | None]:
    """By path from the repository's top, what differs from the commit; None where the run left nothing."""
    there = {path for path in snapshot.listed(head, artifact.LOCK, artifact.REPORTS) if artifact.takes(path)}
    changes: dict[str, bytes | None] = dict.fromkeys(there - found.keys())
    changes |= {path: text for path, text in found.items() if path not in there or git.show(head, path) != text}
    top = snapshot.prefix()
    return {top + path: text for path, text in sorted(changes.items())}


def _message(head: str) -> str:
    return f"{artifact.subject(head)}\n\ndvc.lock and reports/ as its training job left them, and nothing else.\n"


def _check_current(made: str) -> None:
    """What `trunkline plan` will ask on the new commit; asked now, so that no run can follow its own commit."""
    with snapshot.of(made) as folder:
        stale, unwritten = pipeline.stale(folder), reports.unwritten(findings.REQUIRED, folder)
    if stale:
        stage, reasons = next(iter(stale.items()))
        raise Error(
            f"after the artifact {stage} would have to run again: {reasons[0]}", f"`dvc repro --pull`, then {_AGAIN}"
        )
    if unwritten:
        raise Error(findings.nobodys(unwritten[0]), f"correct dvc.yaml, `dvc repro --pull`, then {_AGAIN}")
