"""Files are whole or absent, whatever kills the writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import polars as pl
import pytest

from trunkline.clients import files
from trunkline.errors import Error


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model"
    for names in (("a", "b"), ("c",)):
        with files.replacing(path) as partial:
            partial.mkdir()
            for name in names:
                (partial / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["c"]


def test_written_files_can_be_read_by_a_container(tmp_path):
    with files.replacing(tmp_path / "model") as partial:
        partial.mkdir()
        (partial / "w").write_text("w")
        (partial / "w").chmod(0o600)
    assert (tmp_path / "model" / "w").stat().st_mode & 0o777 == 0o644


def test_a_killed_writer_leaves_the_old_file_and_the_next_writer_cleans_up(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal; from pathlib import Path; from trunkline.clients import files\n"
        f"with files.replacing(Path({str(path)!r})) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    files.write_text(path, "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["new"]


def test_of_two_writers_at_once_neither_takes_the_others_file_away(tmp_path):
    path = tmp_path / "a.txt"
    code = (
        "import sys; from pathlib import Path; from trunkline.clients import files\n"
        f"with files.replacing(Path({str(path)!r})) as partial:\n"
        "    partial.write_text('theirs'); print('half', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE) as other:
        assert other.stdin is not None and other.stdout is not None
        other.stdout.readline()
        files.write_text(path, "ours")
        assert path.read_text() == "ours"
        other.stdin.close()
        assert other.wait() == 0
    assert [file.read_text() for file in tmp_path.iterdir()] == ["theirs"]


def test_writing_nothing_is_an_error(tmp_path):
    with pytest.raises(Error, match="nothing was written"), files.replacing(tmp_path / "a"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_clear_error(tmp_path):
    with pytest.raises(Error, match="No space left") as caught, files.replacing(tmp_path / "a") as partial:
        partial.symlink_to("/dev/full")
        with partial.open("w") as file:
            file.write("x" * 10)
    assert str(tmp_path / "a") in caught.value.problem


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "not found"), (b"", "damaged"), (b"PAR1 nonsense", "damaged"), ("half", "damaged")],
)
def test_a_damaged_table_is_a_clear_error(tmp_path, content, said):
    path = tmp_path / "t.parquet"
    if content == "half":
        pl.DataFrame({"a": range(1000)}).write_parquet(path)
        os.truncate(path, path.stat().st_size // 2)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(Error, match=said):
        files.read_table(path, ("a",))


def test_a_table_without_the_columns_or_rows_is_an_error(tmp_path):
    path = tmp_path / "t.parquet"
    files.write_table(path, pl.DataFrame({"a": [1]}))
    assert files.read_table(path, ("a",)).height == 1
    with pytest.raises(Error, match=r"lacks the columns \['b'\]"):
        files.read_table(path, ("a", "b"))
    files.write_table(path, pl.DataFrame({"a": []}))
    with pytest.raises(Error, match="has no rows"):
        files.read_table(path, ("a",))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("answer", pl.lit(1), "text"),
        ("answer", pl.lit(None, pl.String), "text"),
        ("customer", pl.lit("a", pl.Categorical), "text"),
        ("tokens_out", pl.lit("3"), "numbers"),
        ("usd", pl.lit(None, pl.Float64), None),
        ("channel", pl.lit(["app"]), "single values"),
        ("channel", pl.lit(b"app"), "single values"),
        ("channel", pl.lit(None, pl.String), None),
        ("score", pl.lit("a slice of this name"), None),
    ],
)
def test_columns_hold_what_records_says_and_a_users_own_any_value(tmp_path, name, value, said):
    path = tmp_path / "t.parquet"
    good = {"answer": "a", "customer": "c", "tokens_out": 3, "usd": 0.1, "channel": "app"}
    files.write_table(path, pl.DataFrame({key: [one] for key, one in good.items()}).with_columns(value.alias(name)))
    asked = (("answer", "customer", "tokens_out", "usd"), ("channel",))
    if said is None:
        assert files.read_table(path, *asked).height == 1
    else:
        with pytest.raises(Error, match=f"t.parquet: column {name} has values that are not {said}"):
            files.read_table(path, *asked)


def test_several_files_have_one_hash(tmp_path):
    assert files.combined({"a": "1"}) == "1"
    assert files.combined({"a": "1", "b": "2"}) == files.combined({"b": "2", "a": "1"})
    assert files.combined({"a": "1", "b": "2"}) != files.combined({"a": "2", "b": "1"})
