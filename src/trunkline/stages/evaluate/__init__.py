"""Let both models answer the holdout by the same decoding, and score what they say."""

import logging
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from trunkline import baseline, scoring, transforms
from trunkline.clients import files, project
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import EXAMPLE_COLUMNS, INPUT_COLUMN, SCORE_PREFIX, SIDES, Answer, Estimate, Report
from trunkline.stages.evaluate import answers, measures
from trunkline.stages.evaluate.answers import Answers, Question
from trunkline.stages.evaluate.measures import Ruler
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
    train, holdout = _read(TRAIN), _read(HOLDOUT)
    questions = {side: answers.ask(side, holdout, params.evaluate.decoding == "auto") for side in SIDES}
    task = questions["candidate"].bundle.task
    units = holdout[params.compare.unit].cast(pl.String).to_list()
    ruler = Ruler(scorers, task, holdout, units, params.evaluate.confidence, params.compare.seed)
    given: dict[str, Answers] = {}
    scores: dict[str, list[pl.Series]] = {}
    for side, question in questions.items():
        given[side] = answers.answer(question, holdout["id"], params.evaluate)
        scores[side] = measures.score(ruler, given[side].frame["output"].to_list(), measures.nll_of(given[side]))
        answers.write(side, given[side], scores[side])
    metrics: dict[str, JsonValue] = {side: _measured(ruler, given[side], scores[side], params) for side in SIDES}
    metrics["baseline"] = _baseline(ruler, train)
    outputs = {side: given[side].frame["output"].to_list() for side in SIDES}
    details: dict[str, JsonValue] = {
        "confusion": measures.confusion(task.answer, holdout["answer"].to_list(), outputs),
        "slices": measures.slices([name for name in holdout.columns if name not in _COLUMNS], ruler, scores),
        "reused": {side: given[side].reused for side in SIDES},
        "decoding": {side: "greedy" if question.labels is None else "labels" for side, question in questions.items()},
    }
    checks = (_answered(given, holdout), _scored(scores), _same_transforms(questions))
    files.write_text(REPORT, Report.of("evaluate", checks, metrics, details).text())
    _tell(given)


def _read(path: Path) -> pl.DataFrame:
    frame = files.read_table(path, _COLUMNS)
    hint = f"run `dvc repro` to write {path} again"
    for column in ("id", "message", "answer", INPUT_COLUMN):
        if frame[column].dtype != pl.String or frame[column].null_count():
            raise Error(f"{path}: column {column} has values that are not text", hint)
    if frame["id"].n_unique() != frame.height:
        raise Error(f"{path}: {frame.height - frame['id'].n_unique()} ids occur more than once", hint)
    return frame


def _measured(ruler: Ruler, given: Answers, scores: list[pl.Series], params: Params) -> dict[str, JsonValue]:
    found = measures.estimate(ruler, given.frame["output"].to_list(), scores)
    return _shown({**found, **measures.costs(given, params.evaluate)})


def _shown(values: dict[str, Estimate | float | None]) -> dict[str, JsonValue]:
    return {name: value.model_dump() if isinstance(value, Estimate) else value for name, value in values.items()}


def _baseline(ruler: Ruler, train: pl.DataFrame) -> dict[str, JsonValue]:
    """What a bag of words scores on the same examples; nothing where it does not apply."""
    answer: Answer = ruler.task.answer
    held_out = ruler.holdout[INPUT_COLUMN].to_list()
    said = baseline.predict(train[INPUT_COLUMN].to_list(), train["answer"].to_list(), held_out, answer)
    if said is None:
        return {}
    scores = measures.score(ruler, said, [None] * len(said))
    return _shown({name: value for name, value in measures.estimate(ruler, said, scores).items() if value is not None})


def _answered(given: dict[str, Answers], holdout: pl.DataFrame) -> Check:
    missing = sum(len(set(holdout["id"]) ^ set(side.frame["id"])) for side in given.values())
    verdict = Verdict.FAIL if missing else Verdict.PASS
    message = f"both models answered the {holdout.height} examples of the holdout; {missing} answers are missing"
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


def _tell(given: dict[str, Answers]) -> None:
    for side, made in given.items():
        tokens = float(made.frame["tokens_out"].sum()) / max(made.seconds, 1e-9)
        _log.info("evaluate  %s: %d examples in %.1f s, %.0f tokens/s", side, made.frame.height, made.seconds, tokens)
