"""What is told to people in an issue that is kept up to date: one a subject, opened, changed and closed again."""

from typing import Literal, NamedTuple

State = Literal["open", "cleared", "unknown"]


class Notice(NamedTuple):
    """What an issue shall say.

    Attributes:
        key: of the subject, without spaces: what an issue is found by.
        state: ``open``: it must be there; ``cleared``: no longer; ``unknown``: whatever is there stays.
        episode: names this occurrence. An issue that was closed by hand stays closed until the next one.
        title: one line.
        body: Markdown.
    """

    key: str
    state: State
    episode: str
    title: str
    body: str


class Known(NamedTuple):
    """An issue that is there."""

    number: int
    open: bool
    title: str
    body: str


class Change(NamedTuple):
    """What has to be done to one issue.

    Attributes:
        done: in a word, for people: ``opened``, ``updated``, ``reopened`` or ``closed``.
        number: None: a new one.
        open: whether it is open afterwards.
        title: afterwards.
        body: afterwards.
    """

    done: Literal["opened", "updated", "reopened", "closed"]
    number: int | None
    open: bool
    title: str
    body: str
