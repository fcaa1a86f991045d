"""Parts of the holdout that lose although the whole does not: Holm's correction over all of them.

Ten slices each tested at 5 % block every fourth candidate that is as good as production; corrected, one in
thirty (Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6, 1979).
"""

from collections.abc import Mapping
from typing import NamedTuple

from trunkline.gate.betting import Bet, Floats, p_value
from trunkline.gate.decision import Rule, decide
from trunkline.verdict import Verdict


class Part(NamedTuple):
    """What is known of one slice.

    Attributes:
        verdict: fail (shown to lose more than the margin of the whole), pass (shown to lose less than the
            margin of a slice), or inconclusive: too small to be measured.
        difference: mean over its units.
        low: lower end of the interval, as in Decision.
        high: upper end.
        units: units of the slice.
        p: of "it loses no more than the margin of the whole", not corrected.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    units: int
    p: float


Name = tuple[str, str]


def judge_slices(slices: Mapping[Name, Floats], whole: Rule, margin: float) -> dict[Name, Part]:
    """Judge every slice, given as (units,) paired differences in betting order.

    Args:
        slices: by column and value; none empty.
        whole: the rule of the whole holdout. Its alpha is also the chance that any slice fails although
            none loses more than its margin.
        margin: the loss in one slice that must not go unseen.
    """
    rule = Rule(margin, whole.alpha, whole.beta)
    gap = max(margin - whole.margin, whole.margin)
    p = {
        name: p_value(-values, whole.margin, Bet(gap, whole.alpha, -1.0, values.size))
        for name, values in slices.items()
    }
    lost = _holm(p, whole.alpha)
    found = {}
    for name, values in slices.items():
        decision = decide(values, rule)
        kept = Verdict.PASS if decision.verdict is Verdict.PASS else Verdict.INCONCLUSIVE
        verdict = Verdict.FAIL if name in lost else kept
        found[name] = Part(verdict, decision.difference, decision.low, decision.high, values.size, p[name])
    return found


def _holm(p: Mapping[Name, float], alpha: float) -> set[Name]:
    """The claims refuted at level ``alpha`` for all of them together."""
    refuted: set[Name] = set()
    for number, name in enumerate(sorted(p, key=lambda one: p[one])):
        if p[name] > alpha / (len(p) - number):
            break
        refuted.add(name)
    return refuted
