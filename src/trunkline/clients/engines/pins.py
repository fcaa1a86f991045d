"""The pinned answers by which a release is known where its engine tells no digest: one file each, in a folder."""

from pathlib import Path

from trunkline.params.serve import EngineParams
from trunkline.records.serving import Pin


def read(release: str, settings: EngineParams, folder: Path) -> Pin | None:
    """A release's pin; None where there is none, or its engine needs none.

    Raises:
        Error: it cannot be read.
    """
    path = path_of(release, folder)
    return Pin.read(path) if settings.kind != "embedded" and path.is_file() else None


def path_of(release: str, folder: Path) -> Path:
    """The file of a release's pin; Kubernetes takes no other characters for the name of one."""
    return folder / f"{release.partition('@')[2].replace('+', '_')}.json"
