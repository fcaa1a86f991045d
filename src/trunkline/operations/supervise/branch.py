"""Follows an environment's branch, with the manifests of the releases that it names."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trunkline import registry
from trunkline.clients import bundles
from trunkline.clients.git import branches, tags
from trunkline.errors import Error
from trunkline.operations.supervise import desired, supply
from trunkline.operations.supervise.desired import Desired
from trunkline.operations.supervise.routing import Place
from trunkline.records.release import Manifest
from trunkline.records.traffic import Traffic

_log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """What shall be served.

    Attributes:
        desired: the versions, and their shares.
        manifests: by version.
    """

    desired: Desired
    manifests: Mapping[str, Manifest]


class Branch:
    """An environment's branch, of `origin` or, without one, of this clone.

    Attributes:
        name: such as ``env/production``.
    """

    def __init__(self, place: Place) -> None:
        """Nothing is read yet.

        Raises:
            Error: this is no Git repository.
        """
        self._place, self._remote = place, tags.origin()
        self.name = registry.branch(place.environment)
        self._manifests: dict[str, Manifest] = {}
        self._ignored: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Fetch it.

        Raises:
            Error: the remote cannot be reached.
        """
        if self._remote is not None:
            branches.refresh(self._remote, self.name)

    def asked(self) -> Asked:
        """What it asks for, as this clone knows it.

        Raises:
            Error: nothing was promoted there yet, it says what is not usable, or it names a release that there is not.
        """
        model, environment = self._place
        found = branches.snapshot(self._remote, self.name, desired.paths(model))
        earlier = branches.newest_first(branches.known(self._remote, self.name), registry.rollout_path(model))
        wish = desired.read(found, earlier, model, environment)
        self._tell(wish.ignored)
        manifests = {}
        for version in wish.versions:
            manifests[version] = self._manifest(version, wish.weights if version == wish.stable else None)
        self._manifests = manifests
        return Asked(wish, manifests)

    def _tell(self, ignored: tuple[str, ...]) -> None:
        """Say once what of the rollout's file counts for nothing."""
        if ignored and ignored != self._ignored:
            what = f"{', '.join(ignored)} of the rollout on {self.name}"
            _log.warning("supervise  %s was changed after the start, which counts for nothing", what)
        self._ignored = ignored

    def _manifest(self, version: str, weights: Mapping[str, str] | None) -> Manifest:
        known = self._manifests.get(version)
        if known is not None and (weights is None or known.weights == weights):
            return known
        return supply.manifest(self._place.model, version, weights)


def going_on(traffic: Traffic | None, place: Place, folder: Path) -> Asked | None:
    """What was served when the supervisor before this one ended; None where that cannot be gone on with.

    The bundles' own manifests will do: they were compared with the tags' when they came.
    """
    if traffic is None:
        return None
    try:
        wish = desired.known(traffic, place.model)
        read = {version: supply.place(folder, version) / bundles.MANIFEST for version in wish.versions}
        return Asked(wish, {version: Manifest.read(path) for version, path in read.items()})
    except Error as error:
        _log.warning("supervise  cannot go on with what was served: %s", error.problem)
        return None
