"""A release's bundle, back from where it is kept, and not used before all of it is what the registry's tag says."""

from pathlib import Path

from trunkline.clients import files, signing
from trunkline.clients.dvc import objects
from trunkline.errors import Error
from trunkline.params import ReleaseParams
from trunkline.records import release
from trunkline.records.release import Manifest

MANIFEST = release.MANIFEST
CARD = "README.md"
# What is in a bundle besides the weights and their configuration.
BESIDE = frozenset({MANIFEST, CARD, signing.SIGNATURE})


def fetch(manifest: Manifest, folder: Path, params: ReleaseParams) -> None:
    """Fetch a release's bundle to ``folder``, which appears only when everything in it has been verified.

    Args:
        manifest: of the release's tag.
        folder: not there yet, or replaced.
        params: say who must have signed it.

    Raises:
        Missing: neither the DVC remote nor, where there is none, the cache holds it.
        Error: the tag says nowhere where it is kept, or it is not what the tag says, byte for byte.
    """
    name = f"{manifest.model}@{manifest.version}"
    if manifest.bundle is None:
        raise Error(f"the manifest of {name} does not say where its bundle is kept", "take the one in its tag")
    with files.replacing(folder) as partial:
        partial.mkdir()
        objects.fetch({"bundle": manifest.bundle}, partial, objects.place())
        for member in (partial / "bundle").iterdir():
            member.rename(partial / member.name)
        (partial / "bundle").rmdir()
        verify(manifest, partial, params)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by name of a bundle's weights and their configuration."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: files.sha256(path) for name, path in found.items() if name not in BESIDE}


def verify(manifest: Manifest, folder: Path, params: ReleaseParams) -> None:
    """Check that a folder is the bundle of a release, and that the right signer signed it.

    Args:
        manifest: of the release's tag.
        folder: with the bundle's files and no others.
        params: say who must have signed it.

    Raises:
        Error: it is not what the tag says, byte for byte, or the signature does not hold.
    """
    name = f"{manifest.model}@{manifest.version}"
    hint = "do not serve it: fetch it anew; if it stays so, the bundle or the tag was changed"
    if Manifest.read(folder / MANIFEST) != manifest.model_copy(update={"bundle": None, "hub": None}):
        raise Error(f"{MANIFEST} in the bundle of {name} is not the one of its tag", hint)
    found = hashes(folder)
    if found != manifest.weights:
        changed = {one for one, _ in found.items() ^ manifest.weights.items()}
        raise Error(f"the bundle of {name} does not hold what its tag says: {', '.join(sorted(changed))}", hint)
    signing.verify(folder, params)
