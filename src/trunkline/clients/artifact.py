"""The folder that the training job uploads, written by code that is trusted no more than the pull request.

What may be in it: ``artifact.json``, ``dvc.lock``, and texts below ``reports/``. Reading it takes nothing for
granted: no links, no other names, no more bytes than a pull request needs, UTF-8, and the hashes of
``artifact.json``, which tell a damaged or truncated copy and no more than that.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records.artifact import Artifact

FOLDER = Path("artifact")
MANIFEST = "artifact.json"
LOCK = "dvc.lock"
REPORTS = "reports"
# A report is kilobytes; this keeps a repository from being filled through its own bot.
MOST_BYTES = 20 * 2**20
MOST_BYTES_A_FILE = 5 * 2**20
MOST_FILES = 1000
_DEPTH = 10
_NAME = re.compile(r"reports/([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|md|html|tsv)")

_log = logging.getLogger(__name__)


def write(head: str, folder: Path = FOLDER) -> int:
    """Copy dvc.lock and reports/ for the upload, and return how many files that are.

    Raises:
        Error: a file is not what `read` takes, or the disk refused it.
    """
    with files.replacing(folder) as partial:
        partial.mkdir()
        for path in [Path(LOCK), *_paths(Path(REPORTS), Path(REPORTS))]:
            if not takes(path.as_posix()):
                _log.warning("push  %s stays here: an artifact holds json, md, html and tsv files", path)
                continue
            target = partial / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        found = dict(_contents(partial))
        manifest = Artifact(head=head, files={path: _sha256(content) for path, content in found.items()})
        (partial / MANIFEST).write_text(manifest.text(), encoding="utf-8")
    return len(found)


def read(folder: Path) -> tuple[str, dict[str, bytes]]:
    """The commit that the artifact names, and its files by path.

    Raises:
        Error: the folder holds anything else, too much, or not what its manifest says.
    """
    found = dict(_contents(folder))
    manifest = Artifact.read(folder / MANIFEST)
    differing = sorted(
        path
        for path in found.keys() | manifest.files.keys()
        if path not in found or manifest.files.get(path) != _sha256(found[path])
    )
    if differing:
        raise _refused(folder, f"{differing[0]!r} is not the file that {MANIFEST} names")
    if LOCK not in found:
        raise _refused(folder, f"there is no {LOCK}")
    return manifest.head, found


def subject(head: str) -> str:
    """The first line of the commit that holds what the run of a commit has left."""
    return f"Record the run of {head[:12]}"


def takes(name: str) -> bool:
    """Whether an artifact may hold a file of this path."""
    return name == LOCK or _NAME.fullmatch(name) is not None


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file but the manifest, by path in order, each checked before the next is opened."""
    total = 0
    for count, path in enumerate(_paths(folder, folder), 1):
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST and not takes(name):
            raise _refused(folder, f"{name!r} is neither {LOCK} nor a json, md, html or tsv file in {REPORTS}/")
        content = _bounded(folder, path)
        total += len(content)
        if total > MOST_BYTES or count > MOST_FILES:
            raise _refused(folder, f"it holds more than {MOST_FILES:,} files or {MOST_BYTES // 2**20} MiB")
        if name != MANIFEST:
            yield name, content


def _paths(folder: Path, top: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise Error(
            f"cannot read the artifact {folder}: {error.strerror}", "name the folder it was unpacked to"
        ) from None
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False) and entry.path.count(os.sep) < str(top).count(os.sep) + _DEPTH:
            yield from _paths(Path(entry.path), top)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            raise _refused(top, f"{entry.name!r} is a link, no file, or too deep")


def _bounded(folder: Path, path: Path) -> bytes:
    try:
        # A file that became a link since it was listed is not opened.
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            content = file.read(MOST_BYTES_A_FILE + 1)
    except OSError as error:
        raise _refused(folder, f"{path.name!r} cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES_A_FILE:
        raise _refused(folder, f"{path.name!r} holds more than {MOST_BYTES_A_FILE // 2**20} MiB")
    try:
        content.decode()
    except UnicodeDecodeError:
        raise _refused(folder, f"{path.name!r} is not UTF-8 text") from None
    return content


def _refused(folder: Path, reason: str) -> Error:
    return Error(f"the artifact {folder} is not taken: {reason}", "see what the training job wrote to reports/")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
