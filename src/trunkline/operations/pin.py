"""Write the release to compare with into data/production.json, an input that a pull request reviews."""

import tempfile
from pathlib import Path

from trunkline.clients import dvc, files, git
from trunkline.params import Params
from trunkline.records import Bundle, Production

CANDIDATE = "models/candidate"


def run(params: Params, revision: str) -> str:
    """Pin a Git revision's candidate, or ``base`` for the untuned base model.

    Returns:
        What was pinned and the next command.

    Raises:
        Error: the revision has no trained candidate, or its weights are neither here nor in a remote.
    """
    production = _BASE if revision == "base" else _pinned(revision)
    path = Path(params.production.pinned)
    files.write_text(path, production.text())
    name = production.release or "the untuned base model"
    return f"{path} pins {name}\nnext: dvc repro, then commit {path} and dvc.lock"


_BASE = Production(release=None, revision=None, weights=None, partitions=())


def _pinned(revision: str) -> Production:
    commit = git.resolve(revision)
    weights = dvc.recorded_hash(git.show(commit, "dvc.lock"), CANDIDATE)
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "bundle.json"
        dvc.fetch(commit, f"{CANDIDATE}/bundle.json", target)
        partitions = Bundle.read(target).partitions
    name = revision if revision != commit else commit[:12]
    return Production(release=name, revision=commit, weights=weights, partitions=partitions)
