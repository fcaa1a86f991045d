"""Look at a rollout until it is over: a live view in a terminal, plain lines elsewhere."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trunkline.clients.github import workflow
from trunkline.errors import Error
from trunkline.operations.rollout import view
from trunkline.operations.rollout.branch import Never
from trunkline.operations.rollout.looking import Controller, Look
from trunkline.params import Params
from trunkline.verdict import Verdict

# A line that says the same is repeated after this many seconds, so that a log shows that somebody looks.
_AGAIN_S = 60.0


def watch(params: Params, environment: str, until_held: bool) -> tuple[str, Verdict]:
    """Step whenever the plan says so, until the rollout is over or SIGTERM or SIGINT comes.

    A remote or a database that does not answer is told and asked again; nothing advances meanwhile. In GitHub Actions
    the step's outputs ``rollout`` and ``state`` are its name and state.

    Args:
        environment: such as ``production``.
        until_held: whether to end as well when a human has to decide. What is held may still have to be rolled back,
            so somebody must look on.

    Returns:
        The last line, and the rollout's verdict: inconclusive while it is not over.

    Raises:
        Error: there was never a rollout.
    """
    controller = Controller(params, environment)
    look: Look | None = None
    wait = 0.0
    with _stopped_by_signals() as stopped, _shown() as show:
        while not stopped(wait):
            look = _looked(controller, show) or look
            if look is not None and (look.rollout.over or (until_held and look.rollout.state == "held")):
                break
            wait = (look.rollout.plan if look else params.rollout).poll_seconds
    if look is not None:
        workflow.set_outputs(rollout=look.rollout.name, state=look.rollout.state)
    return (view.line(look), look.verdict) if look else ("nothing was seen", Verdict.INCONCLUSIVE)


def _looked(controller: Controller, show: "_Shown") -> Look | None:
    """Look once and show it; None where that was not possible."""
    try:
        look = controller.look(time.time())
    except Never:
        raise
    except Error as error:
        show.problem(error)
        return None
    show.look(look)
    return look


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[float], bool]]:
    """A wait of so many seconds, which is true, and ends, once SIGTERM or SIGINT has come.

    Through a pipe, not a threading.Event: a handler runs in the middle of the wait, which may hold the event's lock.
    """
    told, telling = os.pipe()
    os.set_blocking(telling, False)

    def end(_number: int, _frame: FrameType | None) -> None:
        with suppress(BlockingIOError):  # full of earlier signals
            os.write(telling, b".")

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda seconds: bool(select.select([told], [], [], seconds)[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(told)
        os.close(telling)


class _Shown:
    """Shows looks: as lines, or drawn over in a terminal."""

    def __init__(self, live: Live | None) -> None:
        self._live = live
        self._said: object = None
        self._at = 0.0

    def look(self, look: Look) -> None:
        decision = look.seen.decision if look.seen else None
        found = (decision.action, decision.because) if decision else ()
        if self._live is None or look.acted:
            self._say((look.rollout.since, look.rollout.action, found), view.line(look))
        if self._live is not None:
            self._live.update(Text(view.status(look)), refresh=True)

    def problem(self, error: Error) -> None:
        self._say(error.problem, f"{error.problem}; nothing is decided meanwhile")

    def _say(self, what: object, text: str) -> None:
        """Say it where it is something else than was said last, or that was long ago."""
        now = time.monotonic()
        if what != self._said or now - self._at >= _AGAIN_S:
            self._said, self._at = what, now
            if self._live is not None:
                self._live.console.print(Text(text))
            else:
                print(text, file=sys.stderr, flush=True)


@contextmanager
def _shown() -> Iterator[_Shown]:
    if not sys.stderr.isatty():
        yield _Shown(None)
        return
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield _Shown(live)
