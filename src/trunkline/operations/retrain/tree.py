"""The merged commit's data with a new partition among them, judged by the data stage, in a folder of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from trunkline import collected, registry
from trunkline.clients import dvc, files, pinned, scratch, snapshot, tables, trial
from trunkline.clients.dvc import objects
from trunkline.clients.git import tags
from trunkline.collected import Layout, New
from trunkline.errors import Error
from trunkline.operations.retrain import incoming
from trunkline.operations.retrain.incoming import Incoming
from trunkline.params import Params
from trunkline.records import Production, Report
from trunkline.schema import Columns

TRAINED = Path("reports/train.json")


class Tree(NamedTuple):
    """A commit's files, and what they hold.

    Attributes:
        folder: of the files.
        layout: of raw rows.
        known: the rows of all partitions, masked.
        partitions: names without suffixes.
        trained: the report of the last training; None without one.
    """

    folder: Path
    layout: Layout
    known: pl.DataFrame
    partitions: tuple[str, ...]
    trained: Report | None


class Gathered(NamedTuple):
    """What came in, what of it is new, and the text of the partition that it makes."""

    incoming: Incoming
    new: New
    text: str


@contextmanager
def of(params: Params, commit: str) -> Iterator[Tree]:
    """The tree of a commit; gone after the block.

    Raises:
        Error: DVC cannot give out every partition, or no other can be added to them.
    """
    layout = _layout(params)
    with snapshot.of(commit) as folder:
        raw = folder / params.data.folder
        names = _complete(raw, Path(params.data.folder))
        known = collected.masked(incoming.plain(tables.read(raw, layout.names).rows, layout), layout)
        yield Tree(folder, layout, known, names, _report(folder / TRAINED))


def gather(params: Params, tree: Tree, now: datetime) -> Gathered:
    """Collect the new rows.

    Raises:
        Error: the log or a file cannot be read.
    """
    with scratch.folder() as temporary:
        came = incoming.read(params, tree.layout, temporary, now)
    new = collected.new(came.rows, tree.known, tree.layout)
    return Gathered(came, new, collected.text(new.rows, tree.layout))


def judge(params: Params, tree: Tree, name: str, text: str) -> tuple[Report, dict[str, bytes | None]]:
    """Let the data stage judge the tree with the partition ``name`` in it.

    Returns:
        Its report, and the files that a commit has to change, by their paths from the current folder: the partition,
        and the pin where production has moved on.

    Raises:
        Error: the stage cannot judge them, or what production serves cannot be pinned.
    """
    partition = f"{params.data.folder}/{name}.jsonl"
    changes: dict[str, bytes | None] = {partition: text.encode()}
    pin = _moved(params, tree.folder)
    if pin is not None:
        changes[params.production.pinned] = pin.text().encode()
    for path, content in changes.items():
        files.write_text(tree.folder / path, (content or b"").decode())
    return trial.run("data", tree.folder), changes


def _layout(params: Params) -> Layout:
    data = params.data
    return Layout(Columns(**data.columns.model_dump(), slices=data.slices), data.answer, data.pii)


def _complete(raw: Path, here: Path) -> tuple[str, ...]:
    """Put what DVC keeps beside what Git does; the names of all partitions."""
    if raw.with_name(f"{raw.name}.dvc").exists():
        problem = f"DVC keeps {here} as one folder, to which a commit can add no file"
        raise Error(problem, "put its files under DVC one by one: `dvc remove`, then `dvc add` of each")
    if not raw.is_dir():
        raise Error(f"the merged commit has no {here}", "merge a first partition")
    kept: dict[str, str] = {}
    for path in sorted(raw.glob("*.dvc")):
        kept |= dvc.kept(path)
    if kept:
        objects.fetch(kept, raw, objects.place())
    return tuple(path.name.partition(".")[0] for path in raw.iterdir())


def _moved(params: Params, folder: Path) -> Production | None:
    """The pin of what serves now, where the commit compares with something else."""
    wanted = registry.serving(registry.of(tags.known(), params.project.name))
    if wanted is None or Production.read(folder / params.production.pinned).revision == wanted.commit:
        return None
    return pinned.of_commit(*wanted)


def _report(path: Path) -> Report | None:
    try:
        return Report.read(path)
    except Error:
        return None
