"""A commit's candidate as the model to compare with: what ``data/production.json`` says of it."""

from trunkline.clients import dvc, git, scratch
from trunkline.records import Bundle, Production

CANDIDATE = "models/candidate"


def of_commit(name: str, commit: str) -> Production:
    """The pin of what a commit has trained, under a release's name.

    Raises:
        Error: it has no trained candidate, or its weights are neither here nor in a remote.
    """
    weights = dvc.recorded_hash(git.show(commit, "dvc.lock"), CANDIDATE)
    with scratch.folder() as temporary:
        target = temporary / "bundle.json"
        dvc.fetch(commit, f"{CANDIDATE}/bundle.json", target)
        partitions = Bundle.read(target).partitions
    return Production(release=name, revision=commit, weights=weights, partitions=partitions)
