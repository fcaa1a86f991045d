"""What the monitor shows of a judge: not measured, shown without deciding, or a signal like the others."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import polars as pl

from trunkline.drift import judging, signals
from trunkline.drift.judging import Rule
from trunkline.drift.observed import Seen
from trunkline.drift.watched import Against, Watched
from trunkline.judge.calibration import Calibration, corrected_words
from trunkline.records.judgement import Judge
from trunkline.records.monitoring import Signal
from trunkline.verdict import Verdict
from trunkline.words import number, plain, share

_COLUMN = "judged_wrong"
WATCHED = Watched("quality/judge", "quality", "start", "flag", _COLUMN, "answer that the judge calls wrong")
KEY = WATCHED.key
_PARTS = {
    "model": "the model asked for",
    "said": "the model that answers",
    "fingerprint": "its fingerprint",
    "prompt": "the prompt",
}


class Terms(NamedTuple):
    """When a judge decides.

    Attributes:
        agreement: with people, at least.
        unreadable: share of the verdicts, at most.
        decides: the id of the judge that may; None: none.
    """

    agreement: float
    unreadable: float
    decides: str | None


class Hearing(NamedTuple):
    """What one run knows of a judge.

    Attributes:
        judge: None where nobody answered.
        drawn: conversations of the newest window that it was to read.
        read: of them with a verdict.
        unreadable: of them with one that could not be read.
        why: not all were asked; None where they were.
        calibration: of this judge.
        named: the judge that may decide, where the log knows it.
    """

    judge: Judge | None
    drawn: int
    read: int
    unreadable: int
    why: str | None
    calibration: Calibration
    named: Judge | None


class Standing(NamedTuple):
    """What a judge's verdicts count for.

    Attributes:
        state: ``unmeasured``: there are not all that there should be. ``shown``: they do not decide. ``decides``.
        words: why, and what is known of the judge.
        n: verdicts of the newest window.
    """

    state: Literal["unmeasured", "shown", "decides"]
    words: str
    n: int


def standing(heard: Hearing, terms: Terms) -> Standing:
    """What this judge's verdicts count for: only a whole sample by the very judge that people agree with decides."""
    why = _lacking(heard, terms)
    if why is not None or heard.judge is None:
        return Standing("unmeasured", f"{why}.", heard.read)
    told = heard.calibration.told()
    if heard.why is not None:
        told += f" It was not asked about all of them: {plain(heard.why)}."
    if heard.unreadable:
        told += f" {number(heard.unreadable)} of {number(heard.drawn)} verdicts could not be read."
    refused = _refused(heard.judge, heard, terms)
    if refused is not None:
        return Standing("shown", f"{refused}. {told}", heard.read)
    return Standing("decides", f"The judge is {name(heard.judge)}. {told}", heard.read)


def _lacking(heard: Hearing, terms: Terms) -> str | None:
    """Why the newest window is not measured; None where it is."""
    if not heard.drawn:
        return "no answer of the newest window is there to be read"
    if heard.judge is None:
        return f"the judge gives no verdict: {plain(heard.why)}"
    done = heard.read + heard.unreadable
    if done < heard.drawn:
        why = "other verdicts came from another judge" if heard.why is None else plain(heard.why)
        return f"{name(heard.judge)} has read {number(done)} of {number(heard.drawn)} conversations: {why}"
    if heard.unreadable > terms.unreadable * heard.drawn:
        told = f"{number(heard.unreadable)} of {number(heard.drawn)} verdicts of {name(heard.judge)} cannot be read"
        return f"{told}, more than {share(terms.unreadable)} (monitor.judge.unreadable)"
    return None


def _refused(judge: Judge, heard: Hearing, terms: Terms) -> str | None:
    """Why the judge does not decide; None where it does."""
    if not heard.calibration.holds(terms.agreement):
        limit = f"at least {share(terms.agreement)} (monitor.judge.agreement) both where people call an answer right"
        told = f"{name(judge)} is not calibrated: its agreement with people is not shown to be {limit} and where wrong"
    elif terms.decides is None:
        told = f"{name(judge)} is calibrated; monitor.judge.decides: {judge.id} lets it decide"
    elif terms.decides != judge.id:
        told = f"{name(judge)} is calibrated; monitor.judge.decides names {terms.decides}"
    else:
        return None
    changed = terms.decides not in (None, judge.id)
    return f"The judge changed: {_changes(heard.named, judge)}. {told}" if changed else told


def _changes(before: Judge | None, now: Judge) -> str:
    """What is different, in words."""
    if before is None:
        return "the log holds no verdict of the one that may decide"
    told = [
        f"{words} is {_shown(new)}, not {_shown(old)}"
        for field, words in _PARTS.items()
        if (new := getattr(now, field)) != (old := getattr(before, field))
    ]
    return "; ".join(told)


def _shown(value: str | None) -> str:
    return "not told" if value is None else plain(value)


def name(judge: Judge) -> str:
    """A judge in words."""
    said = [plain(one) for one in (judge.said, judge.fingerprint) if one is not None and one != judge.model]
    told = f" ({', '.join(said)})" if said else ""
    return f"{plain(judge.model)}{told}, judge {judge.id}"


def with_verdicts(one: Seen, drawn: Sequence[str], verdicts: Mapping[str, float | None]) -> Seen:
    """A window whose conversations say which answers the judge calls wrong; null where it was not to read them.

    A window counts whole or not at all: of one that was not its turn, it may have read what people complained of.

    Args:
        drawn: predictions that it was to read.
        verdicts: by prediction: 1 right, 0 wrong, None not readable.
    """
    if any(id not in verdicts for id in drawn):
        drawn = ()
    known = {id: value == 0 for id in drawn if (value := verdicts.get(id)) is not None}
    said = pl.DataFrame(
        {"prediction": list(known), _COLUMN: list(known.values())},
        schema={"prediction": pl.String, _COLUMN: pl.Boolean},
    )
    return one._replace(conversations=one.conversations.join(said, on="prediction", how="left", maintain_order="left"))


def signal(
    found: Standing,
    calibration: Calibration,
    seen: Sequence[Seen],
    tables: Mapping[Against, pl.DataFrame],
    rule: Rule,
) -> Signal:
    """The signal of a judge that does not decide.

    Args:
        found: why.
        calibration: of this judge.
        seen: windows in order, with its verdicts.
        tables: references; the first windows' with its verdicts.
        rule: as of what decides.
    """
    if found.state == "unmeasured":
        return signals.unmeasured(KEY, "quality", found.n, found.words)
    alone = judging.series(seen, [WATCHED], tables, rule)
    (one,) = signals.compared(seen, [WATCHED], alone, {}, rule)
    newest = seen[-1].conversations[_COLUMN].drop_nulls()
    value = one.value if one.value is not None or newest.is_empty() else float(newest.to_numpy().mean())
    told = f"Shown, not deciding: {found.words}{_rest(calibration, value)} {one.sentence}"
    nothing = {"verdict": Verdict.INCONCLUSIVE, "p": None, "examples": (), "since": None}
    return one.model_copy(update={**nothing, "value": value, "n": found.n, "sentence": told})


def deciding(one: Signal, found: Standing, calibration: Calibration) -> Signal:
    """The signal of a judge that decides, with what is known of the judge."""
    return one.model_copy(update={"sentence": f"{one.sentence} {found.words}{_rest(calibration, one.value)}"})


def _rest(calibration: Calibration, value: float | None) -> str:
    return "" if value is None else corrected_words(calibration, value)
