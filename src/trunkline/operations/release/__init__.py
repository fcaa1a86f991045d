"""Release a merged commit: prove that it belongs together, bundle, sign and store it, then tag it.

A run that is killed anywhere is run again and ends in exactly one release.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkline import registry
from trunkline.clients import actor, files, process, snapshot
from trunkline.clients.dvc import objects
from trunkline.clients.git import tags
from trunkline.clients.github import workflow
from trunkline.clients.hub import upload
from trunkline.errors import Error
from trunkline.operations.release import comparing, contents, manifest, proof, registering
from trunkline.operations.release.bundle import Proven
from trunkline.operations.release.proof import Judged
from trunkline.params import Params
from trunkline.records.release import Approval, Manifest, Tag
from trunkline.registry import Model, Part
from trunkline.verdict import Verdict

SCRATCH = Path(".trunkline/release")


def run(params: Params, bump: Part, approved_by: str | None, reason: str | None) -> tuple[str, Verdict]:
    """Release the commit that is checked out here; one that is released already is only told.

    Args:
        params: of the commit.
        bump: which part of the version is raised.
        approved_by: the human who lets an inconclusive verdict through; with a reason.
        reason: why.

    Returns:
        The release and what it is made of, or why there is none; and the verdict.

    Raises:
        Error: the commit does not belong together, an object is missing or damaged, a place refuses, or the race
            for the version was lost time after time.
    """
    approval = _approval(approved_by, reason)
    with process.alone("release"):
        commit = proof.committed()
        state = registry.of(tags.complete(), params.project.name)
        tag = registering.of(state, commit, manifest.identity(params))
        if tag is None:
            if state.deprecated:
                raise Error(f"{params.project.name} is deprecated: it gets no further release", "see `git tag --list`")
            actor.name()  # who is not known is told before anything is fetched
            with _scratch() as folder:
                proven = _prove(params, approval, commit, state, folder)
                if isinstance(proven, Judged):
                    return proof.refusal(proven, params.project.name), proven.verdict
                tag = registering.register(proven, bump, params, folder)
        found = _finish(tag)
        workflow.set_outputs(version=found.version)
        return _told(tag, found, commit), Verdict.PASS


def _prove(params: Params, approval: Approval | None, commit: str, state: Model, folder: Path) -> Proven | Judged:
    """The commit with its data and weights, or the reports that speak against it."""
    with snapshot.of(commit) as tree:
        judged = proof.judge(tree, params, state)
        if not judged.releasable(approval):
            return judged
        fetched = folder / "contents"
        fetched.mkdir()
        gathered = contents.gather(tree, fetched, params, objects.place())
        comparing.check(tree, fetched, gathered, params, judged.reports)
    facts = manifest.facts(commit, judged, gathered, params, approval)
    return Proven(commit, facts, gathered, judged.reports["compare"])


def _finish(tag: Tag) -> Manifest:
    """Let the Hub's tag follow, if it has not yet."""
    found = Manifest.of(tag)
    if found.hub is not None:
        upload.tag(found.hub.repository, found.version, found.hub.commit)
    return found


def _told(tag: Tag, found: Manifest, commit: str) -> str:
    where = "" if tags.origin() else " (only in this clone: it has no remote origin)"
    approved = "" if found.approval is None else f", approved by {found.approval.by}: {found.approval.reason}"
    lines = [
        *([] if commit == found.commit else [f"commit {commit[:12]} is already released as {found.version}:"]),
        f"{tag.name}{where}",
        f"commit   {found.commit}",
        f"verdict  {found.verdict}{approved}",
        f"weights  {found.kind}, {len(found.weights)} files",
        f"bundle   {found.bundle}",
    ]
    if found.hub is not None:
        lines.append(f"hub      {found.hub.repository}@{found.hub.commit}")
    return "\n".join(lines)


def _approval(by: str | None, reason: str | None) -> Approval | None:
    given = [" ".join((text or "").split()) for text in (by, reason)]
    if any(given) and not all(given):
        raise Error("--approved-by and --reason go together", "say both: who lets it through, and why")
    return Approval(by=given[0], reason=given[1]) if all(given) else None


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder of this run alone, on the disk where the cache usually is; a killed run's is removed first."""
    files.remove(SCRATCH)
    SCRATCH.mkdir(parents=True)
    try:
        yield SCRATCH
    finally:
        files.remove(SCRATCH)
