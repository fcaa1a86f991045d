"""What serves, asked directly: is it still who it was, do we still send the same, and are its answers as good?

Nothing of this goes through the gateway, so the prediction log holds none of it. Only the present can be asked.
"""

from collections.abc import Sequence
from pathlib import Path

from trunkline.clients import hosted, scratch
from trunkline.clients.contents import Places
from trunkline.drift import rescored, signals
from trunkline.drift.asked import Budget
from trunkline.errors import Error
from trunkline.operations.monitor import fallback, questions, request, respondent
from trunkline.operations.monitor.looking import Looked
from trunkline.operations.monitor.questions import Questions
from trunkline.operations.monitor.respondent import Respondent
from trunkline.params import Params
from trunkline.records.monitoring import Signal
from trunkline.verdict import Verdict


def add(looked: Looked, params: Params) -> Looked:
    """The same with what is answered now."""
    with scratch.folder() as temporary:
        told = [*looked.found.signals, *_signals(looked, params, temporary)]
    ordered = signals.sort(told)
    verdict = signals.verdict_of(ordered, params.monitor.needs)
    return looked._replace(found=looked.found.model_copy(update={"signals": ordered, "verdict": verdict}))


def _signals(looked: Looked, params: Params, temporary: Path) -> list[Signal]:
    manifest, settings = looked.served.manifest, params.monitor
    recorded, why = None, ""
    if manifest.kind == "hosted":
        try:
            recorded = respondent.record(manifest, params, temporary / "bundle")
        except Error as error:
            why = error.problem
    sets, told = questions.gather(manifest, params, Places(temporary, remote=True))
    tests = len(sets) + (0 if recorded is None else len(recorded.pins))
    budget = Budget(settings.alpha, settings.asked.a_month, tests, settings.examples)
    hosts = manifest.kind == "hosted"
    who = respondent.of_provider(recorded, why, budget) if hosts else respondent.of_engine(manifest, params)
    told += [*who.told, request.ask(looked.served, recorded, params)]
    told += _rescored(who, sets, budget, settings.tolerated.quality)
    if all(one.verdict is not Verdict.FAIL for one in told):
        return told
    back = fallback.find(looked.served, settings.environment)
    return [fallback.named(one, back) for one in told]


def _rescored(who: Respondent, sets: Sequence[Questions], budget: Budget, tolerated: float) -> list[Signal]:
    """Every set asked and scored again."""
    why, answers = who.why, None
    if who.provider is not None:
        try:
            answers = hosted.ask(who.provider, [one for each in sets for one in each.requests])
        except Error as error:
            why = error.problem
    if answers is None:
        return [signals.unmeasured(one.key, "quality", 0, f"could not measure: {why}.") for one in sets]
    found, texts = [], iter([answer.text for answer in answers])
    for one in sets:
        scored = questions.score(one, [next(texts) for _ in one.requests])
        none = signals.unmeasured(one.key, "quality", 0, f"no answer to {one.words} can be scored.")
        found.append(none if scored is None else rescored.judge(scored, budget, tolerated))
    return found
