"""One engine with the release that it must serve: proved again and again, and given only so much at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from trunkline import identity
from trunkline.clients import engines
from trunkline.identity import Expected
from trunkline.operations.serve.refusals import Refused
from trunkline.operations.serve.release import Release
from trunkline.params.serve import EngineParams, ServeParams
from trunkline.records.serving import Failure, Pin

RETRY_S = 1.0

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
    """

    def __init__(self, release: Release, settings: EngineParams, serve: ServeParams) -> None:
        """Connect; nothing is asked before `prove`.

        Raises:
            Error: the engine's key is not in the environment, or its pin cannot be read.
        """
        self.release, self.settings = release, settings
        self.engine = engines.connect(settings, serve.timeouts)
        self.problem: str | None = "its engine was not asked yet"
        self.waiting = self.running = 0
        self._limits = serve.gateway
        self._slots = asyncio.Semaphore(serve.gateway.max_concurrent)
        self._expected = expected(release, settings, Path(serve.gateway.pins))
        self._look = asyncio.Event()
        self._proving: asyncio.Task[None] | None = None
        self._fingerprint: str | None = None

    async def start(self) -> None:
        """Let it prove itself, now and again and again; returns after the first time, or when that takes too long."""
        first = asyncio.Event()
        self._proving = asyncio.create_task(self._go_on(first))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.probe_seconds):
                await first.wait()

    async def close(self) -> None:
        """Wait for what it is answering, then give it up."""
        while self.waiting or self.running:
            await asyncio.sleep(RETRY_S / 10)
        if self._proving is not None:
            self._proving.cancel()
            with suppress(asyncio.CancelledError):
                await self._proving
        await self.engine.close()

    def doubt(self) -> None:
        """Prove it now: it broke a connection, so another may be there soon."""
        self._look.set()

    def answered(self, fingerprint: str | None) -> None:
        """Look at what an answer says of its server.

        `trunkline engine` tells its weights in each, so not even the first answer of another one is passed on; any
        other server that says something else than before has to prove itself.

        Raises:
            Refused: other weights have answered.
        """
        known = self.release.digest[:12] if self.settings.kind == "embedded" else self._fingerprint
        if fingerprint == known or (known is None and self.settings.kind != "embedded"):
            self._fingerprint = fingerprint
            return
        self.doubt()
        if self.settings.kind == "embedded":
            self._set(f"it answers by the weights {fingerprint}, not {known}")
            raise self.unproven()
        self._fingerprint = fingerprint

    def unproven(self) -> Refused:
        """Why nothing is answered while it does not prove its release."""
        problem = f"the engine of {self.release.name} does not prove that it serves it"
        return Refused(503, "unavailable", problem, "unproven", RETRY_S)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the requests that the engine is given at once; waits for it.

        Raises:
            Refused: too many wait already.
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
            yield
        finally:
            self.running -= 1
            self._slots.release()

    async def _go_on(self, first: asyncio.Event) -> None:
        while True:
            self._look.clear()
            await self._prove()
            first.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.probe_seconds):
                    await self._look.wait()

    async def _prove(self) -> None:
        try:
            probed = await engines.probe(self.engine, self._expected.pin)
        except Failure as failure:
            # An engine that has too much to do is not another one than it was.
            if failure.kind == "overloaded" and self.problem is None:
                return
            self._set(failure.problem)
        except Exception:  # ours; an engine that cannot be proved must not keep its traffic
            _log.exception("serve  %s cannot be proved", self.settings.url)
            self._set("it could not be asked")
        else:
            self._set(identity.mismatch(self._expected, *probed))
            self._fingerprint = probed.completion.fingerprint

    def _set(self, problem: str | None) -> None:
        if problem != self.problem:
            if problem is None:
                _log.info("serve  %s proves that it is %s", self.settings.url, self.release.name)
            else:
                _log.error("serve  %s gets no traffic as %s: %s", self.settings.url, self.release.name, problem)
        self.problem = problem


def expected(release: Release, settings: EngineParams, pins: Path) -> Expected:
    """What an engine of a release must turn out to be.

    Args:
        pins: the folder of the releases' pins.

    Raises:
        Error: the release's pin cannot be read.
    """
    path = pin_of(release, pins)
    pin = Pin.read(path) if settings.kind != "embedded" and path.is_file() else None
    # vLLM is started under the release's name; TGI tells the folder that it was started on.
    named = release.name if settings.kind == "openai" else None
    return Expected(release.name, release.digest, settings.model or named, pin)


def pin_of(release: Release, pins: Path) -> Path:
    """The file of a release's pin; Kubernetes takes no other characters for the name of one."""
    return pins / f"{release.name.partition('@')[2].replace('+', '_')}.json"
