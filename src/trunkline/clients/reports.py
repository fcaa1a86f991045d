"""The reports that the stages have left, each whole or with the reason why not."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trunkline.clients import dvc, pipeline, snapshot
from trunkline.errors import Error
from trunkline.records import Production, Report

FOLDER = Path("reports")
PAGE = FOLDER / "report.md"
LOCK = Path("dvc.lock")


class Left(NamedTuple):
    """What a run has left.

    Attributes:
        reports: each step's, or why it cannot be read.
        changed: the stages whose reports are not of this code, data and params, or why that is unknown.
        unwritten: the steps whose report no stage writes.
        page: the text of ``reports/report.md``, or why it cannot be read.
        pinned: the production that it was compared with, or why that cannot be read.
        inherited: whether dvc.yaml, dvc.lock and every JSON report are those of where it left the base branch.
    """

    reports: dict[str, Report | Error]
    changed: list[str] | Error
    unwritten: list[str]
    page: str | Error
    pinned: Production | Error
    inherited: bool = False


def here(steps: Sequence[str], pin: Path) -> Left:
    """Read the working tree's reports, and ask DVC whether they still describe it; the arguments as in `of_commit`."""
    return Left(read(steps), *_standing(Path(), steps, lambda folder: dvc.changed_stages()), page(), pinned(pin))


def of_commit(commit: str, steps: Sequence[str], pin: Path, base: str | None = None) -> Left:
    """Read a commit's reports and compare its dvc.lock with its files; nothing of it runs, nothing is trusted.

    Args:
        commit: 40 hex digits.
        steps: those that must have a report.
        pin: where the production that it is compared with is pinned.
        base: a commit of the branch that it goes to; None: of what it inherits nothing is known.

    Raises:
        Error: there is no such commit, or no such base.
    """
    with snapshot.of(commit) as folder:
        standing = _standing(folder, steps, lambda folder: list(pipeline.stale(folder)))
        found = Left(read(steps, folder / FOLDER), *standing, page(folder), pinned(pin, folder))
    return found._replace(inherited=base is not None and _inherited(commit, base))


def pinned(path: Path, folder: Path = Path()) -> Production | Error:
    """The production that a branch is compared with, from a folder with its files, or why it cannot be read."""
    try:
        return Production.read(folder / path)
    except Error as error:
        return Error(error.problem.replace(str(folder / path), str(path)), error.hint)


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


def _inherited(commit: str, base: str) -> bool:
    start = snapshot.fork(base, commit)
    return start is not None and _recorded(commit) == _recorded(start)


def _recorded(commit: str) -> dict[str, str]:
    found = snapshot.contents(commit, str(dvc.PIPELINE), str(LOCK), str(FOLDER))
    return {path: blob for path, blob in found.items() if not path.startswith(f"{FOLDER}/") or path.endswith(".json")}


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
            # Where a commit's files lie for a moment is nobody's matter.
            name = f"{step}.json"
            found[step] = Error(error.problem.replace(str(folder / name), str(FOLDER / name)), error.hint)
    return found
