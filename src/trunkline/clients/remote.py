"""The DVC remote: push what dvc.lock names, and prove that it is there and whole.

DVC trusts content. It takes an object for present because a local index says so, and gives out a damaged one
unless the remote has ``verify = true``. So here the remote itself is asked for every object, each folder's
members included, and what this push wrote is read back and hashed; without ``verify = true``, everything is.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from dvc.config import NoRemoteError
from dvc.fs import HTTPFileSystem
from dvc.repo import Repo
from dvc_data.hashfile.db import get_index
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.hash_info import HashInfo

from trunkline.clients.dvc import stored
from trunkline.clients.progress import Progress
from trunkline.errors import Error

_ADD = "run `dvc remote add --default storage s3://bucket/prefix` (or any other address) and commit .dvc/config"
_SHOWN = 5

_log = logging.getLogger(__name__)


class Proof(NamedTuple):
    """What a remote was shown to hold.

    Attributes:
        remote: its name.
        objects: how many objects dvc.lock and the ``.dvc`` files name, reports of runs included; all are there.
        hashed: how many of them were read back and hashed.
        pushed: how many of them it did not have before.
        runs: entries of the run cache; None where the remote cannot hold any.
        verified: whether DVC hashes what it fetches from there.
    """

    remote: str
    objects: int
    hashed: int
    pushed: int
    runs: int | None
    verified: bool


class _Object(NamedTuple):
    """A content-addressed object: the path it is known by, and the store that must hold it."""

    path: str
    oid: str
    store: Any


def push() -> Proof:
    """Push what dvc.lock names with the run cache, then prove that it is there.

    Raises:
        Error: there is no remote, it refuses or cannot be reached, or an object is missing or damaged there.
    """
    with _explained(), Repo() as repo:
        remote = _remote(repo)
        objects = _objects(repo, local=True)
        absent = _absent(objects)
        for folder in objects:
            if folder.oid.endswith(".dir") and folder.oid not in absent:
                _listing(folder.store, folder)
        # DVC's own index of what a remote holds outlives the objects.
        with closing(get_index(remote.odb)) as index:
            index.clear()
        repo.push(run_cache=True)
        # `dvc push --run-cache` leaves out what Git keeps, without which DVC cannot restore a run elsewhere.
        repo.cloud.push(_kept_by_git(repo))
        return _prove(repo, remote, absent, _runs(repo, remote))


def _remote(repo: Any) -> Any:  # noqa: ANN401
    try:
        remote = repo.cloud.get_remote()
    except NoRemoteError:
        raise Error("this repository has no default DVC remote to push to", _ADD) from None
    if remote.fs.version_aware or remote.worktree:
        raise Error(
            f"the remote {remote.name} names objects by file, not by content, which cannot be verified",
            f"run `dvc remote modify {remote.name} version_aware false` (and worktree false)",
        )
    return remote


def _named(repo: Any) -> Iterator[Any]:  # noqa: ANN401
    """The outputs to be in the remote; of those that Git keeps, the ones in the cache for the sake of the run cache."""
    for out in repo.index.outs:
        if out.hash_info and out.can_push and (out.use_cache or repo.cache.local.exists(out.hash_info.value)):
            yield out


def _kept_by_git(repo: Any) -> set[HashInfo]:  # noqa: ANN401
    """The hashes of reports in the cache; a folder's members each, as a folder's own hash brings its list alone."""
    found: set[HashInfo] = set()
    for out in _named(repo):
        if not out.use_cache:
            folder = _Object(str(out), out.hash_info.value, out.cache)
            members = _listing(out.cache, folder) if out.hash_info.isdir else {}
            found |= {out.hash_info, *(HashInfo(out.hash_name, md5) for md5 in members.values())}
    return found


def _objects(repo: Any, local: bool) -> list[_Object]:  # noqa: ANN401
    """Every object to be in the remote; the members of a folder as the local cache or the remote lists them."""
    found: list[_Object] = []
    stores: dict[tuple[str | None, str], Any] = {}
    for out in _named(repo):
        kind = (out.remote, out.hash_name)
        store = stores[kind] = stores.get(kind) or repo.cloud.get_remote_odb(out.remote, hash_name=out.hash_name)
        path = str(out.fs.relpath(out.fs_path, repo.root_dir))
        found.append(_Object(path, out.hash_info.value, store))
        if out.hash_info.isdir:
            listing = _listing(out.cache if local else store, found[-1])
            found += [_Object(f"{path}/{name}", md5, store) for name, md5 in listing.items()]
    return found


def _listing(store: Any, folder: _Object) -> dict[str, str]:  # noqa: ANN401
    """MD5 by path of a folder's members; none where the store has no listing, which is missed as an object itself."""
    try:
        with store.fs.open(store.oid_to_path(folder.oid), "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    if hashlib.md5(text, usedforsecurity=False).hexdigest() != folder.oid.removesuffix(".dir"):
        raise _damaged(folder, store)
    return stored.members(text)


def _absent(objects: list[_Object]) -> set[str]:
    """The hashes that their store does not have now."""
    absent: set[str] = set()
    for store in {id(entry.store): entry.store for entry in objects}.values():
        wanted = {entry.oid for entry in objects if entry.store is store}
        absent |= wanted - set(store.list_oids_exists(sorted(wanted)))
    return absent


def _prove(repo: Any, remote: Any, before: set[str], runs: int | None) -> Proof:  # noqa: ANN401
    objects = list({(entry.oid, id(entry.store)): entry for entry in _objects(repo, local=False)}.values())
    absent = _absent(objects)
    if absent:
        raise _lacking(remote.name, sorted(entry.path for entry in objects if entry.oid in absent), len(objects))
    verified = str(remote.config.get("verify", False)).lower() == "true"
    hashed = [entry for entry in objects if not verified or entry.oid in before]
    progress = Progress("push", len(hashed), "objects")
    for number, entry in enumerate(hashed, 1):
        _, found = hash_file(entry.store.oid_to_path(entry.oid), entry.store.fs, entry.store.hash_name)
        if found.value != entry.oid.removesuffix(".dir"):
            raise _damaged(entry, entry.store)
        progress.update(number)
    pushed = sum(entry.oid in before for entry in objects)
    return Proof(remote.name, len(objects), len(hashed), pushed, runs, verified)


def _runs(repo: Any, remote: Any) -> int | None:  # noqa: ANN401
    """How many entries of the run cache the remote has; DVC only logs those that it could not give it."""
    if isinstance(remote.fs, HTTPFileSystem):
        return None
    cache = repo.cache.legacy
    local = _names(cache.fs, cache.path)
    lacking = local - _names(remote.fs, remote.path)
    if lacking:
        raise Error(
            f"{len(lacking)} of {len(local)} entries of the run cache did not reach the remote {remote.name}",
            "see above why, free space or rights there, and run `trunkline push` again",
        )
    return len(local)


def _names(fs: Any, top: str) -> set[str]:  # noqa: ANN401
    runs = fs.join(top, "runs")
    return {"/".join(fs.parts(path)[-3:]) for path in fs.find(runs)} if fs.exists(runs) else set()


def _lacking(remote: str, paths: list[str], count: int) -> Error:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return Error(
        f"the remote {remote} lacks {len(paths)} of {count} objects: {', '.join(paths[:_SHOWN])}{more}",
        "they are not in this machine's cache either: run `dvc push` where they were made, or `dvc repro`",
    )


def _damaged(entry: _Object, store: Any) -> Error:  # noqa: ANN401
    place = store.oid_to_path(entry.oid)
    return Error(
        f"{entry.path} is damaged in {place}: its content is not what its name says",
        "remove that object there and in .dvc/cache, run `dvc repro` and `trunkline push` again; the remote's"
        " `verify = true` keeps DVC from giving it out",
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever a remote's library raises into one Error with the first cause."""
    with stored.heard("dvc", "dvc_data", "dvc_objects", quiet=False) as complaints:
        try:
            yield
        except Error:
            raise
        except Exception as error:  # every storage library has errors of its own
            _log.debug("push  failed", exc_info=True)
            said = [*complaints, f"{type(error).__name__}: {error}"]
            cause = " ".join(said[0].split())[:300]
            raise Error(
                f"cannot push to the DVC remote: {cause}",
                "check its address, the credentials and the free space, and run `trunkline push` again: nothing"
                " has been handed over",
            ) from error
