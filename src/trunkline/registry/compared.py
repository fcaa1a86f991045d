"""Whether what a branch is compared with is what serves: a pin is an input in Git, and production moves on."""

from trunkline.errors import Error
from trunkline.records import Production
from trunkline.registry.rules import PRODUCTION
from trunkline.registry.state import Model

UNTUNED = "the untuned base model"


def outdated(pinned: Production | Error, state: Model) -> str | None:
    """What is wrong with a comparison with the pinned production, and what to do; None when it is what serves.

    Before anything serves in production, that is the untuned base model.

    Args:
        pinned: or why it cannot be read.
        state: the registry's.
    """
    if isinstance(pinned, Error):
        return f"{pinned.problem}: `trunkline pin` writes it"
    serves = state.environments.get(PRODUCTION)
    if pinned.revision == (serves.tag.commit if serves else None):
        return None
    name = " ".join((pinned.release or pinned.revision or UNTUNED).split())
    now = "nothing" if serves is None else serves.named or f"commit {serves.tag.commit[:12]}"
    return f"compared with {name}, but {now} serves in {PRODUCTION}: run `trunkline pin`"
