"""What the candidate was made from that production was not: data, params, prompt, code, base model."""

from typing import NamedTuple

import yaml
from pydantic import JsonValue

from trunkline.clients import git
from trunkline.errors import Error
from trunkline.operations.report.evidence import Evidence
from trunkline.records import SIDES, Bundle, Report
from trunkline.words import as_number, as_object, number

PARAMS = "params.yaml"
# What a run writes, and what has rows of its own in the table.
_NOT_CODE = ("reports", "dvc.lock", "dvclive", "data", PARAMS)
_MOST_FILES = 8
_MODELS = {"base": "the untuned base model", "lora": "LoRA adapter", "hosted": "a provider's model"}
# Rows of a table of counts: its name, the step that counted, and its metric.
_COUNTS = (
    ("rows read", "data", "rows"),
    ("rows kept", "data", "examples"),
    ("training examples", "features", "train"),
    ("holdout examples", "features", "holdout"),
    ("canaries", "features", "canaries"),
)


class Change(NamedTuple):
    """One thing in which the two differ."""

    name: str
    production: str
    candidate: str


class Pinned(NamedTuple):
    """What Git knows of the commit that production was made from.

    Attributes:
        params: all of its params.yaml.
        counts: the metrics of its reports, by step.
        files: code that differs from it here.
    """

    params: dict[str, JsonValue]
    counts: dict[str, dict[str, JsonValue]]
    files: list[str]


def changes(evidence: Evidence) -> list[Change]:
    """Every difference; empty when there is none, or a model is missing."""
    if len(evidence.bundles) < len(SIDES):
        return []
    production, candidate = (evidence.bundles[side] for side in SIDES)
    pinned = _pinned(evidence.revision)
    rows = [
        Change("model", _name(production), _name(candidate)),
        Change("base model", production.base[:12], candidate.base[:12]),
        *_counts(evidence, pinned, production),
        Change("data partitions", _listed(production.partitions), _listed(candidate.partitions)),
        Change("training data", _short(production.trained_on), _short(candidate.trained_on)),
        Change("prompt", production.task.prompt_id, candidate.task.prompt_id),
        Change("transforms", _listed(production.task.transforms), _listed(candidate.task.transforms)),
        *_params(production, candidate, pinned, evidence),
        *_code(evidence, pinned),
    ]
    return [row for row in rows if row.production != row.candidate]


def _pinned(revision: str | None) -> Pinned | None:
    """None for the base model, and where this clone does not hold the commit."""
    if revision is None:
        return None
    try:
        params = yaml.safe_load(git.show(revision, PARAMS))
        reports = {step: git.show(revision, f"reports/{step}.json") for step in ("data", "features")}
        counts = {step: Report.model_validate_json(content).metrics for step, content in reports.items()}
        return Pinned(as_object(params), counts, git.changed_since(revision, _NOT_CODE))
    except (Error, ValueError, yaml.YAMLError):
        return None


def _counts(evidence: Evidence, pinned: Pinned | None, production: Bundle) -> list[Change]:
    unknown = "none" if production.kind == "base" else "unknown: its commit is not in this clone"
    rows = []
    for name, step, metric in _COUNTS:
        here = as_number(evidence.metrics(step).get(metric))
        there = as_number(pinned.counts[step].get(metric)) if pinned else None
        if here or there:
            rows.append(Change(name, unknown if pinned is None else number(there), number(here)))
    return rows


def _params(production: Bundle, candidate: Bundle, pinned: Pinned | None, evidence: Evidence) -> list[Change]:
    """Every value of params.yaml that differs; where production's file is not known, those it was trained with."""
    if pinned is not None and evidence.params:
        before, after = (dict(_flat(content)) for content in (pinned.params, evidence.params))
    elif production.params:
        before, after = (
            {f"train.{key}": value for key, value in side.params.items()} for side in (production, candidate)
        )
    else:
        return [Change("train", "none", ", ".join(f"{key} {value}" for key, value in candidate.params.items()))]
    keys = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    return [Change(key, str(before.get(key, "absent")), str(after.get(key, "absent"))) for key in keys]


def _flat(content: dict[str, JsonValue], above: str = "") -> list[tuple[str, JsonValue]]:
    found: list[tuple[str, JsonValue]] = []
    for key, value in content.items():
        found += _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(f"{above}{key}", value)]
    return found


def _code(evidence: Evidence, pinned: Pinned | None) -> list[Change]:
    if pinned is None or evidence.revision is None or not pinned.files:
        return []
    names, more = pinned.files[:_MOST_FILES], len(pinned.files) - _MOST_FILES
    listed = ", ".join(names) + (f" and {more} more" if more > 0 else "")
    return [Change("code", evidence.revision[:12], f"{number(len(pinned.files))} files differ: {listed}")]


def _name(bundle: Bundle) -> str:
    return _MODELS[bundle.kind] + (f" {bundle.release}" if bundle.release else "")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]
