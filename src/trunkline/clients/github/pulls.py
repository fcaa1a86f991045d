"""Pull requests from branches of this repository, opened and kept up to date.

Sources: docs.github.com/rest, "Pulls" and "Issues"; docs.github.com/graphql, "Mutations".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, JsonValue

from trunkline.clients.github.answers import read_as
from trunkline.clients.github.http import Api
from trunkline.errors import Error

_ENABLE = "enablePullRequestAutoMerge"
_DISABLE = "disablePullRequestAutoMerge"


class _Repository(BaseModel):
    full_name: str


class _Side(BaseModel):
    ref: str
    sha: str
    repo: _Repository | None


class _Label(BaseModel):
    name: str


class _Row(BaseModel):
    number: int
    node_id: str
    title: str
    body: str | None
    html_url: str
    head: _Side
    base: _Side
    labels: list[_Label]
    auto_merge: dict[str, JsonValue] | None


class _Issue(BaseModel):
    created_at: datetime
    pull_request: dict[str, JsonValue] | None = None


class _Message(BaseModel):
    message: str


class _Mutated(BaseModel):
    errors: list[_Message] = []


class Pull(NamedTuple):
    """An open pull request.

    Attributes:
        node: its name in GraphQL.
        branch: that it is to merge, of this repository.
        merges: whether GitHub will merge it by itself.
        url: its page.
    """

    number: int
    node: str
    branch: str
    title: str
    body: str
    labels: tuple[str, ...]
    merges: bool
    url: str


class Pulls:
    """The pull requests of one repository.

    Args:
        api: of whoever opens them.
        repository: its address in the REST API.
        graphql: the address of GraphQL, which alone knows auto-merge.
    """

    def __init__(self, api: Api, repository: str, graphql: str) -> None:
        self._api = api
        self._repository = repository
        self._graphql = graphql

    def open(self, prefix: str) -> list[Pull]:
        """Those from branches of this repository, not of a fork, whose names begin like this; the oldest first."""
        url = f"{self._repository}/pulls?state=open&sort=created&direction=asc"
        rows = [read_as(_Row, row) for row in self._api.pages(url)]
        return [_pull(row) for row in rows if row.head.ref.startswith(prefix) and _is_here(row)]

    def last(self, label: str) -> datetime | None:
        """When the newest pull request with a label was opened, whatever became of it; None: there was none."""
        url = f"{self._repository}/issues?state=all&labels={label}&sort=created&direction=desc"
        rows = (read_as(_Issue, row) for row in self._api.pages(url))
        return next((row.created_at for row in rows if row.pull_request is not None), None)

    def add(self, branch: str, base: str, title: str, body: str) -> Pull:
        """Open one; a second try first looks whether the first one arrived after all."""

        def arrived() -> JsonValue:
            for row in self._api.pages(f"{self._repository}/pulls?state=open"):
                known = read_as(_Row, row)
                if known.head.ref == branch and _is_here(known):
                    return row
            return None

        content: JsonValue = {"head": branch, "base": base, "title": title, "body": body}
        return _pull(read_as(_Row, self._api.send("POST", f"{self._repository}/pulls", content, arrived)))

    def edit(self, number: int, title: str, body: str) -> None:
        """Replace title and text."""
        self._api.send("PATCH", f"{self._repository}/pulls/{number}", {"title": title, "body": body})

    def label(self, number: int, label: str) -> None:
        """Add a label; the repository gets it if it has none of that name."""
        self._api.send("POST", f"{self._repository}/issues/{number}/labels", {"labels": [label]})

    def ask(self, number: int, reviewers: Sequence[str]) -> None:
        """Request reviews of users, and of teams written as ``org/team``.

        Raises:
            Error: one of them cannot be asked, such as who opened it.
        """
        people: list[JsonValue] = [name for name in reviewers if "/" not in name]
        teams: list[JsonValue] = [name.partition("/")[2] for name in reviewers if "/" in name]
        content: JsonValue = {"reviewers": people, "team_reviewers": teams}
        self._api.send("POST", f"{self._repository}/pulls/{number}/requested_reviewers", content)

    def merge_when_ready(self, node: str) -> None:
        """Let GitHub merge it as soon as every requirement of the branch is met.

        Raises:
            Error: the repository does not allow that, or the branch requires nothing that it could wait for.
        """
        self._mutate(f"{_ENABLE}(input: {{pullRequestId: $id, mergeMethod: MERGE}})", node)

    def hold(self, node: str) -> None:
        """Let GitHub not merge it by itself any more.

        Raises:
            Error: GitHub does not do it.
        """
        self._mutate(f"{_DISABLE}(input: {{pullRequestId: $id}})", node)

    def _mutate(self, mutation: str, node: str) -> None:
        query = f"mutation($id: ID!) {{ {mutation} {{ clientMutationId }} }}"
        asked = self._api.send("POST", self._graphql, {"query": query, "variables": {"id": node}})
        # GraphQL answers 200 whatever it did not do.
        errors = read_as(_Mutated, asked).errors
        if errors:
            said = "; ".join(error.message for error in errors)
            raise Error(f"GitHub did not do {mutation.partition('(')[0]}: {said}", "see the repository's settings")


def _is_here(row: _Row) -> bool:
    here, there = row.base.repo, row.head.repo
    return here is not None and there is not None and here.full_name == there.full_name


def _pull(row: _Row) -> Pull:
    labels = tuple(label.name for label in row.labels)
    merges = row.auto_merge is not None
    return Pull(row.number, row.node_id, row.head.ref, row.title, row.body or "", labels, merges, row.html_url)
