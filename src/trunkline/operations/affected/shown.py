"""What was found of a customer, for a human, and the verdict."""

from collections.abc import Sequence

from trunkline import terminal
from trunkline.operations.affected.search import HOLDOUT, TRAIN, Searched, Seen
from trunkline.verdict import Verdict
from trunkline.words import plain

_HEAD = ("where", "rows", "ids", "in")


def render(customer: str, held: bool, here: Searched, releases: Sequence[Searched]) -> tuple[str, Verdict]:
    """The places with rows, one line a release, and what could not be looked at.

    Args:
        customer: whose rows.
        held: whether the split puts this customer into the holdout.
        here: the working tree.
        releases: every release.
    """
    everything = [here, *releases]
    side = "the holdout, which no model is trained on" if held else "the training side"
    lines = [f"customer {plain(customer)}: the split puts it on {side}", ""]
    rows = _places(everything)
    lines += terminal.table([_HEAD, *rows]) if rows else ["no data that were looked at contain it"]
    lines += ["", *(f"{one.release}: {_release(one)}" for one in releases)]
    problems = _problems(everything)
    lines += [f"not looked at: {plain(problem)}" for problem in problems]
    verdict = Verdict.INCONCLUSIVE if problems else Verdict.FAIL if rows else Verdict.PASS
    return "\n".join([*lines, "", f"{verdict}: {_sentence(releases, bool(rows), len(problems))}"]), verdict


def _places(everything: Sequence[Searched]) -> list[tuple[str, str, str, str]]:
    """Every file with rows of the customer; the same rows in several releases are one line."""
    found: dict[tuple[str, Seen], list[str]] = {}
    for one in everything:
        for path, seen in one.seen.items():
            if seen.rows or (seen.problem and "name this customer" in seen.problem):
                found.setdefault((path, seen), []).append(one.release.rpartition("@")[2])
    return [
        (path, f"{seen.rows:,}", "-" if seen.ids is None else f"{seen.ids:,}", ", ".join(names))
        for (path, seen), names in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _release(one: Searched) -> str:
    """What a release has to do with the customer: never `not affected` where something was not looked at."""
    if one.problem:
        return "unknown"
    train, holdout = one.seen[TRAIN], one.seen[HOLDOUT]
    if train.rows:
        return f"its weights were trained on {train.rows:,} rows"
    if one.trained:
        return f"its weights count as trained on it: {one.raw:,} raw rows on the training side"
    if train.problem:
        return "unknown whether its weights were trained on it"
    if any(seen.problem for seen in one.seen.values()):
        return "its weights were not trained on it; the rest is unknown"
    if holdout.rows:
        return f"not trained on it; {holdout.rows:,} rows in its holdout"
    return f"not trained on it; {one.raw:,} raw rows that were left out" if one.raw else "not affected"


def _problems(everything: Sequence[Searched]) -> list[str]:
    found: dict[str, list[str]] = {}
    for one in everything:
        name = one.release.rpartition("@")[2]
        if one.problem:
            found.setdefault(one.problem, []).append(name)
        for path, seen in one.seen.items():
            if seen.problem:
                found.setdefault(f"{path}: {seen.problem}", []).append(name)
    return [f"{problem} ({', '.join(names)})" for problem, names in found.items()]


def _sentence(releases: Sequence[Searched], found: bool, problems: int) -> str:
    trained = sum(one.trained for one in releases)
    said = f"{trained} of {len(releases)} releases were trained on this customer"
    if problems:
        return f"{said}, and {problems} places could not be looked at"
    return said if found else "no data and no release contain this customer"
