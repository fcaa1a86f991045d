"""The rollout's analysis: what a log of requests says about the canary, look by look.

`log` checks a log, `signals` says what is watched in it, `windows` cuts it by a clock that stands still while
nothing arrives, `evidence` keeps the tests of `trunkline.sequential`, and `analysis` decides. Live, `requests` makes
the log from the prediction log, `following` keeps up with it, `state` says what becomes of the rollout, and
`unhashed` does without salt and weight.
"""

from trunkline.rollout.analysis import Analysis, changes
from trunkline.rollout.decision import Decision
from trunkline.rollout.following import Following
from trunkline.rollout.log import Rows, from_table

__all__ = ["Analysis", "Decision", "Following", "Rows", "changes", "from_table"]
