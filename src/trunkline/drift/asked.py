"""What answers our own questions, asked again and again: how much chance each of the questions may have.

Every time that is asked is a further chance of a false alarm. So it is asked at most once in each of the periods that
a month is divided into, however often anybody looks, and what was found is shown until then. Their number is known
beforehand, and so are the tests of a period, so an alarm's level is alpha's part divided by both (Bonferroni): a month
without any change has at most alpha periods with a false alarm on average, however the answers of different periods
hang together.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from trunkline import pii
from trunkline.drift import windows
from trunkline.drift.judging import PARTS
from trunkline.records.monitoring import Answered, Kind, Signal
from trunkline.verdict import Verdict
from trunkline.words import cut, number

_MOST_TEXT = 300


class Budget(NamedTuple):
    """What chance is allowed.

    Attributes:
        alpha: periods with a false alarm a month without any change, on average and at most, with all other signals.
        a_month: periods.
        tests: of a period.
        examples: of an alarm, at most.
    """

    alpha: float
    a_month: int
    tests: int
    examples: int

    @property
    def level(self) -> float:
        """Of one test."""
        return self.alpha / PARTS / self.a_month / max(self.tests, 1)

    def rate(self, p: float) -> float:
        """How many periods a month have an alarm like one of this p, at most 1."""
        return min(1.0, p * PARTS * self.a_month * max(self.tests, 1))


def period(moment: datetime, a_month: int) -> int:
    """The number of the period that a moment is in; they are the same for whoever asks, and all equally long.

    Args:
        moment: UTC.
        a_month: periods.
    """
    return int(moment.timestamp() // (windows.MONTH_HOURS * 3600 / a_month))


class Found(NamedTuple):
    """What asking has found.

    Attributes:
        sentence: for people.
        value: a share of 1; None where there is none.
        reference: what it was when the release was made.
        p: the rate of false alarms like this; None where nothing is left to chance.
        n: questions.
        direction: where it went.
    """

    sentence: str
    value: float | None
    reference: float | None
    p: float | None
    n: int
    direction: Literal["up", "down", "changed", "none"]


def signal(key: str, kind: Kind, verdict: Verdict, found: Found, answers: tuple[Answered, ...] = ()) -> Signal:
    """A signal of what was asked; answers only of an alarm."""
    effect = None if found.value is None or found.reference is None else found.value - found.reference
    return Signal(
        key=key,
        kind=kind,
        verdict=verdict,
        value=found.value,
        reference=found.reference,
        effect=effect,
        p=found.p,
        direction=found.direction,
        n=found.n,
        sentence=found.sentence,
        examples=(),
        since=None,
        answers=answers if verdict is Verdict.FAIL else (),
    )


def plainly(key: str, verdict: Verdict, sentence: str) -> Signal:
    """A signal about who answers that holds no number."""
    return signal(key, "provider", verdict, Found(sentence, None, None, None, 0, "none"))


def answered(question: str, then: str, now: str) -> Answered:
    """What may be shown of a question and its answers."""
    return Answered(**{name: shown(text) for name, text in (("question", question), ("then", then), ("now", now))})


def shown(text: str) -> str:
    """One line without personal data, as a model may have told somebody's."""
    return pii.mask(cut(text, _MOST_TEXT))


def rate_in_words(rate: float) -> str:
    """How often something like this happens a month without any change."""
    months = "less than one month in a million" if rate < 1e-6 else f"one month in {number(1 / rate)} at most"
    return f"Without any change, {months} has such a run."
