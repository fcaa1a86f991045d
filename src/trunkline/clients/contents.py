"""A file as a release recorded it, found again in Git, DVC's cache, the working tree or the DVC remote.

Nothing is believed: everything is hashed anew, and nothing that is found damaged is removed.
"""

from pathlib import Path
from typing import Any, NamedTuple

from dvc.config import NoRemoteError
from dvc.exceptions import DvcException
from dvc.repo import Repo

from trunkline.clients import files, git
from trunkline.clients.dvc import stored
from trunkline.errors import Error
from trunkline.records.release import Content


class Found(NamedTuple):
    """A file that is here.

    Attributes:
        where: for messages, such as ``the DVC cache``.
        sha256: of its bytes as they are now.
    """

    where: str
    path: Path
    sha256: str


class Places:
    """Where contents are looked for.

    Args:
        scratch: an empty folder for what comes out of Git or a remote.
        remote: whether the default DVC remote is asked for what is not here. It is today's remote, not the one that
            was configured when a release was made.
    """

    def __init__(self, scratch: Path, remote: bool) -> None:
        self._scratch, self._remote = scratch, remote
        self._made = 0
        self._repo = _repository()
        self._cache = None if self._repo is None else Path(self._repo.cache.local.path)

    def find(self, commit: str, path: str, content: Content) -> Found | None:
        """The file of a commit, the first place that has the recorded bytes; None where no place has it.

        A file with other bytes than recorded is returned only from where the recorded ones must be: from Git's
        commit, or under its name in cache and remote. In the working tree it may just be another version.

        Raises:
            Error: the remote cannot be reached.
        """
        if content.md5 is None:
            return self._in_git(commit, path)
        cached = self._cached(content.md5)
        if cached is not None and cached.sha256 == content.sha256:
            return cached
        local = Path(path)
        if local.is_file() and files.sha256(local) == content.sha256:
            return Found("the working tree", local, content.sha256)
        return self._fetched(content.md5) or cached

    def stored(self, md5: str) -> Found | None:
        """The file that DVC's cache, or else the remote, holds under a hash; its content may be another.

        Raises:
            Error: the remote cannot be reached.
        """
        return self._cached(md5) or self._fetched(md5)

    def members(self, folder: str | None) -> dict[str, str]:
        """MD5 by name of the files in a folder that DVC knows by a hash; empty where its list is not here.

        Raises:
            Error: the remote cannot be reached.
        """
        found = self.stored(folder) if folder else None
        try:
            return stored.members(found.path.read_bytes()) if found else {}
        except (OSError, Error):
            return {}

    def _cached(self, md5: str) -> Found | None:
        # The hash comes from a tag, which anybody with the right to push may write: it must not lead elsewhere.
        if self._cache is None or not stored.HASH.fullmatch(md5):
            return None
        path = self._cache / md5[:2] / md5[2:]
        return Found("the DVC cache", path, files.sha256(path)) if path.is_file() else None

    def _fetched(self, md5: str) -> Found | None:
        if not self._remote or self._repo is None or not stored.HASH.fullmatch(md5):
            return None
        target = self._new()
        try:
            objects = self._repo.cloud.get_remote_odb()
            objects.fs.get_file(objects.oid_to_path(md5), str(target))
        except (NoRemoteError, FileNotFoundError):
            return None
        except Exception as error:  # every kind of storage has exceptions of its own
            first = (str(error).splitlines() or [""])[0]
            problem = f"the DVC remote cannot be read: {first or type(error).__name__}"
            raise Error(problem, "check `dvc remote list`, its credentials and the network") from error
        return Found("the DVC remote", target, files.sha256(target))

    def _in_git(self, commit: str, path: str) -> Found | None:
        target = self._new()
        try:
            target.write_bytes(git.show(commit, path))
        except Error:
            return None
        return Found("Git", target, files.sha256(target))

    def _new(self) -> Path:
        self._made += 1
        return self._scratch / str(self._made)


def _repository() -> Any:  # noqa: ANN401 - DVC has no types
    """The DVC repository here; None where there is none."""
    try:
        return Repo()
    except DvcException:
        return None
