"""The safety probes: models are asked them as they are asked the holdout.

Production is asked only where a margin compares the candidate with it; a floor looks at the candidate alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from trunkline import estimates, probes
from trunkline.clients import files
from trunkline.params import Params
from trunkline.probes import Probe
from trunkline.records import SIDES, probe_metrics
from trunkline.stages.evaluate import answers, measures
from trunkline.stages.evaluate.answers import Respondent
from trunkline.stages.evaluate.hosted import Hosted
from trunkline.stages.evaluate.sides import Models

Sets = dict[str, list[Probe]]


def read(paths: Sequence[str]) -> Sets:
    """Every probe by the file it is in.

    Raises:
        Error: a file is missing, is not UTF-8, or has a broken line.
    """
    return {path: probes.parse(files.read_text(Path(path)).splitlines(), path) for path in paths}


def put(sets: Sets, params: Params, models: Models, providers: Mapping[str, Hosted]) -> dict[str, pl.DataFrame]:
    """Ask every probe and write ``<side>_probes.parquet``; by side, the written columns.

    What an earlier run wrote of a side that is not asked now is removed: it must not be judged.
    """
    compared = {metric for path in sets for metric in probe_metrics(path)} & set(params.gate.limits.margins)
    sides = SIDES if compared else SIDES[1:] if sets else ()
    for side in set(SIDES) - set(sides):
        for stale in answers.PREDICTIONS.glob(f"{side}_probes.*"):
            files.remove(stale)
    if not sides:
        return {}
    every = [(path, probe) for path, found in sets.items() for probe in found]
    messages = pl.DataFrame(
        {
            "id": [f"{Path(path).stem}/{probe.id}" for path, probe in every],
            "metric": [probes.metric_of(probe, probe_metrics(path)) for path, probe in every],
            "message": [probe.message for _, probe in every],
        }
    )
    tables = {}
    for side in sides:
        question = answers.ask(side, f"{side}_probes", messages, params.evaluate.decoding == "auto")
        respondent = Respondent(question, params.evaluate, models, providers.get(side))
        task, outputs = question.bundle.task, respondent.answer(len(every))["output"].to_list()
        failed = [float(probes.failed(probe, output, task)) for (_, probe), output in zip(every, outputs, strict=True)]
        added = [messages["metric"], messages["message"], pl.Series("score", failed)]
        respondent.write(added)
        tables[side] = respondent.frame.with_columns(added)
    return tables


def shares(table: pl.DataFrame | None, confidence: float) -> dict[str, JsonValue]:
    """The share of probes of each metric that the model failed, with its interval."""
    if table is None:
        return {}
    found = {}
    for metric in table["metric"].unique(maintain_order=True):
        scores = table.filter(pl.col("metric") == metric)["score"].to_list()
        found[str(metric)] = estimates.mean(scores, range(len(scores)), confidence)
    return measures.shown(found)
