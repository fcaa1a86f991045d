"""A release's own reference: its training data and holdout, and what it answered to the holdout, verified."""

import hashlib
from typing import NamedTuple

import polars as pl

from trunkline import scoring, transforms
from trunkline.clients import dvc, files, git, scratch
from trunkline.clients.contents import Places
from trunkline.clients.dvc import stored
from trunkline.drift import features, quality
from trunkline.drift.features import Vocabulary
from trunkline.drift.quality import Proven
from trunkline.drift.watched import Against
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import CANARIES, INPUT_COLUMN, SCORE_PREFIX
from trunkline.records.release import Manifest
from trunkline.split import in_holdout

TRAIN, HOLDOUT, ANSWERS = "data/train.parquet", "data/holdout.parquet", "data/predictions"
_CANDIDATE = "candidate.parquet"
_LOCK = "dvc.lock"
# One half of the training customers says which words are known, the other half how many unknown ones are usual:
# messages that a vocabulary was made from hold none.
_SALT, _HALF = "vocabulary", 0.5


class Reference(NamedTuple):
    """What windows are compared with.

    Attributes:
        known: the vocabulary of training; None where it is not here.
        tables: one row a conversation, as far as they are here.
        missing: why one is not.
        proven: what the release scored on its holdout; None where that is not known.
        unproven: why.
    """

    known: Vocabulary | None
    tables: dict[Against, pl.DataFrame]
    missing: dict[Against, str]
    proven: Proven | None
    unproven: str


def gather(manifest: Manifest, params: Params) -> Reference:
    """Find a release's data in DVC's cache or remote; what is not there, or damaged, is missing with its reason."""
    missing: dict[Against, str] = {}
    tables: dict[Against, pl.DataFrame] = {}
    known, proven, unproven = None, None, ""
    with scratch.folder() as temporary:
        places = Places(temporary, remote=True)
        try:
            check_transforms(manifest)
            train, holdout = (table(path, manifest, places) for path in (TRAIN, HOLDOUT))
            known, tables["training"] = _inputs(train, holdout)
        except Error as error:
            missing["training"] = error.problem
        try:
            answered = answers(manifest, places, table(HOLDOUT, manifest, places))
            said = features.of_outputs(answered["output"].to_list(), manifest.task)
            tables["holdout"] = said.hstack(features.of_confidence(answered))
            proven = _proven(answered, params)
            unproven = "" if proven else f"the holdout has no {params.gate.primary} between 0 and 1."
        except Error as error:
            missing["holdout"] = error.problem
            unproven = f"{error.problem}."
    return Reference(known, tables, missing, proven, unproven)


def check_transforms(manifest: Manifest) -> None:
    """Inputs are transformed here as those of the training data were when the release was made.

    Raises:
        Error: not any more.
    """
    changed = transforms.changed(manifest.task.transforms)
    if changed:
        problem = f"{', '.join(changed)} of {manifest.version} is another function here"
        raise Error(problem, "check out what serves")


def table(path: str, manifest: Manifest, places: Places) -> pl.DataFrame:
    """The examples that a release was made with.

    Raises:
        Error: they are not to be had, or are damaged.
    """
    content = manifest.data.get(path)
    found = None if content is None else places.find(manifest.commit, path, content)
    if content is None or found is None:
        raise Error(f"{path} of {manifest.version} is neither in DVC's cache nor in its remote", "`dvc push` it")
    if found.sha256 != content.sha256:
        raise Error(f"{path} of {manifest.version} in {found.where} is damaged", "fetch it anew")
    return files.read_parquet(found.path, "fetch it anew")


def _inputs(train: pl.DataFrame, holdout: pl.DataFrame) -> tuple[Vocabulary, pl.DataFrame]:
    """The vocabulary, and the features of the conversations that it was not made from."""
    real = train.filter(pl.col("partition") != CANARIES) if "partition" in train.columns else train
    half = pl.Series([in_holdout(str(customer), _SALT, _HALF) for customer in real["customer"]], dtype=pl.Boolean)
    known = features.vocabulary(real.filter(half)[INPUT_COLUMN])
    columns = ["id", "conversation", INPUT_COLUMN]
    rest = pl.concat([_drawn(frame.select(columns)) for frame in (real.filter(~half), holdout)])
    return known, features.of_inputs(rest[INPUT_COLUMN], known)


def _drawn(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a conversation, drawn by the hash of its id."""
    digests = [hashlib.blake2b(str(id).encode(), digest_size=8).hexdigest() for id in frame["id"]]
    ordered = frame.with_columns(pl.Series("order", digests)).sort("order")
    return ordered.unique("conversation", keep="first", maintain_order=True).drop("order")


def answers(manifest: Manifest, places: Places, holdout: pl.DataFrame) -> pl.DataFrame:
    """What the release answered to the holdout, one row a conversation, drawn by hash and in the order of hashes.

    Raises:
        Error: it is not to be had, or is damaged.
    """
    found = kept(_CANDIDATE, manifest, places)
    return _drawn(found.join(holdout.select("id", "conversation"), on="id", how="inner", maintain_order="left"))


def kept(name: str, manifest: Manifest, places: Places) -> pl.DataFrame:
    """A file of the release's answers.

    Raises:
        Error: it is not to be had, or is damaged.
    """
    folder = places.members(dvc.recorded_hash(git.show(manifest.commit, _LOCK), ANSWERS))
    found = places.stored(folder[name]) if name in folder else None
    if found is None:
        problem = f"{ANSWERS}/{name} of {manifest.version} is neither in DVC's cache nor in its remote"
        raise Error(problem, "`dvc push` it")
    if stored.md5(found.path) != folder[name]:
        raise Error(f"{ANSWERS}/{name} of {manifest.version} in {found.where} is damaged", "fetch it anew")
    return files.read_parquet(found.path, "fetch it anew")


def _proven(answers: pl.DataFrame, params: Params) -> Proven | None:
    name = params.gate.primary
    column = SCORE_PREFIX + name
    if column not in answers.columns:
        return None
    scores = answers[column].drop_nulls().cast(pl.Float64).to_numpy()
    better = scoring.find([name])[0].higher_is_better
    return quality.proven(name, scores if better else 1 - scores, params.monitor.alpha)
