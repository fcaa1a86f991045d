"""A check of the gate in one sentence, for a reader who knows the product and not the statistics."""

from typing import NamedTuple

from trunkline.gate.decision import Decision, Rule
from trunkline.verdict import Verdict


class Sizes(NamedTuple):
    """How much was looked at.

    Attributes:
        unit: singular, such as ``conversation``.
        power: how often as many would pass a candidate as good as production; for a floor, as this one again.
    """

    unit: str
    power: float


def of_score(name: str, decision: Decision, rule: Rule, sizes: Sizes) -> str:
    """A score's difference against its margin."""
    size = f"is {100 * abs(decision.difference):.1f} points {'better' if decision.difference > 0 else 'worse'} than"
    start = (
        f"The candidate {size if decision.difference else 'scores the same as'} production on {name} "
        f"(interval {100 * decision.low:+.1f} to {100 * decision.high:+.1f} points)"
    )
    return _end(start, f"a loss of up to {points(rule.margin)} is allowed", decision, sizes, equal=True)


def of_amount(name: str, decision: Decision, margin: float, sizes: Sizes) -> str:
    """An amount (tokens, money) relative to production's, from `paired.relative`.

    Args:
        name: in words, such as ``tokens out``.
        decision: on the relative differences.
        margin: the share more that is tolerated.
        sizes: what was looked at.
    """
    more, least, most = (100 * share_more(end) for end in (decision.difference, decision.high, decision.low))
    size = f"{abs(more):.1f} % {'more' if more > 0 else 'fewer' if name.startswith('tokens') else 'less'} {name} than"
    needs = f"needs {size}" if round(more, 1) else f"needs as much {name} as"
    start = f"The candidate {needs} production (interval {least:+.1f} to {most:+.1f} %)"
    return _end(start, f"{100 * margin:g} % more is allowed", decision, sizes, equal=True)


def of_slow(slow: float, limit_ms: float, decision: Decision, sizes: Sizes) -> str:
    """The share of slow answers.

    Args:
        slow: the largest tolerated share, such as 0.05.
        limit_ms: what slow means.
        decision: on the share of answers that are not slow.
        sizes: what was looked at.
    """
    share, least, most = (100 * (1 - end) for end in (decision.difference, decision.high, decision.low))
    start = (
        f"{share:.1f} % of the candidate's answers take longer than {limit_ms:,.0f} ms "
        f"(interval {least:.1f} to {most:.1f} %)"
    )
    return _end(start, f"{100 * slow:g} % may", decision, sizes, equal=False)


def of_floor(name: str, decision: Decision, rule: Rule, sizes: Sizes, ceiling: bool) -> str:
    """A score's own value against its floor; or its ceiling, where the values judged are 1 - score."""
    value, low, high, limit = (100 * end for end in (decision.difference, decision.low, decision.high, rule.pass_above))
    if ceiling:
        value, low, high, limit = 100 - value, 100 - high, 100 - low, 100 - limit
    start = f"The candidate reaches {value:.1f} % on {name} (interval {low:.1f} to {high:.1f} %)"
    allowed = f"at {'most' if ceiling else 'least'} {limit:g} % is {'allowed' if ceiling else 'asked for'}"
    return _end(start, allowed, decision, sizes, equal=False)


def share_more(difference: float) -> float:
    """The share that the candidate needs more, from a relative difference; infinite at -1."""
    return (1 - difference) / (1 + difference) - 1 if difference > -1 else float("inf")


def points(share: float) -> str:
    """A share of 1 in points: ``2 points``, ``1 point``."""
    return f"{100 * share:g} point{'' if round(100 * share, 9) == 1 else 's'}"


def _end(start: str, allowed: str, decision: Decision, sizes: Sizes, equal: bool) -> str:
    """What is allowed, the verdict, the units it took, and the power."""
    units = f"{decision.units} {sizes.unit}s"
    often = f"{round(100 * sizes.power)} of 100"
    power = f"{often} candidates as good as production" if equal else f"{often} such candidates"
    if decision.verdict is Verdict.INCONCLUSIVE:
        more = f"with so many {power} would pass, and about {decision.more:,} more would settle it."
        return f"{start}; {allowed}, and {units} cannot tell: {more}"
    used = f"{decision.used} of {units} were enough to tell; with all of them, {power} would pass."
    return f"{start}; {allowed}, so it {'passes' if decision.verdict is Verdict.PASS else 'fails'}. {used}"
