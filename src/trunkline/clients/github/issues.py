"""Issues of a repository, and those among them that are kept up to date.

Sources: docs.github.com/rest, "Issues".
"""

from collections.abc import Callable, Iterator, Sequence

from pydantic import BaseModel, JsonValue

from trunkline.clients.github.answers import read_as
from trunkline.clients.github.http import Api
from trunkline.records.notice import Change, Known


class _User(BaseModel):
    login: str


class _Row(BaseModel):
    number: int
    state: str
    title: str
    body: str | None
    html_url: str
    user: _User | None
    # Every pull request is an issue too; this tells them apart.
    pull_request: dict[str, JsonValue] | None = None


class Issues:
    """The issues of one repository.

    Args:
        api: of whoever writes them.
        repository: its address in the REST API.
    """

    def __init__(self, api: Api, repository: str) -> None:
        self._api = api
        self._url = f"{repository}/issues"

    def settle(
        self, login: str, label: str, decide: Callable[[Sequence[Known]], Sequence[Change]]
    ) -> list[tuple[Change, str]]:
        """Do what ``decide`` makes of this account's issues as they are now.

        Two runs at once may both open an issue, so after that all are read again and decided anew; what GitHub does
        not list yet by then, the next call finds.

        Args:
            login: whose issues these are; others' are neither read nor changed.
            label: of every issue that is opened, by which closed ones are found.

        Returns:
            Each change with the address of its issue.
        """
        known = self._known(login, label)
        made = [(change, self._make(change, label)) for change in decide(list(known.values()))]
        if any(change.number is None for change, _ in made):
            written = {row.number: _as_known(row) for _, row in made}
            now = self._known(login, label) | written
            made += [(change, self._make(change, label)) for change in decide(list(now.values()))]
        return [(change, row.html_url) for change, row in made]

    def _known(self, login: str, label: str) -> dict[int, Known]:
        # An open one counts whatever somebody did to its labels.
        rows = [*self._listed("state=open"), *self._listed(f"state=closed&labels={label}")]
        return {row.number: _as_known(row) for row in rows if row.user is not None and row.user.login == login}

    def _listed(self, query: str) -> Iterator[_Row]:
        rows = (read_as(_Row, row) for row in self._api.pages(f"{self._url}?{query}"))
        return (row for row in rows if row.pull_request is None)

    def _make(self, change: Change, label: str) -> _Row:
        text: dict[str, JsonValue] = {"title": change.title, "body": change.body}
        if change.number is None:
            return self._open(text, label)
        state: JsonValue = "open" if change.open else "closed"
        return read_as(_Row, self._api.send("PATCH", f"{self._url}/{change.number}", {**text, "state": state}))

    def _open(self, text: dict[str, JsonValue], label: str) -> _Row:
        def arrived() -> JsonValue:
            rows = self._api.pages(f"{self._url}?state=open")
            return next((row for row in rows if isinstance(row, dict) and row.get("body") == text["body"]), None)

        return read_as(_Row, self._api.send("POST", self._url, {**text, "labels": [label]}, arrived))


def _as_known(row: _Row) -> Known:
    return Known(row.number, row.state == "open", row.title, row.body or "")
