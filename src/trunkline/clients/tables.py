"""Raw data partitions, whatever their format, as text with the kind and the line of every value.

A line that cannot be read becomes a rejected row with its reason; a file that as a whole cannot be
read is an Error, and all such files are told at once.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import orjson
import polars as pl

from trunkline.errors import Error
from trunkline.records import CELL_KINDS, KIND_SUFFIX

_KIND = pl.Enum(CELL_KINDS)
_CHUNK = 50_000  # lines held as Python objects at once
_KINDS = {str: "text", int: "integer", float: "number", bool: "boolean", type(None): None}
_NOT_UTF8 = "not valid UTF-8"
_SURROGATE = re.compile("[\ud800-\udfff]")  # what a byte that is not UTF-8 becomes with "surrogateescape"
_UNREADABLE = {"line": pl.UInt32, "reason": pl.String, "raw": pl.String}


class Raw(NamedTuple):
    """What the partitions hold.

    Attributes:
        rows: ``partition``, ``line`` (from 1), then every column as text, with its kind in ``<column>:kind``.
        unreadable: ``partition``, ``line``, ``reason`` and the line itself as ``raw``.
    """

    rows: pl.DataFrame
    unreadable: pl.DataFrame


class _Unreadable(NamedTuple):
    line: int
    reason: str
    raw: str


class _Line(NamedTuple):
    line: int
    values: tuple[object, ...]


def read(folder: Path, columns: Iterable[str]) -> Raw:
    """Read the columns of every partition of a folder, in order of their names.

    Raises:
        Error: there is no partition, or one is empty, damaged, or lacks a column; all of them are listed.
    """
    wanted = tuple(dict.fromkeys(columns))
    parts, problems = [], []
    for path in _partitions(folder):
        try:
            parts.append(READERS[path.suffix](path, wanted))
        except Error as error:
            problems.append(error)
        except OSError as error:
            problems.append(Error(f"cannot read {path}: {error.strerror or error}", "correct its permissions"))
    if problems:
        hints = "; ".join(dict.fromkeys(error.hint for error in problems))
        raise Error("\n".join(error.problem for error in problems), hints)
    return Raw(pl.concat([part.rows for part in parts]), pl.concat([part.unreadable for part in parts]))


def _partitions(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise Error(f"the data folder {folder} does not exist", "create it, or correct data.folder in params.yaml")
    found = (path for path in folder.iterdir() if path.suffix in READERS and not path.name.startswith("."))
    paths = sorted(path for path in found if path.is_file())
    if not paths:
        raise Error(f"{folder} holds no partition (*{', *'.join(READERS)})", "add one, or `dvc pull` yours")
    return paths


def _jsonl(path: Path, columns: tuple[str, ...]) -> Raw:
    with path.open("rb") as file:
        raw = _collect(path, columns, (_json_line(n, line, columns) for n, line in enumerate(file, 1) if line.strip()))
    if raw.rows.is_empty():
        why = raw.unreadable["reason"][0]
        raise Error(f"{path} is not JSON Lines in UTF-8: every line is unreadable ({why})", _hint(path))
    if any(raw.rows[column].is_null().all() for column in columns):
        # A column that no row names is misspelt; one that some rows lack is those rows' defect.
        _require(path, columns, _keys(path))
    return raw


def _keys(path: Path) -> list[str]:
    keys: dict[str, None] = {}
    with path.open("rb") as file:
        for line in file:
            with suppress(orjson.JSONDecodeError):
                row = orjson.loads(line)
                keys |= dict.fromkeys(row) if isinstance(row, dict) else {}
    return list(keys)


def _json_line(number: int, line: bytes, columns: tuple[str, ...]) -> _Line | _Unreadable:
    try:
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except orjson.JSONDecodeError as error:
        raw = line.decode(errors="replace").strip()
        clean = _is_clean(line.decode(errors="surrogateescape"))
        return _Unreadable(number, f"not valid JSON: {error.msg}" if clean else _NOT_UTF8, raw)
    if not isinstance(row, dict):
        return _Unreadable(number, "not a JSON object", line.decode().strip())
    return _Line(number, tuple(map(row.get, columns)))


def _csv(path: Path, columns: tuple[str, ...]) -> Raw:
    # Bytes that are not UTF-8 survive as surrogates, so that they cost a row and not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            _check_header(path, header, columns)
            ends = ((reader.line_num, row) for row in reader)
            return _collect(path, columns, _csv_lines(path, ends, header, columns))
        except csv.Error as error:
            raise Error(f"{path}, line {reader.line_num}: {error}", _hint(path)) from None


def _check_header(path: Path, header: list[str], columns: tuple[str, ...]) -> None:
    if not header:
        raise Error(f"{path} is empty", "remove it or fill it")
    if not _is_clean("".join(header)):
        raise Error(f"{path}: its header is {_NOT_UTF8}", _hint(path))
    if len(set(header)) < len(header):
        raise Error(f"{path}: its header repeats a name: {header}", _hint(path))
    _require(path, columns, header)


def _csv_lines(
    path: Path, rows: Iterator[tuple[int, list[str]]], header: list[str], columns: tuple[str, ...]
) -> Iterator[_Line | _Unreadable]:
    """The rows by the line where they start; ``rows`` comes with the lines where they end."""
    positions = [header.index(column) for column in columns]
    line = 2
    for end, row in rows:
        if row and len(row) != len(header):
            raise Error(f"{path}, line {line}: {len(row)} values, but the header names {len(header)}", _hint(path))
        text = ",".join(row)
        if row and not _is_clean(text):
            yield _Unreadable(line, _NOT_UTF8, text.encode(errors="surrogateescape").decode(errors="replace"))
        elif row:
            yield _Line(line, tuple(row[position] or None for position in positions))
        line = end + 1


def _collect(path: Path, columns: tuple[str, ...], lines: Iterator[_Line | _Unreadable]) -> Raw:
    frames, unreadable = [], []
    while chunk := list(islice(lines, _CHUNK)):
        rows = [line for line in chunk if isinstance(line, _Line)]
        unreadable += [line for line in chunk if isinstance(line, _Unreadable)]
        frames.append(_frame(columns, rows))
    if not frames:
        raise Error(f"{path} has no rows", "remove it or fill it")
    bad = pl.DataFrame(unreadable, schema=_UNREADABLE, orient="row")
    return Raw(*(_named(path, frame) for frame in (pl.concat(frames), bad)))


def _frame(columns: tuple[str, ...], rows: list[_Line]) -> pl.DataFrame:
    data = {"line": pl.Series([row.line for row in rows], dtype=pl.UInt32)}
    for position, column in enumerate(columns):
        values = [row.values[position] for row in rows]
        if not set(map(type, values)) <= {str, type(None)}:
            kinds = [_KINDS.get(type(value), "other") for value in values]
            data[column] = pl.Series(list(map(_text, values)), dtype=pl.String)
            data[column + KIND_SUFFIX] = pl.Series(kinds, dtype=_KIND)
        else:
            data[column] = pl.Series(values, dtype=pl.String)
            data[column + KIND_SUFFIX] = _constant(data[column], "text")
    return pl.DataFrame(data)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"({type(value).__name__})" if isinstance(value, dict | list) else json.dumps(value)


def _constant(values: pl.Series, kind: str) -> pl.Series:
    return pl.select(pl.when(values.is_not_null()).then(pl.lit(kind, dtype=_KIND))).to_series()


def _parquet(path: Path, columns: tuple[str, ...]) -> Raw:
    try:
        _require(path, columns, list(pl.read_parquet_schema(path)))
        frame = pl.read_parquet(path, columns=list(columns), use_pyarrow=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Error(f"{path} is damaged: {str(error).splitlines()[0]}", _hint(path)) from None
    if frame.is_empty():
        raise Error(f"{path} has no rows", "remove it or fill it")
    data = {"line": pl.arange(1, frame.height + 1, dtype=pl.UInt32, eager=True)}
    for column in columns:
        data[column], kind = _cells(frame[column])
        data[column + KIND_SUFFIX] = _constant(data[column], kind)
    return Raw(_named(path, pl.DataFrame(data)), _named(path, pl.DataFrame(schema=_UNREADABLE)))


def _cells(values: pl.Series) -> tuple[pl.Series, str]:
    """The values of a typed column as text, and their kind; NaN is no value."""
    match values.dtype:
        case pl.String | pl.Categorical | pl.Enum | pl.Null:
            return values.cast(pl.String), "text"
        case pl.Boolean:
            return values.cast(pl.String), "boolean"
        case pl.Float32 | pl.Float64:
            return values.fill_nan(None).cast(pl.String), "number"
        case pl.Date:
            return values.dt.strftime("%Y-%m-%d"), "time"
        case pl.Datetime(time_zone=zone):
            utc = values if zone is None else values.dt.convert_time_zone("UTC")
            return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"), "time"
        case dtype if dtype.is_integer():
            return values.cast(pl.String), "integer"
        case dtype if dtype.is_decimal():
            return values.cast(pl.String), "number"
    return pl.select(pl.when(values.is_not_null()).then(pl.lit(f"({values.dtype})"))).to_series(), "other"


def _named(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(path.name).alias("partition"), pl.all())


def _require(path: Path, columns: tuple[str, ...], found: list[str]) -> None:
    missing = [column for column in columns if column not in found]
    if missing:
        hint = "correct data.columns, data.slices and data.answer.fields in params.yaml, or the file"
        raise Error(f"{path} lacks the columns {missing}; it has {found}", hint)


def _is_clean(text: str) -> bool:
    return text.isascii() or _SURROGATE.search(text) is None


def _hint(path: Path) -> str:
    return f"write {path} again as UTF-8 {path.suffix[1:].upper()}, or fetch it again"


READERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
