"""Fetches files of one commit from the Hugging Face Hub, each checked against the hash that the Hub records.

The Hub's own client finds addresses, token and proxies; the bytes are moved here, because its ``snapshot_download``
does not compare contents, throws away what it has of a file when it is interrupted, and waits without limit for a
server that accepts a connection and then says nothing.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    OIDCError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # it exports names when asked for them

from trunkline.clients import files
from trunkline.clients.progress import Progress
from trunkline.errors import Error

# What an interrupted fetch already has: the next one goes on from there.
DOWNLOADS = Path(".trunkline/downloads")
# Three tries of ten seconds: a server that is dead, or dies on the way, costs about half a minute.
TIMEOUT_S = 10.0
WAITS_S = (1.0, 3.0)
PASSING = (408, 429, 500, 502, 503, 504)
_DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_MB = 10**6

_T = TypeVar("_T")


class Entry(NamedTuple):
    """What the Hub records of a file: its bytes, and its SHA-256 or, where Git itself holds it, its blob's SHA-1."""

    size: int
    digest: str


class Snapshot:
    """One commit of a model on the Hub: which files it has, and their contents when asked for.

    Args:
        repository: ``org/name``.
        revision: the 40 hex digits of a commit; what a branch names could change between two requests.

    Raises:
        Error: there is no such commit, it may not be read, or the Hub does not answer.
    """

    def __init__(self, repository: str, revision: str) -> None:
        self._repository, self._revision = repository, revision
        with _explained(f"{repository}@{revision}"):
            self.files = _list(repository, revision)

    def read(self, name: str) -> bytes:
        """The content of a small file; raises as ``fetch``."""
        return self._complete(name).read_bytes()

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Put these files, all from the top of the repository, into an existing folder: all of them or none.

        Raises:
            Error: the Hub does not answer, or a file is not what it records.
        """
        places = {name: self._place(name) for name in names}
        for stale in set(DOWNLOADS.glob("*")) - set(places.values()):
            stale.unlink()
        for name in places:
            self._complete(name)
        for name, place in places.items():
            shutil.move(place, folder / name)

    def _complete(self, name: str) -> Path:
        """Have the whole file in DOWNLOADS, fetching what is missing of it."""
        entry, place = self.files[name], self._place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        resumed = place.stat().st_size > 0
        with _explained(f"{self._repository}@{self._revision}"):
            _download(hf_hub_url(self._repository, name, revision=self._revision), place, entry.size)
        found = Entry(place.stat().st_size, digest_of(place, entry.digest))
        if found == entry:
            return place
        place.unlink()
        if resumed:
            # The beginning that was kept may have been damaged, for instance by a power failure.
            return self._complete(name)
        raise Error(
            f"{name} of {self._repository}@{self._revision} is not what the Hub records: "
            f"{found.size} bytes, hash {found.digest}, instead of {entry.size} bytes, hash {entry.digest}",
            "run it again; if it stays so, the Hub, or a mirror or proxy between, gives out a changed file",
        )

    def _place(self, name: str) -> Path:
        return DOWNLOADS / f"{self.files[name].digest}.{name}"


def _list(repository: str, revision: str) -> dict[str, Entry]:
    api = HfApi()
    try:
        info = patiently(lambda: api.model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT_S))
        found = {file.rfilename: _entry(file) for file in info.siblings or []}
    except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        problem = f"cannot fetch {repository}@{revision}: {host()} does not answer like a Hub"
        raise Error(problem, "check HF_ENDPOINT") from None
    if info.sha != revision:
        problem = f"asked for {repository}@{revision}, {host()} answers with another commit"
        raise Error(problem, "copy the commit's 40 digits from the history of the model")
    return found


def _entry(file: RepoSibling) -> Entry:
    digest = str(file.lfs.sha256 if file.lfs else file.blob_id)
    if file.size is None or not _DIGEST.fullmatch(digest):
        raise TypeError(f"no size or hash of {file.rfilename}")
    return Entry(file.size, digest)


def _download(url: str, place: Path, size: int) -> None:
    """Append what is missing of a file; a connection that was cut goes on where it was cut."""
    progress = Progress(f"base  {place.name.partition('.')[2]}", -(-size // _MB), "MB")

    def show(have: int) -> None:
        if size >= _MB:
            progress.update(have // _MB if have < size else -(-size // _MB))

    if place.stat().st_size < size:
        patiently(lambda: _append(url, place, show), lambda: place.stat().st_size)


def _append(url: str, place: Path, show: Callable[[int], None]) -> None:
    have = place.stat().st_size
    # A compressed answer has no ranges of the file's own bytes.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as response:
        hf_raise_for_status(response)
        # A server may answer a range with the whole file.
        with place.open("ab" if response.status_code == httpx2.codes.PARTIAL_CONTENT else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                show(file.tell())


def digest_of(path: Path, like: str) -> str:
    """The hash of a file by the algorithm that made ``like``: SHA-256, or SHA-1 as Git names a blob."""
    if len(like) == 2 * hashlib.sha256().digest_size:
        return files.sha256(path)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def patiently(attempt: Callable[[], _T], progress: Callable[[], int] = lambda: 0) -> _T:
    """Repeat what fails in passing: a bounded number of times, counted anew after every megabyte of progress."""
    waits, reached = iter(WAITS_S), progress()
    while True:
        try:
            return attempt()
        except httpx2.HTTPError as error:
            if progress() >= reached + _MB:
                waits, reached = iter(WAITS_S), progress()
            wait = next(waits, None)
            if wait is None or not _is_passing(error):
                raise
        time.sleep(wait)


def _is_passing(error: httpx2.HTTPError) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, httpx2.TransportError)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say what went wrong in our words: the client's may repeat what a server sent, or an address with a password."""
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled, HFValidationError, OIDCError) as error:
        raise _error(what, error) from None


def unidentified(what: str) -> Error:
    """That a token was to be had for a job's identity, which this process does not have."""
    problem = f"cannot {what}: HF_OIDC_RESOURCE is set, and this process has no identity to show the Hub"
    return Error(problem, "run it in a job with `permissions: {id-token: write}`, or unset HF_OIDC_RESOURCE")


def host() -> str:
    """Where the Hub is, without the password that HF_ENDPOINT may hold."""
    return urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2] or "HF_ENDPOINT"


def _error(what: str, error: Exception) -> Error:
    match error:
        case GatedRepoError():
            problem = f"{what} is gated, and its owner has not let this account in"
            return Error(problem, "accept its conditions on its page, and set HF_TOKEN to a token of that account")
        case RevisionNotFoundError():
            return Error(f"the Hub has no commit {what}", "copy the commit's 40 digits from the history of the model")
        case RepositoryNotFoundError():
            problem = f"the Hub has no model {what.partition('@')[0]} that may be read"
            return Error(problem, "correct base.model in params.yaml; a private model needs HF_TOKEN")
        case OfflineModeIsEnabled():
            return Error(f"cannot fetch {what}: HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE, or use path:folder")
        case OIDCError():
            return unidentified(f"fetch {what}")
        case HFValidationError():
            return Error(f"{what} cannot be the name of a model", "correct base.model in params.yaml")
        case HfHubHTTPError():
            return _refused(what, error.response.status_code)
    problem = f"cannot fetch {what}: {host()} does not answer ({str(error) or type(error).__name__})"
    return Error(problem, "check the network and HF_ENDPOINT, and run it again: it goes on where it stopped")


def _refused(what: str, status: int) -> Error:
    problem = f"cannot fetch {what}: {host()} answers HTTP {status}"
    if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        return Error(problem, "check HF_TOKEN: it is wrong, has expired, or may not read this model")
    if status in PASSING:
        return Error(problem, "run it again later: it goes on where it stopped")
    return Error(problem, "check base.model in params.yaml and HF_ENDPOINT")
