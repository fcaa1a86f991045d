"""One look at a rollout: read branch and log, decide, and act; whoever acts second finds it done."""

from datetime import UTC, datetime
from typing import NamedTuple

from trunkline.operations.rollout import probing
from trunkline.operations.rollout.branch import Branch, Written
from trunkline.operations.rollout.reading import Reader, Seen, look_at
from trunkline.params import Params
from trunkline.records.release import Tag
from trunkline.records.rollout import Rollout
from trunkline.rollout import state
from trunkline.verdict import Verdict

VERDICTS = {"promoted": Verdict.PASS, "rolled_back": Verdict.FAIL}


class Look(NamedTuple):
    """What a look found and did.

    Attributes:
        rollout: as the branch says it after the look.
        seen: in the log; None where it played no part: the rollout is over, or something else serves.
        acted: whether this look changed the branch.
    """

    rollout: Rollout
    seen: Seen | None
    acted: bool

    @property
    def verdict(self) -> Verdict:
        """Pass once promoted, fail once rolled back, inconclusive until then."""
        return VERDICTS.get(self.rollout.state, Verdict.INCONCLUSIVE)


class Controller:
    """Looks again and again at an environment's rollout.

    Args:
        params: of the project.
        environment: such as ``production``.
    """

    def __init__(self, params: Params, environment: str) -> None:
        self._params = params
        self._branch = Branch(params.project.name, environment)
        self._reader: tuple[object, Reader] | None = None

    def look(self, now: float, act: bool = True) -> Look:
        """Look once.

        Args:
            now: seconds since 1970.
            act: whether to write what follows to the branch.

        Raises:
            Error: there was never a rollout, the remote or the prediction log does not answer, or the log cannot be
                trusted. Nothing was changed then.
        """
        head = self._branch.head()
        rollout = self._branch.known(head)
        time = iso(now)
        if rollout.over:
            return Look(rollout, None, acted=False)
        seen = self._seen(rollout, now) if self._branch.overtaken(rollout, head, time) is None else None

        def decide(head: str | None, _: list[Tag]) -> Written | None:
            there = self._branch.at(head)
            if there is None or there.name != rollout.name:
                return None
            if (changed := self._branch.overtaken(there, head, time)) is not None:
                return changed, None
            if seen is not None and (changed := state.after(there, seen.decision, time)) is not None:
                return changed, seen
            return None

        if not act or decide(head, []) is None:
            return Look(rollout, seen, acted=False)
        changed = self._branch.amend(decide)
        return Look(changed or self._branch.known(self._branch.head()), seen, acted=changed is not None)

    def _seen(self, rollout: Rollout, now: float) -> Seen:
        key = (rollout.name, rollout.accepted)
        if self._reader is None or self._reader[0] != key:
            self._reader = key, Reader(self._params, rollout)
        seen = look_at(self._params, rollout, self._reader[1], now)
        if not seen.decision.silent:
            return seen
        return seen._replace(decision=seen.decision.probed(probing.probe(self._params, rollout)))


def iso(now: float) -> str:
    """A time as records write it: UTC, ISO 8601, whole seconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
