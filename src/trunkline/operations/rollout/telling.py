"""What is known of an environment's last rollout: for a terminal, and as a report with a figure."""

from pathlib import Path

from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations.rollout import figure, tables, view
from trunkline.operations.rollout.branch import Branch
from trunkline.operations.rollout.looking import Look
from trunkline.operations.rollout.reading import Reader, look_at
from trunkline.params import Params
from trunkline.records.rollout import Rollout
from trunkline.rollout import shadow
from trunkline.rollout.trace import Point
from trunkline.words import template

REPORT = Path("reports/rollout.md")
FIGURE = Path("reports/rollout.svg")


def status(params: Params, environment: str, now: float) -> str:
    """Say it, and write ``reports/rollout.md`` and its figure; a log that does not answer is told in both.

    Args:
        environment: such as ``production``.
        now: seconds since 1970.

    Raises:
        Error: there was never a rollout, or the remote does not answer.
    """
    branch = Branch(params.project.name, environment)
    head = branch.head()
    rollout = branch.known(head)
    changes = [each for each in branch.history(head) if each.name == rollout.name]
    reader = Reader(params, rollout)
    problem, points = None, []
    look = Look(rollout, None, acted=False)
    try:
        look = look._replace(seen=look_at(params, rollout, reader, now))
        points = [] if shadow.runs(rollout) else reader.trace(now)
    except Error as error:
        problem = error.problem
    _write(look, changes, points, problem)
    said = [view.status(look), *([f"the prediction log could not be read: {problem}"] if problem else [])]
    return "\n".join([*said, f"report: {REPORT}"])


def _write(look: Look, changes: list[Rollout], points: list[Point], problem: str | None) -> None:
    if points:
        files.write_text(FIGURE, figure.draw(changes, points))
    else:
        files.remove(FIGURE)
    limits = look.seen.decision.limits if look.seen else {}
    content = {
        "rollout": look.rollout,
        "state": look.rollout.state.replace("_", " "),
        "waits": view.waits(look),
        "figure": FIGURE.name if points else None,
        "changes": changes,
        "shadow": view.shadowed(look.rollout),
        "arms": look.seen.arms if look.seen else None,
        "signals": [tables.signal(state) for state in look.seen.decision.signals] if look.seen else [],
        "effects": tables.effects(look.seen.decision) if look.seen else [],
        "covers": f"{100 * (1 - look.rollout.plan.beta):g}",
        "worse": f"{limits.get('e_worse_mean', 0):g}",
        "shown": f"{limits.get('e_no_worse', 0):g}",
        "problem": problem,
    }
    files.write_text(REPORT, template("rollout.md.j2").render(content))
