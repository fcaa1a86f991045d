"""Let both models answer the holdout by the same decoding, and score what they say."""

import logging
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from trunkline import criteria, scoring, transforms
from trunkline.clients import files, project
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import AMOUNTS, CANARIES, EXAMPLE_COLUMNS, INPUT_COLUMN, SCORE_PREFIX, SIDES, Report
from trunkline.stages.evaluate import answers, asked, exposure, measures, stopping
from trunkline.stages.evaluate.answers import Question, Respondent
from trunkline.stages.evaluate.measures import Ruler
from trunkline.stages.evaluate.sides import Models
from trunkline.verdict import Check, Verdict

TRAIN = Path("data/train.parquet")
HOLDOUT = Path("data/holdout.parquet")
REPORT = Path("reports/evaluate.json")
_COLUMNS = (*EXAMPLE_COLUMNS, INPUT_COLUMN)

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Write both sides' predictions with their scores, and reports/evaluate.json.

    Raises:
        Error: an input is missing or damaged, a scorer or transform is unknown, or a scorer fails.
    """
    project.load(params.project.module)
    scorers = scoring.find(params.evaluate.scorers)
    probes = asked.read(params.evaluate.probes)
    train, holdout = _read(TRAIN), _read(HOLDOUT)
    order = None
    if params.evaluate.stop_early:
        order = stopping.arrange(holdout, params.compare.unit, params.compare.seed)
        holdout = order.examples
    constrained = params.evaluate.decoding == "auto"
    questions = {side: answers.ask(side, side, holdout, constrained) for side in SIDES}
    if "nll" in params.evaluate.scorers:
        likely = holdout["answer"].to_list()
        questions = {side: question._replace(references=likely) for side, question in questions.items()}
    task = questions["candidate"].bundle.task
    ruler = Ruler(scorers, task, params.evaluate.confidence, params.compare.seed, params.compare.unit)
    providers = answers.providers()
    models = Models(params.evaluate)
    sides = {
        side: Respondent(question, params.evaluate, models, providers.get(side)) for side, question in questions.items()
    }
    scores = _answer_early(sides, order, ruler, params) if order else _answer(sides, holdout, ruler)
    answered = holdout.head(sides["candidate"].frame.height)
    tried = asked.put(probes, params, models, providers)
    known, exposed = exposure.measure(train, params, models)
    outputs = {side: sides[side].frame["output"].to_list() for side in SIDES}
    metrics: dict[str, JsonValue] = {
        side: measures.shown(measures.estimate(ruler, answered, outputs[side], scores[side]))
        | measures.shown(measures.costs(sides[side].frame, params.evaluate.confidence))
        | asked.shares(tried.get(side), params.evaluate.confidence)
        | (asked.shares(known, params.evaluate.confidence) if side == exposure.SIDE else {})
        for side in SIDES
    }
    metrics["baseline"] = measures.baseline(ruler, train.filter(pl.col("partition") != CANARIES), answered)
    details: dict[str, JsonValue] = {
        "confusion": measures.confusion(task.answer, answered["answer"].to_list(), outputs),
        "reused": {side: respondent.reused for side, respondent in sides.items()},
        "decoding": {side: "greedy" if question.labels is None else "labels" for side, question in questions.items()},
        "answered": {"examples": answered.height, "holdout": holdout.height},
        **exposed,
    }
    told = (hosted.check() for hosted in providers.values())
    checks = (_answered(sides, answered), _scored(scores), _same_transforms(questions), *told)
    files.write_text(REPORT, Report.of("evaluate", checks, metrics, details).text())
    _tell(sides, holdout.height)


def _read(path: Path) -> pl.DataFrame:
    frame = files.read_table(path, _COLUMNS)
    hint = f"run `dvc repro` to write {path} again"
    if frame["id"].n_unique() != frame.height:
        raise Error(f"{path}: {frame.height - frame['id'].n_unique()} ids occur more than once", hint)
    return frame


def _answer(sides: dict[str, Respondent], holdout: pl.DataFrame, ruler: Ruler) -> dict[str, list[pl.Series]]:
    """Answer and score the whole holdout, one side after the other: each is written as soon as it is there."""
    scores = {}
    for side, respondent in sides.items():
        scores[side] = measures.score(ruler, holdout, respondent.answer(holdout.height))
        respondent.write(scores[side])
    return scores


def _answer_early(
    sides: dict[str, Respondent], order: stopping.Order, ruler: Ruler, params: Params
) -> dict[str, list[pl.Series]]:
    """Answer and score chunk after chunk on both sides until the verdict is settled."""
    plan = [one for one in _plan(params) if one.name not in params.gate.dry_run]
    scores: dict[str, list[pl.Series]] = {}
    for count in stopping.chunks(order.units, params.evaluate.batch_size):
        part = order.examples.head(count)
        frames = {side: respondent.answer(count) for side, respondent in sides.items()}
        scores = {side: measures.score(ruler, part, frame) for side, frame in frames.items()}
        seen = {side: frame.with_columns(*scores[side]) for side, frame in frames.items()}
        if stopping.settled(plan, order, seen, params.compare.seed):
            break
    for side, respondent in sides.items():
        respondent.write(scores[side])
    return scores


def _plan(params: Params) -> list[Criterion]:
    """The criteria that the holdout's answers measure; probes are tried in any case."""
    plan = criteria.plan(params.gate.limits, scoring.lower_is_better())
    columns = {*(SCORE_PREFIX + name for name in params.evaluate.scorers), *AMOUNTS.values()}
    return [criterion for criterion in plan if criteria.column_of(criterion) in columns]


def _answered(sides: dict[str, Respondent], answered: pl.DataFrame) -> Check:
    missing = sum(len(set(answered["id"]) ^ set(side.frame["id"])) for side in sides.values())
    verdict = Verdict.FAIL if missing else Verdict.PASS
    message = f"both models answered the same {answered.height} examples of the holdout; {missing} answers are missing"
    return Check(name="evaluate.answered", verdict=verdict, value=float(missing), limit=0.0, message=message)


def _scored(scores: dict[str, list[pl.Series]]) -> Check:
    """A scorer that applied to no example said nothing, and nothing measured is no pass."""
    empty = {column.name for side in scores.values() for column in side if column.null_count() == len(column)}
    names = ", ".join(sorted(name.removeprefix(SCORE_PREFIX) for name in empty))
    verdict = Verdict.INCONCLUSIVE if empty else Verdict.PASS
    message = f"scorers that apply to no example: {names or 'none'}"
    return Check(name="evaluate.scorers", verdict=verdict, value=float(len(empty)), limit=0.0, message=message)


def _same_transforms(questions: dict[str, Question]) -> Check:
    changed = sorted(
        {one for question in questions.values() for one in transforms.changed(question.bundle.task.transforms)}
    )
    verdict = Verdict.INCONCLUSIVE if changed else Verdict.PASS
    message = f"transforms whose code changed since a model was trained with them: {', '.join(changed) or 'none'}"
    return Check(name="evaluate.transforms", verdict=verdict, value=float(len(changed)), limit=0.0, message=message)


def _tell(sides: dict[str, Respondent], holdout: int) -> None:
    for side, respondent in sides.items():
        frame = respondent.frame
        seconds = float(frame["seconds"].sum())
        tokens = float(frame["tokens_out"].sum()) / max(seconds, 1e-9)
        _log.info("evaluate  %s: %d examples in %.1f s, %.0f tokens/s", side, frame.height, seconds, tokens)
    answered = sides["candidate"].frame.height
    if answered < holdout:
        saved = 100 * (1 - answered / holdout)
        _log.info("evaluate  settled after %d of %d examples: %.0f %% of the answers saved", answered, holdout, saved)
