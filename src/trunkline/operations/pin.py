"""Write the release to compare with into data/production.json, an input that a pull request reviews."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from trunkline import registry
from trunkline.clients import dvc, files, git
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Bundle, Production
from trunkline.registry import PRODUCTION, Model, Registration, Version

CANDIDATE = "models/candidate"
_BASE = Production(release=None, revision=None, weights=None, partitions=())


class _Pin(NamedTuple):
    name: str
    commit: str


def run(params: Params, revision: str | None = None) -> str:
    """Pin a release, a Git revision's candidate, or ``base`` for the untuned base model.

    Args:
        revision: ``v1.2.0`` or ``<model>@v1.2.0`` is looked up in the registry; None is what serves in production,
            or the base model before anything does.

    Returns:
        What was pinned and the next command.

    Raises:
        Error: there is no such release, the revision has no trained candidate, or its weights are neither here nor
            in a remote.
    """
    wanted = _meant(params.project.name, revision)
    production = _BASE if wanted is None else _pinned(wanted)
    path = Path(params.production.pinned)
    files.write_text(path, production.text())
    name = production.release or "the untuned base model"
    return f"{path} pins {name}\nnext: dvc repro, then commit {path} and dvc.lock"


def _meant(model: str, revision: str | None) -> _Pin | None:
    if revision == "base":
        return None
    if revision is None:
        return _serving(registry.of(tags.known(), model))
    if registry.is_version(revision) or isinstance(registry.parse(revision), Registration):
        return _release(registry.of(tags.known(), model), registry.release(revision, model))
    commit = git.resolve(revision)
    return _Pin(revision if revision != commit else commit[:12], commit)


def _serving(state: Model) -> _Pin | None:
    serves = state.environments.get(PRODUCTION)
    if serves is None:
        return None
    if serves.named is None:
        commit = serves.tag.commit
        raise Error(f"production serves {commit[:12]}, which is no release", f"pin it by `trunkline pin {commit}`")
    return _release(state, serves.named)


def _release(state: Model, version: Version) -> _Pin:
    if version in state.withdrawn:
        raise Error(f"{version} was withdrawn", "promote a newer release or roll back, then pin what serves")
    if version not in state.versions:
        known = ", ".join(map(str, [*state.versions][-5:])) or "none yet"
        raise Error(f"there is no release {version}", f"pin a release ({known}), a Git revision, or `base`")
    return _Pin(str(version), state.versions[version].commit)


def _pinned(wanted: _Pin) -> Production:
    weights = dvc.recorded_hash(git.show(wanted.commit, "dvc.lock"), CANDIDATE)
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "bundle.json"
        dvc.fetch(wanted.commit, f"{CANDIDATE}/bundle.json", target)
        partitions = Bundle.read(target).partitions
    return Production(release=wanted.name, revision=wanted.commit, weights=weights, partitions=partitions)
