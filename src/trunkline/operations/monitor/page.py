"""The page: health, every signal over time, cost, what served when, and the predictions behind the alarms."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from trunkline import moments, templating
from trunkline.drift.judging import Step
from trunkline.drift.observed import Seen
from trunkline.operations.monitor import figures
from trunkline.operations.monitor.figures import Point, Span
from trunkline.operations.monitor.looking import Looked
from trunkline.params import Params
from trunkline.verdict import Verdict
from trunkline.words import number, share

# Headings with figures: caption, drawing, verdict.
Groups = list[tuple[str, list[tuple[str, Markup, str]]]]


def render(shown: dict[str, Any], looked: Looked, groups: Groups) -> str:
    """The whole page; ``shown`` is the templates' context, ``looked`` for what served when."""
    return templating.page("monitor.html.j2", shown | {"groups": groups, "timeline": _timeline(looked)})


def groups(looked: Looked, params: Params) -> Groups:
    """The figures, as far as there is something to draw; ``params`` for the budget."""
    found = [(title, [one for one in drawn if one[1]]) for title, drawn in _groups(looked, params)]
    return [group for group in found if group[1]]


def _groups(looked: Looked, params: Params) -> Groups:
    if not looked.seen:
        return []
    verdicts = {one.key: str(one.verdict) for one in looked.found.signals}
    titles = {"drift": "Drift of inputs and outputs", "quality": "Quality", "serving": "Serving"}
    drawn: dict[str, list[tuple[str, Markup, str]]] = {kind: [] for kind in titles}
    for thing in looked.watched:
        points = [_point(step) for step in looked.steps[thing.key]]
        drawn[thing.kind].append((thing.key, _series(looked.seen, points, share, thing.key), verdicts[thing.key]))
    drawn["quality"].insert(0, ("quality/labels", _labels(looked), verdicts["quality/labels"]))
    groups = [(titles[kind], drawn[kind]) for kind in titles]
    return [*groups, ("Traffic and cost", _amounts(looked, params, verdicts))]


def _point(step: Step) -> Point:
    one = step.own or step.compared
    if one is None:
        return Point(None, None, None, False)
    # Two mixes of labels have a distance; that of the reference to itself is none.
    reference = one.counts.reference_share if one.drawn == one.counts.share else None
    return Point(one.drawn, reference, one.limit, step.alarm)


def _series(seen: Sequence[Seen], points: Sequence[Point], show: Callable[[float], str], title: str) -> Markup:
    ends = (f"{seen[0].window.since:%d %b}", f"{seen[-1].window.until:%d %b}")
    return figures.series(points, ends, show, title)


def _labels(looked: Looked) -> Markup:
    if looked.track is None:
        return Markup("")
    rule = {one.key: one for one in looked.found.signals}["quality/labels"]
    alarm = rule.verdict is Verdict.FAIL
    points = [
        Point(score, rule.reference, None, alarm and one.window.since.isoformat() >= (rule.since or ""))
        for one, score in zip(looked.seen, looked.track.scores, strict=True)
    ]
    return _series(looked.seen, points, share, "score by labels")


def _amounts(looked: Looked, params: Params, verdicts: dict[str, str]) -> list[tuple[str, Markup, str]]:
    budget = params.monitor.usd_per_1000
    spent = [one.totals.usd_per_1000 for one in looked.seen]
    over = [budget is not None and usd is not None and usd > budget for usd in spent]
    # A budget that is far away would flatten everything else.
    near = budget if budget is not None and any(usd is not None and usd > budget / 3 for usd in spent) else None
    costs = [Point(usd, None, near, alarm) for usd, alarm in zip(spent, over, strict=True)]
    counts = [Point(float(one.totals.predictions), None, None, False) for one in looked.seen]
    tokens = [Point(one.totals.tokens_out, None, None, False) for one in looked.seen]
    slow = [
        Point(None if one.totals.latency_ms is None else one.totals.latency_ms[1], None, None, False)
        for one in looked.seen
    ]
    verdict = verdicts["cost/usd_per_1000"]
    return [
        ("cost/usd_per_1000", _series(looked.seen, costs, number, "US dollars for 1,000 predictions"), verdict),
        ("predictions a window", _series(looked.seen, counts, number, "predictions a window"), ""),
        ("tokens of an answer", _series(looked.seen, tokens, number, "tokens of an answer"), ""),
        ("latency ms, 95 % are faster", _series(looked.seen, slow, number, "latency"), ""),
    ]


def _timeline(looked: Looked) -> Markup:
    """What served while the windows that are shown went by, and as long before them."""
    if not looked.seen:
        return Markup("")
    end = looked.seen[-1].window.until
    since = end - 2 * (end - looked.seen[0].window.since)
    spans = [
        Span(str(one.version or "?"), moments.parse(one.time), end if one.until is None else moments.parse(one.until))
        for one in looked.served.history
    ]
    first = min((span.since for span in spans), default=since)
    return figures.served(spans, max(since, first), end)
