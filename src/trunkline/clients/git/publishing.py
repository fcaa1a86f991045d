"""An assignment becomes true at once, here and at the remote, or not at all; a lost race is decided anew.

No ref is made before the remote has it: a process that is killed leaves nothing that anybody could take for a
decision.
"""

import logging
from collections.abc import Callable, Mapping

from trunkline.clients.git import branches, tags
from trunkline.clients.git.branches import Rejected
from trunkline.clients.git.command import git
from trunkline.errors import Error
from trunkline.records.release import Change, Tag

# Of those who race, one gets through each time: this many others may be faster.
TRIES = 10

logger = logging.getLogger("trunkline")


def publish(decide: Callable[[list[Tag]], Change]) -> Change:
    """Make the change that ``decide`` makes of the tags as they are now, in one push to ``origin``.

    Without a remote the refs of this clone are set.

    Args:
        decide: called again with the newer tags whenever somebody else was faster.

    Returns:
        The change that was made.

    Raises:
        Error: ``decide`` refused, the remote cannot be reached or refused, or the race was lost time after time.
    """
    remote = tags.origin()
    lost: Rejected | None = None
    for _ in range(TRIES):
        there = tags.everything() if remote is None else tags.published(remote)
        change = decide(there)
        try:
            _publish(remote, change, there)
            return change
        except Rejected as rejected:
            lost = rejected
            logger.info("somebody else was faster (%s); deciding anew", rejected.problem)
    raise Error(f"others were faster {TRIES} times: {lost.problem if lost else ''}", "run this again in a minute")


def _publish(remote: str | None, change: Change, there: list[Tag]) -> None:
    refs: dict[str, str] = {}
    expected: dict[str, str | None] = {}
    head = f"refs/heads/{change.branch}"
    parent = _head(remote, change.branch)
    commit = branches.commit(parent, change.files, change.tag.message.partition("\n")[0])
    if parent is None or _tree(parent) != _tree(commit):
        refs[head], expected[head] = commit, parent
    tag = f"refs/tags/{change.tag.name}"
    if change.tag.name not in {known.name for known in there}:
        refs[tag] = tags.write(change.tag.name, change.tag.commit, change.tag.message, after=tags.last(there))
        expected[tag] = None
    if refs:
        _set(remote, refs, expected)
    if remote is not None and tag in refs:
        git("update-ref", tag, refs[tag])


def _set(remote: str | None, refs: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    if remote is None:
        branches.update(refs, expected)
    else:
        branches.push(remote, refs, expected)


def _head(remote: str | None, branch: str) -> str | None:
    if remote is None:
        return branches.local_head(branch)
    head = branches.remote_head(remote, branch)
    if head is not None:
        branches.fetch(remote, branch)
    return head


def _tree(commit: str) -> str:
    return git("rev-parse", f"{commit}^{{tree}}").decode().strip()
