"""Which engine has which port."""

from collections.abc import Callable

from trunkline.errors import Error
from trunkline.params.supervise import PortsParams


class Ports:
    """The ports that engines may take, and who has taken one."""

    def __init__(self, params: PortsParams, is_free: Callable[[int], bool]) -> None:
        """Nobody has one yet.

        Args:
            params: the range.
            is_free: whether nobody listens at a port, whoever that might be.
        """
        self._range = range(params.first, params.last + 1)
        self._is_free = is_free
        self._held: dict[str, int] = {}

    def has(self, version: str) -> bool:
        """Whether a version has one."""
        return version in self._held

    def of(self, version: str) -> int:
        """The port that a version has."""
        return self._held[version]

    def hold(self, version: str, port: int) -> None:
        """Let a version have a port that it had before."""
        self._held[version] = port

    def take(self, version: str) -> int:
        """Give a version a free port: the one that it had, if nobody has taken it.

        Raises:
            Error: there is none.
        """
        others = {port for holder, port in self._held.items() if holder != version}
        had = self._held.get(version)
        places: list[int] = [*self._range] if had is None else [had, *self._range]
        for port in places:
            if port not in others and self._is_free(port):
                self._held[version] = port
                return port
        problem = f"no port from {self._range.start} to {self._range.stop - 1} is free for {version}"
        raise Error(problem, "end what listens there, or widen supervise.ports in params.yaml")

    def give_back(self, version: str) -> None:
        """Let others have a version's port."""
        self._held.pop(version, None)
