"""DVC's objects, files and folders named by their MD5: fetched with nothing believed, and stored.

DVC takes the content of its cache and, by default, of its remote for what the name says. A release must not, so
every byte that is fetched here comes from the remote into an empty place and is hashed anew.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.transfer import transfer
from fsspec.callbacks import Callback

from trunkline.clients import scratch
from trunkline.clients.dvc import stored
from trunkline.clients.progress import Progress
from trunkline.errors import Error

_FOLDER = ".dir"
_MD5 = "md5"
_CHECK = "check the remote's address, its credentials and its free space, and run this again"
_log = logging.getLogger(__name__)


class Missing(Error):
    """The remote, or the cache where there is none, does not hold an object."""


class Place(NamedTuple):
    """Where objects are kept.

    Attributes:
        name: for messages, such as ``the DVC remote storage``.
        remote: whether other machines reach it.
    """

    name: str
    remote: bool
    objects: HashFileDB


def place() -> Place:
    """The default DVC remote of this repository; its cache where no remote is configured.

    Raises:
        Error: DVC is not set up here, or the remote's configuration is wrong.
    """
    return places()[-1]


def places() -> list[Place]:
    """The cache of this repository, and its default DVC remote where one is configured; raises as `place`."""
    with _explained("DVC is not usable here", "run `dvc doctor` and `dvc remote list`"):
        repo = Repo()
        name = repo.config["core"].get("remote")
        kept = {"the local DVC cache": repo.cache.local}
        if name:
            kept[f"the DVC remote {name}"] = repo.cloud.get_remote_odb(name)
        # Not those themselves: on a local disk they remove what they find damaged before anyone has seen it.
        plain = {shown: HashFileDB(one.fs, one.path, hash_name=_MD5) for shown, one in kept.items()}
        return [Place(shown, number > 0, one) for number, (shown, one) in enumerate(plain.items())]


def fetch(
    wanted: Mapping[str, str], folder: Path, source: Place, only: Mapping[str, Collection[str]] | None = None
) -> dict[str, str]:
    """Put objects into a folder, each checked against its name.

    Args:
        wanted: by path in ``folder``: DVC's hash of the file, or of the folder (``….dir``), that goes there.
        folder: an existing one, without these paths.
        source: where they come from.
        only: by path of a wanted folder: the members to fetch; that the others are there is all that is asked.

    Returns:
        By path in ``folder``: the MD5 of every file put there.

    Raises:
        Missing: the source does not hold an object.
        Error: an object is not what its name says, or the source cannot be reached.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".objects-") as temporary:
        scratch = HashFileDB(LocalFileSystem(), temporary, hash_name=_MD5)
        _copy(source, scratch, [value for value in map(stored.check, wanted.values()) if value.endswith(_FOLDER)])
        files: dict[str, str] = {}
        others: dict[str, str] = {}
        for path, value in wanted.items():
            if not value.endswith(_FOLDER):
                files[path] = value
                continue
            members = _members(scratch, path, value, source)
            chosen = (only or {}).get(path, members)
            files |= {f"{path}/{name}": _of(members, name, path) for name in chosen}
            others |= {f"{path}/{name}": members[name] for name in members.keys() - set(chosen)}
        _must_hold(source, others)
        _copy(source, scratch, files.values())
        for path, value in files.items():
            _put(_checked(scratch, path, value, source), folder / path)
    return files


def store(folder: Path, target: Place) -> str:
    """Keep a folder's files in a place, and return the folder's hash (``….dir``).

    Raises:
        Error: the place cannot be reached, or did not take every file.
    """
    with scratch.folder() as temporary:
        database = HashFileDB(LocalFileSystem(), str(temporary), hash_name=_MD5)
        staging, _, built = build(database, str(folder), LocalFileSystem(), _MD5)
        _transfer(staging, target.objects, [built.hash_info], target)
    return str(built.hash_info.value)


def _copy(source: Place, scratch: HashFileDB, values: Iterable[str]) -> None:
    _transfer(source.objects, scratch, [HashInfo(_MD5, value) for value in set(values)], source)


def _transfer(source: HashFileDB, target: HashFileDB, objects: list[HashInfo], there: Place) -> None:
    with _explained(f"{there.name} cannot be used", _CHECK), stored.heard("dvc_data", quiet=True) as reasons:
        # A folder that is wanted for its list alone is `shallow`; one that is stored comes with its files.
        done = transfer(source, target, objects, shallow=target.path != there.objects.path, callback=_Shown(there.name))
    if done.failed:
        why = reasons[-1] if reasons else "it does not say why"
        raise Error(f"{there.name} failed on {len(done.failed)} object(s): {why}", _CHECK)


def _members(scratch: HashFileDB, path: str, value: str, source: Place) -> dict[str, str]:
    listing = _checked(scratch, path, value, source)
    found = stored.members(listing.read_bytes())
    for name, member in found.items():
        if not stored.inside(name):
            raise Error(f"{path} names a file outside of itself: {name!r}", stored.FORGED)
        stored.check(member)
    return found


def _of(members: Mapping[str, str], name: str, path: str) -> str:
    if name not in members:
        raise Error(f"{path} has no file {name}", "run `dvc repro` to write it again, and commit dvc.lock")
    return members[name]


def _checked(scratch: HashFileDB, path: str, value: str, source: Place) -> Path:
    """The fetched file, once its content is known to be what its name says."""
    file = Path(scratch.oid_to_path(value))
    if not file.is_file():
        raise _missing(source, path, value)
    found = stored.md5(file)
    if found != value.removesuffix(_FOLDER):
        raise Error(
            f"{path} is damaged in {source.name}: object {value} holds {found}",
            "remove that object there, and `dvc push` it again from a machine that has it whole",
        )
    return file


def _must_hold(source: Place, files: Mapping[str, str]) -> None:
    if not files:
        return
    with _explained(f"{source.name} cannot be used", _CHECK):
        there = set(source.objects.list_oids_exists(sorted(set(files.values()))))
    for path, value in files.items():
        if value not in there:
            raise _missing(source, path, value)


def _missing(source: Place, path: str, value: str) -> Missing:
    hint = "run `dvc push` where it was made" if source.remote else "run `dvc pull`, or `dvc repro` to make it again"
    return Missing(f"{source.name} does not hold {path} ({value})", hint)


def _put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The same object may be wanted at two paths.
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
    target.chmod(0o644)


class _Shown(Callback):  # type: ignore[misc]
    """Progress by files, for whoever waits."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._progress: Progress | None = None

    def call(self, *arguments: object, **named: object) -> None:
        if self.size and self.size > 1 and self.value:
            self._progress = self._progress or Progress(self._name, self.size, "files")
            self._progress.update(self.value)


@contextmanager
def _explained(problem: str, hint: str) -> Iterator[None]:
    try:
        yield
    except Error:
        raise
    except DvcException as error:
        raise Error(f"{problem}: {error}", hint) from None
    except Exception as error:  # every kind of storage has exceptions of its own
        _log.debug("%s", problem, exc_info=True)
        first = (str(error).splitlines() or [""])[0]
        raise Error(f"{problem}: {first or type(error).__name__}", hint) from error
