"""What serves, asked directly: is it still who it was, do we still send the same, and are its answers as good?

Nothing of this goes through the gateway, so the prediction log holds none of it but what was found the last time. Only
the present can be asked.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trunkline import moments
from trunkline.clients import hosted, predictions, scratch
from trunkline.clients.contents import Places
from trunkline.drift import asked, rescored, signals
from trunkline.drift.asked import Budget
from trunkline.errors import Error
from trunkline.operations.monitor import fallback, questions, request, respondent
from trunkline.operations.monitor.looking import Looked
from trunkline.operations.monitor.questions import Questions
from trunkline.operations.monitor.respondent import Respondent
from trunkline.params import Params
from trunkline.records.monitoring import Asked, Signal
from trunkline.records.serving import Provider
from trunkline.verdict import Verdict


def add(looked: Looked, params: Params, moment: datetime) -> Looked:
    """The same with what is answered now, or was when it was asked last in this period.

    Raises:
        Error: the log does not answer, or a scorer fails.
    """
    with scratch.folder() as temporary:
        found, extra = _found(looked, params, moment, temporary)
    told = [*looked.found.signals, *found.signals, extra]
    if any(one.verdict is Verdict.FAIL for one in told):
        back = fallback.find(looked.served, params.monitor.environment)
        told = [fallback.named(one, back) for one in told]
    ordered = signals.sort(told)
    verdict = signals.verdict_of(ordered, params.monitor.needs)
    changed = {"signals": ordered, "verdict": verdict, "asked": found.time if _measured(found) else None}
    return looked._replace(found=looked.found.model_copy(update=changed))


def _found(looked: Looked, params: Params, moment: datetime, temporary: Path) -> tuple[Asked, Signal]:
    """What asking has found, and what is known without asking: whether we send what the release was made with."""
    release, environment, a_month = looked.served.name, params.monitor.environment, params.monitor.asked.a_month
    recorded, why = _recorded(looked, params, temporary)
    with predictions.reading(params.serve.log) as database:

        def known() -> Asked | None:
            """What was found in this period already."""
            last = predictions.remembered(database, release, environment, Asked)
            now = asked.period(moment, a_month)
            return last if last is not None and asked.period(moments.parse(last.time), a_month) == now else None

        last = known()
        if last is None:
            last = Asked(time=moment.isoformat(), signals=_ask(looked, params, recorded, why, temporary))
            # Where nothing was measured, nothing was tested: the next run asks again.
            if _measured(last):
                # A second monitor that asked meanwhile was first: a period has one chance of a false alarm.
                last = known() or last
                predictions.remember(database, release, environment, last)
    return last, request.ask(looked.served, recorded, params)


def _measured(found: Asked) -> bool:
    """Whether any question was answered."""
    return any(one.n and one.verdict is not Verdict.INCONCLUSIVE for one in found.signals)


def _recorded(looked: Looked, params: Params, temporary: Path) -> tuple[Provider | None, str]:
    """A hosted release's provider, or why it is not known; of a release with weights there is none."""
    manifest = looked.served.manifest
    try:
        return respondent.record(manifest, params, temporary / "bundle") if manifest.kind == "hosted" else None, ""
    except Error as error:
        return None, error.problem


def _ask(looked: Looked, params: Params, recorded: Provider | None, why: str, temporary: Path) -> tuple[Signal, ...]:
    """Ask now.

    Args:
        recorded: a hosted release's provider; None where it is not known, and then ``why``, or there is none.
    """
    manifest, settings = looked.served.manifest, params.monitor
    sets, told = questions.gather(manifest, params, Places(temporary, remote=True))
    tests = len(sets) + (0 if recorded is None else len(recorded.pins))
    budget = Budget(settings.alpha, settings.asked.a_month, tests, settings.examples)
    hosts = manifest.kind == "hosted"
    who = respondent.of_provider(recorded, why, budget) if hosts else respondent.of_engine(manifest, params)
    return *told, *who.told, *_rescored(who, sets, budget, settings.tolerated.quality)


def _rescored(who: Respondent, sets: Sequence[Questions], budget: Budget, tolerated: float) -> list[Signal]:
    """Every set asked and scored again."""
    why, answers = who.why, None
    if who.provider is not None:
        try:
            requests = [one for each in sets for one in each.requests]
            answers = hosted.ask(who.provider, requests, proxied=who.proxied)
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
