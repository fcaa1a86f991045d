"""Looks for a customer in what releases were made of; the same bytes are looked at once."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from trunkline.clients import files, scratch, tables
from trunkline.clients.contents import Found, Places
from trunkline.errors import Error
from trunkline.records.release import Content, Manifest, Tag
from trunkline.split import in_holdout

TRAIN, HOLDOUT = "data/train.parquet", "data/holdout.parquet"


class Seen(NamedTuple):
    """What one file holds of the customer.

    Attributes:
        rows: how many.
        ids: how many different ids of rows; None where the data have none.
        problem: why it could not be looked at, whole or in part; None where it was.
    """

    rows: int
    ids: int | None
    problem: str | None = None


class Searched(NamedTuple):
    """What a release holds of the customer.

    Attributes:
        release: its tag's name.
        seen: by path of its raw partitions and its two sets.
        problem: why none of them is known; None where they are.
        held: whether its split put the customer into the holdout; None where its manifest does not say.
        weights: whether it has weights that were trained on its data; a provider's model has none.
    """

    release: str
    seen: dict[str, Seen]
    problem: str | None = None
    held: bool | None = None
    weights: bool = True

    @property
    def raw(self) -> int:
        """Rows in the raw partitions."""
        return sum(seen.rows for path, seen in self.seen.items() if path not in (TRAIN, HOLDOUT))

    @property
    def trained(self) -> bool:
        """Whether weights were trained on the customer, as far as is known.

        Where the training set cannot be looked at, raw rows on the training side of the split count as used.
        """
        train = self.seen.get(TRAIN) if self.weights else None
        return train is not None and (train.rows > 0 or bool(train.problem and self.raw and self.held is False))


class Search:
    """A search for one customer.

    Args:
        customer: as in the raw data, without space around it.
        places: where files are looked for.
    """

    def __init__(self, customer: str, places: Places) -> None:
        self._customer, self._places = customer, places
        self._known: dict[tuple[str, str, str], Seen] = {}

    def release(self, tag: Tag) -> Searched:
        """Look at everything that a release's manifest names."""
        try:
            manifest = Manifest.of(tag)
        except Error as error:
            return Searched(tag.name, {}, error.problem)
        if not {TRAIN, HOLDOUT} <= manifest.data.keys():
            return Searched(tag.name, {}, f"its manifest names no {TRAIN} or no {HOLDOUT}")
        seen = {path: self._look(path, manifest) for path in sorted(manifest.data)}
        return Searched(tag.name, seen, held=_held(manifest, self._customer), weights=manifest.kind != "hosted")

    def _look(self, path: str, manifest: Manifest) -> Seen:
        content, columns = manifest.data[path], columns_of(manifest)
        if columns is None and path not in (TRAIN, HOLDOUT):
            return Seen(0, None, "its manifest does not say which column names the customer")
        key = (content.sha256, *(columns or ("", "")))
        if key not in self._known:
            self._known[key] = self._read(path, content, manifest, columns)
        return self._known[key]

    def _read(self, path: str, content: Content, manifest: Manifest, columns: tuple[str, str] | None) -> Seen:
        try:
            found = self._find(path, content, manifest)
            if path in (TRAIN, HOLDOUT):
                return count(files.read_table(found.path, ("customer", "id")), "customer", "id", self._customer)
            return self._partition(path, found, *(columns or ("", "")))
        except Error as error:
            return Seen(0, None, error.problem)

    def _find(self, path: str, content: Content, manifest: Manifest) -> Found:
        found = self._places.find(manifest.commit, path, content)
        if found is None and content.md5 is None:
            raise Error(f"commit {manifest.commit[:12]} is not in this clone", "git fetch --unshallow --tags")
        if found is None:
            raise Error(f"neither the DVC cache nor a remote holds {content.md5}", "dvc push it where it was made")
        if found.sha256 != content.sha256:
            raise Error(f"what {found.where} holds is not what was released", "restore it from a backup")
        return found

    def _partition(self, path: str, found: Found, customer: str, identity: str) -> Seen:
        with scratch.folder() as temporary:
            # The reader goes by the name's suffix, which an object of the cache does not have.
            shutil.copyfile(found.path, temporary / Path(path).name)
            return partitions(temporary, customer, identity, self._customer)[Path(path).name]


def columns_of(manifest: Manifest) -> tuple[str, str] | None:
    """The raw columns that name the customer and the row, as of a release; None where that cannot be told."""
    data = manifest.params.get("data")
    columns = data.get("columns") if isinstance(data, dict) else None
    return naming(columns) if isinstance(columns, dict) else None


def _held(manifest: Manifest, customer: str) -> bool | None:
    section = manifest.params.get("features")
    salt, share = (section.get("salt"), section.get("holdout")) if isinstance(section, dict) else (None, None)
    return in_holdout(customer, salt, share) if isinstance(salt, str) and isinstance(share, float | int) else None


def naming(columns: Mapping[str, object]) -> tuple[str, str] | None:
    """The raw columns that stand for the customer and for the row's id ('' where rows have none).

    As in the data stage, a conversation without a known customer is its own customer, and so is a row.
    """
    customer = next((columns[name] for name in ("customer", "conversation", "id") if columns.get(name)), None)
    return (str(customer), str(columns.get("id") or "")) if customer else None


def partitions(folder: Path, customer: str, identity: str, wanted: str) -> dict[str, Seen]:
    """What every partition of a folder holds, by its name.

    Args:
        folder: with raw partitions.
        customer: the column that names the customer.
        identity: the column that names the row; '' where there is none.
        wanted: the customer.

    Raises:
        Error: a partition cannot be read.
    """
    raw = tables.read(folder, [customer, *([identity] if identity else [])])
    found = {}
    for name in [*raw.rows["partition"].unique(), *raw.unreadable["partition"].unique()]:
        seen = count(raw.rows.filter(pl.col("partition") == name), customer, identity, wanted)
        broken = raw.unreadable.filter(pl.col("partition") == name)
        naming_it = broken["raw"].str.contains(wanted, literal=True).sum()
        problem = f"{naming_it} of {broken.height} unreadable lines name this customer" if naming_it else None
        found[str(name)] = seen._replace(problem=problem)
    return found


def count(frame: pl.DataFrame, customer: str, identity: str, wanted: str) -> Seen:
    """The rows of a customer and their different ids."""
    own = frame.filter(pl.col(customer).str.strip_chars() == wanted)
    return Seen(own.height, own[identity].n_unique() if identity else None)
