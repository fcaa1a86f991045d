"""Let a release earn its traffic: start it on a small share, look, and promote, hold or roll back by evidence.

State is in Git (`records.rollout.Rollout` on the environment's branch) and in the prediction log, and nowhere else.
"""

import time
from pathlib import Path
from typing import TypedDict, Unpack

from trunkline.errors import Error
from trunkline.operations.rollout import deciding, kubernetes, replaying, reviewing, telling, view, watching
from trunkline.operations.rollout.looking import Controller
from trunkline.params import Params
from trunkline.rollout.state import BY_HUMAN
from trunkline.verdict import Verdict

# By action, what it must be given and what it may be given.
TAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "start": (("what",), ("environment", "reason", "by", "split")),
    "status": ((), ("environment",)),
    "step": ((), ("environment",)),
    "watch": ((), ("environment", "until_held")),
    **{action: (("reason",), ("environment", "by")) for action in BY_HUMAN},
    "replay": (("what",), ("plan", "split")),
    "export": (("what",), ("environment",)),
    "analyse": (("canary",), ("weight", "environment")),
}
# With --reviewed, GitHub says who decided, and why.
REVIEWED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = dict.fromkeys(
    ("promote", "rollback"), (("what", "reviewed"), ("environment",))
)
_SHOWN = {"start": "VERSION", "export": "FILE", "replay": "LOG", "promote": "ROLLOUT", "rollback": "ROLLOUT"}


class Given(TypedDict):
    """The arguments of the command line, None where they were left out.

    Attributes:
        what: of `start` the version, of `replay` the log, of `export` the file to write, with ``reviewed`` the rollout.
        environment: such as ``production``.
        plan: the file of a plan, for `replay`.
        reason: why, in a sentence.
        by: who decides.
        canary: the version that a Kubernetes Job asks about.
        weight: the step that it asks about; None asks for harm only.
        split: the canary's share of the units in an A/B test; None starts, or replays, a ramp.
        until_held: of `watch` whether to end as well when a human has to decide.
        reviewed: whether name and reason are those of the reviewers of this run of a workflow.
    """

    what: str | None
    environment: str | None
    plan: Path | None
    reason: str | None
    by: str | None
    canary: str | None
    weight: float | None
    split: float | None
    until_held: bool | None
    reviewed: bool | None


def run(params: Params, action: str, **given: Unpack[Given]) -> tuple[str, Verdict]:
    """Do one of the actions of `TAKES`.

    Returns:
        What was found or done, and the verdict: of `step`, `watch`, `replay` and `analyse` the canary's, of the
        others a pass.

    Raises:
        Error: an argument is missing or one too many, or the action is not possible.
    """
    _check(action, given)
    environment, what = given["environment"] or "production", given["what"] or ""
    reason, by = given["reason"], given["by"]
    match action:
        case "start":
            return deciding.start(params, what, environment, reason, by, given["split"]), Verdict.PASS
        case "promote" | "rollback" if given["reviewed"]:
            by, reason = reviewing.review(action)
            return deciding.human(params, environment, action, reason, by, only=what), Verdict.PASS
        case "promote" | "hold" | "resume" | "rollback":
            return deciding.human(params, environment, action, reason, by), Verdict.PASS
        case "status":
            return telling.status(params, environment, time.time()), Verdict.PASS
        case "step":
            look = Controller(params, environment).look(time.time())
            return view.line(look), look.verdict
        case "watch":
            return watching.watch(params, environment, until_held=bool(given["until_held"]))
        case "export":
            return replaying.export(params, environment, Path(what), time.time())
        case "analyse":
            asked = kubernetes.Asked(given["canary"] or "", given["weight"], given["environment"])
            return kubernetes.analyse(params, asked, time.time())
        case _:
            return replaying.replay(params, Path(what), given["plan"], given["split"])


def _check(action: str, given: Given) -> None:
    needs, may = REVIEWED[action] if given["reviewed"] and action in REVIEWED else TAKES[action]
    has = [name for name, value in given.items() if value is not None]
    hint = "trunkline rollout --help"
    for name in needs:
        if name not in has:
            raise Error(f"rollout {action} needs {_shown(name, action)}", hint)
    extra = [_shown(name, action) for name in has if name not in (*needs, *may)]
    if extra:
        raise Error(f"rollout {action} takes no {' and no '.join(extra)}", hint)


def _shown(name: str, action: str) -> str:
    return _SHOWN.get(action, "WHAT") if name == "what" else f"--{name.replace('_', '-')}"
