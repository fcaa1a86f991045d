"""Concept drift: messages look as always, but the answers are wrong now. Only labels show it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trunkline import estimates
from trunkline.drift import windows
from trunkline.drift.detector import Detector
from trunkline.drift.exact import Floats
from trunkline.drift.judging import PARTS, Rule
from trunkline.drift.observed import Seen
from trunkline.drift.signals import rate as rate_in_words
from trunkline.drift.signals import unmeasured
from trunkline.gate import betting
from trunkline.records.monitoring import Signal
from trunkline.verdict import Verdict
from trunkline.words import change, number, share


class Proven(NamedTuple):
    """What the release scored on its holdout.

    Attributes:
        name: of the score.
        value: its mean over conversations.
        low: what it is at least, but for a chance of alpha.
        n: conversations.
    """

    name: str
    value: float
    low: float
    n: int


def proven(name: str, scores: Floats, alpha: float) -> Proven | None:
    """The holdout's score with a lower bound that holds at any size.

    Shares of right and wrong get the bound of Clopper and Pearson (Biometrika 1934), others that of a bettor against
    their mean (`gate.betting`).

    Args:
        name: of the score.
        scores: (n,) one a conversation, larger is better.
        alpha: chance that the bound does not hold.

    Returns:
        None without scores, and for scores outside 0 to 1, which have no bound.
    """
    if not scores.size or scores.min() < 0 or scores.max() > 1:
        return None
    value = float(scores.mean())
    if np.isin(scores, (0.0, 1.0)).all():
        low = estimates.clopper_pearson(float(scores.sum()), scores.size, 1 - 2 * alpha)[0]
    else:
        low = betting.bound(scores, betting.Bet(0.05, alpha, 0.0, scores.size), value)
    return Proven(name, value, low, scores.size)


class Track(NamedTuple):
    """The labels over the windows.

    Attributes:
        scores: each window's mean score; None without labels.
        rates: each window's rate of false alarms a month at which the claim is refuted; None before the first label.
    """

    scores: tuple[float | None, ...]
    rates: tuple[float | None, ...]


def track(seen: Sequence[Seen], claim: Proven, rule: Rule) -> Track:
    """Bet against "no worse than proven, but for what is tolerated", window after window."""
    detector = Detector(1 - claim.low + rule.tolerated["quality"])
    scores, rates = [], []
    for one in seen:
        log = detector.add(one.losses)
        scores.append(1 - float(one.losses.mean()) if one.losses.size else None)
        rates.append(None if np.isneginf(log) else float(min(1.0, PARTS * rule.a_month * np.exp(-min(log, 700.0)))))
    return Track(tuple(scores), tuple(rates))


def signal(seen: Sequence[Seen], claim: Proven | None, found: Track | None, why: str, rule: Rule) -> Signal:
    """What the labels say of the newest window that has any, as people need some days.

    An alarm stands while the capital does.

    Args:
        seen: windows in order.
        claim: None where the holdout's score is not known; then ``why``.
        found: of `track`.
        why: the holdout's score is not known.
        rule: see `Rule`.
    """
    key = "quality/labels"
    if claim is None or found is None:
        return unmeasured(key, "quality", int(seen[-1].losses.size), why)
    rate, recent = found.rates[-1], range(max(0, len(seen) - rule.together), len(seen))
    newest = next((place for place in reversed(recent) if seen[place].losses.size), None)
    silent = newest is None or not seen[-1].totals.predictions
    if rate is None or (silent and rate > rule.alpha):
        which = "newest window" if len(recent) == 1 else f"last {len(recent)} windows"
        why = f"no prediction of the {which} has a label." if newest is None else "no conversation came."
        return unmeasured(key, "quality", 0, why)
    alarm, start = rate <= rule.alpha, _start(found.rates, rule.alpha)
    places = range(start if alarm or newest is None else newest, len(seen))
    losses = np.concatenate([seen[place].losses for place in places])
    value = 1 - float(losses.mean())
    told = f"{claim.name} is {share(value)} of {number(losses.size)} labelled conversations; on the holdout"
    told += f" {share(claim.value)} of {number(claim.n)} ({change(value - claim.value, None, None, 'points')})."
    if newest is not None and newest < len(seen) - 1:
        told += f" Later predictions than of {seen[newest].window.until:%Y-%m-%d %H:%M} UTC have no label yet."
    if alarm:
        told += f" {rate_in_words(rate)}"
    wrong = [id for place in reversed(places) for id in seen[place].wrong]
    return Signal(
        key=key,
        kind="quality",
        verdict=Verdict.FAIL if alarm else Verdict.PASS,
        value=value,
        reference=claim.value,
        effect=value - claim.value,
        p=rate,
        direction="down" if value < claim.value else "up" if value > claim.value else "none",
        n=int(losses.size),
        sentence=told,
        examples=tuple(wrong[: rule.examples]) if alarm else (),
        since=windows.began([one.window for one in seen], start) if alarm else None,
    )


def _start(rates: Sequence[float | None], alpha: float) -> int:
    """The first window of the alarm that the last one is part of."""
    place = len(rates) - 1
    while place > 0 and (rate := rates[place - 1]) is not None and rate <= alpha:
        place -= 1
    return place
