"""GitHub, as one token sees one repository: its comments, commit statuses, issues and pull requests.

The only code that speaks to GitHub's API. It makes no decision: it asks, tells, and says what GitHub
refused (`Refused`) apart from what is wrong (`Error`).
"""

import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, JsonValue

from trunkline.clients.github.answers import read_as
from trunkline.clients.github.http import Api, Refused
from trunkline.clients.github.issues import Issues
from trunkline.clients.github.pulls import Pulls
from trunkline.clients.github.runs import Runs
from trunkline.clients.github.settings import Settings
from trunkline.clients.github.workflow import PullRequest, Workflow
from trunkline.errors import Error

__all__ = ["Comment", "GitHub", "PullRequest", "Refused", "Review", "State", "Workflow"]

State = Literal["error", "failure", "pending", "success"]
# GitHub refuses longer descriptions of a commit status.
MOST_DESCRIPTION = 140


class _User(BaseModel):
    login: str


class _Comment(BaseModel):
    id: int
    body: str | None
    html_url: str
    user: _User | None


class _Viewer(BaseModel):
    viewer: _User


class _Identity(BaseModel):
    data: _Viewer


class _Environment(BaseModel):
    name: str


class _Approval(BaseModel):
    state: str
    comment: str | None
    user: _User | None
    environments: list[_Environment]


class Review(BaseModel):
    """What a reviewer of an environment has said about a run that waited for it.

    Attributes:
        state: ``approved`` or ``rejected``.
        by: the login; empty when the account is gone.
        comment: empty where nothing was written.
    """

    state: str
    by: str
    comment: str
    environments: list[str]


class Comment(BaseModel):
    """A comment of a pull request or an issue.

    Attributes:
        author: the login, such as ``github-actions[bot]``; empty when the account is gone.
        url: the page that shows it.
    """

    id: int
    author: str
    body: str
    url: str


class GitHub:
    """One repository on GitHub.

    Args:
        workflow: names the servers and the repository, and holds the token.
        wait: called with the seconds to wait before a request is tried again.
    """

    def __init__(self, workflow: Workflow, wait: Callable[[float], None] = time.sleep) -> None:
        self._api = Api(workflow.token, wait)
        self._graphql = workflow.graphql
        self._repository = f"{workflow.api}/repos/{workflow.repository}"
        self._run = workflow.number
        self._page = f"{workflow.server}/{quote(workflow.repository, safe='/')}"
        self.issues = Issues(self._api, self._repository)
        self.pulls = Pulls(self._api, self._repository, workflow.graphql)
        self.settings = Settings(self._api, self._repository)
        self.runs = Runs(self._api, self._repository)

    def login(self) -> str:
        """Whose token this is; a comment it writes has this author.

        ``GET /user`` refuses the tokens of apps, which is what a workflow has; GraphQL's ``viewer`` answers
        for every kind of token.
        """
        asked = self._api.send("POST", self._graphql, {"query": "{ viewer { login } }"})
        return read_as(_Identity, asked).data.viewer.login

    def image(self, commit: str, path: str) -> str:
        """The address of a commit's image, which a text on GitHub can show to all who may read the repository."""
        return f"{self._page}/blob/{commit}/{quote(path, safe='/')}?raw=true"

    def reviews(self) -> list[Review]:
        """What reviewers have said about this run; the token needs ``actions: read``."""
        rows = self._api.send("GET", f"{self._repository}/actions/runs/{self._run}/approvals")
        if not isinstance(rows, list):
            raise Error("GitHub's answer is no list of reviews", "check GITHUB_API_URL")
        return [_review(read_as(_Approval, row)) for row in rows]

    def comments(self, number: int) -> list[Comment]:
        """All comments of a pull request or issue, the oldest first."""
        return [_comment(row) for row in self._api.pages(f"{self._repository}/issues/{number}/comments")]

    def add_comment(self, number: int, body: str) -> Comment:
        """Write a new comment; a second try first looks whether the first one arrived after all."""

        def arrived() -> JsonValue:
            rows = self._api.pages(f"{self._repository}/issues/{number}/comments")
            return next((row for row in rows if _same(_comment(row).body, body)), None)

        path = f"{self._repository}/issues/{number}/comments"
        return _comment(self._api.send("POST", path, {"body": body}, arrived))

    def edit_comment(self, comment: int, body: str) -> Comment:
        """Replace a comment's text."""
        return _comment(self._api.send("PATCH", f"{self._repository}/issues/comments/{comment}", {"body": body}))

    def set_status(self, sha: str, context: str, state: State, description: str, url: str) -> None:
        """Set one of a commit's statuses, of which the last of each ``context`` counts.

        Args:
            description: one line, cut to `MOST_DESCRIPTION` characters.
            url: where its *Details* link leads.
        """
        line = " ".join(description.split())
        if len(line) > MOST_DESCRIPTION:
            line = line[: MOST_DESCRIPTION - 1] + "…"
        content: JsonValue = {"context": context, "state": state, "description": line, "target_url": url}
        self._api.send("POST", f"{self._repository}/statuses/{sha}", content)


def _same(one: str, other: str) -> bool:
    # GitHub may keep a text with other line ends, and without those at its end.
    return one.split() == other.split()


def _review(row: _Approval) -> Review:
    names = [environment.name for environment in row.environments]
    author = "" if row.user is None else row.user.login
    return Review(state=row.state, by=author, comment=row.comment or "", environments=names)


def _comment(row: JsonValue) -> Comment:
    read = read_as(_Comment, row)
    author = "" if read.user is None else read.user.login
    return Comment(id=read.id, author=author, body=read.body or "", url=read.html_url)
