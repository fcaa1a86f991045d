"""The chain behind a release: each link with what was found of it, and what the chain is worth as a whole."""

from collections.abc import Sequence
from typing import NamedTuple

from trunkline.verdict import Verdict, worst

SHOWN = {Verdict.PASS: "verified", Verdict.INCONCLUSIVE: "not here", Verdict.FAIL: "BROKEN"}


class Link(NamedTuple):
    """One link.

    Attributes:
        kind: such as ``weights`` or ``data``.
        what: what is linked, such as a path with its hash.
        verdict: pass where it was verified, inconclusive where it is not here, fail where it is not what is said.
        note: where it was found, what is wrong, or how to get it.
    """

    kind: str
    what: str
    verdict: Verdict
    note: str


def compared(kind: str, what: str, expected: object, found: object, note: str) -> Link:
    """A link that holds when two values are the same.

    Args:
        kind: as in `Link`.
        what: as in `Link`.
        expected: what the manifest says.
        found: what there is; None is not here.
        note: where it was found, or how to get it.
    """
    if found is None:
        return Link(kind, what, Verdict.INCONCLUSIVE, note)
    if found == expected:
        return Link(kind, what, Verdict.PASS, note)
    return Link(kind, what, Verdict.FAIL, f"{note}: it is not what the manifest says")


def verdict_of(links: Sequence[Link]) -> Verdict:
    """Pass when every link was verified; a chain without links is inconclusive."""
    return worst(link.verdict for link in links)


def sentence(links: Sequence[Link]) -> str:
    """The verdict and what it counts."""
    counts = {verdict: sum(link.verdict is verdict for link in links) for verdict in Verdict}
    if counts[Verdict.FAIL]:
        text = f"{counts[Verdict.FAIL]} of {len(links)} links are broken"
    elif counts[Verdict.INCONCLUSIVE]:
        text = f"{counts[Verdict.INCONCLUSIVE]} of {len(links)} links could not be verified here"
    else:
        text = f"all {len(links)} links are verified"
    return f"{verdict_of(links)} ({text})"
