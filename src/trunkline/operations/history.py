"""What served when, who decided, and why; from the registry's tags alone."""

import json

from trunkline import registry, terminal
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.registry import Entry

_HEAD = ("#", "environment", "version", "from", "until", "action", "by", "reason")


def run(params: Params, environment: str | None = None, json: bool = False) -> str:
    """Every assignment, the first first.

    Args:
        environment: only of this one.
        json: a JSON list of objects instead of a table.

    Raises:
        Error: this is no Git repository, or nothing was ever assigned there.
    """
    entries = registry.history(registry.of(tags.known(), params.project.name), environment)
    if json:
        return _json(entries)
    if not entries:
        where = f"to {environment}" if environment else "to any environment"
        raise Error(f"no release of {params.project.name} was ever assigned {where}", "see `trunkline promote --help`")
    lines = terminal.table([_HEAD, *map(_row, entries)])
    foreign = sum(entry.reason is None for entry in entries)
    if foreign:
        lines.append(f"{foreign} of {len(entries)} record no decision: by is then whoever made the tag")
    return "\n".join(lines)


def _json(entries: list[Entry]) -> str:
    return json.dumps([entry._asdict() for entry in entries], indent=2, ensure_ascii=False)


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
