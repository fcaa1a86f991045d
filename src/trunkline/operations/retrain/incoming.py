"""The new labelled rows, from the prediction log and from the drop folder, and who must not be among them."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import polars as pl

from trunkline import collected, moments
from trunkline.clients import files, predictions, tables
from trunkline.collected import Layout
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import KIND_SUFFIX
from trunkline.records.prediction import Selection

logger = logging.getLogger("trunkline")
# What a customer or an input is in a log that keeps only their hashes.
_HASH = "^[0-9a-f]{64}$"


class Incoming(NamedTuple):
    """What came in.

    Attributes:
        rows: masked, as the data stage reads rows; ``partition`` says where each is from.
        unreadable: lines of files that no row could be made of.
        left_out: how many rows were left out, by why.
    """

    rows: pl.DataFrame
    unreadable: int
    left_out: dict[str, int]


def read(params: Params, layout: Layout, scratch: Path, now: datetime) -> Incoming:
    """Collect everything that may be learned from.

    Args:
        scratch: an empty folder.

    Raises:
        Error: the log or a file cannot be read, the log holds hashes where texts are needed, or customers object and
            no column says whose a row is.
    """
    unknown = _write_labels(params, layout, scratch, now)
    folders = [scratch, *([Path(params.retrain.drop)] if params.retrain.drop else [])]
    parts = [tables.read(folder, layout.names) for folder in folders if _holds_files(folder)]
    rows = pl.concat([_empty(layout), *(plain(part.rows, layout) for part in parts)])
    allowed, left_out = _allowed(params, rows, layout)
    count = sum(part.unreadable.height for part in parts)
    return Incoming(collected.masked(allowed, layout), count, unknown | left_out)


def aged(params: Params, layout: Layout, text: str, now: datetime) -> str:
    """The lines of a partition that are older than the log keeps, of customers who may still be learned from.

    Raises:
        Error: the log or the file of customers who object cannot be read.
    """
    since, column = _since(params, now), layout.columns.time
    if since is None or column is None:
        return ""
    rows = {line: json.loads(line) for line in text.splitlines()}
    old = {line: row for line, row in rows.items() if _is_before(row.get(column), since)}
    name = layout.columns.customer
    if name is None or not old:
        return "".join(f"{line}\n" for line in old)
    whose = {line: str(row.get(name)).strip() for line, row in old.items()}
    barred = {*_opted_out(params.retrain.opt_out), *_erased(params, sorted(set(whose.values())))}
    return "".join(f"{line}\n" for line, customer in whose.items() if customer not in barred)


def _is_before(text: object, moment: datetime) -> bool:
    try:
        return isinstance(text, str) and moments.parse(text) < moment
    except Error:
        return False


def plain(rows: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The raw columns that count, every cell and its kind as text."""
    cells = [name + suffix for name in layout.names for suffix in ("", KIND_SUFFIX)]
    return rows.select("partition", *cells).cast(pl.String)


def _empty(layout: Layout) -> pl.DataFrame:
    cells = [name + suffix for name in layout.names for suffix in ("", KIND_SUFFIX)]
    return pl.DataFrame(schema=dict.fromkeys(["partition", *cells], pl.String))


def _holds_files(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    return any(path.suffix in tables.READERS and not path.name.startswith(".") for path in folder.iterdir())


def _write_labels(params: Params, layout: Layout, scratch: Path, now: datetime) -> dict[str, int]:
    """Write labelled predictions as partitions, one a source; how many had to be left out."""
    sources = params.retrain.sources
    if not sources:
        return {}
    _check_forms(params, layout)
    with predictions.reading(params.serve.log) as database:
        said = predictions.labelled(database, Selection(since=_since(params, now)), sources)
    known = ~pl.col("input").str.contains(_HASH)
    if layout.columns.customer is not None:
        known &= pl.col("customer").is_not_null() & ~pl.col("customer").str.contains(_HASH)
    usable = said.filter(known)
    for source, rows in collected.of_log(usable, layout, sources).items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # Any text may be a source's name, but not a file's.
        files.write_text(scratch / f"labels of {quote(source, safe='')}.jsonl", text)
    lost = said.height - usable.height
    return {"labels without a known customer or input": lost} if lost else {}


def _since(params: Params, now: datetime) -> datetime | None:
    """What is older may no longer be kept, whether or not it was deleted yet."""
    days = params.serve.log.keep_days
    return None if days is None else now.astimezone(UTC) - timedelta(days=days)


def _check_forms(params: Params, layout: Layout) -> None:
    log = params.serve.log
    if log.input != "text":
        raise Error(
            f"serve.log.input is {log.input}: a label has no message", "set it to text, or retrain.sources to []"
        )
    if layout.columns.customer is not None and log.customer != "text":
        # A hashed customer would come to the other side of the split than the same one in data/raw.
        problem = f"serve.log.customer is {log.customer}: no row can stay on its customer's side of the split"
        raise Error(problem, "set it to text, or retrain.sources to []")


def _allowed(params: Params, rows: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows of customers who neither object nor were erased, and how many are not."""
    column = layout.columns.customer
    if column is None:
        if params.retrain.opt_out is not None:
            problem = "retrain.opt_out names customers, and data.columns.customer is null: no row can be left out"
            raise Error(problem, "name the column that holds the customer, or set retrain.opt_out to null")
        return rows, {}
    willing = collected.without(rows, _opted_out(params.retrain.opt_out), layout)
    customers = willing[column].drop_nulls().str.strip_chars().unique().to_list()
    left = collected.without(willing, _erased(params, customers), layout)
    counts = {
        "rows of customers who opted out": rows.height - willing.height,
        "rows of customers who were erased": willing.height - left.height,
    }
    return left, {why: count for why, count in counts.items() if count}


def _opted_out(path: str | None) -> list[str]:
    if path is None:
        return []
    return [line.strip() for line in files.read_text(Path(path)).splitlines() if line.strip()]


def _erased(params: Params, customers: list[str]) -> list[str]:
    """Whose data the log was told to erase: files that were made before may still hold them."""
    kept = predictions.Kept(params.serve.log)
    logged = {text: customer for customer in customers if (text := kept.text("customer", customer)) is not None}
    try:
        with predictions.reading(params.serve.log) as database:
            return [logged[text] for text in predictions.erased(database, logged)]
    except predictions.Unreachable:
        raise
    except Error as error:
        if params.retrain.sources:
            raise
        logger.warning("retrain  %s; whether a customer was erased is not known", error.problem)
        return []
