"""How this clone is set up: configuration, remotes, depth, and whether it has the remote's tags."""

from trunkline.clients.git.command import attempt, git
from trunkline.errors import Error


def configured(key: str) -> str | None:
    """A value of Git's configuration, such as ``user.name``; None where it is not set."""
    done = attempt("config", "--get", key)
    return done.stdout.decode(errors="replace").strip() or None


def address(remote: str) -> str | None:
    """Where a remote leads; None where there is no such remote."""
    done = attempt("remote", "get-url", remote)
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def shallow() -> bool:
    """Whether history is cut off here.

    Raises:
        Error: this is no Git repository.
    """
    return git("rev-parse", "--is-shallow-repository").strip() == b"true"


def missing_tags(remote: str) -> list[str]:
    """Names of the remote's tags that this clone lacks or has otherwise, in order.

    Raises:
        Error: the remote does not answer.
    """
    done = attempt("ls-remote", "--tags", "--refs", remote)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise Error(f"{remote} does not answer: {said[0]}", f"try `git ls-remote {remote}`")
    form = "--format=%(objectname) %(refname)"
    here = {tuple(line.split(" ", 1)) for line in git("for-each-ref", form, "refs/tags").decode().splitlines()}
    there = {tuple(line.split("\t", 1)) for line in done.stdout.decode().splitlines()}
    return sorted(name.removeprefix("refs/tags/") for _, name in there - here)
