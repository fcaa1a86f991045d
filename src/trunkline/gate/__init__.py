"""The gate: is the candidate no worse than production, by more than a margin, on the same examples?

`betting` holds the mathematics, `decision` one check, `paired` makes units of examples, `slices` looks
for parts of the holdout that lose although the whole does not, and `sentences` says it in words.
"""

from trunkline.gate.decision import (
    Decision,
    Outcomes,
    Rule,
    decide,
    fixed_sample,
    outcomes,
    power,
    settled_verdict,
    verdict_of,
)
from trunkline.gate.paired import differences, ordered, relative, unit_means
from trunkline.gate.slices import Part, judge_slices

__all__ = [
    "Decision",
    "Outcomes",
    "Part",
    "Rule",
    "decide",
    "differences",
    "fixed_sample",
    "judge_slices",
    "ordered",
    "outcomes",
    "power",
    "relative",
    "settled_verdict",
    "unit_means",
    "verdict_of",
]
