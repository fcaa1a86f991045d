"""Whether people agree with a judge, on the predictions that both have judged."""

from collections.abc import Iterable
from typing import NamedTuple

from trunkline import estimates
from trunkline.records import Estimate
from trunkline.words import number, share, span


class Both(NamedTuple):
    """One answer that people and the judge have judged: whether it is right.

    Attributes:
        unit: the conversation.
    """

    unit: str
    people: bool
    judge: bool


class Calibration(NamedTuple):
    """How often the judge says the same as people.

    Attributes:
        right: of the answers that people call right (sensitivity); None where there are none.
        wrong: of those that they call wrong (specificity); likewise.
    """

    right: Estimate | None
    wrong: Estimate | None

    def holds(self, limit: float) -> bool:
        """Whether both are shown to be at least so much; with too few answers they are not."""
        return all(one is not None and one.low >= limit for one in self)

    def corrected(self, called_wrong: float) -> float | None:
        """The share of wrong answers without the judge's errors (Rogan and Gladen, Am. J. Epidemiol. 107, 1978).

        Args:
            called_wrong: by the judge.

        Returns:
            None where its verdicts say nothing: it calls as many of the right answers wrong as of the wrong ones.
        """
        if self.right is None or self.wrong is None or self.right.value + self.wrong.value <= 1:
            return None
        missed = 1 - self.right.value
        return min(1.0, max(0.0, (called_wrong - missed) / (self.wrong.value - missed)))

    def told(self) -> str:
        """It in words."""
        if self.right is None and self.wrong is None:
            return "People have judged none of the answers that it did."
        parts = [_part(one, called) for one, called in ((self.right, "right"), (self.wrong, "wrong"))]
        return f"It agrees with people on {' and on '.join(parts)}."


def calibrate(both: Iterable[Both], confidence: float) -> Calibration:
    """Compare a judge with people.

    Args:
        both: rows of one conversation count as one.
        confidence: of each interval, two-sided.
    """
    rows = list(both)
    right, wrong = ([row for row in rows if row.people is called] for called in (True, False))
    return Calibration(_agreement(right, confidence), _agreement(wrong, confidence))


def _agreement(rows: list[Both], confidence: float) -> Estimate | None:
    return estimates.mean([float(row.judge is row.people) for row in rows], [row.unit for row in rows], confidence)


def _part(one: Estimate | None, called: str) -> str:
    if one is None:
        return f"none that they call {called}, as there is none"
    return f"{span(one.value, one.low, one.high)} of {number(one.n)} that they call {called}"


def corrected_words(found: Calibration, called_wrong: float) -> str:
    """The share of wrong answers without the judge's errors, in words; nothing where it is not known."""
    value = found.corrected(called_wrong)
    return "" if value is None else f" Without its errors, about {share(value)} are wrong."
