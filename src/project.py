"""The project's own transforms and scorers; params.yaml names this file and what it uses of it."""

from trunkline.records import Task
from trunkline.scoring import parse, scorer


@scorer("urgent_not_missed")
def urgent_not_missed(answer: str, output: str, task: Task) -> float | None:
    """1 when the model sees that a message is urgent; applies to messages whose urgency is high."""
    if (parse(answer) or {}).get("urgency") != "high":
        return None
    return float((parse(output) or {}).get("urgency") == "high")
