"""What an environment's branch asks for: the stable release, and the canary of a rollout that is not over."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trunkline import registry
from trunkline.errors import Error
from trunkline.records.release import Serving
from trunkline.records.rollout import Rollout
from trunkline.records.traffic import Mirror, Traffic
from trunkline.rollout import shadow, started


class Canary(NamedTuple):
    """A release that is tried.

    Attributes:
        version: such as ``v1.3.0``.
        weight: its share of the units.
        salt: of the units' hash.
        rollout: the rollout's name.
        shadow: what it is asked for nobody; None when it is not in its shadow.
    """

    version: str
    weight: float
    salt: str
    rollout: str
    shadow: Mirror | None = None


class Desired(NamedTuple):
    """What shall be served.

    Attributes:
        stable: the version that serves all units that are not the canary's.
        weights: SHA-256 by file name of the stable release; None where nobody said it.
        canary: None outside of a rollout.
        ignored: what the rollout's file says otherwise than its start fixed it, by the names of its fields.
    """

    stable: str
    weights: Mapping[str, str] | None
    canary: Canary | None
    ignored: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """All of them, stable first."""
        return (self.stable,) if self.canary is None else (self.stable, self.canary.version)


def paths(model: str) -> tuple[str, str]:
    """The files of an environment's branch that say it: `Serving`, and `Rollout` where there was one."""
    return registry.path(model), registry.rollout_path(model)


def read(found: Mapping[str, bytes], earlier: Iterable[bytes], model: str, environment: str) -> Desired:
    """What the branch's files ask for.

    A rollout compares with the release that served when it started. Where something else was assigned since, it is
    over, whatever its file says yet, and its canary gets nothing.

    Args:
        found: by path, as of `paths`.
        earlier: contents that the rollout's file had, the newest first.
        model: ``project.name`` of params.yaml.
        environment: such as ``production``.

    Raises:
        Error: nothing was promoted there yet, or a file is not what it should be.
    """
    serving_path, rollout_path = paths(model)
    if serving_path not in found:
        problem = f"nothing was promoted to {environment} yet: {registry.branch(environment)} has no {serving_path}"
        raise Error(problem, f"`trunkline promote VERSION --to {environment}`")
    serving = Serving.parse(found[serving_path], serving_path)
    _check(serving_path, (serving.model, serving.environment), (model, environment))
    rollout = Rollout.parse(found[rollout_path], rollout_path) if rollout_path in found else None
    if rollout is None or rollout.over:
        return Desired(serving.version, serving.weights, None)
    rollout, ignored = started.held(rollout, earlier)
    _check(rollout_path, (rollout.model, rollout.environment), (model, environment))
    if rollout.plan.salt is None:
        raise Error(f"{rollout_path}: plan.salt: a rollout that runs needs one", _hint(rollout_path))
    if rollout.assigned != serving.tag:
        return Desired(serving.version, serving.weights, None)
    canary = Canary(rollout.canary, rollout.weight, rollout.plan.salt, rollout.name, _mirror(rollout))
    return Desired(serving.version, serving.weights, canary, ignored)


def known(traffic: Traffic, model: str) -> Desired:
    """What is served already, for as long as nobody says more."""
    canary = None
    if traffic.canary is not None and traffic.salt is not None and traffic.rollout is not None:
        version = version_of(traffic.canary.release, model)
        canary = Canary(version, traffic.weight, traffic.salt, traffic.rollout, traffic.shadow)
    return Desired(version_of(traffic.stable.release, model), None, canary)


def _mirror(rollout: Rollout) -> Mirror | None:
    plan = rollout.plan.shadow
    return Mirror(share=plan.share, at_once=plan.at_once) if plan is not None and shadow.runs(rollout) else None


def version_of(release: str, model: str) -> str:
    """``v1.2.0`` of ``<model>@v1.2.0``.

    Raises:
        Error: it is another model's, or no version.
    """
    return str(registry.release(release, model))


def _check(path: str, said: tuple[str, str], expected: tuple[str, str]) -> None:
    if said != expected:
        problem = f"{path} is of {said[0]} in {said[1]}, not of {expected[0]} in {expected[1]}"
        raise Error(problem, _hint(path))


def _hint(path: str) -> str:
    return f"mend {path} on the environment's branch: see `git log` of it there"
