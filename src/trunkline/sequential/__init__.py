"""Tests that stay valid while they are watched: is the canary worse, is it shown to be no worse, is it there?

`conditional` is X, an exact group-sequential test on four integers a window, and E2, its e-process without a
horizon; `votes` is E1, for events one by one, in both directions; `scores` is E3, for bounded scores;
`placebo` is P, the comparison with canaries that were not deployed; `ratio` watches whether both arms are
there; `spending` shares out one alpha; `intervals` says where an effect lies, by any of these e-processes.

An e-process starts at 1 and, while its claim holds, has an expectation of at most 1 at whatever moment one
looks: it reaches 1 / alpha with a chance of at most alpha, ever (Ville's inequality). A group-sequential test
spends its alpha along a clock that is fixed beforehand.
"""

from trunkline.sequential.conditional import Conditional, Counts, Stratified, conditional_chances
from trunkline.sequential.intervals import DIFFERENCE_CLAIMS, Interval, difference_interval, ratio_interval
from trunkline.sequential.placebo import Placebos
from trunkline.sequential.ratio import SampleRatio
from trunkline.sequential.scores import Bets
from trunkline.sequential.spending import average, reached, spent
from trunkline.sequential.votes import Tally, at_least, at_most, bound

__all__ = [
    "DIFFERENCE_CLAIMS",
    "Bets",
    "Conditional",
    "Counts",
    "Interval",
    "Placebos",
    "SampleRatio",
    "Stratified",
    "Tally",
    "at_least",
    "at_most",
    "average",
    "bound",
    "conditional_chances",
    "difference_interval",
    "ratio_interval",
    "reached",
    "spent",
]
