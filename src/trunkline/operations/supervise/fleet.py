"""All that runs on this machine, engines, gateway and traffic.json, brought to what is asked for."""

import asyncio
import logging
import time
from pathlib import Path

from trunkline.clients import daemons, files, listening
from trunkline.clients.daemons import Daemon
from trunkline.errors import Error
from trunkline.operations.supervise import branch, commands, routing, supply
from trunkline.operations.supervise.branch import Asked
from trunkline.operations.supervise.keeper import Keeper
from trunkline.operations.supervise.ports import Ports
from trunkline.operations.supervise.programs import EngineProgram, GatewayProgram, Means
from trunkline.operations.supervise.provided import ProviderProgram
from trunkline.operations.supervise.routing import Place
from trunkline.params import Params
from trunkline.records.traffic import Traffic

_log = logging.getLogger(__name__)


class Fleet:
    """What one supervisor keeps running.

    Attributes:
        asked: what shall be served; until somebody says, what was served before; None where nothing was.
    """

    def __init__(self, params: Params, place: Place, folder: Path) -> None:
        """Look at what an earlier supervisor has left running; start nothing yet.

        Raises:
            Error: this system has no /proc.
        """
        self._settings, self._place = params.supervise, place
        ports = Ports(params.supervise.ports, lambda port: listening.is_free(commands.HOST, port))
        self._means = Means(params, folder, ports, {}, asyncio.Lock())
        self._traffic = _read(folder, place)
        self.asked: Asked | None = branch.going_on(self._traffic, place, folder)
        self._engines: dict[str, tuple[EngineProgram | ProviderProgram, Keeper]] = {}
        self._gateway: tuple[GatewayProgram, Keeper] | None = None
        self._idle: dict[str, float] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._untidy = True
        self._unfollowed: str | None = None
        self._found: dict[str, Daemon] = {}
        for daemon in daemons.find(folder):
            self._find(daemon)

    def reconcile(self) -> None:
        """Do what can be done now towards what is asked for; called again and again.

        Raises:
            Error: the disk refuses traffic.json.
        """
        self._look_after_tasks()
        if self.asked is None:
            return
        self._means.manifests.update(self.asked.manifests)
        engines = self._engines.items()
        served = {version: one.served for version, (one, keeper) in engines if keeper.proved and one.served}
        traffic = routing.route(self._place, self.asked.desired, served, self._traffic)
        if traffic is not None and traffic != self._traffic:
            files.write_text(self._means.folder / commands.TRAFFIC, traffic.text())
            self._traffic = traffic
            _log.info("supervise  %s", routing.told(traffic))
        needed = {*self.asked.desired.versions, *routing.versions(self._place, self._traffic)}
        for version in sorted(needed - self._engines.keys() - self._leaving.keys()):
            self._start(version)
        if self._traffic is not None and self._gateway is None:
            program = GatewayProgram(self._means.params, self._means.folder)
            found = self._found.pop(commands.gateway_role(self._means.params.serve.gateway.listen), None)
            self._gateway = (program, Keeper(program, self._settings, found))
        self._retire(needed)
        if self._untidy and not self._leaving and served.keys() >= needed:
            supply.tidy(self._means.folder, needed)
            self._untidy = False

    async def end(self) -> None:
        """End the gateway, and when it has answered what it had accepted, the engines."""
        strays = list(self._found.values())
        if self._gateway is not None:
            await self._gateway[1].end()
        await asyncio.gather(
            *self._leaving.values(),
            *(keeper.end() for _, keeper in self._engines.values()),
            *(asyncio.to_thread(daemon.end, self._settings.drain_seconds) for daemon in strays),
        )

    def _find(self, daemon: Daemon) -> None:
        self._found[daemon.role] = daemon
        engine = commands.engine_of(daemon.role)
        if engine is not None:
            self._means.ports.hold(*engine)

    def _start(self, version: str) -> None:
        if version not in self._means.manifests:
            return
        hosted = self._means.manifests[version].kind == "hosted"
        program = ProviderProgram(version, self._means) if hosted else EngineProgram(version, self._means)
        found = None
        if self._means.ports.has(version):
            found = self._found.pop(commands.engine_role(version, self._means.ports.of(version)), None)
        self._engines[version] = (program, Keeper(program, self._settings, found))

    def _retire(self, needed: set[str]) -> None:
        """End what has had no traffic for a while, and what an earlier supervisor has left for nothing."""
        now = time.monotonic()
        self._idle = {version: self._idle.get(version, now) for version in self._engines.keys() - needed}
        due = [version for version, since in self._idle.items() if now - since >= self._settings.grace_seconds]
        if not self._followed(bool(due)):
            return
        for version in due:
            self._leaving[version] = asyncio.create_task(self._leave(version, self._engines.pop(version)[1]))
        for role in [*self._found]:
            self._leaving[role] = asyncio.create_task(self._dismiss(self._found.pop(role)))

    def _followed(self, expected: bool) -> bool:
        """Whether the gateway has turned to what traffic.json says; where it should have by now, told once if not."""
        if self._gateway is None or self._traffic is None:
            return False
        says, stable = self._gateway[0].stable, self._traffic.stable.release
        if expected and says != stable and self._unfollowed != stable:
            log = self._gateway[0].log
            _log.warning("supervise  the gateway answers with %s, not yet with %s: see %s", says, stable, log)
            self._unfollowed = stable
        return says == stable

    async def _leave(self, version: str, keeper: Keeper) -> None:
        await keeper.end()
        self._means.ports.give_back(version)

    async def _dismiss(self, daemon: Daemon) -> None:
        """End what nobody needs and an earlier supervisor may have sent requests to until just now."""
        await asyncio.sleep(self._settings.grace_seconds)
        await asyncio.to_thread(daemon.end, self._settings.drain_seconds)
        engine = commands.engine_of(daemon.role)
        if engine is not None and engine[0] not in self._engines:
            self._means.ports.give_back(engine[0])
        _log.info("supervise  %s has ended", daemon.role)

    def _look_after_tasks(self) -> None:
        """Let nothing fail unseen."""
        for _, keeper in [*self._engines.values(), *([self._gateway] if self._gateway else [])]:
            keeper.raise_if_broken()
        for name in [name for name, task in self._leaving.items() if task.done()]:
            self._leaving.pop(name).result()
            self._untidy = True


def _read(folder: Path, place: Place) -> Traffic | None:
    """What the gateway does now; None where there is none, or not for this."""
    path = folder / commands.TRAFFIC
    if not path.is_file():
        return None
    try:
        found = Traffic.read(path)
    except Error as error:
        _log.warning("supervise  %s; it will be written anew", error.problem)
        return None
    mine = found.environment == place.environment and found.stable.release.startswith(f"{place.model}@")
    return found if mine else None
