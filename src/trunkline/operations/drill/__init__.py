"""Try the gate itself: on equal models, on planted regressions and on broken inputs of this repository's own."""

from pathlib import Path

import numpy as np
from pydantic import JsonValue
from scipy import special

from trunkline import comparison, gate
from trunkline.clients import answers, files, project
from trunkline.clients.progress import Progress
from trunkline.comparison import Answered
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.gate.betting import Floats
from trunkline.gate.sentences import points
from trunkline.operations.drill import table
from trunkline.operations.drill.broken import BROKEN, refusals
from trunkline.operations.drill.resample import OURS, Tried, count
from trunkline.params import Params
from trunkline.records import SIDES, Report, Task, Terms
from trunkline.verdict import Check, Verdict

TASK = Path("data/task.json")
REPORT = Path("reports/drill.json")
SUMMARY = Path("reports/drill.md")
# A level is broken when a one-sided exact limit of this confidence lies beyond it.
_SURE = 0.99


def run(params: Params) -> tuple[str, Verdict]:
    """Write ``reports/drill.json`` and ``reports/drill.md``.

    Returns:
        The summary, and its verdict: fail when more equal candidates fail, or more candidates that lose the
        margin or more pass, than the gate's levels allow, or a broken input passes; inconclusive when there
        are too few units to tell.

    Raises:
        Error: the answers are missing or do not belong together, or no score decides.
    """
    project.load(params.project.module)
    tables = answers.read()
    answered = comparison.match(*tables, params.terms)
    tried = _try(answered, params)
    refused = refusals(tables, Task.read(TASK).answer, params.terms)
    checks = [_check(one) for one in tried]
    checks += [
        Check(name=BROKEN, verdict=one.verdict, value=None, limit=None, message=f"{one.name}: {one.answer}")
        for one in refused
    ]
    metrics: dict[str, JsonValue] = {one.criterion.name: _shares(one) for one in tried}
    details: dict[str, JsonValue] = {
        "resamples": params.drill.resamples,
        "changed": params.drill.changed,
        "counts": {one.criterion.name: [row._asdict() for row in one.counts] for one in tried},
    }
    report = Report.of("drill", tuple(checks), metrics, details)
    text = table.render(report, tried, refused, params)
    files.write_text(SUMMARY, text)
    files.write_text(REPORT, report.text())
    return text.rstrip(), report.verdict


def _try(answered: Answered, params: Params) -> list[Tried]:
    """Every score that decides, by the scores of the model that is better by the primary one."""
    terms = params.terms
    plan = [one for one in comparison.plan(terms) if one.kind == "score" and one.name not in terms.dry_run]
    side = max(SIDES, key=lambda side: _mean(plan[0], answered, terms, side))
    bar = Progress("drill", len(plan) * (1 + len(params.drill.losses)), "planted losses")
    done = 0

    def show() -> None:
        nonlocal done
        done += 1
        bar.update(done, "")

    found = []
    for criterion in plan:
        scores, unit = _scores(criterion, answered, terms, side)
        counts = count(criterion, scores, params.drill, show) if scores.size else []
        found.append(Tried(criterion, unit, scores, counts))
    return found


def _scores(criterion: Criterion, answered: Answered, terms: Terms, side: str) -> tuple[Floats, str]:
    """Each unit's score of one side, higher better, and what a unit is; none where it was not measured."""
    found = comparison.values_of(criterion, answered, terms.unit)
    if isinstance(found, str):
        return np.zeros(0), terms.unit
    scores = gate.unit_means(found.candidate if side == SIDES[1] else found.production, found.units, terms.seed)
    if scores.min() < 0 or scores.max() > 1:
        worst = max(scores.max(), -scores.min())
        raise Error(f"{criterion.path}: a score of {worst:.3g} is outside 0 to 1", "gate by a scorer between 0 and 1")
    return scores if criterion.higher_is_better else 1 - scores, found.unit


def _mean(criterion: Criterion, answered: Answered, terms: Terms, side: str) -> float:
    scores, _ = _scores(criterion, answered, terms, side)
    return float(scores.mean()) if scores.size else 0.0


def _shares(tried: Tried) -> JsonValue:
    """How often the gate passed and failed with each planted loss, in multiples of the margin."""
    ours = [one for one in tried.counts if one.rule == OURS]
    return {
        f"loss_{one.loss:g}": {"passed": one.passed / one.of, "failed": one.failed / one.of, "used": one.used}
        for one in ours
    }


def _check(tried: Tried) -> Check:
    """Whether the gate keeps its levels on this criterion, and can tell anything at all."""
    rule = tried.criterion.rule
    ours = [one for one in tried.counts if one.rule == OURS]
    beyond = max((one for one in ours if one.loss >= 1), key=lambda one: one.passed, default=None)
    equal = next((one for one in ours if one.loss == 0), None)
    name = f"drill.{tried.criterion.name}"
    if beyond is None or equal is None:
        why = f"{tried.criterion.name} leaves no room to plant a loss of its margin, or was not measured"
        return Check(name=name, verdict=Verdict.INCONCLUSIVE, value=None, limit=rule.alpha, message=why)
    loss = points(beyond.loss * tried.criterion.margin)
    message = (
        f"of {beyond.of:,} candidates that lose {loss} on {tried.criterion.name} "
        f"{beyond.passed:,} passed ({100 * rule.alpha:g} % may); of as many equal ones {equal.passed:,} passed and "
        f"{equal.failed:,} failed ({100 * rule.beta:g} % may)"
    )
    verdict = Verdict.PASS
    if _at_least(beyond.passed, beyond.of) > rule.alpha or _at_least(equal.failed, equal.of) > rule.beta:
        verdict = Verdict.FAIL
    elif max(one.passed + one.failed for one in ours) < equal.of / 2:
        verdict = Verdict.INCONCLUSIVE
        message += f"; {tried.scores.size} {tried.unit}s are too few: most resamples tell nothing"
    return Check(name=name, verdict=verdict, value=beyond.passed / beyond.of, limit=rule.alpha, message=message)


def _at_least(count: int, of: int) -> float:
    """The exact one-sided lower limit of a share (Clopper and Pearson, Biometrika 26, 1934)."""
    return float(special.betaincinv(count, of - count + 1, 1 - _SURE)) if count else 0.0
