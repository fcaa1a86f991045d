"""The reports that the stages have left, each whole or with the reason why not."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import dvc, pipeline, snapshot
from trunkline.errors import Error
from trunkline.records import Report

FOLDER = Path("reports")
PAGE = FOLDER / "report.md"


class Left(NamedTuple):
    """What a run has left.

    Attributes:
        reports: each step's, or why it cannot be read.
        changed: the stages whose reports are not of this code, data and params, or why that is unknown.
        unwritten: the steps whose report no stage writes.
        page: the text of ``reports/report.md``, or why it cannot be read.
    """

    reports: dict[str, Report | Error]
    changed: list[str] | Error
    unwritten: list[str]
    page: str | Error


def here(steps: Sequence[str]) -> Left:
    """Read the working tree's reports, and ask DVC whether they still describe it."""
    return Left(read(steps), *_standing(Path(), steps, lambda folder: dvc.changed_stages()), page())


def of_commit(commit: str, steps: Sequence[str]) -> Left:
    """Read a commit's reports and compare its dvc.lock with its files; nothing of it runs, nothing is trusted.

    Raises:
        Error: there is no such commit.
    """
    with snapshot.of(commit) as folder:
        standing = _standing(folder, steps, lambda folder: list(pipeline.stale(folder)))
        return Left(read(steps, folder / FOLDER), *standing, page(folder))


def unwritten(steps: Iterable[str], folder: Path = Path()) -> list[str]:
    """The steps whose report no stage of a folder's pipeline writes.

    Raises:
        Error: there is no DVC here, or it cannot read its files.
    """
    return [path.stem for path in pipeline.unwritten(folder, [FOLDER / f"{step}.json" for step in steps])]


def _standing(
    folder: Path, steps: Sequence[str], changed: Callable[[Path], list[str]]
) -> tuple[list[str] | Error, list[str]]:
    try:
        return changed(folder), unwritten(steps, folder)
    except Error as error:
        return error, []


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
