"""Whether what a branch is compared with is what serves: a pin is an input in Git, and production moves on."""

from trunkline.records import Production
from trunkline.registry.rules import PRODUCTION
from trunkline.registry.state import Model

UNTUNED = "the untuned base model"


def outdated(pinned: Production, state: Model) -> str | None:
    """What is wrong with a comparison with the pinned production, and what to do; None when it is what serves.

    Before anything serves in production, that is the untuned base model.
    """
    serves = state.environments.get(PRODUCTION)
    if pinned.revision == (serves.tag.commit if serves else None):
        return None
    name = pinned.release or pinned.revision or UNTUNED
    now = "nothing" if serves is None else serves.named or f"commit {serves.tag.commit[:12]}"
    return f"compared with {name}, but {now} serves in {PRODUCTION}: run `trunkline pin`"
