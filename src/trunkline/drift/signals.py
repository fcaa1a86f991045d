"""Signals in words, from what the windows say: compared things, cost, and who answered."""

from collections.abc import Mapping, Sequence

import polars as pl

from trunkline.drift import judging, windows
from trunkline.drift.comparison import Compared
from trunkline.drift.judging import Rule, Step
from trunkline.drift.observed import Seen
from trunkline.drift.watched import NAMES, Watched
from trunkline.records.monitoring import Kind, Signal
from trunkline.verdict import Verdict
from trunkline.words import change, number, plain, share


def sort(signals: Sequence[Signal]) -> tuple[Signal, ...]:
    """Alarms first, then what was measured, then what was not; otherwise as they came."""
    places = {Verdict.FAIL: 0, Verdict.PASS: 1, Verdict.INCONCLUSIVE: 2}
    return tuple(sorted(signals, key=lambda one: places[one.verdict]))


def verdict_of(signals: Sequence[Signal], needed: Sequence[Kind]) -> Verdict:
    """Fail with any alarm; pass only where something of every needed kind was measured, and all of who answers."""
    if any(one.verdict is Verdict.FAIL for one in signals):
        return Verdict.FAIL
    measured = {one.kind for one in signals if one.verdict is Verdict.PASS}
    # That the log names an engine does not say that its provider could be asked.
    measured -= {"provider"} & {one.kind for one in signals if one.verdict is Verdict.INCONCLUSIVE}
    return Verdict.PASS if measured and set(needed) <= measured else Verdict.INCONCLUSIVE


def unmeasured(key: str, kind: Kind, n: int, why: str) -> Signal:
    """What nothing is known of, and why."""
    return Signal(
        key=key,
        kind=kind,
        verdict=Verdict.INCONCLUSIVE,
        value=None,
        reference=None,
        effect=None,
        p=None,
        direction="none",
        n=n,
        sentence=f"Not measured: {why}",
        examples=(),
        since=None,
    )


def compared(
    seen: Sequence[Seen],
    watched: Sequence[Watched],
    found: Mapping[str, Sequence[Step]],
    missing: Mapping[str, str],
    rule: Rule,
) -> list[Signal]:
    """The newest window's signal of each thing that is compared with a reference.

    Args:
        seen: windows in order, at least one.
        watched: what was compared.
        found: by key: a step a window.
        missing: by key: why something cannot be compared.
        rule: what decided.
    """
    return [_compared(thing, seen, found[thing.key], missing, rule) for thing in watched]


def _compared(
    thing: Watched, seen: Sequence[Seen], steps: Sequence[Step], missing: Mapping[str, str], rule: Rule
) -> Signal:
    step, newest = steps[-1], seen[-1]
    one = step.compared
    if one is None or step.p is None:
        here = newest.conversations
        n = here[thing.column].count() if thing.column in here.columns else 0
        return unmeasured(thing.key, thing.kind, n, _why(thing, newest, n, missing, rule))
    return Signal(
        key=thing.key,
        kind=thing.kind,
        verdict=Verdict.FAIL if step.alarm else Verdict.PASS,
        value=one.counts.share,
        reference=one.counts.reference_share,
        effect=one.effect,
        p=step.p,
        direction=one.direction,
        n=one.counts.size,
        sentence=_sentence(thing, one, step, rule),
        examples=one.examples if step.alarm else (),
        since=judging.since(seen, steps),
    )


def _why(thing: Watched, newest: Seen, n: int, missing: Mapping[str, str], rule: Rule) -> str:
    if not newest.conversations.height:
        return "no conversation came."
    if thing.key in missing:
        return f"{missing[thing.key]}."
    if thing.against == "start" and newest.window.number < rule.first:
        return f"the release's first windows ({rule.first}) are what later ones are compared with."
    if n < rule.least:
        return f"the log holds it of {number(n)} conversations, and {number(rule.least)} are needed."
    return f"{NAMES[thing.against]} hold fewer than {number(rule.least)} conversations with it."


def _sentence(thing: Watched, one: Compared, step: Step, rule: Rule) -> str:
    counts, p = one.counts, step.p
    article = "an" if one.told.startswith(("a", "i")) else "a"
    where = "" if step.windows == 1 else f" of the last {step.windows} windows"
    there = NAMES[thing.against]
    if thing.against == "start" and step.windows < rule.first:
        there = f"the most similar of {there}"
    text = (
        f"{share(counts.share)} of {number(counts.size)} conversations{where} have {article} {one.told}; "
        f"of {number(counts.reference_size)} in {there}, {share(counts.reference_share)} have"
    )
    if thing.form != "label" and one.effect <= 0:
        return f"{text}: no more than there."
    text = f"{text} ({change(one.effect, None, None, 'points')})."
    if step.alarm and p is not None:
        return f"{text} {rate(p)}"
    if p is not None and p <= rule.alpha:
        return f"{text} That is no chance, but no more than the {100 * rule.tolerated[thing.kind]:g} points tolerated."
    return f"{text} That may be chance."


def rate(p: float) -> str:
    """How often something like this happens a month without any change, in words."""
    if p >= 1:
        return "It goes on, but a window like this alone could be chance."
    months = "less than one month in a million" if p < 1e-6 else f"one month in {number(1 / p)} at most"
    return f"Without any change, {months} has such a window."


def cost(seen: Sequence[Seen], budget: float | None, rule: Rule) -> Signal:
    """What predictions cost, against the budget for 1,000 of them."""
    key, totals = "cost/usd_per_1000", seen[-1].totals
    value = totals.usd_per_1000
    if not value or totals.conversations < rule.least:
        why = f"{number(totals.conversations)} conversations came."
        if value is None:
            why = "the log holds no cost."
        elif value == 0 and totals.predictions:
            why = "all predictions cost nothing, as no price is set (usd_per_million of who answers)."
        return unmeasured(key, "cost", totals.predictions, why)
    over = budget is not None and value > budget
    told = "" if budget is None else f"; the budget is {number(budget)}"
    start = len(seen) - 1
    while budget is not None and start > 0 and (seen[start - 1].totals.usd_per_1000 or 0.0) > budget:
        start -= 1
    return Signal(
        key=key,
        kind="cost",
        verdict=Verdict.FAIL if over else Verdict.PASS,
        value=value,
        reference=budget,
        effect=None if budget is None else value / budget - 1,
        p=None,
        direction="up" if over else "none",
        n=totals.predictions,
        sentence=f"1,000 predictions cost {number(value)} US dollars{told}.",
        examples=_dearest(seen[-1], rule.examples) if over else (),
        since=windows.began([one.window for one in seen], start) if over else None,
    )


def _dearest(newest: Seen, most: int) -> tuple[str, ...]:
    """Of the conversations drawn, the predictions that cost the most."""
    paid = newest.conversations.filter(pl.col("usd").is_not_null()).sort("usd", "prediction", descending=[True, False])
    return tuple(paid["prediction"].head(most))


def provider(seen: Sequence[Seen], first: int, release: str, before: str | None, recorded: str | None = None) -> Signal:
    """Whether who answers is still who answered when the release began to serve, as the engines say themselves.

    Args:
        seen: windows in order.
        first: windows that say who it is.
        release: that serves.
        before: that served before it.
        recorded: the only model that may answer, by a hosted release's own record; None: the first windows say it.
    """
    key, newest = "provider/engine", seen[-1]
    n = sum(len(ids) for ids in newest.engines.values())
    if not newest.engines:
        return unmeasured(key, "provider", 0, "could not measure: no answer says which model gave it.")
    names = ", ".join(_engine(*name) for name in sorted(newest.engines))
    if recorded is None and not any(one.engines for one in seen if one.window.number < first):
        why = f"the log holds nothing of the release's first windows ({first}), so whether {names} is new is not known."
        return unmeasured(key, "provider", n, why)
    strangers = [_strangers(seen, place, first) | _others(seen[place], recorded) for place in range(len(seen))]
    moved = strangers[-1]
    if moved:
        begun = next(place for place in range(len(seen) - 1, -1, -1) if place == 0 or not strangers[place - 1])
        told = ", ".join(_engine(*name) for name in sorted(moved))
        instead = "" if recorded is None else f", and it was made with {plain(recorded)}"
        sentence = f"Provider moved: {release} is unchanged, but {told} answers now{instead}."
    elif len(seen) == 1 and before is not None:
        sentence = f"We moved: {release} serves after {before}; {names} answers."
    else:
        sentence = f"{names} answers, as since {release} began to serve."
    return Signal(
        key=key,
        kind="provider",
        verdict=Verdict.FAIL if moved else Verdict.PASS,
        value=None,
        reference=None,
        effect=None,
        p=None,
        direction="changed" if moved or (len(seen) == 1 and before is not None) else "none",
        n=n,
        sentence=sentence,
        examples=tuple(ids for name in sorted(moved) for ids in newest.engines[name]),
        since=windows.began([one.window for one in seen], begun) if moved else None,
    )


def _strangers(seen: Sequence[Seen], place: int, first: int) -> set[tuple[str, str]]:
    """Who answers in a window and in none of the first ones before it."""
    known = [set(one.engines) for one in seen[:place] if one.window.number < first and one.engines]
    return set(seen[place].engines) - set().union(*known) if known else set()


def _others(one: Seen, recorded: str | None) -> set[tuple[str, str]]:
    return set() if recorded is None else {engine for engine in one.engines if engine[0] != recorded}


def _engine(model: str, fingerprint: str) -> str:
    return plain(model) + (f" ({plain(fingerprint)})" if fingerprint else "")
