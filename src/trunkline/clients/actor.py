"""Who decides here, and in which run of a workflow, for the record that an auditor reads."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from trunkline.clients.git import clone
from trunkline.errors import Error
from trunkline.records.release import Decision


def name(given: str | None = None) -> str:
    """Who decides: the name given, or whoever GitHub Actions or Git's configuration names.

    Raises:
        Error: nobody is named.
    """
    # Whoever ran a job again is not whoever began it.
    found = (given, *map(os.environ.get, ("GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR")), _configured())
    for candidate in found:
        if candidate and candidate.strip():
            return " ".join(candidate.split())
    raise Error("who decides is not known", "`git config user.name NAME` says it, or --by where a command has it")


def decision(said: Mapping[str, str], by: str | None) -> Decision:
    """A decision made here and now.

    Args:
        said: the decision's model, environment, version, action and reason.
        by: who decides, as for `name`.

    Raises:
        Error: nobody is named.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Decision.model_validate({**said, "previous": None, "by": name(by), "created": created, "run": run()})


def run() -> str | None:
    """Address of the workflow's run that this process is in; None outside GitHub Actions."""
    server, repository, number = map(os.environ.get, ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"))
    return f"{server.rstrip('/')}/{repository}/actions/runs/{number}" if server and repository and number else None


def _configured() -> str:
    return os.environ.get("GIT_AUTHOR_NAME") or clone.configured("user.name") or ""
