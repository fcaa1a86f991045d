"""Raw partitions of every format, and every way in which they break."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from trunkline.clients import tables
from trunkline.errors import Error

COLUMNS = ("id", "message")


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder, columns=COLUMNS):
    raw = tables.read(folder, columns)
    return raw.rows, raw.unreadable


def test_partitions_are_read_in_order_of_their_names_and_other_files_are_left_alone(tmp_path):
    write(tmp_path, "b.csv", "id,message\n2,from csv\n")
    write(tmp_path, "a.jsonl", '{"id": "1", "message": "from jsonl"}\n')
    pl.DataFrame({"id": ["3"], "message": ["from parquet"]}).write_parquet(tmp_path / "c.parquet")
    for other in ("a.jsonl.dvc", ".gitignore", "README.md", "notes.txt"):
        write(tmp_path, other, "not data")
    (tmp_path / "folder.csv").mkdir()
    rows, unreadable = read(tmp_path)
    assert rows["partition"].to_list() == ["a.jsonl", "b.csv", "c.parquet"]
    assert rows["message"].to_list() == ["from jsonl", "from csv", "from parquet"]
    assert rows["message:kind"].unique().to_list() == ["text"]
    assert unreadable.is_empty()


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        ("x", "x", "text"),
        ("", "", "text"),
        (7, "7", "integer"),
        (1e16, "1e+16", "number"),
        (1.5, "1.5", "number"),
        (True, "true", "boolean"),
        (None, None, None),
        ([1], "(list)", "other"),
        ({"a": "é"}, "(dict)", "other"),
    ],
)
def test_a_json_value_keeps_its_kind(tmp_path, value, text, kind):
    write(tmp_path, "a.jsonl", json.dumps({"id": "1", "message": value}) + "\n" + '{"id": "2", "message": "y"}\n')
    rows, _ = read(tmp_path)
    assert (rows["message"][0], rows["message:kind"][0]) == (text, kind)
    assert rows["message"][1] == "y"


def test_one_bad_json_line_costs_one_row(tmp_path):
    good = b'{"id": "1", "message": "caf\xc3\xa9"}\n'
    write(
        tmp_path,
        "a.jsonl",
        b"\xef\xbb\xbf"
        + good
        + b"\n"
        + b'{"id": "2", "message": "caf\xe9"}\n'
        + b"[1, 2]\n"
        + b"nonsense\n"
        + good[:-9],
    )
    rows, unreadable = read(tmp_path)
    assert rows["message"].to_list() == ["café"]
    assert unreadable["line"].to_list() == [3, 4, 5, 6]
    reasons = unreadable["reason"].to_list()
    assert reasons[:2] == ["not valid UTF-8", "not a JSON object"]
    assert all(reason.startswith("not valid JSON: ") for reason in reasons[2:])
    assert unreadable["raw"][0] == '{"id": "2", "message": "caf�"}'


def test_csv_keeps_text_over_several_lines_with_the_line_it_starts_on(tmp_path):
    write(tmp_path, "a.csv", 'id,message,other\r\n1,"two\nlines, ""quoted""",x\r\n\r\n2,,x\r\n3,end,x')
    rows, _ = read(tmp_path)
    assert rows["message"].to_list() == ['two\nlines, "quoted"', None, "end"]
    assert rows["line"].to_list() == [2, 5, 6]
    assert rows["message:kind"].to_list() == ["text", None, "text"]


def test_an_undecodable_csv_line_costs_one_row(tmp_path):
    write(tmp_path, "a.csv", b"id,message\n1,caf\xe9\n2,caf\xc3\xa9\n3,\xf0\x9f\x98\x80\n4,\xef\xbf\xbd\n")
    rows, unreadable = read(tmp_path)
    assert rows["message"].to_list() == ["café", "😀", "\ufffd"]
    assert unreadable.select("line", "reason", "raw").row(0) == (2, "not valid UTF-8", "1,caf�")


def test_parquet_types_become_kinds(tmp_path):
    frame = pl.DataFrame(
        {
            "id": [1, 2],
            "message": pl.Series(["a", None], dtype=pl.Categorical),
            "real": [1.5, float("nan")],
            "flag": [True, None],
            "day": [datetime(2026, 7, 1).date(), None],
            "at": [datetime(2026, 7, 1, 10, 30, tzinfo=UTC), None],
            "naive": [datetime(2026, 7, 1, 10, 30), None],
            "nested": [[1], None],
            "nothing": [None, None],
            "bytes": [b"x", None],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    rows, _ = read(tmp_path, frame.columns)
    first, second = rows.to_dicts()
    shown = {name: (first[name], first[name + ":kind"]) for name in frame.columns}
    assert shown == {
        "id": ("1", "integer"),
        "message": ("a", "text"),
        "real": ("1.5", "number"),
        "flag": ("true", "boolean"),
        "day": ("2026-07-01", "time"),
        "at": ("2026-07-01T10:30:00.000000Z", "time"),
        "naive": ("2026-07-01T10:30:00.000000Z", "time"),
        "nested": ("(List(Int64))", "other"),
        "nothing": (None, None),
        "bytes": ("(Binary)", "other"),
    }
    assert all(second[name] is None and second[name + ":kind"] is None for name in frame.columns if name != "id")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"\n\n", "has no rows"),
        ("a.jsonl", b"id,message\n1,x\n", "not JSON Lines in UTF-8: every line is unreadable"),
        ("a.jsonl", '{"id": "1", "message": "x"}\n'.encode("utf-16"), "not JSON Lines in UTF-8"),
        ("a.jsonl", b'{"id": "1", "text": "x"}\n', r"lacks the columns \['message'\]; it has \['id', 'text'\]"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,message\n", "has no rows"),
        ("a.csv", b"id;message\n1;x\n", r"lacks the columns \['id', 'message'\]; it has \['id;message'\]"),
        ("a.csv", b"id,message\n1,x\n2\n", "line 3: 1 values, but the header names 2"),
        ("a.csv", b"id,message\n1,x,y\n", "line 2: 3 values, but the header names 2"),
        ("a.csv", b'id,message\n1,"x\n2,y\n', "line 3: unexpected end of data"),
        ("a.csv", b"id,message,id\n1,x,2\n", "repeats a name"),
        ("a.csv", "id,message\n1,x\n".encode("utf-16"), "header is not valid UTF-8"),
        ("a.parquet", b"", "is damaged"),
        ("a.parquet", b"PAR1 nonsense PAR1", "is damaged"),
    ],
)
def test_a_file_that_is_unreadable_as_a_whole_is_named_with_the_next_step(tmp_path, name, content, problem):
    path = write(tmp_path, name, content)
    with pytest.raises(Error, match=problem) as caught:
        read(tmp_path)
    assert str(path) in caught.value.problem
    assert caught.value.hint


def test_a_truncated_parquet_file_is_damaged_wherever_it_ends(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": list(range(500)), "message": ["text"] * 500}).write_parquet(path)
    whole = path.read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Error, match="is damaged"):
            read(tmp_path)


def test_a_parquet_file_without_rows_or_columns_is_refused(tmp_path):
    pl.DataFrame({"id": ["1"], "message": ["x"]}).clear().write_parquet(tmp_path / "a.parquet")
    with pytest.raises(Error, match="has no rows"):
        read(tmp_path)
    pl.DataFrame({"id": ["1"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(Error, match="lacks the columns"):
        read(tmp_path)


def test_every_broken_file_is_told_at_once(tmp_path):
    write(tmp_path, "a.jsonl", b"")
    write(tmp_path, "b.csv", b"id\n1\n")
    write(tmp_path, "c.jsonl", b'{"id": "1", "message": "x"}\n')
    with pytest.raises(Error) as caught:
        read(tmp_path)
    assert "a.jsonl has no rows" in caught.value.problem
    assert "b.csv lacks the columns" in caught.value.problem
    assert "c.jsonl" not in caught.value.problem


def test_no_folder_and_no_partition_are_told(tmp_path):
    with pytest.raises(Error, match="does not exist"):
        read(tmp_path / "absent")
    write(tmp_path, "README.md", "no data yet")
    with pytest.raises(Error, match="holds no partition"):
        read(tmp_path)


def test_a_column_that_only_some_rows_have_is_those_rows_defect(tmp_path):
    write(tmp_path, "a.jsonl", '{"id": "1"}\n{"id": "2", "message": "x"}\n')
    rows, _ = read(tmp_path)
    assert rows["message"].to_list() == [None, "x"]


def test_more_rows_than_a_chunk_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_CHUNK", 3)
    write(tmp_path, "a.jsonl", "".join(json.dumps({"id": n, "message": "x"}) + "\n" for n in range(10)))
    rows, _ = read(tmp_path)
    assert rows["id"].to_list() == [str(n) for n in range(10)]
    assert rows["line"].to_list() == list(range(1, 11))
