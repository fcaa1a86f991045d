"""Follow a prediction or a release back to weights, training run, data and code, and verify every hash that is here."""

import textwrap

from trunkline import lineage, registry
from trunkline.clients import scratch
from trunkline.clients.contents import Places
from trunkline.clients.git import tags
from trunkline.lineage import Link
from trunkline.operations.trace import links, starts
from trunkline.params import Params
from trunkline.records.release import Tag
from trunkline.registry import Registration
from trunkline.verdict import Verdict
from trunkline.words import plain

_WIDTH = 118


def run(params: Params, what: str, fetch: bool = False) -> tuple[str, Verdict]:
    """Trace a prediction, a release, a tag of the registry or a commit.

    Args:
        what: a prediction's id, ``v1.2.0``, ``<model>@v1.2.0``, ``<model>#production#3``, or a commit.
        fetch: whether the DVC remote is asked for what is not here.

    Returns:
        Every link with what was found of it, and the verdict: fail where one is broken, inconclusive where one
        could not be verified here.

    Raises:
        Error: it leads to no release, or the DVC remote or the prediction log cannot be reached.
    """
    state = registry.of(tags.known(), params.project.name)
    start = starts.find(what, params, state)
    chain = [*start.links]
    if start.release is not None:
        with scratch.folder() as temporary:
            chain += _behind(start.release, Places(temporary, remote=fetch), params)
    event = registry.parse(start.name)
    gone = isinstance(event, Registration) and event.version in state.withdrawn
    head = f"{plain(start.name)}{', which was withdrawn' if gone else ''}: {lineage.sentence(chain)}"
    lines = [line for name, text in start.told for line in _wrapped(f"{'':<10}{name:<14}{text}")]
    lines += [line for link in chain for line in _lines(link)]
    return "\n".join([head, *lines]), lineage.verdict_of(chain)


def _behind(release: Tag, places: Places, params: Params) -> list[Link]:
    chain = [*links.behind(release, places)]
    if params.release.sign == "none":
        return chain
    from trunkline.operations.trace import signature  # its library takes a second to load

    return chain + signature.links(release, places, params.release)


def _lines(link: Link) -> list[str]:
    return _wrapped(f"{lineage.SHOWN[link.verdict]:<10}{link.kind:<14}{plain(link.what)} ({plain(link.note)})")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent=" " * 26, break_on_hyphens=False)
