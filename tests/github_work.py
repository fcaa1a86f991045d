"""Issues and pull requests for the GitHub double, with what GitHub checks when they are made.

`attach` gives a double these routes and a bare repository, whose branches are the ones that pull requests may be of.
"""

import itertools
import re
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import starter
from github_double import (
    _REPOS,
    _ROUTES,
    REPOSITORY,
    Actor,
    Answer,
    GitHubDouble,
    Request,
    _error,
    _invalid,
    _page,
    _viewer,
)

MOST_TITLE = 256


class Work:
    """What a double knows of issues and pull requests; one counter numbers both.

    Attributes:
        allows_auto_merge: the repository's setting.
        requires: whether the base branch requires anything that a merge could wait for.
        people: who may be asked for a review.
        late: how many of the newest rows lists leave out, as GitHub's do for a moment.
        meeting: where requests for new issues wait for each other before and after.
    """

    def __init__(self, double: GitHubDouble, origin: Path | None) -> None:
        self.double, self.origin = double, origin
        self.rows: dict[int, dict[str, Any]] = {}
        self.allows_auto_merge = self.requires = True
        self.people = {"ada", "bob"}
        self.late = 0
        self.meeting: threading.Barrier | None = None
        self._numbers = itertools.count(100)

    @property
    def issues(self) -> list[dict[str, Any]]:
        return [row for row in self.rows.values() if "pull_request" not in row]

    @property
    def pulls(self) -> list[dict[str, Any]]:
        return [row for row in self.rows.values() if "pull_request" in row]

    def add(self, author: str, title: str, body: str | None, labels: list[str]) -> dict[str, Any]:
        """A new row, as if somebody had made it in the browser."""
        number = next(self._numbers)
        row = {
            "number": number,
            "node_id": f"PR_{number}",
            "title": title,
            "body": body,
            "state": "open",
            "state_reason": None,
            "labels": [{"name": label} for label in labels],
            "user": {"login": author},
            "created_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "html_url": f"{self.double.url}/{REPOSITORY}/issues/{number}",
        }
        self.rows[number] = row
        return row

    def add_pull(self, author: str, head: str, title: str = "a pull request", **changes: Any) -> dict[str, Any]:
        """A new pull request into main, of this repository unless ``owner`` says otherwise."""
        owner = changes.pop("owner", REPOSITORY)
        row = self.add(author, title, changes.pop("body", None), changes.pop("labels", []))
        base = {"ref": "main", "sha": "0" * 40, "repo": {"full_name": REPOSITORY}}
        row |= {
            "pull_request": {"url": f"{self.double.url}{_REPOS}/pulls/{row['number']}"},
            "head": {"ref": head, "sha": "0" * 40, "repo": {"full_name": owner}},
            "base": base,
            "auto_merge": None,
            "requested_reviewers": [],
            "requested_teams": [],
            "html_url": f"{self.double.url}/{REPOSITORY}/pull/{row['number']}",
        }
        row |= changes
        return row

    def branch(self, name: str) -> str | None:
        """Where the repository's branch is."""
        listed = starter.git(self.origin, "for-each-ref", "--format=%(objectname)", f"refs/heads/{name}")
        return listed or None


def attach(double: GitHubDouble, origin: Path | None = None) -> Work:
    """Let a double answer for issues and pull requests of the bare repository ``origin``."""
    double.work = Work(double, origin)
    return double.work


def _wrong(content: dict[str, Any], resource: str) -> Answer | None:
    if "title" in content and not (content["title"] or "").strip():
        return _invalid(resource, "title", "title can't be blank")
    if len(content.get("title") or "") > MOST_TITLE:
        return _invalid(resource, "title", f"title is too long (maximum is {MOST_TITLE} characters)")
    if len(content.get("body") or "") > 65_536:
        return _invalid(resource, "body", "body is too long (maximum is 65536 characters)")
    return None


def _listed(double: GitHubDouble, request: Request, rows: list[dict[str, Any]]) -> Answer:
    """As GitHub lists: open ones unless asked otherwise, the newest first unless asked otherwise."""
    asked = request.query
    state, labels = asked.get("state", "open"), set(filter(None, asked.get("labels", "").split(",")))
    shown = rows[: max(0, len(rows) - double.work.late)]
    shown = [row for row in shown if state in ("all", row["state"])]
    shown = [row for row in shown if labels <= {label["name"] for label in row["labels"]}]
    order = sorted(shown, key=lambda row: (row["created_at"], row["number"]), reverse=asked.get("direction") != "asc")
    return _page(double, request, order)


def _list_issues(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    return _listed(double, request, list(double.work.rows.values()))


def _list_pulls(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    return _listed(double, request, double.work.pulls)


def _add_issue(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    content = request.body
    wrong = _wrong(content, "Issue")
    if wrong or "title" not in content:
        return wrong or _invalid("Issue", "title", "title wasn't supplied")
    work = double.work
    if work.meeting:
        work.meeting.wait(120)
    row = work.add(actor.login, content["title"], content.get("body"), content.get("labels", []))
    if work.meeting:
        work.meeting.wait(120)
    return Answer(201, row)


def _edit(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    row = double.work.rows.get(int(number))
    wrong = _wrong(request.body, "Issue")
    if row is None or wrong:
        return wrong or Answer(404, _error(404, "Not Found"))
    row |= {key: request.body[key] for key in ("title", "body", "state") if key in request.body}
    return Answer(200, row)


def _label(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    row = double.work.rows[int(number)]
    there = {label["name"] for label in row["labels"]}
    row["labels"] += [{"name": name} for name in request.body["labels"] if name not in there]
    return Answer(200, row["labels"])


def _add_pull(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    content, work = request.body, double.work
    wrong = _wrong(content, "PullRequest")
    head, base = work.branch(content["head"]), work.branch(content["base"])
    if wrong:
        return wrong
    if head is None or base is None:
        return _invalid("PullRequest", "head" if head is None else "base", "is invalid")
    own = [row for row in work.pulls if row["head"]["repo"]["full_name"] == REPOSITORY]
    if any(row["state"] == "open" and row["head"]["ref"] == content["head"] for row in own):
        return _invalid("PullRequest", "head", f"A pull request already exists for acme:{content['head']}.")
    if not starter.git(work.origin, "rev-list", f"{base}..{head}"):
        return _invalid("PullRequest", "head", f"No commits between {content['base']} and {content['head']}")
    return Answer(201, work.add_pull(actor.login, content["head"], content["title"], body=content.get("body")))


def _review(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    row, asked = double.work.rows[int(number)], request.body
    for name in asked.get("reviewers", []):
        if name not in double.work.people:
            message = "Reviews may only be requested from collaborators."
            return Answer(422, _error(422, message))
        if name == row["user"]["login"]:
            return Answer(422, _error(422, "Review cannot be requested from pull request author."))
    row["requested_reviewers"] = [{"login": name} for name in asked.get("reviewers", [])]
    row["requested_teams"] = [{"slug": name} for name in asked.get("team_reviewers", [])]
    return Answer(201, row)


def _graphql(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    found = re.search(r"(enable|disable)PullRequestAutoMerge", request.body["query"])
    if found is None:
        return _viewer(double, actor, request)
    work, node = double.work, request.body["variables"]["id"]
    row = next(row for row in work.pulls if row["node_id"] == node)
    message = None
    if found[1] == "enable" and not work.allows_auto_merge:
        message = "Pull request Auto merge is not allowed for this repository"
    elif found[1] == "enable" and not work.requires:
        message = "Pull request Pull request is in clean status"
    elif found[1] == "disable" and row["auto_merge"] is None:
        message = "Can't disable auto-merge for this pull request."
    if message:
        return Answer(200, {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": message}]})
    row["auto_merge"] = {"merge_method": "merge"} if found[1] == "enable" else None
    return Answer(200, {"data": {found[0]: {"clientMutationId": None}}})


_OWN = [
    ("POST", "/api/graphql", _graphql),
    ("GET", rf"{_REPOS}/issues", _list_issues),
    ("POST", rf"{_REPOS}/issues", _add_issue),
    ("PATCH", rf"{_REPOS}/issues/(\d+)", _edit),
    ("POST", rf"{_REPOS}/issues/(\d+)/labels", _label),
    ("GET", rf"{_REPOS}/pulls", _list_pulls),
    ("POST", rf"{_REPOS}/pulls", _add_pull),
    ("PATCH", rf"{_REPOS}/pulls/(\d+)", _edit),
    ("POST", rf"{_REPOS}/pulls/(\d+)/requested_reviewers", _review),
]
# Whatever of GraphQL is not ours here is the double's own.
_ROUTES[:] = [route for route in _ROUTES if route[1] != "/api/graphql"] + _OWN
