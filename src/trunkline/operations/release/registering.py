"""A proven commit becomes a version: bundled, stored and tagged, with the tag last.

Nothing before the tag makes a release. Creating it on the remote is the lock: whoever comes second takes the next
version, with a bundle of its own, or finds that the commit has been released.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from trunkline import registry
from trunkline.clients import bundles, files
from trunkline.clients.dvc import objects
from trunkline.clients.git import publishing, tags
from trunkline.clients.git.branches import Rejected
from trunkline.clients.hub import upload
from trunkline.errors import Error
from trunkline.operations.release import bundle, proof
from trunkline.operations.release.bundle import Proven
from trunkline.params import Params
from trunkline.records.release import HubCommit, Manifest, Tag, message
from trunkline.registry import Model, Part, Registration, Version

# Of those who race, one gets through each time: this many others may be faster.
TRIES = 5

_log = logging.getLogger("trunkline")


def of(state: Model, commit: str, facts: Mapping[str, object]) -> Tag | None:
    """The tag of a commit's release, the newest that stands; None where it has none.

    Without one of its own that is the release of the same dvc.lock made in the same way: a commit that changed
    nothing but texts is no second release.

    Args:
        state: the registry's.
        commit: 40 hex digits.
        facts: ``lock`` and ``params`` as its manifest would have them.
    """
    newest = [*reversed([*state.versions.values()])]
    own = (tag for tag in newest if tag.commit == commit)
    return next(own, None) or next((tag for tag in newest if _is_of(tag, facts)), None)


def _is_of(tag: Tag, facts: Mapping[str, object]) -> bool:
    try:
        found = Manifest.of(tag)
    except Error:
        return False  # another tool's
    return found.lock == facts["lock"] and _way(found.params) == _way(facts["params"])


def _way(params: object) -> tuple[object, object]:
    """What of params.yaml decides about a bundle besides what dvc.lock records."""
    given = params if isinstance(params, dict) else {}
    return given.get("release"), given.get("serve", {}).get("guard")


def register(proven: Proven, bump: Part, params: Params, folder: Path) -> Tag:
    """Make the next version of a commit, or find the one that somebody else made of it meanwhile.

    Args:
        proven: the commit.
        bump: which part of the version is raised.
        params: the commit's.
        folder: for what is built.

    Returns:
        The release's tag.

    Raises:
        Error: a place refuses or cannot be reached, a later commit was released, or others were faster time after
            time.
    """
    prepared = folder / "prepared"
    bundle.prepare(proven.contents, params, prepared)
    lost: Rejected | None = None
    for _ in range(TRIES):
        there = tags.complete()
        state = registry.of(there, params.project.name)
        known = of(state, proven.commit, proven.facts)
        if known is not None:
            return known
        _check_newest(state, proven.commit)
        stale = proof.not_production(params, state)
        if stale:
            raise Error(f"{'; '.join(stale)}: it was promoted while this ran", "run this again to see what to do")
        version = state.next_version(bump)
        try:
            return create(keep(proven, version, params, folder), tags.last(there))
        except Rejected as rejected:
            lost = rejected
            _log.info("release  somebody else took %s (%s): going on with the next", version, rejected.problem)
    raise Error(f"others were faster {TRIES} times: {lost.problem if lost else ''}", "run this again in a minute")


def _check_newest(state: Model, commit: str) -> None:
    """Versions go forward in the history too: else of two merges at once the older could be the one that serves."""
    containing = tags.containing(commit)
    later = next((tag for tag in reversed([*state.versions.values()]) if tag.name in containing), None)
    if later is not None:
        problem = f"{later.name} is of commit {later.commit[:12]}, which follows commit {commit[:12]}"
        raise Error(f"{problem}: an older commit gets no newer version", "release the newest commit of the branch")


def keep(proven: Proven, version: Version, params: Params, folder: Path) -> Manifest:
    """Build a version's bundle and bring it to where it is kept, each proven by fetching it back.

    Returns:
        The manifest that says where.
    """
    built, back = folder / "bundle", folder / "back"
    for stale in (built, back):
        files.remove(stale)
    whole = bundle.write(proven, str(version), folder / "prepared", built, params)
    whole = whole.model_copy(update={"bundle": store(built)})
    bundles.fetch(whole, back, params.release)
    if params.release.hub is None:
        return whole
    commit = upload.publish(params.release.hub, built, f"{whole.model} {version}")
    return whole.model_copy(update={"hub": HubCommit(repository=params.release.hub, commit=commit)})


def store(folder: Path) -> str:
    """Keep a bundle in the DVC remote, or in the cache where there is none; returns its hash."""
    place = objects.place()
    if not place.remote:
        _log.warning("release  no DVC remote: the bundle is only in %s, where no other machine finds it", place.name)
    return objects.store(folder, place)


def create(manifest: Manifest, after: int) -> Tag:
    """Create the release's tag on the remote, and then here; without a remote only here.

    Raises:
        Rejected: somebody else has taken the version.
        Error: the remote refused, or a tag has the version's name that says nothing.
    """
    name = registry.name(Registration(manifest.model, Version(manifest.version)))
    passed = "passed the gate" if manifest.approval is None else f"approved by {manifest.approval.by}"
    text = message(f"{manifest.model} {manifest.version}: {passed}", manifest)
    made = tags.write(name, manifest.commit, text, after)
    refs = {f"refs/tags/{name}": made}
    remote = tags.origin()
    publishing.set_refs(remote, refs, dict.fromkeys(refs))
    if remote is not None:
        # A tag of this name that is only here was never published.
        tags.keep(name, made)
    return Tag(name, manifest.commit, after, text)
