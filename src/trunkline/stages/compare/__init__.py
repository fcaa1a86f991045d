"""Judge the candidate against production on the answers both gave to the same holdout examples."""

import logging
from pathlib import Path

from pydantic import JsonValue

from trunkline import criteria, scoring
from trunkline.clients import files, project
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import SCORE_PREFIX, Report, Task, probe_metrics
from trunkline.stages.compare import shown, sides, slices
from trunkline.stages.compare.judge import judge
from trunkline.stages.compare.sides import PREDICTIONS

TASK = Path("data/task.json")
REPORT = Path("reports/compare.json")

_log = logging.getLogger(__name__)


def run(params: Params) -> None:
    """Write reports/compare.json with the gate's verdict; a bad verdict is no Error.

    Raises:
        Error: a side is missing, the sides answer other examples than the holdout's, a score is NaN,
            or a scorer that decides cannot (its values leave 0 to 1, or it has no mean).
    """
    project.load(params.project.module)
    answered = sides.read(params.compare.unit, params.compare.seed)
    paired = shown.pair(answered)
    primary = paired.get(params.gate.primary)
    if primary is None:
        missing = SCORE_PREFIX + params.gate.primary
        raise Error(f"{PREDICTIONS} has no scores {missing} on both sides", "run `dvc repro evaluate`")
    judged = [judge(criterion, answered, params) for criterion in _plan(params)]
    parts, slice_checks = slices.judge(primary, Task.read(TASK).answer, params)
    dry = params.gate.dry_run
    margins = params.gate.limits.margins
    metrics = {name: shown.metric(pair, margins.get(name), params) for name, pair in paired.items()}
    details: dict[str, JsonValue] = {
        "unit": params.compare.unit,
        "units": answered.examples["unit"].n_unique(),
        "planned": answered.planned,
        "examples": answered.examples.height,
        "primary": params.gate.primary,
        "changed": shown.changed(primary),
        "criteria": [one.row | {"decides": one.row["name"] not in dry} for one in judged],
        "dry_run": [one.check.model_dump(mode="json") for one in judged if one.row["name"] in dry],
        "slices": parts,
    }
    deciding = [one.check for one in judged if one.row["name"] not in dry]
    report = Report.of("compare", (*deciding, *slice_checks), metrics, details)
    files.write_text(REPORT, report.text())
    for check in report.checks:
        _log.info("compare  %s: %s", check.verdict, check.message)


def _plan(params: Params) -> list[Criterion]:
    probed = [metric for path in params.evaluate.probes for metric in probe_metrics(path)]
    return criteria.plan(params.gate.limits, [*scoring.lower_is_better(), *probed])
