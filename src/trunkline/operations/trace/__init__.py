"""Follow a release back to weights, training run, data and code, and verify every hash that can be reached here."""

import tempfile
import textwrap
from pathlib import Path

from trunkline import lineage, registry
from trunkline.clients.contents import Places
from trunkline.clients.git import tags
from trunkline.lineage import Link
from trunkline.operations.trace import links, starts
from trunkline.params import Params
from trunkline.registry import Registration
from trunkline.verdict import Verdict
from trunkline.words import plain

_WIDTH = 118


def run(params: Params, what: str, fetch: bool = False) -> tuple[str, Verdict]:
    """Trace a release, a tag of the registry or a commit.

    Args:
        what: ``v1.2.0``, ``<model>@v1.2.0``, ``<model>#production#3``, or a commit.
        fetch: whether the DVC remote is asked for what is not here.

    Returns:
        Every link with what was found of it, and the verdict: fail where one is broken, inconclusive where one
        could not be verified here.

    Raises:
        Error: it leads to no release, or the DVC remote cannot be reached.
    """
    model = params.project.name
    state = registry.of(tags.known(), model)
    start = starts.find(what, model, state)
    with tempfile.TemporaryDirectory() as scratch:
        places = Places(Path(scratch), remote=fetch)
        chain = [*start.links, *links.behind(start.release, places)]
        if params.release.sign != "none":
            from trunkline.operations.trace import signature  # its library takes a second to load

            chain += signature.links(start.release, places, params.release)
    event = registry.parse(start.release.name)
    gone = isinstance(event, Registration) and event.version in state.withdrawn
    head = f"{start.release.name}{', which was withdrawn' if gone else ''}: {lineage.sentence(chain)}"
    return "\n".join([head, *(line for link in chain for line in _lines(link))]), lineage.verdict_of(chain)


def _lines(link: Link) -> list[str]:
    text = f"{lineage.SHOWN[link.verdict]:<10}{link.kind:<14}{plain(link.what)} ({plain(link.note)})"
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent=" " * 26, break_on_hyphens=False)
