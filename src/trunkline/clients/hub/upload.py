"""Publishes a folder on the Hugging Face Hub: one commit that holds it whole, then a tag.

Two publishers cannot mix their files: a commit names its parent, and the Hub refuses it when that is no longer the
head. What the Hub holds afterwards is compared with the folder, hash by hash.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    close_session,
    get_token,
    set_client_factory,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    OIDCError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils._http import default_client_factory

from trunkline.clients.hub import PASSING, Entry, digest_of, host, patiently, unidentified
from trunkline.errors import Error

# The Hub itself writes this one.
OWN = frozenset({".gitattributes"})
# A commit of many large files takes the Hub a while; a server that says nothing for longer is dead.
TIMEOUT_S = 60.0
# Publishers that race get through one after the other: this many others may be faster.
TRIES = 5
_CONFLICT = 409
_MOVED_ON = 412


def publish(repository: str, folder: Path, message: str) -> str:
    """Make a folder the content of a model's main branch; a model that does not exist is created, private.

    Args:
        repository: ``org/name``.
        folder: with files and folders, all of which are published.
        message: of the commit.

    Returns:
        The 40-hex commit that holds exactly these files, as the Hub's own hashes say.

    Raises:
        Error: the Hub does not answer, refuses, holds something else afterwards, or others kept publishing.
    """
    api = HfApi()
    with _explained(f"publish to {repository}"), _impatient():
        for _ in range(TRIES):
            head, held = _head(api, repository)
            commit = head if _is(held, folder) else _commit(api, repository, folder, message, (head, held))
            if commit is not None:
                _verify(api, repository, commit, folder)
                return commit
    problem = f"{repository} on the Hub got a commit from somebody else {TRIES} times in a row"
    raise Error(problem, "find out who else publishes there, and run this again")


def tag(repository: str, name: str, commit: str) -> None:
    """Let a tag name a commit; one that does so already is left alone.

    Raises:
        Error: the tag names another commit, or the Hub does not answer or refuses.
    """
    api = HfApi()
    with _explained(f"tag {repository}"), _impatient():
        found = _tagged(api, repository, name)
        if found is None:
            try:
                patiently(lambda: api.create_tag(repository, tag=name, revision=commit))
                return
            except HfHubHTTPError as error:
                # The client's `exist_ok` would swallow a tag of another commit too.
                if error.response.status_code != _CONFLICT:
                    raise
            found = _tagged(api, repository, name)
        if found != commit:
            problem = f"tag {name} of {repository} on the Hub names commit {found}, not {commit}"
            raise Error(problem, "delete that tag there if nobody uses it, and run this again")


def _tagged(api: HfApi, repository: str, name: str) -> str | None:
    tags = patiently(lambda: api.list_repo_refs(repository)).tags
    return next((str(ref.target_commit) for ref in tags if ref.name == name), None)


def _head(api: HfApi, repository: str) -> tuple[str, dict[str, Entry]]:
    """The commit of the main branch and what it holds, besides the Hub's own files."""
    try:
        info = patiently(lambda: api.model_info(repository, files_metadata=True, timeout=TIMEOUT_S))
    except RepositoryNotFoundError:
        # Another publisher may be creating it at the same moment.
        patiently(lambda: api.create_repo(repository, private=True, exist_ok=True))
        info = patiently(lambda: api.model_info(repository, files_metadata=True, timeout=TIMEOUT_S))
    files = {file.rfilename: file for file in info.siblings or [] if file.rfilename not in OWN}
    held = {
        name: Entry(int(file.size or 0), str(file.lfs.sha256 if file.lfs else file.blob_id))
        for name, file in files.items()
    }
    return str(info.sha), held


def _is(held: dict[str, Entry], folder: Path) -> bool:
    local = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return held.keys() == local.keys() and all(
        digest_of(path, held[name].digest) == held[name].digest for name, path in local.items()
    )


def _commit(api: HfApi, repository: str, folder: Path, message: str, found: tuple[str, dict[str, Entry]]) -> str | None:
    """Commit the folder after the head that was found; None when that is the head no more."""
    head, held = found
    local = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}

    def attempt() -> str:
        # A client that has tried keeps its progress in the operations.
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in local.items()),
            *(CommitOperationDelete(path_in_repo=name) for name in held.keys() - local.keys()),
        ]
        done = api.create_commit(repository, operations, commit_message=message, parent_commit=head)
        return str(done.oid)

    try:
        return patiently(attempt)
    except HfHubHTTPError as error:
        # So does a commit look whose answer was lost: the next look at the head tells.
        if error.response.status_code == _MOVED_ON:
            return None
        raise


def _verify(api: HfApi, repository: str, commit: str, folder: Path) -> None:
    """What the Hub says that it holds, against the folder.

    Raises:
        Error: a file differs, is missing, or is there besides.
    """
    found = patiently(lambda: api.verify_repo_checksums(repository, revision=commit, local_dir=folder))
    wrong = [mismatch["path"] for mismatch in found.mismatches] + found.extra_paths
    wrong += [path for path in found.missing_paths if path not in OWN]
    if wrong:
        problem = f"{repository}@{commit} on the Hub is not what was published: {', '.join(sorted(wrong))}"
        raise Error(problem, "run this again; nothing was released")


def token() -> bool:
    """Whether this machine has a token of the Hub, or the identity of a job that gets one.

    Raises:
        Error: HF_OIDC_RESOURCE is set, and there is no such identity, or the Hub gives it none.
    """
    with _explained("get a token of the Hub"), _impatient():
        return patiently(get_token) is not None


def account() -> str:
    """The name of the account that this machine's token is of.

    Raises:
        Error: the Hub does not answer, or takes no such token.
    """
    with _explained("ask the Hub whose HF_TOKEN is"), _impatient():
        return str(patiently(HfApi().whoami)["name"])


def writable(repository: str) -> bool:
    """Whether a model is there that this machine's token may write to; nothing is written.

    Raises:
        Error: the Hub does not answer, or the token may only read.
    """
    with _explained(f"write to {repository}"), _impatient():
        try:
            patiently(lambda: HfApi().auth_check(repository, write=True))
        except RepositoryNotFoundError:
            return False
    return True


@contextmanager
def _impatient() -> Iterator[None]:
    """Let the Hub's client give up a server that says nothing: by itself it would wait for ever."""

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.timeout = httpx2.Timeout(TIMEOUT_S)
        return made

    set_client_factory(client)
    try:
        yield
    finally:
        set_client_factory(default_client_factory)
        close_session()


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say what went wrong in our words: the client's may repeat what a server sent, or an address with a password."""
    try:
        yield
    except HfHubHTTPError as error:
        raise _refused(what, error.response.status_code) from None
    except HFValidationError:
        raise Error(f"cannot {what}: that is no name of a model", "correct release.hub in params.yaml") from None
    except OfflineModeIsEnabled:
        raise Error(f"cannot {what}: HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE") from None
    except OIDCError:
        raise unidentified(what) from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        problem = f"cannot {what}: {host()} does not answer ({str(error) or type(error).__name__})"
        raise Error(problem, "check the network and HF_ENDPOINT, and run this again") from None


def _refused(what: str, status: int) -> Error:
    problem = f"cannot {what}: {host()} answers HTTP {status}"
    if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN, httpx2.codes.NOT_FOUND):
        return Error(problem, "set HF_TOKEN to a token that may write there, or HF_OIDC_RESOURCE for the job's own")
    if status in PASSING:
        return Error(problem, "run this again later: it ends in one release, whatever is done already")
    return Error(problem, "check release.hub in params.yaml, HF_ENDPOINT, and whom the Hub lets use HF_OIDC_RESOURCE")
