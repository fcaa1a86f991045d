"""The rollout's analysis: what a log of requests says about the canary, look by look.

`log` checks a log, `signals` says what is watched in it, `windows` cuts it by a clock that stands still while
nothing arrives, `evidence` keeps the tests of `trunkline.sequential`, and `analysis` decides.
"""

from trunkline.rollout.analysis import Analysis, analyse, changes
from trunkline.rollout.decision import Decision
from trunkline.rollout.log import Rows, from_table

__all__ = ["Analysis", "Decision", "Rows", "analyse", "changes", "from_table"]
