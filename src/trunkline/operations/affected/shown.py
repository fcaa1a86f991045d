"""What was found of a customer, for a human, and the verdict."""

import shlex
from collections.abc import Sequence

from trunkline import terminal
from trunkline.operations.affected.logged import Logged
from trunkline.operations.affected.search import HOLDOUT, TRAIN, Searched, Seen
from trunkline.verdict import Verdict
from trunkline.words import plain

_HEAD = ("where", "rows", "ids", "in")
_LOG_HEAD = ("predictions of", "count", "first (UTC)", "last (UTC)", "logged as")


def render(
    customer: str, held: bool, everything: Sequence[Searched], log: Logged, unknown: Sequence[str]
) -> tuple[str, Verdict]:
    """The places with rows, one line a release, the predictions, and what could not be looked at.

    Args:
        customer: whose rows.
        held: whether the split puts this customer into the holdout.
        everything: the working tree, then every release.
        log: the prediction log.
        unknown: why not every release is in ``everything``.
    """
    releases = everything[1:]
    side = "the holdout, which no model is trained on" if held else "the training side"
    lines = [f"customer {plain(customer)}: the split puts it on {side}", ""]
    rows = _places(everything)
    lines += terminal.table([_HEAD, *rows]) if rows else ["no data that were looked at contain it"]
    lines += ["", *(f"{one.release}: {_release(one)}" for one in releases), "", *_logged(customer, log)]
    problems = [*unknown, *_problems(everything), *log.problems]
    lines += [f"not looked at: {plain(problem)}" for problem in problems]
    found = bool(rows or log.number)
    verdict = Verdict.INCONCLUSIVE if problems else Verdict.FAIL if found else Verdict.PASS
    return "\n".join([*lines, "", f"{verdict}: {_sentence(releases, log.number, found, len(problems))}"]), verdict


def _logged(customer: str, log: Logged) -> list[str]:
    """The customer's predictions, and what erasing would do to them."""
    lines = []
    rows = [
        (plain(held.release), f"{held.number:,}", f"{held.first:%Y-%m-%d %H:%M}", f"{held.last:%Y-%m-%d %H:%M}", form)
        for form, some in log.found.items()
        for held in some
    ]
    lines += terminal.table([_LOG_HEAD, *rows]) if rows else ["no prediction that was looked at names it"]
    if log.erased is not None:
        lines.append(f"what was logged of it up to {log.erased:%Y-%m-%d %H:%M} was erased")
    return [*lines, *_erasing(customer, log)]


def _erasing(customer: str, log: Logged) -> list[str]:
    lines = []
    for form, some in log.found.items():
        count = sum(held.number for held in some)
        if count and form == log.form:
            command = f"trunkline predictions erase {shlex.quote(plain(customer))}"
            lines.append(f"`{command}` would delete customer, input, output and comments of {count:,} predictions,")
            lines.append("and leave their arm, time and measurements; no weights change by it")
        elif count:
            lines.append(f"`predictions erase` does not find the {count:,} that are logged as {form} while")
            lines.append(f"serve.log.customer is {log.form}: run it with serve.log.customer: {form}")
    return lines


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
    if not one.weights:
        return _hosted(one)
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


def _hosted(one: Searched) -> str:
    """What a release without weights has to do with the customer."""
    rows = one.seen[TRAIN].rows + one.seen[HOLDOUT].rows + one.raw
    if any(seen.problem for seen in one.seen.values()):
        return "a provider's model, which was not trained on it; the rest is unknown"
    return f"a provider's model, which was not trained on it; {rows:,} rows in its data" if rows else "not affected"


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


def _sentence(releases: Sequence[Searched], logged: int, found: bool, problems: int) -> str:
    trained = sum(one.trained for one in releases)
    said = f"{trained} of {len(releases)} releases were trained on this customer"
    if logged:
        said += f", {logged:,} predictions name it"
    if problems:
        return f"{said}, and {problems} places could not be looked at"
    return said if found else "no data, no release and no prediction contain this customer"
