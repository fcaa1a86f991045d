"""Examples made from raw rows: what `release` makes again is, to the byte, what the stage `data` wrote."""

from pathlib import Path

import polars as pl

import starter
from trunkline import examples
from trunkline.clients import tables
from trunkline.records import Report
from trunkline.stages import data


def test_what_is_made_again_is_what_the_stage_wrote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    starter.inputs(tmp_path)
    rows = starter.rows(30)
    rows[3]["message"] += ", write to ann@example.org"
    rows[4]["intent"] = "no such thing"
    repeated = {**rows[0], "id": "m-again"}
    starter.write_rows(Path("data/raw/2026-07.jsonl"), [*rows, repeated])
    settings = starter.settings(tmp_path, data__limits__rejected={"pass": 0.5, "fail": 0.6})
    data.run(settings)
    raw = tables.read(Path("data/raw"), examples.columns(settings.data))
    found = examples.examine(raw.rows, raw.unreadable, settings.data, ())
    assert found.report == Report.read(data.REPORT)
    assert found.examples.equals(pl.read_parquet(data.EXAMPLES))
    assert found.rejected.equals(pl.read_parquet(data.REJECTED))
    assert (found.examples.height, found.rejected.height) == (29, 1)
    assert "ann@example.org" not in found.examples["message"].str.join()[0]
