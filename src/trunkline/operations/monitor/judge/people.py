"""What people say of answers, where it is right or wrong and nothing between."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from trunkline import scoring
from trunkline.clients.predictions.exchanges import Exchange
from trunkline.judge import prompt
from trunkline.operations.monitor.reading import Ruler, is_answer


class Opinions(NamedTuple):
    """The last label and the last score of each prediction that people said something of.

    Attributes:
        ids: of the predictions that are drawn.
        said: one row each, with ``prediction``, ``unit``, ``label`` and ``score``.
    """

    ids: list[str]
    said: pl.DataFrame


class Call(NamedTuple):
    """Whether people call an answer right.

    Attributes:
        unit: the conversation.
    """

    unit: str
    right: bool


def opinions(said: pl.DataFrame, ruler: Ruler, most: int) -> Opinions:
    """What people have said up to the moment that is looked at, of at most so many predictions, drawn by hash.

    Args:
        said: the log's feedback.
        ruler: names the sources that are people.
        most: that the judge reads.
    """
    counts = pl.col("source").is_in(ruler.params.monitor.sources) & (pl.col("time") < ruler.until)
    told = pl.col("label").is_not_null() | pl.col("score").is_in([0.0, 1.0])
    last = (pl.col(name).drop_nulls().last() for name in ("label", "score"))
    known = (
        said.filter(counts & told).sort("time", "prediction").group_by("prediction").agg(pl.col("unit").last(), *last)
    )
    return Opinions(prompt.drawn(known["prediction"].to_list(), most), known)


def calls(opinions: Opinions, texts: Mapping[str, Exchange], ruler: Ruler) -> dict[str, Call]:
    """Right or wrong by the right answer that they gave, else by their score of 1 or 0; others are left out."""
    rows = opinions.said.filter(pl.col("prediction").is_in(list(opinions.ids))).sort("prediction")
    found = {}
    for id, unit, label, score in rows.select("prediction", "unit", "label", "score").iter_rows():
        if label is not None and is_answer(label, ruler.task):
            score = _score(id, label, texts.get(id), ruler)
        if score in (0, 1):
            found[id] = Call(unit, score == 1)
    return found


def _score(id: str, label: str, texts: Exchange | None, ruler: Ruler) -> float | None:
    scorer = scoring.find([ruler.params.gate.primary])[0]
    if texts is None or scorer.function is None:
        return None
    value = scoring.score(scorer, label, texts.output, ruler.task, id)
    return value if value is None or scorer.higher_is_better else 1 - value
