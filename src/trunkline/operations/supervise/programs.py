"""What is kept running: an engine for each release, and the gateway in front of them."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from trunkline import identity
from trunkline.clients import daemons, engines, gateway
from trunkline.clients.daemons import Daemon
from trunkline.clients.engines import Engine
from trunkline.operations.supervise import commands, supply
from trunkline.operations.supervise.keeper import Unfit
from trunkline.operations.supervise.ports import Ports
from trunkline.params import Params
from trunkline.params.serve import EngineParams, PriceParams
from trunkline.records.release import Manifest
from trunkline.records.serving import Failure
from trunkline.records.traffic import Served

# Of a server that does not answer, while one that answers anything is there.
_SILENT = ("disconnected", "timeout")


class Means(NamedTuple):
    """What all engines share.

    Attributes:
        params: of params.yaml.
        folder: the supervisor's.
        ports: who has which.
        manifests: of releases, by version: what is known best by now.
        turn: one release is fetched at a time.
    """

    params: Params
    folder: Path
    ports: Ports
    manifests: dict[str, Manifest]
    turn: asyncio.Lock


class EngineProgram:
    """A release's engine; see Program.

    Attributes:
        served: where it was proved last; None before the first time.
    """

    def __init__(self, version: str, means: Means) -> None:
        """Know what to serve; nothing happens yet."""
        self.name = f"engine {version}"
        self.log = means.folder / f"engine-{version}.log"
        self.served: Served | None = None
        self._version, self._means = version, means
        self._engine: Engine | None = None

    async def start(self) -> Daemon:
        """See Program."""
        await self.close()
        params, folder = self._means.params, self._means.folder
        async with self._means.turn:
            supplied = await asyncio.to_thread(supply.supply, self._means.manifests[self._version], folder, params)
        port = self._means.ports.take(self._version)
        command = commands.engine(folder, supplied, port, params.supervise.threads)
        return daemons.start(command, folder, commands.engine_role(self._version, port), self.log)

    async def prove(self) -> None:
        """See Program."""
        url = commands.engine_url(self._means.ports.of(self._version))
        if self._engine is None:
            self._engine = _connect(url, self._means.params)
        await self._engine.health()
        expected = supply.expected(self._means.manifests[self._version])
        wrong = identity.mismatch(expected, *await engines.probe(self._engine, None))
        if wrong is not None:
            raise Unfit(f"{self.name} gets no traffic: {wrong}", f"see {self.log}")
        bundle = supply.place(self._means.folder, self._version)
        self.served = Served(release=expected.release, bundle=str(bundle), url=url)

    async def check(self) -> None:
        """See Program."""
        if self._engine is not None:
            await self._engine.health()

    async def close(self) -> None:
        """See Program."""
        if self._engine is not None:
            await self._engine.close()
            self._engine = None


class GatewayProgram:
    """The gateway; see Program. It says for itself whether its engines are well.

    Attributes:
        stable: the release that it last said to answer with outside of the canary; None before it said one.
    """

    name = "gateway"

    def __init__(self, params: Params, folder: Path) -> None:
        """Know where it listens; nothing happens yet."""
        self.log = folder / "gateway.log"
        self._folder, self._listen = folder, params.serve.gateway.listen
        self._server = _connect(gateway.url_of(self._listen), params)
        self.stable: str | None = None

    async def start(self) -> Daemon:
        """See Program."""
        command = commands.gateway(self._folder, self._listen)
        return daemons.start(command, self._folder, commands.gateway_role(self._listen), self.log)

    async def prove(self) -> None:
        """See Program."""
        await self.check()

    async def check(self) -> None:
        """See Program: one that answers what is no answer is there all the same."""
        try:
            (self.stable, *_), _, _ = await self._server.identity()
        except Failure as failure:
            if failure.kind in _SILENT:
                raise

    async def close(self) -> None:
        """See Program."""
        await self._server.close()


def _connect(url: str, params: Params) -> Engine:
    price = PriceParams(input=0, output=0)
    settings = EngineParams(kind="embedded", url=url, model=None, key=None, usd_per_million=price, retries=0)
    return engines.connect(settings, params.serve.timeouts)
