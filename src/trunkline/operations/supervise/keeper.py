"""Keeps one program running: started, proved, watched, and started again when it has ended or hangs."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Protocol

from trunkline.clients.daemons import Daemon
from trunkline.errors import Error
from trunkline.params.supervise import SuperviseParams
from trunkline.records.serving import Failure

# Between two looks at a program that starts, and at one that serves.
_SOON_S, _LOOK_S = 0.25, 1.0
# What hangs or is the wrong one gets no more time to end.
_KILL_S = 2.0

_log = logging.getLogger(__name__)


class Unfit(Error):
    """A program has ended, hangs, or is not what it should be: it has to be started anew."""


class Program(Protocol):
    """What can be kept running."""

    name: str
    log: Path

    async def start(self) -> Daemon | None:
        """Start it; None of what runs elsewhere, and is only asked.

        Raises:
            Error: it cannot be started now.
        """

    async def prove(self) -> None:
        """Return when it is ready and is what it should be.

        Raises:
            Failure: it is not ready yet.
            Unfit: it is something else.
        """

    async def check(self) -> None:
        """Return when it answers.

        Raises:
            Failure: it does not.
        """

    async def close(self) -> None:
        """Give up the connections to it."""


class Keeper:
    """One program's life, until it is ended on purpose.

    Attributes:
        proved: whether it was since it was last started, or found.
    """

    def __init__(self, program: Program, params: SuperviseParams, daemon: Daemon | None) -> None:
        """Begin to keep it.

        Args:
            program: what.
            params: how patiently.
            daemon: the one that an earlier supervisor has started; None where there is none.
        """
        self.program = program
        self._params, self._daemon = params, daemon
        self._told: str | None = None
        self.proved = False
        self._task = asyncio.create_task(self._keep())

    def raise_if_broken(self) -> None:
        """Raise what ended the keeping, which nothing should."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def end(self) -> None:
        """Let it end what it has accepted, and keep it no longer."""
        self._task.cancel()
        await asyncio.wait([self._task])
        ending = "is asked no more" if self._daemon is None else "has ended"
        await self._end(self._params.drain_seconds)
        await self.program.close()
        _log.info("supervise  %s %s", self.program.name, ending)

    async def _keep(self) -> None:
        restart = self._params.restart_seconds
        pause = restart.first
        while True:
            begun = time.monotonic()
            try:
                await self._live()
            except Unfit as unfit:
                self.proved = False
                self._tell(unfit.problem, unfit.hint)
                await self._end(_KILL_S)
            except Error as error:
                self._tell(f"{self.program.name} does not start: {error.problem}", error.hint)
            if time.monotonic() - begun > restart.most:
                pause = restart.first
            await asyncio.sleep(pause)
            pause = min(2 * pause, restart.most)

    async def _live(self) -> None:
        """Start it where it does not run, and watch it for as long as it is well."""
        if self._daemon is None:
            self._daemon = await self.program.start()
            if self._daemon is not None:
                _log.info("supervise  %s starts%s", self.program.name, self._process)
        deadline = time.monotonic() + self._params.start_seconds
        while not await self._proved(deadline):
            await asyncio.sleep(_SOON_S)
        _log.info("supervise  %s is ready%s", self.program.name, self._process)
        self._told, self.proved = None, True
        heard, unanswered = time.monotonic(), 0
        while True:
            await asyncio.sleep(_LOOK_S)
            self._must_run()
            try:
                await self.program.check()
                heard, unanswered = time.monotonic(), 0
            except Failure as failure:
                unanswered += 1
                # A machine that stood still, as a virtual one does that is moved, finds silent whom it had just asked.
                if unanswered > 1 and time.monotonic() - heard > self._params.silent_seconds:
                    raise self._unfit(f"hangs: {failure.problem}") from None

    @property
    def _process(self) -> str:
        return "" if self._daemon is None else f" (process {self._daemon.pid})"

    async def _proved(self, deadline: float) -> bool:
        self._must_run()
        try:
            await self.program.prove()
        except Failure as failure:
            if time.monotonic() > deadline:
                raise self._unfit(f"is not ready in {self._params.start_seconds:g} s: {failure.problem}") from None
            return False
        return True

    def _must_run(self) -> None:
        if self._daemon is not None and not self._daemon.alive:
            raise self._unfit(f"has ended ({self._daemon.outcome(self.program.log)})")

    def _unfit(self, what: str) -> Unfit:
        return Unfit(f"{self.program.name} {what}", f"see {self.program.log}")

    async def _end(self, patience: float) -> None:
        while self._daemon is not None:
            if await asyncio.to_thread(self._daemon.end, patience):
                self._daemon = None
                return
            self._tell(f"{self.program.name} cannot be ended (process {self._daemon.pid})", "restart this machine")
            await asyncio.sleep(_LOOK_S)

    def _tell(self, problem: str, hint: str) -> None:
        if problem != self._told:
            _log.warning("supervise  %s; trying again (%s)", problem, hint)
        self._told = problem
