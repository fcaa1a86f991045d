"""The rows of every table of the report, from the evidence; no markup here."""

from typing import NamedTuple

from pydantic import JsonValue

from trunkline.operations.report.evidence import Evidence
from trunkline.params import Params
from trunkline.records import AMOUNTS, SIDES, probe_metrics
from trunkline.words import as_number, as_object, as_rows, change, number, share

# A slice with fewer units than this says nothing worth a line.
_SMALLEST_SLICE = 10


class Metric(NamedTuple):
    """One line of the main table."""

    name: str
    production: str
    candidate: str
    difference: str
    margin: str
    verdict: str


class Slice(NamedTuple):
    """One value of one column."""

    column: str
    value: str
    units: int
    production: str
    candidate: str
    difference: str
    verdict: str
    gain: float


class Change(NamedTuple):
    """Something in which the two models differ, or one number of each."""

    name: str
    production: str
    candidate: str
    change: str


def metrics(evidence: Evidence, params: Params) -> list[Metric]:
    """The scorers in the order of params.yaml, those that decide first."""
    gated = [params.gate.primary, *params.gate.guardrails]
    names = dict.fromkeys(name for name in [*gated, *params.evaluate.scorers] if name not in AMOUNTS)
    return [row for row in (_metric(name, evidence, params) for name in names) if row is not None]


def _metric(name: str, evidence: Evidence, params: Params) -> Metric | None:
    compared = as_object(evidence.metrics("compare").get(name))
    sides = [_side_value(name, side, evidence, compared) for side in SIDES]
    if sides == [None, None]:
        return None
    low, high = as_number(compared.get("low")), as_number(compared.get("high"))
    difference = as_number(compared.get("difference"))
    if difference is None and sides[0] is not None and sides[1] is not None:
        difference = sides[1] - sides[0]
    in_points = is_share(name, sides)
    show = share if in_points else number
    path = "gate.margin" if name == params.gate.primary else f"gate.guardrails.{name}"
    checks = evidence.reports["compare"].checks if "compare" in evidence.reports else ()
    verdict = next((str(check.verdict) for check in checks if check.name == path), "")
    margin = as_number(compared.get("margin"))
    return Metric(
        name=name + (" (lower is better)" if compared.get("higher_is_better") is False else ""),
        production=show(sides[0]),
        candidate=show(sides[1]),
        difference=change(difference, low, high, in_points),
        margin="" if margin is None else f"{100 * margin:g} point{'s' * (margin != 0.01)}",
        verdict=verdict,
    )


def _side_value(name: str, side: str, evidence: Evidence, compared: dict[str, JsonValue]) -> float | None:
    value = as_number(compared.get(side))
    if value is None:
        value = as_number(as_object(as_object(evidence.metrics("evaluate").get(side)).get(name)).get("value"))
    return value


def is_share(name: str, values: list[float | None]) -> bool:
    """Whether a scorer's values are shown in percent: all between 0 and 1, and no log-likelihood."""
    return name != "nll" and all(value is None or 0 <= value <= 1 for value in values)


def costs(evidence: Evidence, params: Params) -> list[Change]:
    """Speed, latency, tokens and cost of both models: every number of evaluate that is no score."""
    measured = {side: as_object(evidence.metrics("evaluate").get(side)) for side in SIDES}
    probed = {metric for path in params.evaluate.probes for metric in probe_metrics(path)}
    scored = {*params.evaluate.scorers, *probed}
    names = dict.fromkeys(name for side in SIDES for name in measured[side] if name not in scored)
    rows = []
    for name in names:
        production, candidate = (_amount(measured[side].get(name)) for side in SIDES)
        if production is None and candidate is None:
            continue
        ratio = "" if not production or candidate is None else f"{100 * (candidate / production - 1):+.0f} %"
        rows.append(Change(name.replace("_", " "), number(production), number(candidate), ratio))
    return rows


def _amount(value: JsonValue) -> float | None:
    return as_number(as_object(value).get("value")) if isinstance(value, dict) else as_number(value)


def powers(evidence: Evidence) -> list[tuple[str, str]]:
    """How often as many units would pass a candidate as good as production, by criterion."""
    rows = as_rows(evidence.details("compare").get("criteria"))
    found = [(str(row.get("name", "")), as_number(row.get("power"))) for row in rows]
    return [(name, f"{100 * power:.0f} %") for name, power in found if power is not None]


def slices(evidence: Evidence) -> list[Slice]:
    """Slices of enough units, those that gain least first."""
    rows = [_slice(row) for row in as_rows(evidence.details("compare").get("slices"))]
    return sorted((row for row in rows if row.units >= _SMALLEST_SLICE), key=lambda row: (row.gain, row.units))


def _slice(row: dict[str, JsonValue]) -> Slice:
    values = {key: as_number(row.get(key)) for key in (*SIDES, "difference", "low", "high", "units")}
    in_points = is_share("", [values[side] for side in SIDES])
    show = share if in_points else number
    return Slice(
        column=str(row.get("column", "")),
        value=str(row.get("value", "")),
        units=int(values["units"] or 0),
        production=show(values["production"]),
        candidate=show(values["candidate"]),
        difference=change(values["difference"], values["low"], values["high"], in_points),
        verdict="not measured" if row.get("verdict") == "inconclusive" else str(row.get("verdict", "")),
        gain=values["difference"] or 0.0,
    )


def changes(evidence: Evidence) -> list[Change]:
    """What the candidate was made from that production was not; empty when a model is missing."""
    if len(evidence.bundles) < len(SIDES):
        return []
    production, candidate = (evidence.bundles[side] for side in SIDES)
    rows = [
        ("model", _MODELS[production.kind], _MODELS[candidate.kind]),
        ("base model", production.base[:12], candidate.base[:12]),
        ("data partitions", _listed(production.partitions), _listed(candidate.partitions)),
        ("training data", _short(production.trained_on), _short(candidate.trained_on)),
        ("prompt", production.task.prompt_id, candidate.task.prompt_id),
        ("transforms", _listed(production.task.transforms), _listed(candidate.task.transforms)),
        *_changed_params(production.params, candidate.params),
    ]
    return [Change(*row, change="") for row in rows if row[1] != row[2]]


_MODELS = {"base": "the untuned base model", "lora": "LoRA adapter"}


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _changed_params(production: dict[str, JsonValue], candidate: dict[str, JsonValue]) -> list[tuple[str, str, str]]:
    if not production:
        return [("train", "none", ", ".join(f"{key} {value}" for key, value in candidate.items()))]
    keys = dict.fromkeys([*production, *candidate])
    return [(f"train.{key}", str(production.get(key, "absent")), str(candidate.get(key, "absent"))) for key in keys]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def lineage(evidence: Evidence) -> list[tuple[str, str]]:
    """Names and hashes that identify what was judged."""
    candidate = evidence.bundles.get("candidate")
    source = evidence.details("base").get("source")
    rows = [("git commit", _commit(evidence))]
    rows += [(f"sha256 of {path}", digest) for path, digest in evidence.hashes.items()]
    if source:
        rows.append(("base model", str(source)))
    if candidate is not None:
        rows += [
            ("sha256 of the base model", candidate.base),
            ("sha256 of the training data", str(candidate.trained_on)),
            *((f"sha256 of {name}", digest) for name, digest in sorted(candidate.weights.items())),
            ("prompt", candidate.task.prompt_id),
            ("transforms", _listed(candidate.task.transforms)),
        ]
    return rows


def _commit(evidence: Evidence) -> str:
    if evidence.commit is None:
        return "none: this is not a commit in a Git repository"
    return evidence.commit + (" and changes that are not committed" if evidence.dirty else "")
