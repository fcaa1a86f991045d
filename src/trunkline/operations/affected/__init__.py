"""Which data, releases and predictions contain a customer: what must be erased, and which weights learned from it."""

from trunkline import registry
from trunkline.clients import scratch
from trunkline.clients.contents import Places
from trunkline.clients.git import tags
from trunkline.clients.progress import Progress
from trunkline.errors import Error
from trunkline.operations.affected import logged
from trunkline.operations.affected.search import Search
from trunkline.operations.affected.shown import render
from trunkline.operations.affected.tree import working_tree
from trunkline.params import Params
from trunkline.records.release import Tag
from trunkline.split import in_holdout
from trunkline.verdict import Verdict


def run(params: Params, customer: str) -> tuple[str, Verdict]:
    """Look for a customer in the working tree's raw data, in the data of every release, and in the prediction log.

    Only the customer's column is looked at, and no message is shown.

    Args:
        customer: as in the raw data.

    Returns:
        Where the customer is, and the verdict: pass where everything was looked at and held nothing, fail where
        something holds the customer, inconclusive where something could not be looked at.

    Raises:
        Error: no customer is named, or this is no Git repository.
    """
    wanted = customer.strip()
    if not wanted:
        raise Error("--customer names nobody", "give a customer's id, as in the raw data")
    known, unknown = _registry()
    state = registry.of(known, params.project.name)
    with scratch.folder() as temporary:
        search = Search(wanted, Places(temporary, remote=True))
        here = working_tree(params, wanted)
        released = [*state.withdrawn.values(), *state.versions.values()]
        progress = Progress("affected", len(released), "releases")
        releases = []
        for tag in released:
            releases.append(search.release(tag))
            progress.update(len(releases))
    held = in_holdout(wanted, params.features.salt, params.features.holdout)
    log = logged.search(params.serve.log, wanted, bool(state.assignments))
    return render(wanted, held, [here, *releases], log, unknown)


def _registry() -> tuple[list[Tag], list[str]]:
    """The tags, and why there may be releases among them that this clone does not know."""
    try:
        return tags.complete(), []
    except Error as error:
        return tags.everything(), [f"releases that this clone does not know: {error.problem}"]
