"""Who decides here, and in which run of a workflow, for the record that an auditor reads."""

import os

from trunkline.clients.git.command import attempt
from trunkline.errors import Error


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
    raise Error("who decides is not known", "say it with --by, or set git's user.name")


def run() -> str | None:
    """Address of the workflow's run that this process is in; None outside GitHub Actions."""
    server, repository, number = map(os.environ.get, ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"))
    return f"{server.rstrip('/')}/{repository}/actions/runs/{number}" if server and repository and number else None


def _configured() -> str:
    return os.environ.get("GIT_AUTHOR_NAME") or attempt("config", "--get", "user.name").stdout.decode().strip()
