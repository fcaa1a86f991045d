"""Commits and pushes that leave the working tree and the index alone."""

import re
from collections.abc import Iterable, Iterator, Mapping

from trunkline.clients import scratch
from trunkline.clients.git.command import attempt, git, identity, said
from trunkline.errors import Error

_NOTHING = "0" * 40
# What a server says when another push overtook this one after the refs were compared.
_LOST_THERE = re.compile(r"reference already exists|but expected [0-9a-f]{40}|\.lock': File exists")


class Rejected(Error):
    """The remote has moved on since it was read: fetch, decide anew and push again."""


def commit(parent: str | None, changes: Mapping[str, bytes | None], message: str) -> str:
    """Write a commit with these files changed, and return its 40-hex name; no branch moves.

    Args:
        parent: the commit it follows; None begins a new history.
        changes: by path from the repository's top: the new bytes, or None to remove the file.
        message: of the commit.

    Raises:
        Error: the parent is not here, or the disk refused it.
    """
    with scratch.folder() as temporary:
        index = {"GIT_INDEX_FILE": str(temporary / "index")}
        if parent is not None:
            git("read-tree", parent, environment=index)
        for path, content in changes.items():
            if content is None:
                git("update-index", "--force-remove", "--", path, environment=index)
                continue
            blob = git("hash-object", "-w", "--stdin", stdin=content).decode().strip()
            git("update-index", "--add", "--cacheinfo", f"{_mode(parent, path)},{blob},{path}", environment=index)
        tree = git("write-tree", environment=index).decode().strip()
    parents = [] if parent is None else ["-p", parent]
    return (
        git("commit-tree", tree, *parents, "-F", "-", stdin=message.encode(), environment=identity()).decode().strip()
    )


def remote_head(remote: str, branch: str) -> str | None:
    """The commit that a remote's branch is at now; None when there is no such branch.

    Raises:
        Error: the remote cannot be reached.
    """
    # Git lists every ref that ends like this one, such as a branch `x/refs/heads/main`.
    wanted = f"refs/heads/{branch}"
    listed = [line.split("\t") for line in git("ls-remote", remote, wanted).decode().splitlines()]
    return next((commit for commit, ref in listed if ref == wanted), None)


def local_head(branch: str) -> str | None:
    """The commit that this clone's branch is at; None when there is no such branch."""
    done = attempt("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    return done.stdout.decode().strip() or None


def update(refs: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """Set refs of this clone, all of them or none; the arguments are those of `push`.

    Raises:
        Rejected: a ref was not where it was expected.
    """
    lines = [f"update {ref} {new} {expected.get(ref) or _NOTHING}\n" for ref, new in refs.items()]
    done = attempt("update-ref", "--stdin", stdin="".join(lines).encode())
    if done.returncode != 0:
        words = (said(done).strip() or "it said nothing").splitlines()[0]
        raise Rejected(f"this clone has moved on: {words}", "run this again")


def fetch(remote: str, branch: str) -> None:
    """Fetch a branch's commits without moving anything here.

    Raises:
        Error: the remote cannot be reached, or has no such branch.
    """
    git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, f"refs/heads/{branch}")


def default(remote: str) -> tuple[str, str] | None:
    """Name and commit of the remote's default branch; None where it names none, or has no commit yet.

    Raises:
        Error: the remote cannot be reached.
    """
    # `ref: refs/heads/main<tab>HEAD`, and a line with the commit unless the branch is still without one.
    listed = [line.split() for line in git("ls-remote", "--symref", remote, "HEAD").decode().splitlines()]
    heads = [words[0] for words in listed if words[0] != "ref:"]
    named = [words[1].removeprefix("refs/heads/") for words in listed if words[0] == "ref:"]
    return (named[0], heads[0]) if heads and named else None


def here(commit: str) -> bool:
    """Whether a commit is in this clone."""
    return attempt("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def unmerged(remote: str, commit: str) -> str | None:
    """The remote's default branch, if it does not hold a commit yet.

    Returns:
        None where it does, and where the remote names no default branch.

    Raises:
        Error: the remote cannot be reached, or the commit is not here.
    """
    found = default(remote)
    if found is None or found[1] == commit:
        return None
    name, head = found
    fetch(remote, name)
    return None if attempt("merge-base", "--is-ancestor", commit, head).returncode == 0 else name


def refresh(remote: str, prefix: str) -> None:
    """Bring what this clone knows of a remote's branches below a prefix up to date, as ``git fetch`` does.

    Raises:
        Error: the remote cannot be reached.
    """
    spec = f"+refs/heads/{prefix}*:refs/remotes/{remote}/{prefix}*"
    git("fetch", "--quiet", "--no-tags", "--prune", "--no-write-fetch-head", remote, spec)


def known(remote: str | None, branch: str) -> str:
    """The ref by which this clone knows a branch of a remote, or with None its own."""
    return f"refs/heads/{branch}" if remote is None else f"refs/remotes/{remote}/{branch}"


def read(remote: str | None, branch: str, path: str) -> bytes | None:
    """A file of a branch as this clone last knew it; None when the branch or the file is not there.

    Args:
        remote: whose branch; None for this clone's own.
        path: from the repository's top.
    """
    done = attempt("cat-file", "blob", f"{known(remote, branch)}:{path}")
    return done.stdout if done.returncode == 0 else None


def snapshot(remote: str | None, branch: str, paths: Iterable[str]) -> dict[str, bytes]:
    """Files of one commit of a branch as this clone last knew it, by path; those that it lacks are left out.

    Args:
        remote: whose branch; None for this clone's own.
        paths: from the repository's top.
    """
    commit = attempt("rev-parse", "--verify", "--quiet", known(remote, branch)).stdout.decode().strip()
    # Without a commit Git would look into the index.
    found = {path: at(commit, path) for path in paths} if commit else {}
    return {path: content for path, content in found.items() if content is not None}


def histories(remote: str | None, prefix: str, path: str) -> dict[str, list[bytes]]:
    """By branch below a prefix, as this clone last knew it: each content that a file had, the oldest first.

    Args:
        remote: whose branches; None for this clone's own.
        prefix: such as ``env/``.
        path: from the repository's top.
    """
    place = "refs/heads/" if remote is None else f"refs/remotes/{remote}/"
    form = f"--format=%(refname:lstrip={place.count('/')})"
    names = git("for-each-ref", form, f"{place}{prefix}").decode().split()
    return {name: versions(f"{place}{name}", path) for name in names}


def at(commit: str, path: str) -> bytes | None:
    """A file of a commit by its path from the repository's top; None when it is not there."""
    done = attempt("cat-file", "blob", f"{commit}:{path}")
    return done.stdout if done.returncode == 0 else None


def versions(commit: str, path: str, since: str | None = None) -> list[bytes]:
    """Each content that a file had up to a commit, or a ref's, the oldest first; none where it was absent.

    Args:
        path: from the repository's top.
        since: only in commits that this one's history does not hold.

    Raises:
        Error: one of the commits is not here.
    """
    return list(newest_first(commit, path, since))[::-1]


def newest_first(commit: str, path: str, since: str | None = None) -> Iterator[bytes]:
    """The same contents, the last first, read as they are asked for.

    Raises:
        Error: one of the commits is not here.
    """
    commits = [commit] if since is None else [commit, f"^{since}"]
    told = git("rev-list", "--end-of-options", *commits, "--", f":(top){path}").decode().split()
    yield from (content for each in told if (content := at(each, path)) is not None)


def push(remote: str, refs: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """Set refs on a remote, all of them or none.

    Args:
        remote: name or address.
        refs: by full ref name (``refs/tags/…``, ``refs/heads/…``): the local ref or commit it gets.
        expected: by full ref name: the commit it must be at now, None for a ref that must not exist yet. A ref
            that is not named is only created or moved forward.

    Raises:
        Rejected: a ref was not where it was expected.
        Error: the remote refused for another reason, or cannot be reached.
    """
    leases = [f"--force-with-lease={ref}:{commit or ''}" for ref, commit in expected.items()]
    specs = [f"{source}:{ref}" for ref, source in refs.items()]
    done = attempt("push", "--porcelain", "--atomic", *leases, remote, *specs)
    if done.returncode == 0:
        return
    words = done.stdout.decode(errors="replace") + said(done)
    refused = [" ".join(line[1:].split()) for line in words.splitlines() if line.startswith("!")]
    raced = next((line for line in refused if "[rejected]" in line and "atomic push failed" not in line), None)
    if raced is not None or _LOST_THERE.search(words):
        raise Rejected(f"{remote} has moved on: {raced or refused[0]}", "fetch and run this again")
    told = [" ".join(line.split()) for line in words.splitlines() if line.startswith(("remote: ", "fatal:"))]
    told += [line for line in refused if "atomic push fail" not in line]
    problem = "; ".join([line for line in told if line != "remote:"][:3]) or "it said nothing"
    raise Error(f"cannot push to {remote}: {problem}", "check the remote, the token's rights and the branch rules")


def _mode(parent: str | None, path: str) -> str:
    """As the file has it in the parent; a plain file when it is new."""
    if parent is not None:
        listed = git("ls-tree", parent, "--", path).decode()
        if listed:
            return listed.split()[0]
    return "100644"
