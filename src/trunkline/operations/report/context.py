"""What both templates and the terminal show, computed once."""

from typing import Any

from trunkline.operations.report import changes, story, view
from trunkline.operations.report.evidence import Evidence
from trunkline.params import Params
from trunkline.records import SIDES
from trunkline.words import as_number, as_object, as_rows, bars, number, sparkline

_SHOWN_SLICES = 8


def build(evidence: Evidence, params: Params) -> dict[str, Any]:
    """Names and values for the templates; everything is text, a number, or a row of them."""
    losses = story.loss_curve(evidence)
    every_slice = view.slices(evidence)
    compared = evidence.reports.get("compare")
    return {
        "project": params.project.name,
        "verdict": str(evidence.verdict),
        "sentences": compared.checks if compared else (),
        "dry_run": as_rows(evidence.details("compare").get("dry_run")),
        # The gate's own checks are told as sentences already.
        "findings": [finding for finding in evidence.found if finding.step != "compare" or compared is None],
        "metrics": view.metrics(evidence, params),
        "units": _units(evidence, params),
        "left_out": _left_out(evidence),
        "unit": params.compare.unit,
        "above": f"{100 * (1 - params.gate.alpha):g} %",
        "below": f"{100 * (1 - params.gate.beta):g} %",
        "baseline": story.baseline(evidence, params),
        "costs": view.costs(evidence, params),
        "changes": changes.changes(evidence),
        "both_models": len(evidence.bundles) == len(SIDES),
        "slices": every_slice[:_SHOWN_SLICES],
        "slices_left_out": max(0, len(every_slice) - _SHOWN_SLICES),
        "examples": _examples(evidence, params.report.examples),
        "partitions": story.partitions(evidence),
        "rejected": story.rejected(evidence),
        "split": _split(evidence),
        "training": story.facts(evidence, "train"),
        "score_bars": bars(view.score_values(evidence, params)),
        "spark": sparkline(losses),
        "first_loss": number(losses[0]) if losses else "",
        "last_loss": number(losses[-1]) if losses else "",
        "steps": len(losses),
        "lineage": view.lineage(evidence),
        "reproduce": reproduce(evidence),
    }


def reproduce(evidence: Evidence) -> str:
    """The commands that make this report again."""
    checkout = "" if evidence.commit is None else f"git checkout {evidence.commit[:12]} && "
    return f"{checkout}dvc repro && trunkline report"


def _units(evidence: Evidence, params: Params) -> str:
    details = evidence.details("compare")
    units, examples = as_number(details.get("units")), as_number(details.get("examples"))
    if units is None or examples is None:
        return f"{params.compare.unit}s"
    return f"{number(units)} {params.compare.unit}s with {number(examples)} examples"


def _left_out(evidence: Evidence) -> str:
    """How much of the holdout need not be answered because the verdict was settled; nothing if all of it was."""
    answered = as_object(evidence.details("evaluate").get("answered"))
    examples, holdout = as_number(answered.get("examples")), as_number(answered.get("holdout"))
    if examples is None or holdout is None or examples >= holdout:
        return ""
    saved = f"{100 * (1 - examples / holdout):.0f} %"
    return (
        f"The verdict was settled after {number(examples)} of {number(holdout)} examples: {saved} of the answers saved."
    )


def _examples(evidence: Evidence, most: int) -> list[tuple[str, list[story.Example], str]]:
    counts = as_object(evidence.details("compare").get("changed"))
    shown = [(word, story.changed(evidence, word, most)) for word in ("worse", "better")]
    return [(word, rows, _count(as_number(counts.get(word)))) for word, rows in shown if rows or word in counts]


def _count(count: float | None) -> str:
    return "Some" if count is None else "No" if count == 0 else number(count)


def _split(evidence: Evidence) -> str:
    metrics = evidence.metrics("features")
    train, holdout = as_number(metrics.get("train")), as_number(metrics.get("holdout"))
    if train is None or holdout is None:
        return ""
    canaries = as_number(metrics.get("canaries"))
    planted = f" {number(canaries)} canaries were planted among them, which count nowhere else." if canaries else ""
    return f"{number(train)} examples to train on, {number(holdout)} held out, no customer on both sides.{planted}"
