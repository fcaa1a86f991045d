"""Brings a release here: its manifest from the registry, its verified bundle, and the base model that it goes on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from trunkline import guard, identity, registry, transforms
from trunkline.clients import bundles, dvc, files, git
from trunkline.clients.dvc import objects
from trunkline.clients.git import tags
from trunkline.clients.weights import identify
from trunkline.errors import Error
from trunkline.identity import Expected
from trunkline.params import Params
from trunkline.records import Base
from trunkline.records.release import Manifest

BASE = Path("models/base")
_BASE_RECORD = "base.json"
_LOCK = "dvc.lock"


class Supplied(NamedTuple):
    """What an engine is started with.

    Attributes:
        bundle: the release's folder.
        base: the base model's folder; `BASE` for what needs none: whole weights, and a provider's model.
    """

    bundle: Path
    base: Path


def manifest(model: str, version: str, weights: Mapping[str, str] | None) -> Manifest:
    """The manifest in a release's tag, of the remote's or, where that cannot be reached, of this clone's.

    Args:
        model: ``project.name`` of params.yaml.
        version: such as ``v1.2.0``.
        weights: SHA-256 by file name that the environment's branch names; None where it names none.

    Raises:
        Error: there is no such release, it is not the one that the branch means, or nothing here could serve it.
    """
    name = f"{model}@{version}"
    found = next((Manifest.of(tag) for tag in tags.known() if tag.name == name), None)
    if found is None:
        raise Error(f"there is no release {name}", "see `trunkline status`, and what the branch names")
    if weights is not None and found.weights != weights:
        problem = f"{name} has other weights than the environment's branch names"
        raise Error(problem, "do not serve it: find out whether the tag or the branch was changed")
    _check_servable(found, name)
    return found


def expected(found: Manifest) -> Expected:
    """What an engine must turn out to be that serves a release."""
    return Expected(f"{found.model}@{found.version}", identity.of_release(found), None, None)


def place(folder: Path, version: str) -> Path:
    """Where a release's bundle is."""
    return folder / version


def supply(found: Manifest, folder: Path, params: Params) -> Supplied:
    """Bring a release into a folder, or verify what is there of it.

    Raises:
        Error: it is not where it should be kept, not what its tag says, not signed by who must have signed it, or
            there is no room.
    """
    bundle = place(folder, found.version)
    if not _holds(found, bundle, params):
        bundles.fetch(found, bundle, params.release)
    return Supplied(bundle, _base(found, folder) if found.kind == "lora" else BASE)


def tidy(folder: Path, versions: Iterable[str]) -> None:
    """Remove the bundles of all versions but these, and the base models that these do not go on."""
    kept = {place(folder, version) for version in versions}
    for path in folder.iterdir():
        if path.is_dir() and registry.is_version(path.name) and path not in kept:
            files.remove(path)
    needed = {_base_place(folder, Manifest.read(path / bundles.MANIFEST)) for path in kept if path.is_dir()}
    for path in folder.glob("base-*"):
        if path not in needed:
            files.remove(path)


def _check_servable(found: Manifest, name: str) -> None:
    """The gateway would refuse it, after all else was done."""
    guard.released(found)
    changed = transforms.changed(found.task.transforms)
    if changed:
        problem = f"{name} was trained with other transforms than those registered here: {', '.join(changed)}"
        raise Error(problem, "pull the code that it was released with, and start the supervisor and the gateway anew")


def _holds(found: Manifest, bundle: Path, params: Params) -> bool:
    if not bundle.is_dir():
        return False
    try:
        bundles.verify(found, bundle, params.release)
    except Error:
        return False
    return True


def _base(found: Manifest, folder: Path) -> Path:
    """The base model's folder: the project's, or one that is fetched from where the release's commit keeps it."""
    own = _base_place(folder, found)
    for known in (BASE, own):
        if (known / _BASE_RECORD).is_file() and _is_base(Base.read(known / _BASE_RECORD), found):
            return known
    value = dvc.recorded_hash(git.show(found.commit, _LOCK), BASE.as_posix())
    with files.replacing(own) as partial:
        partial.mkdir()
        objects.fetch({"base": value}, partial, objects.place())
        for member in (partial / "base").iterdir():
            member.rename(partial / member.name)
        (partial / "base").rmdir()
        recorded = Base.read(partial / _BASE_RECORD)
        if not _is_base(recorded, found) or not _is_base(identify(recorded.source, partial), found):
            problem = (
                f"the base model in dvc.lock of {found.commit[:12]} is not the one of {found.model}@{found.version}"
            )
            raise Error(problem, "do not serve it: find out whether the tag or that commit was changed")
    return own


def _is_base(base: Base, found: Manifest) -> bool:
    return base.sha256 == found.base["sha256"] and found.configuration in ({}, base.configuration)


def _base_place(folder: Path, found: Manifest) -> Path:
    """Of weights and their configuration, as two releases may compute otherwise with the same weights."""
    return folder / f"base-{files.combined({'': found.base['sha256'], **found.configuration})[:12]}"
