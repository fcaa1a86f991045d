"""Push what a run has made to the DVC remote, prove that it is there, and leave the artifact for `trunkline adopt`.

The order is the protocol: what the artifact names is in the remote before anybody can read the artifact.
"""

from pathlib import Path

from trunkline.clients import artifact, files, git, pipeline, remote
from trunkline.errors import Error
from trunkline.params import Params

# What a run may change in the working tree; anything else is not the commit that was tested.
WRITTEN = (artifact.LOCK, artifact.REPORTS, str(artifact.FOLDER))


def run(params: Params) -> str:
    """Push data, weights and the run cache, and write ``artifact/``.

    Returns:
        What was proven, and where the artifact is.

    Raises:
        Error: stages still have to run, the tree is not the commit's, there is no remote, it refuses or cannot
            be reached, or an object is missing or damaged there. Then there is no artifact.
    """
    files.remove(artifact.FOLDER)
    head = _head()
    stale = pipeline.stale(Path(), outside=True)
    if stale:
        stage, reasons = next(iter(stale.items()))
        raise Error(
            f"{len(stale)} stages have not run: {stage}: {reasons[0]}", "run `dvc repro --pull`, then this again"
        )
    proof = remote.push()
    count = artifact.write(head)
    return f"{_told(proof)}\n{artifact.FOLDER}/ holds the {count} files of {head[:12]} to adopt"


def _head() -> str:
    head = git.head()
    if head is None:
        raise Error("there is no commit here to hand a run over for", "commit, and run this again")
    if git.dirty(ignoring=WRITTEN):
        raise Error(
            f"the working tree is not commit {head[:12]}: files besides dvc.lock and reports/ differ",
            "commit them (`git status` names them), and run this again",
        )
    return head


def _told(proof: remote.Proof) -> str:
    runs = "it cannot hold a run cache" if proof.runs is None else f"{proof.runs} entries of the run cache"
    text = (
        f"the remote {proof.remote} holds all {proof.objects} objects of dvc.lock ({proof.pushed} of them new,"
        f" {proof.hashed} read back and hashed); {runs}"
    )
    if not proof.verified:
        text += f"\nmake DVC verify what it fetches: dvc remote modify {proof.remote} verify true"
    return text
