"""One issue for each alarm of the monitor: opened, changed with the evidence, closed when it clears.

Issues are found by a hidden marker among those of this token's account. What was not measured leaves its issue as
it is.
"""

import time
from collections.abc import Callable
from pathlib import Path

from trunkline import notices, words
from trunkline.clients.github import GitHub, workflow
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.monitoring import Monitoring, Signal
from trunkline.records.notice import Notice, State
from trunkline.verdict import Verdict

REPORT = Path("reports/monitor.json")
LABEL = "alert"
_STATES: dict[Verdict, State] = {Verdict.FAIL: "open", Verdict.PASS: "cleared", Verdict.INCONCLUSIVE: "unknown"}


def run(params: Params, wait: Callable[[float], None] = time.sleep) -> str:
    """Bring the issues in line with ``reports/monitor.json``.

    Sets the step's output ``retrain`` to true where newer data may mend an alarm, and else to false.

    Args:
        wait: called with the seconds to wait before GitHub is asked again.

    Returns:
        What was done where, and a last line that counts the alarms.

    Raises:
        Error: there is no report of this project, this is no GitHub Actions job, or GitHub refuses or cannot be
            reached.
    """
    found = _read(params)
    github = GitHub(workflow.here(), wait)
    wanted = [_notice(found, signal) for signal in found.signals]
    done = github.issues.settle(github.login(), LABEL, lambda known: notices.changes(wanted, known))
    alarms = [signal for signal in found.signals if signal.verdict is Verdict.FAIL]
    workflow.set_outputs(retrain="true" if any(alarm.learnable for alarm in alarms) else "false")
    unmeasured = sum(signal.verdict is Verdict.INCONCLUSIVE for signal in found.signals)
    lines = [f"{change.done:<10}{url}  {change.title}" for change, url in done]
    told = f"{len(alarms)} alarms, {unmeasured} signals not measured, {len(done)} issues changed"
    return "\n".join([*lines, f"{params.project.name}: {told}"])


def _read(params: Params) -> Monitoring:
    try:
        found = Monitoring.read(REPORT)
    except Error as error:
        raise Error(error.problem, "run `trunkline monitor`, then this again") from None
    if found.model != params.project.name:
        raise Error(f"{REPORT} is about {found.model}, not about {params.project.name}", "run `trunkline monitor`")
    return found


def _notice(found: Monitoring, signal: Signal) -> Notice:
    words_of = {
        "signal": signal,
        "cleared": signal.verdict is Verdict.PASS,
        "release": found.release,
        "environment": found.environment,
        "since": found.since,
        "until": found.until,
        "value": words.number(signal.value),
        "reference": words.number(signal.reference),
        "effect": words.number(signal.effect),
        "p": words.number(signal.p),
        "n": f"{signal.n:,}",
        "rollback": _rollback(found, signal),
    }
    title = words.cut(f"{found.model} in {found.environment}: {signal.key}", 200)
    body = words.template("alert.md.j2").render(words_of).strip()
    key = f"alert:{found.model}:{found.environment}:{signal.key}"
    nameless = notices.NAMELESS if signal.verdict is Verdict.FAIL else signal.verdict
    return Notice(key, _STATES[signal.verdict], signal.since or nameless, title, body)


def _rollback(found: Monitoring, signal: Signal) -> str:
    """The command that lets an earlier release answer; empty where none would mend the alarm."""
    if signal.fallback is None:
        return ""
    asked = f"--to {signal.fallback} --environment {found.environment}"
    return f'trunkline rollback {asked} --reason "{signal.key}: see this issue"'
