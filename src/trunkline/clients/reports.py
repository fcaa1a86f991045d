"""The reports that the stages have left, each whole or with the reason why not."""

from collections.abc import Iterable
from pathlib import Path

from trunkline.clients import dvc
from trunkline.errors import Error
from trunkline.records import Report

FOLDER = Path("reports")


def read(steps: Iterable[str]) -> dict[str, Report | Error]:
    """``reports/<step>.json`` of each step, or the Error that reading it raised."""
    found: dict[str, Report | Error] = {}
    for step in steps:
        try:
            found[step] = Report.read(FOLDER / f"{step}.json")
        except Error as error:
            found[step] = error
    return found


def changed_stages() -> list[str] | Error:
    """The stages that DVC would run again, or the Error that asking it raised."""
    try:
        return dvc.changed_stages()
    except Error as error:
        return error
