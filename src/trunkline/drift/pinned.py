"""Whether a provider still gives its pinned answers, beyond the chance that it showed when they were pinned.

A pinned answer was given every time that it was asked for. While nothing changes, the answers of then and now are
exchangeable, so of all orders of them those in which the first ones are all the same, and hardly any other is, have a
chance that can be counted (a permutation test, see `drift.exact`); that the answer was pinned because it repeated is
part of what is counted. A provider whose answers merely waver does not reach it, one whose model is another does, by
being asked some more times.
"""

import math
from collections.abc import Sequence

from trunkline.drift.asked import Budget, Found, answered, rate_in_words, signal
from trunkline.records.monitoring import Answered, Signal
from trunkline.records.serving import Provider
from trunkline.verdict import Verdict
from trunkline.words import cut

KEY = "provider/pins"
Said = tuple[str | None, str | None]
# More than this many times nobody is asked.
_MOST_TRIES = 50


def chance(repeats: int, matches: int, tries: int) -> float:
    """The chance that an answer is given each of ``repeats`` times, and then in at most ``matches`` of ``tries``.

    At most (repeats + tries) // repeats different answers are there often enough to be the pinned one.
    """
    often = (repeats + tries) // repeats
    return min(1.0, often * math.comb(repeats + matches, repeats) / math.comb(repeats + tries, repeats))


def tries(repeats: int, level: float) -> int:
    """How often an answer must be missed until that is no chance at a level; as often as anybody is asked at most."""
    enough = (count for count in range(1, _MOST_TRIES) if chance(repeats, 0, count) <= level)
    return next(enough, _MOST_TRIES)


def doubtful(recorded: Provider, first: Sequence[str], said: Sequence[Said]) -> tuple[int, ...]:
    """The pins that must be asked again before anything is said of them.

    Args:
        recorded: with its pins.
        first: one answer to each pin.
        said: the models and fingerprints that were named with them.
    """
    places = range(len(recorded.pins))
    missed = tuple(place for place in places if first[place] != recorded.pins[place].output)
    # A provider with two names may have told the other one only.
    return missed or (tuple(places[:1]) if _renamed(recorded, said) else ())


def judge(recorded: Provider, answers: Sequence[Sequence[str]], said: Sequence[Said], budget: Budget) -> Signal:
    """Whether the provider moved.

    Args:
        recorded: as it was when it was pinned.
        answers: to each pin, as often as it was asked now.
        said: every model and fingerprint that was named now.
        budget: what chance is allowed.
    """
    pins = recorded.pins
    matches = [row.count(pin.output) for pin, row in zip(pins, answers, strict=True)]
    asked = zip(matches, answers, strict=True)
    rates = [budget.rate(chance(recorded.repeats, hits, len(row))) for hits, row in asked]
    least = min(rates, default=1.0)
    moved = [place for place, rate in enumerate(rates) if rate <= budget.alpha]
    missed = [place for place, hits in enumerate(matches) if not hits]
    changes = _changes(recorded, said)
    found = Found(
        sentence=_moved(recorded, len(moved), least, changes) or _stayed(recorded, matches, answers, changes),
        value=1 - len(missed) / len(pins) if pins else None,
        reference=1.0 if pins else None,
        p=least if pins else None,
        n=sum(map(len, answers)) or len(said),
        direction="changed" if moved or _renamed(recorded, said) else "none",
    )
    if moved or _renamed(recorded, said):
        if not moved:
            found = found._replace(sentence=f"Provider moved: {found.sentence}", p=None)
        return signal(KEY, "provider", Verdict.FAIL, found, _examples(recorded, answers, moved, budget.examples))
    unclear = _unclear(recorded, missed, said)
    if unclear:
        told = f"Could not measure: {unclear}{changes}."
        return signal(KEY, "provider", Verdict.INCONCLUSIVE, found._replace(sentence=told, direction="none"))
    return signal(KEY, "provider", Verdict.PASS, found)


def _moved(recorded: Provider, moved: int, least: float, changes: str) -> str:
    """What shows that it moved; empty where nothing does but perhaps its name."""
    if not moved:
        return ""
    tail = f"of {len(recorded.pins)} pinned answers do not come back{changes}. {rate_in_words(least)}"
    return f"Provider moved: {_name(recorded)} was asked the same again, and {moved} {tail}"


def _stayed(recorded: Provider, matches: Sequence[int], answers: Sequence[Sequence[str]], changes: str) -> str:
    pins, wavering = len(matches), sum(hits < len(row) for hits, row in zip(matches, answers, strict=True))
    told = f"all {pins} pinned answers come back" if pins else "nothing is pinned"
    if wavering:
        told += f", {wavering} of them not each time"
    return f"{_name(recorded)} was asked the same again: {told}{changes}."


def _unclear(recorded: Provider, missed: Sequence[int], said: Sequence[Said]) -> str:
    """Why neither is shown; empty where the provider did not move."""
    names, prints = ({who[place] for who in said} for place in (0, 1))
    if missed:
        often = f"pinned by {recorded.repeats} answers each"
        return f"{len(missed)} of {len(recorded.pins)} pinned answers do not come back, which may be chance ({often})"
    if names != {recorded.said}:
        return f"not every answer is by {_named(recorded.said)}"
    if recorded.pins:
        return ""
    if recorded.fingerprint is None:
        return f"{_name(recorded)} tells no fingerprint, and none of its answers could be pinned"
    return "" if prints == {recorded.fingerprint} else "a fingerprint alone does not tell, and nothing is pinned"


def _renamed(recorded: Provider, said: Sequence[Said]) -> bool:
    return bool(said) and recorded.said not in {model for model, _ in said}


def _changes(recorded: Provider, said: Sequence[Said]) -> str:
    """Who it says that it is, where that is not who it was."""
    told = []
    for what, was, now in (
        ("model", recorded.said, {model for model, _ in said}),
        ("fingerprint", recorded.fingerprint, {fingerprint for _, fingerprint in said}),
    ):
        if now - {was}:
            told.append(f"; its {what} was {_named(was)} and is {', '.join(sorted(map(_named, now)))} now")
    return "".join(told)


def _named(text: str | None) -> str:
    return "not told" if text is None else cut(text, 80)


def _name(recorded: Provider) -> str:
    return cut(recorded.model, 80)


def _examples(
    recorded: Provider, answers: Sequence[Sequence[str]], moved: Sequence[int], most: int
) -> tuple[Answered, ...]:
    return tuple(
        answered(recorded.pins[place].prompt[-1]["content"], recorded.pins[place].output, answers[place][0])
        for place in moved[:most]
    )
