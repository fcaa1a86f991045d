"""What people decide about a rollout: to start it, and then to hold, resume, promote or roll it back."""

import secrets
import time

from trunkline import registry
from trunkline.clients import actor
from trunkline.errors import Error
from trunkline.operations.rollout.branch import Branch, Written
from trunkline.operations.rollout.looking import iso
from trunkline.params import Params
from trunkline.records.release import Tag
from trunkline.records.rollout import Plan, Rollout
from trunkline.rollout import requests, state
from trunkline.words import plain

_SALT_BYTES = 16


def start(
    params: Params, version: str, environment: str, reason: str | None, by: str | None, split: float | None
) -> str:
    """Let a release begin to earn its traffic; the plan of params.yaml is fixed from here on.

    What is being tried already is left as it is, so that a job may run again.

    Args:
        version: ``v1.2.0`` or ``<model>@v1.2.0``.
        environment: such as ``production``.
        reason: why; asked for to try a version again that was rolled back.
        by: who starts it; otherwise whoever GitHub Actions or Git's configuration names.
        split: the canary's share of the units in an A/B test; None takes the plan's steps.

    Raises:
        Error: the version may not be promoted there or not be tried, another rollout runs, nothing serves there, the
            plan asks for what is not logged, nobody is named, or the remote did not take it.
    """
    model, plan = params.project.name, params.rollout
    if plan.salt is not None:
        raise Error("rollout.salt is set in params.yaml", "set it to null: each rollout draws a salt of its own")
    plan = plan if split is None else plan.tested_at(split)
    requests.check(plan, params.serve.guard, params.serve.log.output)
    salted = plan.model_copy(update={"salt": secrets.token_hex(_SALT_BYTES)})
    why = " ".join((reason or "").split())
    said = {"model": model, "environment": environment, "version": str(registry.release(version, model))}
    wanted = actor.decision({**said, "action": "promote", "reason": why or "no reason given"}, by)
    branch = Branch(model, environment)

    def decide(head: str | None, tags: list[Tag]) -> Written | None:
        there, history = registry.of(tags, model), branch.history(head)
        runs = state.trial(there, environment, history)
        if runs is not None and runs.canary == wanted.version:
            return None
        return state.start(wanted, salted, there, history, again=bool(why)), None

    made = branch.amend(decide)
    if made is not None:
        return _told(made, branch)
    runs = branch.known(branch.head())
    _check_same(runs, plan)
    return f"{runs.canary} is tried already, since {runs.started}: nothing was changed\n{_told(runs, branch)}"


def _check_same(runs: Rollout, asked: Plan) -> None:
    """Refuse to take a ramp for an A/B test, one for a ramp, or for one of another share."""
    if (runs.plan.ab, runs.plan.ab and runs.plan.steps) == (asked.ab, asked.ab and asked.steps):
        return
    what = f"an A/B test at {runs.plan.steps[0].weight:g}" if runs.plan.ab else "a ramp"
    problem = f"{runs.environment} is trying {runs.canary} already, as {what}, since {runs.started}"
    raise Error(problem, "end it first: `trunkline rollout rollback --reason TEXT`")


def human(
    params: Params, environment: str, action: state.By, reason: str | None, by: str | None, only: str | None = None
) -> str:
    """Record a human's decision about the rollout that runs, and carry it out.

    Args:
        environment: such as ``production``.
        action: what is decided.
        reason: why, in a sentence.
        by: who decides; otherwise whoever GitHub Actions or Git's configuration names.
        only: the rollout that it is about; None is the one that runs.

    Raises:
        Error: there is no reason, another rollout runs than it is about, nothing runs or it is not where this can be
            decided, nobody is named, or the remote did not take it.
    """
    why = " ".join((reason or "").split())
    if not why:
        raise Error(f"rollout {action} needs a reason", "say it with --reason, for those who will ask later")
    who, now = actor.name(by), iso(time.time())
    branch = Branch(params.project.name, environment)

    def decide(head: str | None, _: list[Tag]) -> Written:
        there = branch.known(head)
        if only is not None and there.name != only:
            raise Error(f"{there.name} came after {only}", "this was decided about the older one, and changes nothing")
        overtaken = branch.overtaken(there, head, now)
        return overtaken or state.by_human(there, action, why, who, now), None

    made = branch.amend(decide)
    if made is None:
        raise AssertionError("people's decisions are written or refused")
    return _told(made, branch)


def _told(rollout: Rollout, branch: Branch) -> str:
    told = f"{state.line(rollout)} ({plain(rollout.reason)})\n{rollout.name} on {branch.name}"
    return told if rollout.over else f"{told}\nnext: `trunkline rollout watch`"
