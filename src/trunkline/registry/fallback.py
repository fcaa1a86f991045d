"""Where a rollback may go."""

from trunkline.registry.state import Model
from trunkline.registry.versions import Version


def fallbacks(state: Model, environment: str, version: Version) -> tuple[Version, ...]:
    """The older versions that served in an environment before and still stand, the newest first."""
    served = {one for one in state.served(environment) if one < version and one in state.versions}
    return tuple(sorted(served, reverse=True))
