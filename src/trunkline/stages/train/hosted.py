"""A hosted candidate: nothing is trained; the task and the provider's pinned answers are what is released."""

import json
import logging
import time
from pathlib import Path

import polars as pl

from trunkline import prompts
from trunkline.clients import files, hosted
from trunkline.params import TrainParams
from trunkline.records import PROVIDER_RECORD, Base, Bundle, Report, Task
from trunkline.records.serving import Provider
from trunkline.verdict import Check, Verdict

_METRICS = Path("reports/train/metrics.json")
_POINTS = Path("reports/train/plots/metrics")
_BASE_RECORD, _BUNDLE_RECORD = "base.json", "bundle.json"

_log = logging.getLogger(__name__)


def write(frame: pl.DataFrame, task: Task, params: TrainParams, base: Path, candidate: Path) -> Report:
    """Write a candidate's folder and what DVC follows of training; returns the report.

    Args:
        frame: the training examples, of which only the partitions are told.
        task: the prompt and what is to be answered.
        params: of training.
        base: folder of the provider's record.
        candidate: folder to write.

    Raises:
        Error: the record is missing or damaged, or the provider does not answer.
    """
    start = time.monotonic()
    record = Base.read(base / _BASE_RECORD)
    provider = hosted.read(base, record.weights.get(PROVIDER_RECORD))
    _log.info("train  nothing to train: pinning %d answers of %s", len(provider.messages), provider.model)
    provider = hosted.pin(provider, [tuple(prompts.render(task, message)) for message in provider.messages])
    with files.replacing(candidate) as partial:
        partial.mkdir()
        files.write_text(partial / PROVIDER_RECORD, provider.text())
        bundle = Bundle(
            kind="hosted",
            release=None,
            base=record.sha256,
            weights={PROVIDER_RECORD: files.sha256(partial / PROVIDER_RECORD)},
            task=task,
            partitions=tuple(sorted(frame["partition"].unique())),
            trained_on=None,
            params={"method": params.method},
        )
        files.write_text(partial / _BUNDLE_RECORD, bundle.text())
    _follow(provider)
    return _report(provider, time.monotonic() - start)


def _follow(provider: Provider) -> None:
    """What DVC expects of training: a metric, and points to plot."""
    files.write_text(_METRICS, json.dumps({"pinned": len(provider.pins)}) + "\n")
    with files.replacing(_POINTS) as partial:
        partial.mkdir(parents=True)
        files.write_text(partial / "pinned.tsv", f"step\tpinned\n0\t{len(provider.pins)}\n")


def _report(provider: Provider, seconds: float) -> Report:
    pinned, asked = len(provider.pins), len(provider.messages)
    message = f"{pinned} of {asked} answers are pinned, those that {provider.model} gave {provider.repeats} times"
    if not pinned:
        message += ": its pinned answers will not tell when the provider changes it"
    verdict = Verdict.PASS if pinned or provider.fingerprint is not None else Verdict.INCONCLUSIVE
    check = Check(name="train.pinned", verdict=verdict, value=float(pinned), limit=None, message=message)
    metrics = {"pinned": pinned, "seconds": round(seconds, 1), "gpu_hours": 0.0}
    return Report.of("train", (check,), metrics, {})
