"""A hosted release that serves in production, made up around a real provider on a socket, its bundle kept in DVC."""

import contextlib
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from dvc.repo import Repo

import monitored
import releases
import starter
from trunkline import params, probes, prompts, transforms
from trunkline.clients import bundles, files, hosted
from trunkline.clients.dvc import objects
from trunkline.clients.git import tags
from trunkline.records import PROVIDER_RECORD, Bundle, Task, probe_metrics
from trunkline.records.release import Manifest
from trunkline.records.serving import Provider

RELEASE = f"{releases.MODEL}@v1.1.0"
PROBES = "data/eval/injection.jsonl"
RIGHT = monitored.answer(monitored.INTENTS[0])


def build(folder: Path, url: str) -> params.Params:
    """A repository of `monitored` whose v1.0.0 has weights, and answers to probes; returns its params."""
    changes = {
        "base": {"model": "hosted:large", "sha256": None},
        "hosted": hosting(url),
        "train__method": "none",
        "evaluate__scorers": ["exact_match", "valid_json"],
        "monitor__asked__holdout": 60,
    }
    made = monitored.build(folder, train=200, holdout=60, **changes)
    tried = probes.parse((folder / PROBES).read_text().splitlines(), PROBES)
    rows = {
        "id": [f"injection/{probe.id}" for probe in tried],
        "metric": [probes.metric_of(probe, probe_metrics(PROBES)) for probe in tried],
        "message": [probe.message for probe in tried],
        "output": [RIGHT] * len(tried),
        "score": [0.0] * len(tried),
    }
    files.write_table(folder / "made/data/predictions/candidate_probes.parquet", pl.DataFrame(rows))
    with contextlib.chdir(folder), Repo(".") as repo:
        repo.reproduce()
        starter.git(folder, "add", "-A")
        starter.git(folder, "commit", "-qm", "try the probes")
        monitored.Traffic(made).day(0, count=1)
    return made


def hosting(url: str, **changes: Any) -> dict[str, Any]:
    """The section ``hosted``."""
    price = {"input": 1.0, "output": 2.0}
    pins = ["my card is gone", "why was I charged 12 EUR", "the app shows my old number"]
    made = {"url": url, "key": None, "usd_per_million": price, "retries": 0, "timeout": 120.0, "concurrent": 8}
    return made | {"pins": pins, "pinned_tokens": 32} | changes


def task(made: params.Params) -> Task:
    """The task of the working tree."""
    template = Path(made.features.prompt).read_text()
    answer = monitored.TASK.answer
    return Task(
        prompt_id=prompts.identify(template, made.data.answer.allowed),
        template=template,
        variables=made.data.answer.allowed,
        transforms=transforms.identify(made.features.transforms),
        answer=answer.model_copy(update={"allowed": made.data.answer.allowed}),
    )


def release(made: params.Params, version: str = "v1.1.0", serves: bool = True, hours: float = 1.0) -> None:
    """Pin what the provider answers now, release that, and let it serve since so many hours."""
    asked = made.hosted
    empty = Provider(
        model="large",
        url=asked.url,
        key=asked.key,
        usd_input=1.0,
        usd_output=2.0,
        retries=asked.retries,
        timeout=asked.timeout,
        concurrent=asked.concurrent,
        messages=asked.pins,
        pinned_tokens=asked.pinned_tokens,
        said=None,
        fingerprint=None,
        pins=(),
    )
    mine = task(made)
    messages = [tuple(prompts.render(mine, message)) for message in asked.pins]
    store(made, hosted.pin(hosted.identified(empty), messages), version)
    if serves:
        serve(version, hours)


def serve(version: str, hours: float) -> None:
    """Let production serve a release since so many hours."""
    number = len(starter.git(Path(), "tag", "-l", "*#production#*").split()) + 1
    monitored.assign(version, datetime.now(UTC) - timedelta(hours=hours), number)


def weights(made: params.Params, version: str = "v1.1.0") -> None:
    """Release weights that answer as the working tree says, and let them serve."""
    releases.release(version, "HEAD", **_made(made))
    serve(version, 1.0)


def _made(made: params.Params) -> dict[str, Any]:
    """What a release of the working tree is made with."""
    first = next(Manifest.of(tag) for tag in tags.known() if tag.name == monitored.RELEASE)
    return {
        "base": {"source": made.base.model, "sha256": "b" * 64},
        "task": task(made),
        "decoding": {"decoding": made.evaluate.decoding, "max_new_tokens": made.evaluate.max_new_tokens},
        "params": made.model_dump(mode="json", by_alias=True),
        "data": first.data,
    }


def store(made: params.Params, recorded: Provider, version: str) -> None:
    """Keep the bundle of a hosted release in DVC, and tag HEAD as that release."""
    folder, mine = Path("bundle"), task(made)
    files.write_text(folder / PROVIDER_RECORD, recorded.text())
    bundle = Bundle(
        kind="hosted",
        release=f"{releases.MODEL}@{version}",
        base="b" * 64,
        weights={PROVIDER_RECORD: files.sha256(folder / PROVIDER_RECORD)},
        task=mine,
        partitions=(),
        trained_on=None,
        params={},
    )
    files.write_text(folder / "bundle.json", bundle.text())
    changes = _made(made) | {"kind": "hosted", "weights": bundles.hashes(folder)}
    manifest = releases.manifest(version, starter.git(Path(), "rev-parse", "HEAD"), **changes)
    files.write_text(folder / "manifest.json", manifest.text())
    kept = objects.store(folder, objects.place())
    shutil.rmtree(folder)
    releases.release(version, "HEAD", **(changes | {"bundle": kept}))


def remembering(folder: Path) -> Callable[[str], str]:
    """A model that gives to each message the answer that the release gave."""
    examples = pl.read_parquet(folder / monitored.HOLDOUT)
    outputs = pl.read_parquet(folder / monitored.ANSWERS / "candidate.parquet")
    rows = examples.select("id", "input").join(outputs.select("id", "output"), on="id")
    known = dict(rows.select("input", "output").iter_rows())
    return lambda message: known.get(message, RIGHT)
