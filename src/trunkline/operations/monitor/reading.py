"""Windows of the prediction log, as they are watched."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from trunkline import scoring, transforms
from trunkline.clients import predictions
from trunkline.clients.predictions import Database
from trunkline.drift import features, observed
from trunkline.drift.exact import Floats
from trunkline.drift.features import Vocabulary
from trunkline.drift.observed import Seen
from trunkline.drift.tally import Tally
from trunkline.drift.windows import Window
from trunkline.params import Params
from trunkline.records import Task
from trunkline.records.prediction import Selection


class Ruler(NamedTuple):
    """What every window is measured with.

    Attributes:
        release: name in the log.
        known: the vocabulary of training; None where it is not here.
        guards: ``name@version`` each.
        until: what people said later is not known yet.
    """

    release: str
    task: Task
    known: Vocabulary | None
    guards: tuple[str, ...]
    until: datetime
    params: Params


def window(database: Database, ruler: Ruler, where: Window) -> Seen:
    """Read one window.

    Raises:
        Error: the database does not answer, or a scorer or transform fails.
    """
    settings = ruler.params.monitor
    chosen = Selection(since=where.since, until=where.until, release=ruler.release, environment=settings.environment)
    tally = Tally(ruler.guards, settings.conversations.most, settings.examples)
    for piece in predictions.pieces(database, chosen):
        tally.add(piece)
    said = predictions.said(database, chosen, settings.sources, ruler.until)
    losses, wrong = _losses(database, said, ruler)
    return Seen(
        window=where,
        totals=tally.totals(),
        conversations=_featured(database, tally.conversations(), said, ruler),
        engines=tally.engines(),
        losses=losses,
        wrong=wrong,
    )


def _featured(database: Database, drawn: pl.DataFrame, said: pl.DataFrame, ruler: Ruler) -> pl.DataFrame:
    """Conversations with the features of their texts, and what people thought of them."""
    scores = said.filter(pl.col("score").is_not_null()).unique("prediction", keep="last")
    thought = scores.select("prediction", (-pl.col("score")).alias("displeasure"))
    there = predictions.texts(database, drawn["prediction"].to_list())
    for more in (thought, there):
        drawn = drawn.join(more, on="prediction", how="left", maintain_order="left")
    table = drawn.drop("input", "output").hstack(features.of_confidence(drawn))
    log = ruler.params.serve.log
    if log.input == "text" and ruler.known is not None:
        texts = pl.Series([_transformed(text, ruler.task) for text in drawn["input"]], dtype=pl.String)
        table = table.hstack(features.of_inputs(texts, ruler.known))
    if log.output == "text":
        table = table.hstack(features.of_outputs(drawn["output"].to_list(), ruler.task))
    return table


def _transformed(text: str | None, task: Task) -> str | None:
    return None if text is None else transforms.apply(task.transforms, text)


def _losses(database: Database, said: pl.DataFrame, ruler: Ruler) -> tuple[Floats, tuple[str, ...]]:
    """How wrong the answers were of which somebody told the right one, and the ids of the worst."""
    labelled = _told(said, ruler)
    scorer = scoring.find([ruler.params.gate.primary])[0]
    if ruler.params.serve.log.output != "text" or scorer.function is None:
        return np.empty(0), ()
    there = predictions.texts(database, labelled["prediction"].to_list()).filter(pl.col("output").is_not_null())
    rows = observed.conversations(labelled.join(there, on="prediction", how="inner"))
    found = []
    for id, label, output in rows.select("prediction", "label", "output").iter_rows():
        value = scoring.score(scorer, label, output, ruler.task, id)
        if value is not None and 0 <= value <= 1:
            found.append((1 - value if scorer.higher_is_better else value, id))
    losses = np.array([loss for loss, _ in found], dtype=np.float64)
    return losses, tuple(id for loss, id in sorted(found, key=lambda one: -one[0]) if loss > 0)


def _told(said: pl.DataFrame, ruler: Ruler) -> pl.DataFrame:
    """The right answer of each prediction: of several that of the source named first, and of that source the last."""
    labels = said.filter(pl.col("label").is_not_null())
    whole = pl.Series([is_answer(label, ruler.task) for label in labels["label"]], dtype=pl.Boolean)
    ranks = {source: -rank for rank, source in enumerate(ruler.params.monitor.sources)}
    ordered = labels.filter(whole).sort(pl.col("source").replace_strict(ranks, default=None), maintain_order=True)
    return ordered.unique("prediction", keep="last", maintain_order=True)


def is_answer(label: str, task: Task) -> bool:
    """Whether a label is a whole answer of the task, and not a word about one such as ``wrong``."""
    answer = task.answer
    if answer.format == "json":
        found = scoring.parse(label)
        return found is not None and set(answer.fields) <= set(found)
    allowed: Sequence[str] = answer.allowed.get(answer.fields[0], ()) if answer.format == "label" else ()
    return label.strip() in allowed if answer.format == "label" else True
