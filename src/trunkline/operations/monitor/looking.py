"""All that one run of the monitor finds, before any of it is shown."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import polars as pl

from trunkline import guard
from trunkline.clients import predictions
from trunkline.drift import features, judging, quality, signals, watched, windows
from trunkline.drift.judging import Rule, Step
from trunkline.drift.observed import Seen
from trunkline.drift.quality import Track
from trunkline.drift.watched import Against, Watched
from trunkline.drift.windows import Window
from trunkline.operations.monitor import beginning, judge, reading, reference
from trunkline.operations.monitor.reading import Ruler
from trunkline.operations.monitor.reference import Reference
from trunkline.operations.monitor.served import Served
from trunkline.params import Params
from trunkline.records.monitoring import Kind, Monitoring, Signal
from trunkline.records.prediction import Prediction


class Looked(NamedTuple):
    """What was found.

    Attributes:
        found: what is written for programs.
        served: the release.
        seen: the windows that are shown, in order; none before the first has ended.
        start: the release's first windows.
        watched: what was compared, and by key its steps over the windows shown.
        track: of the labels; None where the holdout's score is not known.
        examples: predictions by id, of all alarms.
    """

    found: Monitoring
    served: Served
    seen: Sequence[Seen]
    start: Sequence[Seen]
    watched: Sequence[Watched]
    steps: Mapping[str, Sequence[Step]]
    track: Track | None
    examples: Mapping[str, Prediction]


def look(params: Params, release: Served, until: datetime) -> Looked:
    """Look at the windows of a release that have ended by a moment.

    Raises:
        Error: the log is not there or does not answer, or a scorer or transform fails.
    """
    settings, rule = params.monitor, rule_of(params)
    # The gateway has those of the release, whatever this working tree says by now.
    released = guard.named(release.manifest)
    guards = tuple(params.serve.guard if released is None else released)
    known = reference.gather(release.manifest, params)
    ruler = Ruler(release.name, release.manifest.task, known.known, guards, until, params)
    things = watched.everything(settings.features, release.manifest.task.answer, guards)
    # What was asked last must have had the time to be answered.
    ended = windows.whole(release.since, until - timedelta(seconds=params.serve.timeouts.total), settings.hours)
    chosen = [
        windows.at(release.since, one, settings.hours) for one in windows.numbers(ended, rule.first, settings.windows)
    ]
    with predictions.reading(params.serve.log) as database:
        every = [reading.window(database, ruler, one) for one in chosen]
        every = beginning.restore(database, (release.name, settings.environment), every, rule.first)
        if not every:
            return _too_early(params, release, things, windows.at(release.since, 0, settings.hours))
        judged = judge.look(database, every, ruler, rule.first)
        every, things = judged.seen, (*things, *judged.things)
        start = [one for one in every if one.window.number < rule.first]
        seen = [one for one in every if one.window.number >= ended - settings.windows]
        tables = _tables(known, start)
        steps = judging.series(seen, things, tables, rule)
        track = None if known.proven is None else quality.track(seen, known.proven, rule)
        told = judged.told(
            signals.compared(seen, things, steps, _missing(known, params, things), rule), seen, tables, rule
        )
        told.append(quality.signal(seen, known.proven, track, known.unproven, rule))
        told.append(signals.cost(seen, settings.usd_per_1000, rule))
        told.append(signals.provider(every, rule.first, release.name, release.before, _recorded(release)))
        found = _record(params, release, seen[-1], told)
        named = {id for one in told for id in one.examples}
        looked_up = {id: database.find(id) for id in sorted(named)}
    examples = {id: one for id, one in looked_up.items() if one is not None}
    return Looked(found, release, seen, start, things, steps, track, examples)


def rule_of(params: Params) -> Rule:
    """What decides, in plain values."""
    settings, tolerated = params.monitor, params.monitor.tolerated
    kinds: dict[Kind, float] = {
        "serving": tolerated.serving,
        "drift": tolerated.drift,
        "quality": tolerated.quality,
    }
    return Rule(
        least=settings.conversations.least,
        alpha=settings.alpha,
        clear=settings.clear,
        tolerated=kinds,
        a_month=windows.a_month(settings.hours),
        together=settings.together,
        first=settings.first,
        examples=settings.examples,
    )


def _recorded(release: Served) -> str | None:
    """What a hosted release's model said that it is when it was released."""
    return release.manifest.base.get("model") if release.manifest.kind == "hosted" else None


def _tables(known: Reference, start: Sequence[Seen]) -> dict[Against, pl.DataFrame]:
    tables = dict(known.tables)
    if start:
        tables["start"] = beginning.table(start)
    return tables


def _missing(known: Reference, params: Params, things: Sequence[Watched]) -> dict[str, str]:
    """Why a thing cannot be compared, by its key: its reference is not here, or the log does not keep it."""
    log = params.serve.log
    forms: dict[Against, tuple[str, str]] = {"training": ("input", log.input), "holdout": ("output", log.output)}
    missing = {}
    for thing in things:
        name, form = forms.get(thing.against, ("", "text"))
        if thing.against in known.missing:
            missing[thing.key] = known.missing[thing.against]
        if thing.column == features.DOUBT:
            if not log.confidence:
                missing[thing.key] = "serve.log.confidence is false: engines are not asked how sure the model is"
        elif form != "text":
            missing[thing.key] = f"serve.log.{name} is {form}: the log holds no such text"
    return missing


def _record(params: Params, release: Served, newest: Seen, told: Sequence[Signal]) -> Monitoring:
    ordered = signals.sort(told)
    return Monitoring(
        model=params.project.name,
        environment=params.monitor.environment,
        release=release.name,
        since=newest.window.since.isoformat(),
        until=newest.window.until.isoformat(),
        predictions=newest.totals.predictions,
        labels=int(newest.losses.size),
        verdict=signals.verdict_of(ordered, params.monitor.needs),
        signals=ordered,
    )


def _too_early(params: Params, release: Served, things: Sequence[Watched], first: Window) -> Looked:
    """Nothing is judged before the first window has ended."""
    why = f"the first window of {release.name} ends at {first.until.isoformat(timespec='minutes')}."
    others: tuple[tuple[str, Kind], ...] = (
        ("quality/labels", "quality"),
        ("cost/usd_per_1000", "cost"),
        ("provider/engine", "provider"),
    )
    read = [] if params.monitor.judge is None else [judge.WATCHED]
    names = [*((one.key, one.kind) for one in (*things, *read)), *others]
    told = tuple(signals.unmeasured(key, kind, 0, why) for key, kind in names)
    found = Monitoring(
        model=params.project.name,
        environment=params.monitor.environment,
        release=release.name,
        since=first.since.isoformat(),
        until=first.until.isoformat(),
        predictions=0,
        labels=0,
        verdict=signals.verdict_of(told, params.monitor.needs),
        signals=told,
    )
    return Looked(found, release, (), (), things, {one.key: () for one in things}, None, {})
