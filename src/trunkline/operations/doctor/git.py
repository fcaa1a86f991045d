"""Whether this clone can be the control plane: identity, origin, whole history, all tags."""

import os

from trunkline.clients.git import clone
from trunkline.clients.github.place import without_user
from trunkline.errors import Error
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown

REMOTE = "origin"


def check() -> list[Diagnosis]:
    """All of it, or that this is no Git repository."""
    try:
        history = _history()
    except Error as error:
        return [failed("repository", error.problem, error.hint)]
    address = clone.address(REMOTE)
    if address is None:
        missing = failed("origin", "there is no remote", "git remote add origin https://github.com/OWNER/NAME")
        return [_identity(), missing, history]
    return [_identity(), passed("origin", without_user(address)), history, _tags()]


def _identity() -> Diagnosis:
    name, email = clone.configured("user.name"), clone.configured("user.email")
    if name and email:
        return passed("identity", f"{name} <{email}>")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return passed("identity", "none: a workflow commits as trunkline")
    missing = "user.email" if name else "user.name"
    return failed("identity", f"{missing} is not set", f"git config --global {missing} '...'")


def _history() -> Diagnosis:
    if clone.shallow():
        return failed("history", "this clone is shallow", "git fetch --unshallow --tags")
    return passed("history", "whole")


def _tags() -> Diagnosis:
    try:
        missing = clone.missing_tags(REMOTE)
    except Error as error:
        return unknown("tags", error.problem, error.hint)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return failed("tags", f"not as in {REMOTE}: {missing[0]}{more}", "git fetch --tags --force")
    return passed("tags", f"as in {REMOTE}")
