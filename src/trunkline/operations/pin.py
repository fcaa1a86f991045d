"""Write the release to compare with into data/production.json, an input that a pull request reviews."""

from pathlib import Path

from trunkline import registry
from trunkline.clients import files, git, pinned
from trunkline.clients.git import tags
from trunkline.params import Params
from trunkline.records import Production
from trunkline.registry import Pin, Registration

_BASE = Production(release=None, revision=None, weights=None, partitions=())


def run(params: Params, revision: str | None = None) -> str:
    """Pin a release, a Git revision's candidate, or ``base`` for the untuned base model.

    Args:
        revision: ``v1.2.0`` or ``<model>@v1.2.0`` is looked up in the registry; None is what serves in production,
            or the base model before anything does.

    Returns:
        What was pinned and the next command.

    Raises:
        Error: there is no such release, the revision has no trained candidate, its weights are neither here nor in a
            remote, or what serves cannot be known here.
    """
    wanted = _meant(params.project.name, revision)
    production = _BASE if wanted is None else pinned.of_commit(*wanted)
    path = Path(params.production.pinned)
    files.write_text(path, production.text())
    name = production.release or "the untuned base model"
    return f"{path} pins {name}\nnext: dvc repro, then commit {path} and dvc.lock"


def _meant(model: str, revision: str | None) -> Pin | None:
    if revision == "base":
        return None
    if revision is None:
        return registry.serving(registry.of(tags.complete(), model))
    if registry.is_version(revision) or isinstance(registry.parse(revision), Registration):
        return registry.pinnable(registry.of(tags.known(), model), registry.release(revision, model))
    commit = git.resolve(revision)
    return Pin(revision if revision != commit else commit[:12], commit)
