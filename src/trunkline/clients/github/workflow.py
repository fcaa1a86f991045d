"""What GitHub Actions tells a job about itself, in environment variables and the event's file."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from trunkline.errors import Error, first_mistake

_OF_ACTIONS = (
    "GITHUB_API_URL",
    "GITHUB_GRAPHQL_URL",
    "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY",
    "GITHUB_RUN_ID",
    "GITHUB_EVENT_NAME",
    "GITHUB_EVENT_PATH",
)
_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
_SUMMARY = "GITHUB_STEP_SUMMARY"
_OUTPUT = "GITHUB_OUTPUT"


@dataclass(frozen=True)
class PullRequest:
    """The pull request that a workflow runs for.

    Attributes:
        head: the commit on its branch; not the merge commit, which GITHUB_SHA is and which nobody sees.
        branch: the branch's name.
        created: when it was opened, ISO 8601.
    """

    number: int
    head: str
    branch: str
    created: str


@dataclass(frozen=True)
class Workflow:
    """The run of a workflow that this process is in.

    Attributes:
        api: address of the REST API, without a slash at its end, and of the other two servers alike.
        repository: ``owner/name``.
        run: address of the run's page.
        pull: the pull request it runs for; None for a push, a schedule and the like.
    """

    api: str
    graphql: str
    server: str
    repository: str
    run: str
    pull: PullRequest | None
    token: str = field(repr=False)

    @property
    def number(self) -> str:
        """The run's, by which the API knows it."""
        return self.run.rpartition("/")[2]


class _Head(BaseModel):
    sha: str = Field(pattern=r"^[0-9a-f]{40,64}$")
    ref: str


class _Pull(BaseModel):
    number: int = Field(ge=1)
    head: _Head
    created_at: str


class _Event(BaseModel):
    pull_request: _Pull | None = None


def here() -> Workflow:
    """Read the run that this process is in.

    Raises:
        Error: a variable is missing (all are named), or the event's file is not an event.
    """
    values = {name: os.environ.get(name, "").strip() for name in (*_OF_ACTIONS, *_TOKENS)}
    token = values["GITHUB_TOKEN"] or values["GH_TOKEN"]
    missing = [name for name in _OF_ACTIONS if not values[name]]
    if not token:
        missing.append(" or ".join(_TOKENS))
    if missing:
        raise Error(
            f"not set: {', '.join(missing)}",
            "run this in a GitHub Actions job, with `env: {GITHUB_TOKEN: ${{ github.token }}}` at its step",
        )
    api, graphql, server = (values[name].rstrip("/") for name in _OF_ACTIONS[:3])
    return Workflow(
        api=api,
        graphql=graphql,
        server=server,
        repository=values["GITHUB_REPOSITORY"],
        run=f"{server}/{values['GITHUB_REPOSITORY']}/actions/runs/{values['GITHUB_RUN_ID']}",
        pull=_pull_request(Path(values["GITHUB_EVENT_PATH"]), values["GITHUB_EVENT_NAME"]),
        token=token,
    )


def _pull_request(path: Path, event: str) -> PullRequest | None:
    hint = "GITHUB_EVENT_PATH must be the file that GitHub Actions writes"
    try:
        found = _Event.model_validate_json(path.read_bytes()).pull_request
    except OSError as error:
        raise Error(f"cannot read {path}: {error.strerror}", hint) from None
    except ValidationError as error:
        raise Error(f"{path}: {first_mistake(error, 'the document')}", hint) from None
    if found is None and event.startswith("pull_request"):
        raise Error(f"{path} is the event of a pull request and names none", hint)
    return None if found is None else PullRequest(found.number, found.head.sha, found.head.ref, found.created_at)


def add_summary(text: str) -> None:
    """Add Markdown to the page of the job's run.

    Raises:
        Error: GitHub Actions named no file for it, or it cannot be written.
    """
    name = os.environ.get(_SUMMARY, "")
    if not name:
        raise Error(f"not set: {_SUMMARY}", "run this in a GitHub Actions job")
    _append(_SUMMARY, name, text.rstrip("\n") + "\n")


def set_outputs(**values: str) -> None:
    """Set outputs of the job's step, each of one line; outside GitHub Actions do nothing.

    Raises:
        Error: the file that GitHub Actions named cannot be written.
    """
    name = os.environ.get(_OUTPUT, "")
    if name:
        _append(_OUTPUT, name, "".join(f"{key}={value}\n" for key, value in values.items()))


def annotate(kind: Literal["error", "warning"], text: str) -> None:
    """Show this on the page of the job's run; outside GitHub Actions do nothing."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(f"::{kind}::" + text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"), file=sys.stderr)


def _append(variable: str, name: str, text: str) -> None:
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Error(f"cannot write {name}: {error.strerror}", f"{variable} must name a file") from None
