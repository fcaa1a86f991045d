"""The one pull request: its branch, and what is on it.

The order is what a kill at any moment leaves repairable: the branch, the pull request, what is asked of whom, the text
and the label. A pull request without its label, or whose text is of another partition than its branch holds, is dressed
again by the next run.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from trunkline.clients import git, snapshot
from trunkline.clients.git import branches, log
from trunkline.clients.git.branches import Rejected
from trunkline.clients.github import GitHub
from trunkline.clients.github.pulls import Pull
from trunkline.errors import Error

REMOTE = "origin"
LABEL = "retrain"
# Of what drifted. A branch without one takes away that of the last pull request that was merged.
FIGURE = "reports/retrain.svg"
_TRAILER = "Trunkline-Retrain: "
# What a training job's commit changes on the branch.
_RUN = ("dvc.lock", "reports/")

logger = logging.getLogger("trunkline")


class Branch(NamedTuple):
    """A branch as the remote has it.

    Attributes:
        head: None where there is no such branch yet.
    """

    name: str
    head: str | None


class Proposal(NamedTuple):
    """What a pull request is to be.

    Attributes:
        changes: the files that its one commit changes, by their paths from the current folder.
        figure: of what drifted, an image's bytes; None: there is none.
        body: its text, by why a human has to look and the figure's address.
        reasons: why a human has to look; none where GitHub may merge it.
        reviewers: who is asked then.
    """

    where: Branch
    changes: Mapping[str, bytes | None]
    title: str
    figure: bytes | None
    body: Callable[[Sequence[str], str | None], str]
    reasons: Sequence[str]
    reviewers: Sequence[str]


def branch(name: str, base: str) -> Branch:
    """The remote's branch, of which everything that it adds to ``base`` is here afterwards.

    Raises:
        Error: somebody has committed to it, whose work must not be lost.
    """
    head = branches.remote_head(REMOTE, name)
    if head is not None:
        branches.fetch(REMOTE, name)
        strangers = [made.commit[:12] for made in log.between(base, head) if not _is_own(made)]
        if strangers:
            problem = f"{name} holds commits of others ({', '.join(strangers)}), so it is left as it is"
            raise Error(problem, "merge or close its pull request, and delete the branch")
    return Branch(name, head)


def text(where: Branch, path: str) -> str:
    """A file of the branch; empty where the branch or the file is not there."""
    if where.head is None or path not in snapshot.listed(where.head, path):
        return ""
    return git.show(where.head, path).decode(errors="replace")


def make(github: GitHub, pull: Pull | None, base: tuple[str, str], wanted: Proposal) -> str:
    """Push the branch, and open the pull request or change the open one; what was done.

    Args:
        pull: the open one; None: a new one is opened.
        base: name and commit of what it is for.

    Raises:
        Error: Git or GitHub refuses, or somebody else was faster.
    """
    if pull is not None and pull.merges and wanted.reasons:
        # Before there is anything else to merge.
        github.pulls.hold(pull.node)
        pull = pull._replace(merges=False)
    commit = _push(wanted, base[1])
    there = snapshot.listed(commit, FIGURE)
    figure = github.image(commit, snapshot.prefix() + FIGURE) if there else None
    done = "opened" if pull is None else "updated"
    body = wanted.body(wanted.reasons, figure)
    dressed = pull or github.pulls.add(wanted.where.name, base[0], wanted.title, body)
    return "\n".join([f"{done} {dressed.url}: {wanted.title}", *_dress(github, dressed, wanted, figure)])


def ask(github: GitHub, pull: Pull, reviewers: Sequence[str]) -> None:
    """Request reviews; whom GitHub does not ask is told."""
    if not reviewers:
        return
    try:
        github.pulls.ask(pull.number, reviewers)
    except Error as error:
        logger.warning("retrain  nobody was asked for a review: %s (%s)", error.problem, error.hint)


def _push(wanted: Proposal, base: str) -> str:
    """Let the branch be the merged commit and one commit on it, unless it already says the same; its commit.

    A newer figure alone is not worth a training.
    """
    where, top = wanted.where, snapshot.prefix()
    same = all(text(where, path).encode() == content for path, content in wanted.changes.items())
    if where.head is not None and same:
        return where.head
    changes = {top + path: content for path, content in {**wanted.changes, FIGURE: wanted.figure}.items()}
    made = branches.commit(base, changes, f"{wanted.title}\n\n{_TRAILER}{where.name}\n")
    ref = f"refs/heads/{where.name}"
    try:
        branches.push(REMOTE, {ref: made}, {ref: where.head})
    except Rejected as rejected:
        raise Error(f"{rejected.problem}: somebody else works on {where.name}", "run this again") from None
    return made


def _dress(github: GitHub, pull: Pull, wanted: Proposal, figure: str | None) -> list[str]:
    """Ask GitHub to merge it or people to review it, write its text, and label it; what was done."""
    reasons, done = list(wanted.reasons), []
    if not reasons and not pull.merges:
        try:
            github.pulls.merge_when_ready(pull.node)
        except Error as error:
            reasons.append(error.problem)
    if reasons:
        done.append(f"a review is needed: {'; '.join(reasons)}")
        ask(github, pull, wanted.reviewers)
    else:
        done.append("GitHub merges it as soon as all that is required has passed")
    # By the text the next run sees that nothing is missing.
    github.pulls.edit(pull.number, wanted.title, wanted.body(reasons, figure))
    github.pulls.label(pull.number, LABEL)
    return done


def _is_own(made: log.Made) -> bool:
    top = snapshot.prefix()
    of_run = all(path.startswith(tuple(top + name for name in _RUN)) for path in made.paths)
    return of_run or any(line.startswith(_TRAILER) for line in made.message.splitlines())
