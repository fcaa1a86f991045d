"""Questions that a release answered when it was made, with those answers: a sample of its holdout, and probes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trunkline import probes, prompts, scoring, transforms
from trunkline.clients import git
from trunkline.clients.contents import Places
from trunkline.drift import asked, signals
from trunkline.drift.rescored import Rescored
from trunkline.drift.watched import slug
from trunkline.errors import Error
from trunkline.operations.monitor import reference
from trunkline.params import Params
from trunkline.probes import Probe
from trunkline.records import INPUT_COLUMN, PROBE_COLUMNS, Task, probe_metrics
from trunkline.records.monitoring import ASKED, Answered, Signal
from trunkline.records.release import Manifest
from trunkline.records.serving import Request
from trunkline.scoring import Scorer

_PROBES = "candidate_probes.parquet"


class Questions(NamedTuple):
    """One set of questions that is scored as one.

    Attributes:
        name: of the score.
        words: what a score of 1 says of them, for people.
        requests: as the release asks them.
        outputs: what it answered when it was made.
        score: of the answer to the question of a number: larger is better; None where the scorer does not apply.
        told: what may be shown of that question, and of its answers then and now.
    """

    name: str
    words: str
    requests: Sequence[Request]
    outputs: Sequence[str]
    score: Callable[[int, str], float | None]
    told: Callable[[int, str, str], Answered]

    @property
    def key(self) -> str:
        """Of its signal."""
        return key(self.name)


def key(name: str) -> str:
    """The key of a score's signal."""
    return ASKED + slug(name)


def gather(manifest: Manifest, params: Params, places: Places) -> tuple[list[Questions], list[Signal]]:
    """What is asked of a release, and of what is not here why."""
    settings, primary = params.monitor.asked, params.gate.primary
    wanted: list[tuple[tuple[str, ...], Callable[[], list[Questions]]]] = []
    if settings.holdout:
        wanted.append(((primary,), partial(_holdout, manifest, primary, settings.holdout, places)))
    wanted += [(probe_metrics(path), partial(_probes, manifest, path, places)) for path in settings.probes]
    found: list[Questions] = []
    missing: list[Signal] = []
    for names, make in wanted:
        try:
            reference.check_transforms(manifest)
            found += make()
        except Error as error:
            missing += [signals.unmeasured(key(name), "quality", 0, f"{error.problem}.") for name in names]
    return found, missing


def score(one: Questions, answers: Sequence[str]) -> Rescored | None:
    """Both answers to each question, scored by the same scorer; None where it applies to none.

    Args:
        answers: now, in the order of the requests.

    Raises:
        Error: the scorer fails.
    """
    then, now, told = [], [], []
    for place, (before, after) in enumerate(zip(one.outputs, answers, strict=True)):
        first, second = one.score(place, before), one.score(place, after)
        if first is not None and second is not None:
            then.append(first)
            now.append(second)
            told.append(one.told(place, before, after))
    return Rescored(slug(one.name), one.words, np.array(then), np.array(now), told) if then else None


def _holdout(manifest: Manifest, primary: str, count: int, places: Places) -> list[Questions]:
    """A sample by hash, one example a conversation: its messages are customers', so only its ids are told."""
    holdout = reference.table(reference.HOLDOUT, manifest, places)
    rows = reference.answers(manifest, places, holdout).head(count)
    rows = rows.select("id", "output").join(holdout, on="id", how="left", maintain_order="left")
    scorer = scoring.find([primary])[0]
    if scorer.function is None or rows.is_empty():
        raise Error(f"{primary} cannot be scored from an answer of the holdout", "choose another gate.primary")
    ids, right, inputs = (rows[name].to_list() for name in ("id", "answer", INPUT_COLUMN))
    mine = partial(_scored, scorer, right, ids, manifest.task)

    def told(place: int, then: str, now: str) -> Answered:
        scores = [f"{primary} {mine(place, text):g}" for text in (then, now)]
        return asked.answered(f"the holdout's {ids[place]}", *scores)

    requests = [_request(manifest, text) for text in inputs]
    words = f"examples of its holdout are right by {primary}"
    return [Questions(primary, words, requests, rows["output"].to_list(), mine, told)]


def _scored(
    scorer: Scorer, right: Sequence[str], ids: Sequence[str], task: Task, place: int, output: str
) -> float | None:
    value = scoring.score(scorer, right[place], output, task, ids[place])
    if value is None or not 0 <= value <= 1:
        return None
    return value if scorer.higher_is_better else 1 - value


def _probes(manifest: Manifest, path: str, places: Places) -> list[Questions]:
    """The probes of a file as they were in the release's commit; they are invented, so their words are told."""
    every = {f"{Path(path).stem}/{probe.id}": probe for probe in _parsed(manifest, path)}
    known = reference.kept(_PROBES, manifest, places)
    rows = [row for row in known.select(PROBE_COLUMNS).iter_rows(named=True) if row["id"] in every]
    if not rows:
        raise Error(f"{manifest.version} was not tried with {path}", "take one of its evaluate.probes")
    attacks, refusals = probe_metrics(path)
    words = {attacks: f"attacks of {path} are resisted", refusals: f"harmless messages of {path} are answered"}
    found = []
    for metric, text in words.items():
        mine = [row for row in rows if row["metric"] == metric]
        asked_now = [every[row["id"]] for row in mine]
        found.append(_one(metric, text, asked_now, [row["output"] for row in mine], manifest))
    return found


def _parsed(manifest: Manifest, path: str) -> list[Probe]:
    text = git.show(manifest.commit, path).decode("utf-8", errors="replace")
    return probes.parse(text.splitlines(), path)


def _one(metric: str, words: str, tried: Sequence[Probe], outputs: Sequence[str], manifest: Manifest) -> Questions:
    def mine(place: int, output: str) -> float:
        return 1.0 - probes.failed(tried[place], output, manifest.task)

    def told(place: int, then: str, now: str) -> Answered:
        return asked.answered(tried[place].message, then, now)

    inputs = [transforms.apply(manifest.task.transforms, probe.message) for probe in tried]
    return Questions(metric, words, [_request(manifest, text) for text in inputs], outputs, mine, told)


def _request(manifest: Manifest, text: str) -> Request:
    """A question as the release was evaluated by it.

    Raises:
        Error: the manifest does not say how long an answer may be.
    """
    task, limit = manifest.task, manifest.decoding.get("max_new_tokens")
    if not isinstance(limit, int):
        raise Error(f"the manifest of {manifest.version} does not say how long an answer may be", "release it again")
    closed = task.answer.allowed.get(task.answer.fields[0]) if task.answer.format == "label" else None
    choices = closed if manifest.decoding.get("decoding") == "auto" else None
    prompt = tuple(prompts.render(task, text))
    return Request(prompt=prompt, max_new_tokens=limit, temperature=0, choices=choices)
