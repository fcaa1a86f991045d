"""The comparison: both models' answers against everything the gate asks for, and what a reader wants to know.

`answered` checks that the answers belong together, `judge` decides each criterion, `slices` looks at parts
of the holdout, and `shown` measures what does not decide. The stage `compare` writes it down; `drill` tries
it with answers that it must refuse.
"""

from pydantic import JsonValue

from trunkline import criteria, scoring
from trunkline.comparison import shown, slices
from trunkline.comparison.answered import Answered, match
from trunkline.comparison.judge import Values, judge, values_of
from trunkline.criteria import Criterion
from trunkline.errors import Error
from trunkline.records import CANARY_METRIC, SCORE_PREFIX, Answer, Report, Terms, probe_metrics

__all__ = ["Answered", "Values", "compare", "match", "plan", "values_of"]


def compare(answered: Answered, answer: Answer, terms: Terms) -> Report:
    """The report of ``compare``, with the gate's verdict; a bad verdict is no Error.

    Args:
        answered: what both models answered.
        answer: the task's answer format.
        terms: what decides.

    Raises:
        Error: a score is missing or NaN, or a scorer that decides cannot (its values leave 0 to 1, or it
            has no mean).
    """
    paired = shown.pair(answered)
    primary = paired.get(terms.limits.primary)
    if primary is None:
        missing = SCORE_PREFIX + terms.limits.primary
        raise Error(f"the answers have no scores {missing} on both sides", "run `dvc repro evaluate`")
    judged = [judge(criterion, answered, terms) for criterion in plan(terms)]
    parts, slice_checks = slices.judge(primary, answer, terms)
    margins = terms.limits.margins
    metrics = {name: shown.metric(pair, margins.get(name), terms) for name, pair in paired.items()}
    dry = terms.dry_run
    details: dict[str, JsonValue] = {
        "unit": terms.unit,
        "units": answered.examples["unit"].n_unique(),
        "planned": answered.planned,
        "examples": answered.examples.height,
        "primary": terms.limits.primary,
        "changed": shown.changed(primary),
        "criteria": [one.row | {"decides": one.row["name"] not in dry} for one in judged],
        "dry_run": [one.check.model_dump(mode="json") for one in judged if one.row["name"] in dry],
        "slices": parts,
    }
    deciding = [one.check for one in judged if one.row["name"] not in dry]
    return Report.of("compare", (*deciding, *slice_checks), metrics, details)


def plan(terms: Terms) -> list[Criterion]:
    """Every criterion that params.yaml names, those of probes and canaries included."""
    probed = [CANARY_METRIC, *(metric for path in terms.probes for metric in probe_metrics(path))]
    return criteria.plan(terms.limits, [*scoring.lower_is_better(), *probed])
