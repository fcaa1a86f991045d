"""The rows of every table of the report, from the evidence; no markup here."""

from typing import NamedTuple

from pydantic import JsonValue

from trunkline.criteria import SLOW
from trunkline.gate.sentences import points
from trunkline.operations.report.evidence import Evidence
from trunkline.params import Params
from trunkline.records import AMOUNTS, CANARY_METRIC, SIDES, probe_metrics
from trunkline.words import as_number, as_object, as_rows, change, number, share, span

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
    """One number of each model."""

    name: str
    production: str
    candidate: str
    change: str


def metrics(evidence: Evidence, params: Params) -> list[Metric]:
    """Every criterion in the order of params.yaml, then the scores that do not decide."""
    criteria = as_rows(evidence.details("compare").get("criteria"))
    judged = {str(row.get("name")) for row in criteria}
    rows = [criterion(row) for row in criteria]
    rest = (_metric(name, evidence) for name in dict.fromkeys(_named(params)) if name not in judged | set(AMOUNTS))
    return rows + [row for row in rest if row is not None]


def _named(params: Params) -> tuple[str, ...]:
    return (params.gate.primary, *params.gate.guardrails, *params.evaluate.scorers)


def criterion(row: dict[str, JsonValue]) -> Metric:
    """One line about a criterion, from ``details.criteria`` of reports/compare.json."""
    name, kind, shown = str(row.get("name", "")), str(row.get("kind", "")), as_object(row.get("shown"))
    production, candidate, difference, low, high = (
        as_number(shown.get(key)) for key in ("production", "candidate", "difference", "low", "high")
    )
    limit = as_number(row.get("margin")) or 0.0
    lower = row.get("higher_is_better") is False
    in_points = kind in ("score", "floor")
    show = share if in_points else number
    told = {
        "score": (change(difference, low, high, "points"), points(limit)),
        "amount": (change(difference, low, high, "%"), f"{100 * limit:g} % more"),
        "slow": (span(difference, low, high) + " too slow", f"{100 * SLOW:g} % too slow"),
        "floor": (span(difference, low, high), f"at {'most' if lower else 'least'} {100 * limit:g} %"),
    }
    compared, margin = told.get(kind, ("", ""))
    words = " (lower is better)" if kind == "score" and lower else ""
    verdict = str(row.get("verdict", "")) + ("" if row.get("decides") is not False else " (dry run)")
    return Metric(name + words, show(production), show(candidate), compared if shown else "-", margin, verdict)


def _metric(name: str, evidence: Evidence) -> Metric | None:
    """A score that does not decide, or that could not be compared."""
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
    words = " (lower is better)" if compared.get("higher_is_better") is False else ""
    told = change(difference, low, high, "points" if in_points else "")
    return Metric(name + words, show(sides[0]), show(sides[1]), told, "", "")


def score_values(evidence: Evidence, params: Params) -> dict[str, float]:
    """Every score between 0 and 1 of both models, by scorer and side."""
    found: dict[str, float] = {}
    for name in params.evaluate.scorers:
        compared = as_object(evidence.metrics("compare").get(name))
        values = {side: _side_value(name, side, evidence, compared) for side in SIDES}
        if is_share(name, list(values.values())):
            found |= {f"{name}, {side}": value for side, value in values.items() if value is not None}
    return found


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
    scored = {*params.evaluate.scorers, *probed, CANARY_METRIC}
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
        difference=change(values["difference"], values["low"], values["high"], "points" if in_points else ""),
        verdict="not measured" if row.get("verdict") == "inconclusive" else str(row.get("verdict", "")),
        gain=values["difference"] or 0.0,
    )


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
            ("transforms", ", ".join(candidate.task.transforms) or "none"),
        ]
    return rows


def _commit(evidence: Evidence) -> str:
    if evidence.commit is None:
        return "none: this is not a commit in a Git repository"
    return evidence.commit + (" and changes that are not committed" if evidence.dirty else "")
