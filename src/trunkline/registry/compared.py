"""Whether what a branch is compared with is what serves: a pin is an input in Git, and production moves on."""

from trunkline.errors import Error
from trunkline.records import Production
from trunkline.records.release import Decision, Manifest
from trunkline.registry.rules import PRODUCTION
from trunkline.registry.state import Model
from trunkline.registry.versions import Version

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
    gap = _gap(pinned, state)
    return None if gap is None else f"{gap}: run `trunkline pin`"


def uncompared(decision: Decision, state: Model) -> str | None:
    """What the release to be promoted was compared with instead of what production serves now; None when with that.

    Other environments than production have nothing that a branch could pin.

    Args:
        decision: a promotion, to a version that stands.
        state: the registry's.

    Raises:
        Error: the release's tag carries no manifest.
    """
    serves = state.environments.get(PRODUCTION)
    if decision.environment != PRODUCTION or (serves is not None and str(serves.named) == decision.version):
        return None
    gap = _gap(Manifest.of(state.versions[Version(decision.version)]).production, state)
    return None if gap is None else f"{decision.version} was {gap}"


def admitted(decision: Decision, state: Model, said: bool) -> Decision:
    """A promotion as it is recorded: its reason says so where the release was not compared with what serves.

    Args:
        decision: a promotion, to a version that stands.
        state: the registry's.
        said: whether a human gave a reason.

    Raises:
        Error: it was not, and nobody said why it is promoted all the same.
    """
    gap = uncompared(decision, state)
    if gap is None:
        return decision
    if not said:
        hint = "in a pull request: `trunkline pin`, `dvc repro`, merge and release it; or say why with --reason"
        raise Error(gap, hint)
    return decision.model_copy(update={"reason": f"{decision.reason} ({gap})"})


def _gap(pinned: Production, state: Model) -> str | None:
    serves = state.environments.get(PRODUCTION)
    if pinned.revision == (serves.tag.commit if serves else None):
        return None
    name = " ".join((pinned.release or pinned.revision or UNTUNED).split())
    now = "nothing" if serves is None else serves.named or f"commit {serves.tag.commit[:12]}"
    return f"compared with {name}, but {now} serves in {PRODUCTION}"
