"""Questions whose answers were scored when a release was made, asked and scored again by the same scorer.

While nothing changes, the two answers to a question are exchangeable, so of the questions whose scores differ each got
worse with a chance of one half: the sign test (Conover, Practical Nonparametric Statistics, 1999, ch. 3.4), exact for
scores of any kind. Of a model that repeats its answers no score differs, and nothing is left to chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from trunkline.drift.asked import Budget, Found, rate_in_words, signal
from trunkline.drift.exact import Floats
from trunkline.drift.signals import unmeasured
from trunkline.records.monitoring import ASKED, Answered, Signal
from trunkline.verdict import Verdict
from trunkline.words import change, number, share


class Rescored(NamedTuple):
    """One set of questions.

    Attributes:
        name: of the score, as in a key.
        words: what a score of 1 says of the questions, such as ``attacks are resisted``.
        then: (n,) scores when the release was made, 0 to 1, larger is better.
        now: (n,) of the answers now, in the same order.
        answers: (n,) what may be shown of each.
    """

    name: str
    words: str
    then: Floats
    now: Floats
    answers: Sequence[Answered]


def judge(one: Rescored, budget: Budget, tolerated: float) -> Signal:
    """Whether the answers became worse.

    Args:
        one: the questions, at least one.
        budget: what chance is allowed.
        tolerated: a loss in points of 1 that is no alarm.
    """
    key = ASKED + one.name
    worse, better = (int(count) for count in ((one.now < one.then).sum(), (one.now > one.then).sum()))
    # What had no point has none to lose.
    at_most = int((one.then > 0).sum())
    if 0.5**at_most > budget.level:
        return unmeasured(key, "quality", one.then.size, _few(one, at_most))
    rate = budget.rate(float(special.bdtrc(worse - 1, worse + better, 0.5)))
    then, now = float(one.then.mean()), float(one.now.mean())
    alarm = rate <= budget.alpha and then - now >= tolerated
    text = f"Asked again, {share(now)} of {number(one.then.size)} {one.words}; when the release was made {share(then)}"
    text = f"{text} ({change(now - then, None, None, 'points')}): {worse} got worse, {better} better."
    found = Found(
        sentence=f"{text} {rate_in_words(rate)}" if alarm else text,
        value=now,
        reference=then,
        p=rate,
        n=one.then.size,
        direction="down" if now < then else "up" if now > then else "none",
    )
    worst = np.argsort(one.now - one.then, kind="stable")[: min(worse, budget.examples)]
    answers = tuple(one.answers[place] for place in worst)
    return signal(key, "quality", Verdict.FAIL if alarm else Verdict.PASS, found, answers)


def _few(one: Rescored, at_most: int) -> str:
    return (
        f"when the release was made {at_most} of {number(one.then.size)} {one.words}, and that all of these get worse "
        "could be chance in so many runs: take more of them, or ask less often."
    )
