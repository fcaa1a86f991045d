"""What served when, who decided, and why, from the registry's tags; and what was tried, from the branches."""

import json
import logging

from trunkline import registry, terminal
from trunkline.clients.git import branches, tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.rollout import Rollout
from trunkline.registry import Entry
from trunkline.rollout import state

_HEAD = ("#", "environment", "version", "from", "until", "action", "by", "reason")
_TRIED = ("rollout", "tried", "against", "time", "share", "action", "by", "reason")

logger = logging.getLogger("trunkline")


def run(params: Params, environment: str | None = None, json: bool = False) -> str:
    """Every assignment, and every change of a rollout, the first first.

    Args:
        environment: only of this one.
        json: a JSON list of objects instead of tables; those of rollouts have the key ``rollout``.

    Raises:
        Error: this is no Git repository, or nothing was ever assigned there.
    """
    entries = registry.history(registry.of(tags.known(), params.project.name), environment)
    rollouts = _rollouts(params.project.name, environment)
    if json:
        return _json(entries, rollouts)
    if not entries:
        where = f"to {environment}" if environment else "to any environment"
        raise Error(f"no release of {params.project.name} was ever assigned {where}", "see `trunkline promote --help`")
    lines = terminal.table([_HEAD, *map(_row, entries)])
    foreign = sum(entry.reason is None for entry in entries)
    if foreign:
        lines.append(f"{foreign} of {len(entries)} record no decision: by is then whoever made the tag")
    if rollouts:
        lines += ["", *terminal.table([_TRIED, *map(_tried, rollouts)])]
    return "\n".join(lines)


def _rollouts(model: str, environment: str | None) -> list[Rollout]:
    """Every change of a rollout, by environment."""
    remote, path = tags.origin(), registry.rollout_path(model)
    if remote is not None:
        try:
            branches.refresh(remote, registry.branch(""))
        except Error as error:
            logger.warning("%s; rollouts are those that this clone knows", error.problem)
    known = branches.histories(remote, registry.branch(environment or ""), path)
    return [each for name, contents in known.items() for each in state.past(contents, f"{path} of {name}")]


def _json(entries: list[Entry], rollouts: list[Rollout]) -> str:
    tried = [{"rollout": each.name, **each.model_dump(mode="json", exclude={"name", "plan"})} for each in rollouts]
    return json.dumps([*(entry._asdict() for entry in entries), *tried], indent=2, ensure_ascii=False)


def _tried(rollout: Rollout) -> tuple[str, ...]:
    return (
        rollout.name,
        rollout.canary,
        rollout.stable,
        rollout.since,
        f"{rollout.weight:.0%}",
        rollout.action,
        rollout.by,
        f"{rollout.reason} ({rollout.because})",
    )


def _row(entry: Entry) -> tuple[str, ...]:
    reason = f"{entry.reason or ''} ({entry.note})" if entry.note else entry.reason or ""
    return (
        str(entry.number),
        entry.environment,
        entry.version or "?",
        entry.time,
        entry.until or "now",
        entry.action,
        entry.by,
        reason.strip(),
    )
