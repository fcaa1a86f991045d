"""Who is answered by what: reads the traffic, follows its changes without a restart, and assigns units to arms."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from trunkline import assignment
from trunkline.clients import files, hosted
from trunkline.errors import Error
from trunkline.operations.serve import release
from trunkline.operations.serve.backend import Backend
from trunkline.operations.serve.release import Release
from trunkline.params import Params
from trunkline.params.serve import EngineParams
from trunkline.records.prediction import Arm
from trunkline.records.traffic import Served, Traffic

LOOK_S = 1.0
# At the start engines get so long to prove themselves, however often that is repeated: all is refused until then.
FIRST_S = 10.0
ARMS: tuple[Arm, ...] = ("stable", "canary")

_log = logging.getLogger(__name__)


class Source(NamedTuple):
    """Where it is said what serves.

    Attributes:
        traffic: a file that holds a Traffic; None where one release serves without a rollout.
        served: that release.
        arm: a file that holds the name of the arm that this release is; None: it is stable.
    """

    traffic: Path | None
    served: Served | None = None
    arm: Path | None = None


class Told(NamedTuple):
    """What a trusted proxy has decided."""

    arm: Arm
    weight: float


class Assigned(NamedTuple):
    """Who answers a unit; see Assignment for the fields."""

    arm: Arm
    weight: float
    rollout: str | None
    environment: str
    backend: Backend


class Routing:
    """The arms, and which unit is on which; used on one event loop.

    Attributes:
        traffic: what is served now.
        arms: the backend of each arm.
    """

    def __init__(self, params: Params, source: Source) -> None:
        """Nothing is read before `start`."""
        self._params, self._source = params, source
        # A supervisor ends the engines that were left soon after.
        self._turn_s = params.serve.gateway.probe_seconds
        self.traffic: Traffic
        self.arms: Mapping[Arm, Backend] = {}
        self._problem: str | None = None
        self._seen: object = None
        self._following: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read what serves, let every engine prove itself once, and follow the changes.

        Raises:
            Error: it cannot be read.
        """
        self._seen = self._state()
        await self._take(self._read(), max(FIRST_S, self._turn_s))
        self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Give up all engines."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await asyncio.gather(*(backend.close() for backend in {*self.arms.values()}), *self._closing)

    @property
    def front(self) -> Backend:
        """What answers most units: stable, or the only arm that is here."""
        return self.arms.get("stable") or next(iter(self.arms.values()))

    def assign(self, unit: str, told: Told | None) -> Assigned:
        """Who answers a unit.

        Args:
            told: what a trusted proxy has decided; None: the salt's hash decides.
        """
        traffic = self.traffic
        if told is None:
            arm: Arm = "stable" if traffic.salt is None else assignment.arm_of(traffic.salt, unit, traffic.weight)
            weight = traffic.weight
        else:
            arm, weight = told
        rollout = traffic.rollout
        if told is None and self._source.traffic is None:
            (arm,) = self.arms
        elif arm not in self.arms:
            # The proxy's other gateways are down: the unit is served, and is no evidence for either arm.
            arm, weight, rollout = next(iter(self.arms)), 0.0, None
        return Assigned(arm, weight, rollout, traffic.environment, self.arms[arm])

    async def _follow(self) -> None:
        """Take what changes; what is broken is told once, and changes nothing."""
        while True:
            await asyncio.sleep(LOOK_S)
            state = self._state()
            if state == self._seen:
                continue
            self._seen = state
            try:
                await self._take(self._read(), self._turn_s)
                self._problem = None
            except Error as error:
                if error.problem != self._problem:
                    _log.error("serve  %s; nothing changes until it is corrected", error.problem)
                self._problem = error.problem
            except Exception:  # ours; the next change must be seen all the same
                _log.exception("serve  cannot take what changed")

    def _state(self) -> object:
        """Changes whenever the source is written."""
        path = self._source.traffic or self._source.arm
        try:
            found = None if path is None else path.stat()
        except OSError:
            return None
        return found and (found.st_mtime_ns, found.st_size, found.st_ino)

    def _read(self) -> tuple[Traffic, Arm | None]:
        """The traffic; and, of a single release, the arm that it is."""
        if self._source.traffic is not None:
            return Traffic.read(self._source.traffic), None
        if self._source.served is None:
            raise AssertionError("a source without traffic serves a release")
        environment = self._params.serve.gateway.environment
        alone = Traffic(
            environment=environment, rollout=None, salt=None, weight=0, stable=self._source.served, canary=None
        )
        return alone, "stable" if self._source.arm is None else _arm(self._source.arm)

    async def _take(self, found: tuple[Traffic, Arm | None], seconds: float) -> None:
        """Serve this, once its engines are proved or so many seconds later; what is being answered ends as it began."""
        traffic, own = found
        wanted: dict[Arm, Served] = {own or "stable": traffic.stable}
        if traffic.canary is not None:
            wanted["canary"] = traffic.canary
        backends = {arm: await self._backend(arm, served) for arm, served in wanted.items()}
        before = {*self.arms.values()}
        await asyncio.gather(*(backend.start(seconds) for backend in {*backends.values()} - before))
        self.traffic, self.arms = traffic, backends
        for left in before - {*backends.values()}:
            task = asyncio.create_task(left.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        _log.info("serve  %s", _shown(traffic, backends))

    async def _backend(self, arm: Arm, served: Served) -> Backend:
        """The engine of an arm: the one that is there already, wherever it is the same."""
        found = await asyncio.to_thread(release.read, Path(served.bundle), self._params)
        if found.name != served.release:
            problem = f"{served.bundle} holds {found.name}, not {served.release}"
            raise Error(problem, "name the folder of that release's bundle")
        limit = self._params.serve.gateway.max_new_tokens
        if found.max_new_tokens > limit:
            problem = (
                f"{found.name} was evaluated with {found.max_new_tokens} tokens an answer, and {limit} are allowed"
            )
            raise Error(problem, "raise serve.gateway.max_new_tokens")
        settings = _settings(self._params, arm, found, served.url)
        for backend in self.arms.values():
            if (backend.release, backend.settings) == (found, settings):
                return backend
        return Backend(found, settings, self._params.serve)


def url_of(found: Release, params: Params) -> str:
    """Where a release is answered: at its own provider, or by the engine that params.yaml names.

    Raises:
        Error: it names none.
    """
    if found.provider is not None:
        return found.provider.url
    engine = params.serve.engines.get("stable")
    if engine is None:
        raise Error("params.yaml names no engine", "add serve.engines.stable")
    return engine.url


def settings_of(params: Params, arm: Arm, url: str) -> EngineParams:
    """How an arm's engine at an address is asked.

    Raises:
        Error: params.yaml names no engine, or the address is none.
    """
    configured = params.serve.engines
    known = configured.get(arm) or configured.get("stable")
    if known is None:
        raise Error("params.yaml names no engine", "add serve.engines.stable")
    try:
        return EngineParams.model_validate({**known.model_dump(), "url": url})
    except ValidationError as error:
        raise Error(f"{url!r} is no engine's address: {error.errors()[0]['msg']}", "write http://host:port") from None


def _settings(params: Params, arm: Arm, found: Release, url: str) -> EngineParams:
    if found.provider is None:
        return settings_of(params, arm, url)
    if url != found.provider.url:
        problem = f"{found.name} is a model of {found.provider.url}, and {url} is asked to serve it"
        raise Error(problem, "name the provider's address, which is in the release's provider.json")
    return hosted.settings(found.provider)


def _arm(path: Path) -> Arm:
    said = files.read_text(path).strip()
    for arm in ARMS:
        if said == arm:
            return arm
    raise Error(f"{path} says {said[:40]!r}, neither stable nor canary", "write the name of this release's arm")


def _shown(traffic: Traffic, backends: Mapping[Arm, Backend]) -> str:
    arms = ", ".join(f"{arm} is {backend.release.name}" for arm, backend in backends.items())
    return f"{arms}; {traffic.weight:.4g} of the units are the canary's" if traffic.canary else arms
