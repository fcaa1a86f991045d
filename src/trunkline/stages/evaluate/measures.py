"""From answers to numbers: scores, their estimates and confusions."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline import baseline as bag_of_words
from trunkline import estimates, scoring
from trunkline.records import INPUT_COLUMN, SCORE_PREFIX, Answer, Estimate, Task
from trunkline.scoring import Scorer

_SHOWN_CLASSES = 20


class Ruler(NamedTuple):
    """What every side is measured with.

    Attributes:
        task: whose answers are right; the candidate's.
        confidence: of every interval.
        seed: of every bootstrap.
        unit: the column of what is independent of what.
    """

    scorers: list[Scorer]
    task: Task
    confidence: float
    seed: int
    unit: str


def score(ruler: Ruler, examples: pl.DataFrame, answers: pl.DataFrame) -> list[pl.Series]:
    """One column ``score_<name>`` a scorer, null where it does not apply.

    Args:
        ruler: names the scorers.
        examples: rows of the holdout.
        answers: their answers in the same order, with ``output`` and ``nll``.

    Raises:
        Error: a scorer fails; it names the scorer and the example.
    """
    ids, references, outputs = examples["id"], examples["answer"], answers["output"]
    columns = []
    for scorer in ruler.scorers:
        if scorer.function is None:
            values = answers["nll"].to_list()
        else:
            rows = zip(references, outputs, ids, strict=True)
            values = [scoring.score(scorer, answer, output, ruler.task, example) for answer, output, example in rows]
        columns.append(pl.Series(SCORE_PREFIX + scorer.name, values, dtype=pl.Float64))
    return columns


def estimate(
    ruler: Ruler, examples: pl.DataFrame, outputs: Sequence[str], scores: list[pl.Series]
) -> dict[str, Estimate | None]:
    """Each scorer's aggregate with its interval; None where it measured nothing, or cannot say how surely."""
    units = examples[ruler.unit].cast(pl.String).to_list()
    found = {}
    for scorer, column in zip(ruler.scorers, scores, strict=True):
        rows = [number for number, value in enumerate(column) if value is not None]
        if scorer.aggregate == "mean":
            here = [units[row] for row in rows]
            found[scorer.name] = estimates.mean([column[row] for row in rows], here, ruler.confidence)
        else:
            found[scorer.name] = _macro_f1(ruler, examples, outputs, rows)
    return found


def _macro_f1(ruler: Ruler, examples: pl.DataFrame, outputs: Sequence[str], rows: list[int]) -> Estimate | None:
    """Over all closed fields, each class of each field counting the same."""
    expected: list[str] = []
    predicted: list[str | None] = []
    units: list[str] = []
    for row in rows:
        right = scoring.classes(examples["answer"][row], ruler.task.answer)
        said = scoring.classes(outputs[row], ruler.task.answer)
        expected += [f"{field}={name}" for field, name in right.items()]
        predicted += [f"{field}={said[field]}" if field in said else None for field in right]
        units += [str(examples[ruler.unit][row])] * len(right)
    return estimates.macro_f1(expected, predicted, units, ruler.confidence, ruler.seed)


def baseline(ruler: Ruler, train: pl.DataFrame, examples: pl.DataFrame) -> dict[str, JsonValue]:
    """What a bag of words scores on the same examples; nothing where it does not apply."""
    inputs, held_out = train[INPUT_COLUMN].to_list(), examples[INPUT_COLUMN].to_list()
    said = bag_of_words.predict(inputs, train["answer"].to_list(), held_out, ruler.task.answer)
    if said is None:
        return {}
    nothing = pl.Series("nll", [None] * len(said), dtype=pl.Float64)
    scores = score(ruler, examples, pl.DataFrame({"output": said}).with_columns(nothing))
    found = estimate(ruler, examples, said, scores)
    return shown({name: value for name, value in found.items() if value is not None})


def shown(values: Mapping[str, Estimate | float | None]) -> dict[str, JsonValue]:
    """Measurements as JSON."""
    return {name: value.model_dump() if isinstance(value, Estimate) else value for name, value in values.items()}


def costs(frame: pl.DataFrame, confidence: float) -> dict[str, Estimate | float | None]:
    """Speed, latency, tokens and money of one side; None for what a provider does not count.

    ``usd_per_1000`` is what the machine costs while it answers 1,000 such examples in batches as here, or what a
    provider takes for them.
    """
    seconds = max(float(frame["seconds"].sum()), 1e-9)
    latencies = frame["latency_ms"].to_list()
    return {
        "tokens_per_s": float(frame["tokens_out"].sum()) / seconds,
        "latency_ms_p50": estimates.quantile(latencies, 0.50, confidence),
        "latency_ms_p95": estimates.quantile(latencies, 0.95, confidence),
        "usd_per_1000": _mean(frame["usd"], 1000),
        "tokens_in": _mean(frame["tokens_in"], 1),
        "tokens_out": _mean(frame["tokens_out"], 1),
    }


def _mean(column: pl.Series, times: int) -> float | None:
    """The mean of a whole column; None where a value is missing."""
    return None if column.null_count() else float(column.to_numpy().mean()) * times


def confusion(answer: Answer, references: Sequence[str], sides: Mapping[str, Sequence[str]]) -> dict[str, JsonValue]:
    """For each closed field: the right classes (rows) against what was said (columns, the last: anything else).

    Only the most frequent classes are told apart.
    """
    known = [scoring.classes(text, answer) for text in references]
    said = {side: [scoring.classes(text, answer) for text in outputs] for side, outputs in sides.items()}
    found: dict[str, JsonValue] = {}
    for field in answer.allowed:
        counted = pl.Series([row.get(field) for row in known], dtype=pl.String).drop_nulls().value_counts(sort=True)
        frequent = set(counted[:, 0].head(_SHOWN_CLASSES))
        names = [name for name in answer.allowed[field] if name in frequent]
        tables = {side: _counts(field, names, known, rows) for side, rows in said.items()}
        found[field] = {"labels": list(names), **tables}
    return found


def _counts(field: str, names: list[str], known: list[dict[str, str]], said: list[dict[str, str]]) -> JsonValue:
    place = {name: number for number, name in enumerate(names)}
    table = [[0] * (len(names) + 1) for _ in names]
    for right, guess in zip(known, said, strict=True):
        if right.get(field) in place:
            table[place[right[field]]][place.get(guess.get(field, ""), len(names))] += 1
    return [list(row) for row in table]
