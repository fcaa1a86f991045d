"""The reports that the stages have left, each whole or with the reason why not."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import dvc, pipeline, snapshot
from trunkline.errors import Error
from trunkline.records import Report

FOLDER = Path("reports")
PAGE = FOLDER / "report.md"


class Left(NamedTuple):
    """What a commit's run has left.

    Attributes:
        reports: each step's, or why it cannot be read.
        changed: the stages whose reports are not of that commit's code, data and params, or why that is unknown.
        page: the text of ``reports/report.md``, or why it cannot be read.
    """

    reports: dict[str, Report | Error]
    changed: list[str] | Error
    page: str | Error


def of_commit(commit: str, steps: Iterable[str]) -> Left:
    """Read a commit's reports and compare its dvc.lock with its files; nothing of it runs, nothing is trusted.

    Raises:
        Error: there is no such commit.
    """
    with snapshot.of(commit) as folder:
        try:
            changed: list[str] | Error = list(pipeline.stale(folder))
        except Error as error:
            changed = error
        return Left(read(steps, folder / FOLDER), changed, page(folder))


def page(folder: Path = Path()) -> str | Error:
    """The text of ``reports/report.md`` in a working tree, or why it cannot be read."""
    hint = "run `trunkline report`, then this again"
    try:
        return (folder / PAGE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return Error(f"{PAGE} not found", hint)
    except (OSError, UnicodeDecodeError):
        return Error(f"{PAGE} cannot be read", hint)


def read(steps: Iterable[str], folder: Path = FOLDER) -> dict[str, Report | Error]:
    """``<step>.json`` of each step in a folder of reports, or the Error that reading it raised."""
    found: dict[str, Report | Error] = {}
    for step in steps:
        try:
            found[step] = Report.read(folder / f"{step}.json")
        except Error as error:
            found[step] = error
    return found


def changed_stages() -> list[str] | Error:
    """The stages that DVC would run again, or the Error that asking it raised."""
    try:
        return dvc.changed_stages()
    except Error as error:
        return error
