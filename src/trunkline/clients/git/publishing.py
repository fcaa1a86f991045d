"""An assignment becomes true at once, here and at the remote, or not at all; a lost race is decided anew.

No ref is made before the remote has it: a process that is killed leaves nothing that anybody could take for a
decision.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from trunkline.clients.git import branches, tags
from trunkline.clients.git.branches import Rejected
from trunkline.clients.git.command import git
from trunkline.errors import Error
from trunkline.records.release import Amendment, Change, Tag

# Of those who race, one gets through each time: this many others may be faster.
TRIES = 10
# Who holds a lock has not got through yet, and may be slow: those who wait for it look less and less often.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_TAGS = "refs/tags/"
Made = TypeVar("Made")

logger = logging.getLogger("trunkline")


def publish(branch: str, decide: Callable[[str | None, list[Tag]], Change]) -> Change:
    """Make the change that ``decide`` makes of branch and tags as they are now, in one push to ``origin``.

    Without a remote the refs of this clone are set.

    Args:
        branch: of the environment.
        decide: as for `amend`; called again with what is newer whenever somebody else was faster.

    Returns:
        The change that was made.

    Raises:
        Error: ``decide`` refused, the remote cannot be reached or refused, or the race was lost time after time.
    """

    def attempt(remote: str | None) -> Change:
        head, there = _head(remote, branch), _tags(remote)
        change = decide(head, there)
        line = change.tag.message.partition("\n")[0]
        _publish(remote, change.branch, Amendment(line, change.files, change.tag), there, head)
        return change

    return _until_won(attempt)


def amend(branch: str, decide: Callable[[str | None, list[Tag]], Amendment | None]) -> Amendment | None:
    """As `publish`, but decide by what the branch holds too: it is pushed on that very commit or not at all.

    Args:
        branch: its name.
        decide: given the branch's commit, which is here then, or None where there is no such branch, and the tags;
            None leaves everything as it is. Called again whenever somebody else was faster.

    Returns:
        What was written; None where nothing was to be done.

    Raises:
        Error: as `publish`.
    """

    def attempt(remote: str | None) -> Amendment | None:
        head, there = _head(remote, branch), _tags(remote)
        amendment = decide(head, there)
        if amendment is not None:
            _publish(remote, branch, amendment, there, head)
        return amendment

    return _until_won(attempt)


def head(branch: str) -> str | None:
    """The commit of a branch at ``origin``, or in a clone without one here; fetched. None without such a branch.

    Raises:
        Error: the remote cannot be reached.
    """
    return _head(tags.origin(), branch)


def _until_won(attempt: Callable[[str | None], Made]) -> Made:
    remote = tags.origin()
    lost: Rejected | None = None
    for trial in range(TRIES):
        if trial:
            time.sleep(min(_FIRST_PAUSE * 2 ** (trial - 1), _LONGEST_PAUSE))
        try:
            return attempt(remote)
        except Rejected as rejected:
            lost = rejected
            logger.info("somebody else was faster (%s); deciding anew", rejected.problem)
    raise Error(f"others were faster {TRIES} times: {lost.problem if lost else ''}", "run this again in a minute")


def _tags(remote: str | None) -> list[Tag]:
    return tags.everything() if remote is None else tags.published(remote)


def _publish(remote: str | None, branch: str, amendment: Amendment, there: list[Tag], parent: str | None) -> None:
    refs: dict[str, str] = {}
    expected: dict[str, str | None] = {}
    head = f"refs/heads/{branch}"
    commit = branches.commit(parent, amendment.files, amendment.message)
    if parent is None or _tree(parent) != _tree(commit):
        refs[head], expected[head] = commit, parent
    wanted = amendment.tag
    tag = f"{_TAGS}{wanted.name}" if wanted else ""
    if wanted and wanted.name not in {known.name for known in there}:
        refs[tag] = tags.write(wanted.name, wanted.commit, wanted.message, after=tags.last(there))
        expected[tag] = None
    if refs:
        set_refs(remote, refs, expected)
    if remote is not None and tag in refs:
        git("update-ref", tag, refs[tag])


def set_refs(remote: str | None, refs: Mapping[str, str], expected: Mapping[str, str | None]) -> None:
    """Set refs on a remote, without one in this clone, all of them or none; the arguments are those of `branches.push`.

    Raises:
        Rejected: a ref was not where it was expected.
        Error: the remote refused for another reason or cannot be reached, or a tag has the name that says nothing.
    """
    try:
        if remote is None:
            branches.update(refs, expected)
        else:
            branches.push(remote, refs, expected)
    except Rejected:
        # No race: whoever decides anew comes to the same name.
        silent = sorted(tags.unreadable(remote) & {ref.removeprefix(_TAGS) for ref in refs})
        if silent:
            raise _taken(silent[0], remote) from None
        raise


def _taken(name: str, remote: str | None) -> Error:
    problem = f"tag {name} is there and says nothing, as it is lightweight or names no commit"
    delete = f"git push {remote} --delete refs/tags/{name}" if remote else f"git tag --delete {name}"
    return Error(problem, f"delete it: `{delete}`; where rules keep tags, an administrator has to lift them for that")


def _head(remote: str | None, branch: str) -> str | None:
    if remote is None:
        return branches.local_head(branch)
    head = branches.remote_head(remote, branch)
    if head is not None and not branches.here(head):
        branches.fetch(remote, branch)
    return head


def _tree(commit: str) -> str:
    return git("rev-parse", f"{commit}^{{tree}}").decode().strip()
