"""Files that are whole or absent: written beside their name, flushed to disk, then renamed.

A killed writer leaves only ``.<name>.partial-<pid>``, which the next writer of that name removes. Of two writers at
once, each writes its own and the last one's stays.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from trunkline.clients import leftovers
from trunkline.errors import Error
from trunkline.records import NUMBER_COLUMNS, TEXT_COLUMNS

_KINDS: dict[str, Callable[[pl.Series], bool]] = {
    "text": lambda column: column.dtype == pl.String and not column.null_count(),
    "numbers": lambda column: column.dtype.is_numeric() or column.dtype == pl.Null,
    "single values": lambda column: not column.dtype.is_nested() and column.dtype != pl.Binary,
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a fresh name beside ``path``; what is written there (file or folder) becomes ``path``.

    Raises:
        Error: nothing was written, or the disk refused it.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{path.name}.partial-*"):
            # One of another process that is alive is being written.
            if stale == partial or leftovers.abandoned(stale.name):
                remove(stale)
        yield partial
        if not partial.exists():
            raise Error(f"nothing was written to {path}", "run the step again with -v")
        _flush(partial)
        if path.is_dir():
            remove(path)
        os.replace(partial, path)
    except OSError as error:
        raise Error(f"cannot write {path}: {error.strerror or error}", "free disk space or permissions") from error
    finally:
        remove(partial)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole, or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        Error: it is missing, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Error(f"{path} not found", "correct its name in params.yaml, or add the file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"cannot read {path}: {error}", "save it as UTF-8 text") from None


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """Write a Parquet file whole, or not at all."""
    with replacing(path) as partial:
        frame.write_parquet(partial)


def read_table(path: Path, columns: tuple[str, ...], others: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read a Parquet file that a stage wrote.

    Args:
        path: of the file.
        columns: names of `records`, which hold what is said there.
        others: names of the user's own, such as the slices.

    Raises:
        Error: it is missing, damaged, has no rows, lacks one of these columns, or one holds what it must not.
    """
    hint = f"run `dvc repro` to write {path} again"
    frame = read_parquet(path, hint)
    missing = [name for name in (*columns, *others) if name not in frame.columns]
    if missing:
        raise Error(f"{path} lacks the columns {missing}", hint)
    if frame.is_empty():
        raise Error(f"{path} has no rows", "see reports/data.md for the rows that were rejected")
    for column in frame.iter_columns():
        kind = _kind(column.name) if column.name in columns else "single values"
        if not _KINDS[kind](column):
            raise Error(f"{path}: column {column.name} has values that are not {kind}", hint)
    return frame


def _kind(name: str) -> str:
    """What a column of this name holds; of a user's own, such as a slice, only that a value is one."""
    return "text" if name in TEXT_COLUMNS else "numbers" if name in NUMBER_COLUMNS else "single values"


def read_parquet(path: Path, hint: str) -> pl.DataFrame:
    """Read any Parquet file.

    Raises:
        Error: it is missing or damaged; ``hint`` says what to do.
    """
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise Error(f"{path} not found", hint) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Error(f"{path} is damaged: {str(error).splitlines()[0]}", hint) from None


def unlinked(path: Path) -> Path:
    """The path of a folder that Git or DVC keeps, from the repository's top, as it was given.

    Raises:
        Error: it or a folder above it is a link, of which a commit holds only where it leads.
    """
    link = next((part for part in (path, *path.parents) if part.is_symlink()), None)
    if link is not None:
        problem = f"{link} is a link to {os.readlink(link)}, and no commit holds what is there"
        raise Error(problem, f"put a folder with its files in its place: `rm {link} && mkdir {link}`")
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        Error: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Error(f"cannot read {path}: {error.strerror}", "run `dvc repro` to write it again") from None


def combined(hashes: dict[str, str]) -> str:
    """One hash for several files: the only one's, or SHA-256 of the sorted lines ``<hash>  <name>``."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    members = [path] if path.is_file() else [member for member in path.rglob("*") if member.is_file()]
    for member in members:
        # Libraries that write weights make them private; a container or a shared cache must read them.
        member.chmod(0o644)
        with member.open("rb") as file:
            os.fsync(file.fileno())
