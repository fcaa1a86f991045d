"""Runs ``git`` in the current folder: never asking, and under a name even where none is configured."""

import os
import re
import subprocess
from collections.abc import Mapping

from trunkline.errors import Error

_HINT = "check the revision and the path; a shallow clone needs `git fetch --unshallow --tags`"
_ELSEWHERE = "run this in a clone of the repository, or `git init` here"
_OUTSIDE = "check the remote's address (`git remote -v`), the network and the token"
_REMOTE = ("fetch", "ls-remote", "push")
# Who commits and tags on a runner that has no identity of its own.
_NAME, _EMAIL = "trunkline", "trunkline@users.noreply.github.com"
# Git has no exit code for a lost race, so the words decide, which must then be English.
_ENGLISH = {"LC_ALL": "C", "LANGUAGE": "C"}
# A server that sends nothing for so many seconds is dead; Git alone would wait for ever.
_PATIENCE = {"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "60"}
# Git looks at no clone of another user's, as in a container that runs as root.
_FOREIGN = re.compile(r"dubious ownership in repository at '([^']+)'")
_SECRET = re.compile(r"://[^/\s@]+@")


class Foreign(Error):
    """The clone belongs to another user, and Git answers nothing about it."""


def git(*arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> bytes:
    """What ``git`` printed.

    Args:
        stdin: given to it; nothing otherwise.
        environment: variables besides those of this process.

    Raises:
        Error: Git is not installed, or failed.
    """
    done = attempt(*arguments, stdin=stdin, environment=environment)
    if done.returncode != 0:
        words = said(done).strip() or f"no such revision: {arguments[-1]}"
        lines = [line for line in words.splitlines() if line.startswith(("fatal:", "error:"))] or words.splitlines()
        foreign = _FOREIGN.search(lines[0])
        if foreign is not None:
            raise Foreign(f"git {arguments[0]}: {lines[0]}", f"git config --global --add safe.directory {foreign[1]}")
        hint = _OUTSIDE if arguments[0] in _REMOTE else _HINT
        raise Error(f"git {arguments[0]}: {lines[0]}", _ELSEWHERE if "not a git repository" in lines[0] else hint)
    return done.stdout


def attempt(
    *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """As `git`, but a failure is returned, for the caller to read.

    Raises:
        Error: Git is not installed.
    """
    settings = {**_PATIENCE, **os.environ, "GIT_TERMINAL_PROMPT": "0", **_ENGLISH, **(environment or {})}
    try:
        # In a session of its own Git has no terminal, so ssh cannot ask there for a passphrase or a host key.
        return subprocess.run(
            ["git", *arguments],
            capture_output=True,
            check=False,
            env=settings,
            input=stdin or b"",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Error("git is not installed", "install git and run this again") from None


def said(done: "subprocess.CompletedProcess[bytes]") -> str:
    """What a command complained about, without the password of a remote's address."""
    return _SECRET.sub("://***@", done.stderr.decode(errors="replace"))


def identity() -> dict[str, str]:
    """Variables that name the author and committer where Git's configuration and environment do not."""
    found = {}
    for key, variable, value in (("user.name", "NAME", _NAME), ("user.email", "EMAIL", _EMAIL)):
        configured = attempt("config", "--get", key).stdout.strip()
        for role in ("AUTHOR", "COMMITTER"):
            if not configured and not os.environ.get(f"GIT_{role}_{variable}"):
                found[f"GIT_{role}_{variable}"] = value
    return found
