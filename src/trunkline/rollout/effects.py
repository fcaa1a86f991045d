"""What an A/B test says: each signal's effect, and all of them in a sentence."""

import math
from collections.abc import Iterable

from trunkline.rollout.decision import Effect
from trunkline.rollout.signals import Signal
from trunkline.sequential import Interval


def effect(signal: Signal, interval: Interval) -> Effect:
    """A signal's effect, and whether its interval leaves out that the arms are alike."""
    alike = 0.0 if signal.is_score else 1.0
    less, more = ("worse", "better") if signal.is_score else ("better", "worse")
    shows = more if interval.low > alike else less if interval.high < alike else "no difference shown"
    return Effect.model_validate(
        {
            "of": "difference" if signal.is_score else "ratio",
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high if math.isfinite(interval.high) else None,
            "shows": shows,
        }
    )


def conclusion(effects: Iterable[tuple[str, Effect]]) -> str:
    """All effects in a sentence, by signal: what is worse first, then what is better."""
    found = list(effects)
    parts = []
    for shows in ("worse", "better", "no difference shown"):
        named = [f"{name} {each}" for name, each in found if each.shows == shows]
        parts += [f"{shows}: {', '.join(named)}"] if named else []
    return "; ".join(parts)
