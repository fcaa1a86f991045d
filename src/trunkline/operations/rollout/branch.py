"""What an environment's branch says about rollouts, and how it is amended."""

import logging
from collections.abc import Callable

from trunkline import registry
from trunkline.clients import actor
from trunkline.clients.git import branches, publishing
from trunkline.errors import Error
from trunkline.operations.rollout.message import message
from trunkline.operations.rollout.reading import Seen
from trunkline.records.release import Amendment, Serving, Tag
from trunkline.records.release import Decision as Assigned
from trunkline.records.rollout import Rollout
from trunkline.rollout import started, state

_log = logging.getLogger(__name__)


class Never(Error):
    """No rollout ever started there."""


class Branch:
    """The branch of one environment, of which the remote's state counts.

    Args:
        model: ``project.name`` of params.yaml.
        environment: such as ``production``.
    """

    def __init__(self, model: str, environment: str) -> None:
        self.model, self.environment = model, environment
        self.name = registry.branch(environment)
        self._path = registry.rollout_path(model)
        # A commit never changes, and one looks far more often than a rollout does.
        self._read: tuple[str | None, Rollout | None] = None, None

    def head(self) -> str | None:
        """The branch's commit now; None where there is no such branch.

        Raises:
            Error: the remote cannot be reached.
        """
        return publishing.head(self.name)

    def known(self, head: str | None) -> Rollout:
        """The rollout that runs, or ran last, as a commit of the branch says it.

        Raises:
            Never: there was none.
            Error: the file there is no rollout.
        """
        found = self.at(head)
        if found is None:
            problem = f"nothing was ever tried in {self.environment}"
            raise Never(problem, f"`trunkline rollout start VERSION --environment {self.environment}`")
        return found

    def at(self, head: str | None) -> Rollout | None:
        """The rollout in a commit of the branch, by what its start fixed; None where there is none.

        Raises:
            Error: the file there is no rollout.
        """
        if head is None or head != self._read[0]:
            content = None if head is None else branches.at(head, self._path)
            found = None if content is None else Rollout.parse(content, f"{self._path} of {self.name}")
            self._read = head, None if found is None or head is None else self._as_started(found, head)
        return self._read[1]

    def _as_started(self, rollout: Rollout, head: str) -> Rollout:
        """By what its start fixed, whatever somebody has made of it in the file since."""
        held = started.held(rollout, branches.newest_first(head, self._path))
        if held.ignored:
            what = f"{', '.join(held.ignored)} in {self._path} of {self.name}"
            _log.warning("rollout  %s was changed after the start, which counts for nothing", what)
        return held.rollout

    def history(self, head: str | None) -> list[Rollout]:
        """All that the branch has said about rollouts up to a commit, the oldest first.

        Raises:
            Error: the last one is no rollout.
        """
        contents = [] if head is None else branches.versions(head, self._path)
        return state.past(contents, f"{self._path} of {self.name}")

    def overtaken(self, rollout: Rollout, head: str | None, now: str) -> Rollout | None:
        """What becomes of a rollout because the environment was given another release; None where it was not."""
        path = registry.path(self.model)
        content = None if head is None else branches.at(head, path)
        try:
            serving = None if content is None else Serving.parse(content, path)
        except Error:
            return None  # what cannot be read must not stand in the way of what is decided
        return None if serving is None else state.overtaken(rollout, serving.version, serving.tag, now)

    def amend(self, decide: "Callable[[str | None, list[Tag]], Written | None]") -> Rollout | None:
        """Write what ``decide`` makes of the branch and the tags as they are; None where nothing was to be done.

        Raises:
            Error: it refused, or the remote did not take it.
        """

        def amendment(head: str | None, tags: list[Tag]) -> Amendment | None:
            written = decide(head, tags)
            return None if written is None else self._amendment(written, tags)

        made = publishing.amend(self.name, amendment)
        return None if made is None else Rollout.parse(made.files[self._path], self._path)

    def _amendment(self, written: "Written", tags: list[Tag]) -> Amendment:
        rollout, seen = written
        files = {self._path: rollout.yaml().encode()}
        told = message(rollout, seen)
        if rollout.state != "promoted" or rollout.because == "overtaken":
            return Amendment(told, files, None)
        said = {"model": self.model, "environment": self.environment, "version": rollout.canary, "action": "promote"}
        why = {"reason": f"{rollout.reason} ({rollout.name})", "by": rollout.by, "created": rollout.since}
        wanted = Assigned.model_validate({**said, **why, "previous": None, "run": actor.run()})
        there = registry.of(tags, self.model)
        registry.promote(there, wanted)
        change = registry.promote(there, registry.admitted(wanted, there, said=True))
        return Amendment(told, {**change.files, **files}, change.tag)


# A rollout as it becomes, and what makes it so was seen in the log; None where a human decided, or another tool.
Written = tuple[Rollout, Seen | None]
