"""What surrounds the comparison: examples, data, training curve and the baseline without an LLM."""

from typing import NamedTuple

import polars as pl
from pydantic import JsonValue

from trunkline import pii
from trunkline.operations.report.evidence import Evidence
from trunkline.operations.report.view import is_share
from trunkline.params import Params
from trunkline.words import as_number, as_object, as_rows, number, share

# A page with more examples than this is slow to open; those that changed come first.
_MOST_EXAMPLES = 400
# No table shows more of a text, so no more of it is searched for personal data.
_MOST_TEXT = 1500


class Example(NamedTuple):
    """One holdout message and both answers, personal data masked.

    Attributes:
        change: ``better``, ``worse`` or ``same``: the candidate's answer against production's.
    """

    id: str
    message: str
    expected: str
    production: str
    candidate: str
    change: str


def examples(evidence: Evidence, most: int = _MOST_EXAMPLES) -> list[Example]:
    """The holdout with both answers, worse ones first, then better ones, the largest changes first."""
    table = evidence.answers
    if table is None:
        return []
    order = [pl.col("change").fill_null(0).eq(0), pl.col("change").fill_null(0).gt(0), -pl.col("change").abs(), "id"]
    return [_example(row) for row in table.sort(order, nulls_last=True).head(most).iter_rows(named=True)]


def changed(evidence: Evidence, word: str, most: int) -> list[Example]:
    """The examples whose answer became ``better`` or ``worse``, the largest changes first."""
    table = evidence.answers
    if table is None:
        return []
    sign = 1 if word == "better" else -1
    chosen = table.filter(sign * pl.col("change") > 0).sort([-sign * pl.col("change"), "id"]).head(most)
    return [_example(row) for row in chosen.iter_rows(named=True)]


def _example(row: dict[str, JsonValue]) -> Example:
    difference = as_number(row["change"]) or 0.0
    word = "better" if difference > 0 else "worse" if difference < 0 else "same"
    message, expected, production, candidate = (
        pii.mask(str(row[key])[:_MOST_TEXT]) for key in ("message", "answer", "production", "candidate")
    )
    return Example(str(row["id"]), message, expected, production, candidate, word)


def loss_curve(evidence: Evidence) -> list[float]:
    """The training loss by step, or nothing."""
    points = evidence.details("train").get("loss")
    if not isinstance(points, list):
        return []
    values = [
        as_number(as_object(point).get("loss")) if isinstance(point, dict) else as_number(point) for point in points
    ]
    return [value for value in values if value is not None]


def facts(evidence: Evidence, step: str) -> list[tuple[str, str]]:
    """Every plain number among the metrics of a step, by its name in words."""
    amounts = [(name.replace("_", " "), as_number(value)) for name, value in evidence.metrics(step).items()]
    return [(name, number(amount)) for name, amount in amounts if amount is not None]


def partitions(evidence: Evidence) -> list[list[str]]:
    """The rows of each partition: its name, read, rejected, repeated (also with another answer), and kept."""
    rows = as_rows(evidence.details("data").get("partitions"))
    return [[str(row.get("partition", "")), *(_sum(row, keys) for keys in _FLOW)] for row in rows]


_FLOW = (("read",), ("rejected",), ("duplicates", "conflicts"), ("kept",))


def _sum(row: dict[str, JsonValue], keys: tuple[str, ...]) -> str:
    return number(sum(as_number(row.get(key)) or 0.0 for key in keys))


def rejected(evidence: Evidence) -> list[tuple[str, str]]:
    """How many rows each data rule rejected, the most first."""
    counts = {name: as_number(value) for name, value in as_object(evidence.details("data").get("rejected")).items()}
    known = [(name, count) for name, count in counts.items() if count]
    return [(name, number(count)) for name, count in sorted(known, key=lambda row: (-row[1], row[0]))]


def shifts(evidence: Evidence) -> list[tuple[str, float, bool]]:
    """Column, effect size between 0 and 1, and whether it is more than chance."""
    rows = as_rows(as_object(evidence.details("data").get("shift")).get("columns"))
    found = [(str(row.get("column", "")), as_number(row.get("effect")), row.get("significant") is True) for row in rows]
    return [(column, effect, significant) for column, effect, significant in found if effect is not None]


def confusions(evidence: Evidence) -> list[tuple[str, list[str], list[list[int]]]]:
    """Each closed answer field with its classes and how often the candidate answered what.

    Rows are the right answers, columns the candidate's in the same order, then anything else.
    """
    found = []
    for field, table in as_object(evidence.details("evaluate").get("confusion")).items():
        names, counts = as_object(table).get("labels"), as_object(table).get("candidate")
        if isinstance(names, list) and isinstance(counts, list):
            rows = [[int(as_number(value) or 0) for value in row] for row in counts if isinstance(row, list)]
            found.append((field, [str(name) for name in names], rows))
    return found


def baseline(evidence: Evidence, params: Params) -> str:
    """What a bag of words reaches on the same holdout, and what that means; nothing if not measured."""
    name = params.gate.primary
    measured = as_object(evidence.metrics("evaluate").get("baseline"))
    score = _score(measured, name)
    candidate = _score(as_object(evidence.metrics("evaluate").get("candidate")), name)
    if score is None or candidate is None:
        return ""
    show = share if is_share(name, [score[0], candidate[0]]) else number
    reached = f"TF-IDF with logistic regression reaches {show(score[0])} on {name}, the candidate {show(candidate[0])}"
    if score[0] >= candidate[0]:
        return f"{reached}: on this task a bag of words is as good, and the LLM is not worth its cost."
    if score[0] >= candidate[1]:
        return f"{reached}: a bag of words comes within its interval; ask whether the LLM is worth its cost."
    return f"{reached}: the LLM is clearly better."


def _score(measured: dict[str, JsonValue], name: str) -> tuple[float, float] | None:
    """A scorer's value and the lower end of its interval; scores where less is better are left alone."""
    found = measured.get(name)
    estimate = as_object(found)
    value = as_number(estimate.get("value")) if isinstance(found, dict) else as_number(found)
    low = as_number(estimate.get("low"))
    return None if value is None else (value, value if low is None else low)
