"""What the candidate makes of the canaries in its training data."""

import polars as pl
from pydantic import JsonValue

from trunkline import memorisation
from trunkline.clients import files
from trunkline.clients.generation import LocalGenerator
from trunkline.clients.progress import Progress
from trunkline.params import Params
from trunkline.records import CANARIES, CANARY_METRIC
from trunkline.stages.evaluate import answers
from trunkline.stages.evaluate.sides import Models

SIDE = "candidate"


def measure(train: pl.DataFrame, params: Params, models: Models) -> tuple[pl.DataFrame | None, dict[str, JsonValue]]:
    """Rank each planted secret among its twins and write ``candidate_canaries.parquet``.

    Only the candidate is asked: production may have been trained on the same canaries, or on none.

    Args:
        train: the training examples, the canaries among them.
        params: the salt of the twins, and how the model runs.
        models: has the candidate.

    Returns:
        One row a canary with PROBE_COLUMNS, ``score`` 1 where it is likelier than every twin, and details for
        the report; None and nothing where none was planted.
    """
    path = answers.PREDICTIONS / f"{SIDE}_{CANARIES}.parquet"
    planted = train.filter(pl.col("partition") == CANARIES)
    if planted.is_empty():
        files.remove(path)
        return None, {}
    found = _exposures(planted, params, models)
    ranked = memorisation.TWINS + 1
    table = planted.select(
        "id",
        pl.lit(CANARY_METRIC).alias("metric"),
        "message",
        pl.Series("output", [f"the planted answer is number {one.rank} of {ranked} by likelihood" for one in found]),
        pl.Series("score", [float(one.memorised) for one in found]),
    )
    files.write_table(path, table)
    details: dict[str, JsonValue] = {
        "planted": len(found),
        "memorised": sum(one.memorised for one in found),
        "by_chance": 1 / ranked,
        "exposure_bits": sum(one.bits for one in found) / len(found),
    }
    return table, {"canaries": details}


def _exposures(planted: pl.DataFrame, params: Params, models: Models) -> list[memorisation.Exposure]:
    settings = params.evaluate
    question = answers.ask(SIDE, CANARIES, planted, constrained=False)
    ranked = [[text, *memorisation.twins(text, params.features.salt)] for text in planted["answer"]]
    progress = Progress("evaluate canaries", 1, "models")
    generator = LocalGenerator(models.load(SIDE), settings.batch_size, settings.max_new_tokens, None, progress.update)
    found = [memorisation.expose(row) for row in generator.likelihoods(question.conversations, ranked)]
    progress.update(1)
    return found
