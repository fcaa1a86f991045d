"""One engine, or provider, with the release that it must serve: proved again and again, given only so much at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from trunkline.clients import engines, hosted
from trunkline.clients.engines import Engine
from trunkline.operations.serve.proving import EngineProof, Problem, Proof, ProviderProof
from trunkline.operations.serve.refusals import RETRY_S, Refused
from trunkline.operations.serve.release import Release
from trunkline.params.serve import EngineParams, ServeParams
from trunkline.records.serving import Completion, Failure

_LOOK_S = 0.1

_log = logging.getLogger(__name__)


class Backend:
    """An engine behind the gateway; made and closed on the gateway's event loop.

    Attributes:
        release: that it must serve.
        settings: of the engine.
        engine: to be asked within `slot`.
        problem: why it must get no traffic; None while it proves its release.
        waiting: requests that wait for it.
        running: requests that it is answering.
        tells: whether it is asked how sure the model is of its answers.
    """

    def __init__(self, release: Release, settings: EngineParams, serve: ServeParams) -> None:
        """Connect; nothing is asked before `prove`.

        Raises:
            Error: the engine's key is not in the environment, or its pin cannot be read.
        """
        self.release, self.settings = release, settings
        self.engine, self._proof, at_once = _connected(release, settings, serve)
        self.problem: Problem | None = Problem("unproven", "its engine was not asked yet")
        self.waiting = self.running = 0
        # A provider may refuse that, and the holdout's answers tell nothing to compare it with.
        self.tells = serve.log.confidence and release.provider is None
        self._limits = serve.gateway
        self._slots = asyncio.Semaphore(at_once)
        self._look = asyncio.Event()
        self._proving: asyncio.Task[None] | None = None

    async def start(self, seconds: float) -> None:
        """Let it prove itself, now and again and again; returns after the first time, or when that takes longer."""
        first = asyncio.Event()
        self._proving = asyncio.create_task(self._go_on(first))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await first.wait()

    async def close(self) -> None:
        """Wait for what it is answering, then give it up."""
        while self.waiting or self.running:
            await asyncio.sleep(_LOOK_S)
        if self._proving is not None:
            self._proving.cancel()
            with suppress(asyncio.CancelledError):
                await self._proving
        await self.engine.close()

    def doubt(self) -> None:
        """Prove it now: it broke a connection, so another may be there soon."""
        self._look.set()

    def answered(self, answer: Completion) -> None:
        """Look at what an answer says of its server, and let another one than before prove itself.

        Raises:
            Refused: it is not the release that has answered.
        """
        heard = self._proof.heard(answer)
        if heard.new:
            self.doubt()
        if heard.problem is not None:
            self._set(heard.problem)
            raise self.unproven()

    def unproven(self) -> Refused:
        """Why nothing is answered while it does not prove its release."""
        error = "unproven" if self.problem is None else self.problem.error
        problem = f"the engine of {self.release.name} does not prove that it serves it"
        if error == "moved":
            problem = f"the provider of {self.release.name} answers as another model than it was released with"
        return Refused(503, "unavailable", problem, error, RETRY_S)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the requests that the engine is given at once; waits for it.

        Raises:
            Refused: too many wait already, or it does not prove its release, perhaps since one waits.
        """
        if self._slots.locked() and self.waiting >= self._limits.queue:
            problem = f"{self.running} requests are being answered and {self.waiting} wait"
            raise Refused(429, "overloaded", problem, "overloaded", RETRY_S)
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            if self.problem is not None:
                raise self.unproven()
            yield
        finally:
            self.running -= 1
            self._slots.release()

    async def _go_on(self, first: asyncio.Event) -> None:
        while True:
            self._look.clear()
            await self._prove()
            first.set()
            pause = self._limits.probe_seconds
            if self.release.provider is not None:
                # Each proof is paid for: never more often than this, and less often while nothing is amiss.
                await asyncio.sleep(pause)
                if self.problem is not None:
                    continue
                pause = self._limits.repeat_seconds
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._look.wait()

    async def _prove(self) -> None:
        try:
            self._set(await self._proof.prove(self.engine))
        except Failure as failure:
            # An engine that has too much to do is not another one than it was.
            if failure.kind == "overloaded" and self.problem is None:
                return
            hosted = self.release.provider is not None
            self._set(Problem("unproven", f"could not measure: {failure.problem}" if hosted else failure.problem))
        except Exception:  # ours; an engine that cannot be proved must not keep its traffic
            _log.exception("serve  %s cannot be proved", self.settings.url)
            self._set(Problem("unproven", "it could not be asked"))

    def _set(self, problem: Problem | None) -> None:
        if problem != self.problem:
            if problem is None:
                _log.info("serve  %s proves that it is %s", self.settings.url, self.release.name)
            else:
                _log.error(
                    "serve  %s gets no traffic as %s: %s", self.settings.url, self.release.name, problem.sentence
                )
        self.problem = problem


def _connected(release: Release, settings: EngineParams, serve: ServeParams) -> tuple[Engine, Proof, int]:
    """What answers, what it is known by, and how many requests it is given at once."""
    provider, limits = release.provider, serve.gateway
    if provider is None:
        proof = EngineProof(release, settings, Path(limits.pins))
        return engines.connect(settings, serve.timeouts), proof, limits.max_concurrent
    engine = hosted.connect(provider, serve.timeouts.total)
    return engine, ProviderProof(provider), min(provider.concurrent, limits.max_concurrent)
