"""One thing that `doctor` has looked at, and the page of all of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trunkline.verdict import Verdict, worst

WORKS = {Verdict.PASS: "works", Verdict.INCONCLUSIVE: "not sure", Verdict.FAIL: "does not work yet"}


class Diagnosis(NamedTuple):
    """What was found.

    Attributes:
        name: of the check.
        verdict: inconclusive when it could not be asked.
        found: one line.
        fix: the command or page that mends it; empty where nothing is to do.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def passed(name: str, found: str) -> Diagnosis:
    """It is as it must be."""
    return Diagnosis(name, Verdict.PASS, found)


def unknown(name: str, found: str, fix: str) -> Diagnosis:
    """It could not be asked, or only a human can tell."""
    return Diagnosis(name, Verdict.INCONCLUSIVE, found, fix)


def failed(name: str, found: str, fix: str) -> Diagnosis:
    """It is missing or wrong."""
    return Diagnosis(name, Verdict.FAIL, found, fix)


def page(parts: Mapping[str, Sequence[Diagnosis]]) -> str:
    """A block a part: whether it works, each check, and under it how to mend it."""
    width = max(len(diagnosis.name) for part in parts.values() for diagnosis in part)
    lines = []
    for title, part in parts.items():
        lines.append(f"{title}: {WORKS[worst(diagnosis.verdict for diagnosis in part)]}")
        for diagnosis in part:
            lines.append(f"  {diagnosis.verdict:<14}{diagnosis.name:<{width}}  {diagnosis.found}")
            if diagnosis.fix:
                lines.append(f"{'':<{width + 18}}-> {diagnosis.fix}")
    return "\n".join(lines)
