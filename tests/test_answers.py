"""The files with both models' answers: all of them, or an Error that names the one that is wrong."""

from pathlib import Path

import polars as pl
import pytest

import finished
from trunkline.clients import answers, files
from trunkline.errors import Error


@pytest.fixture
def written(in_tmp: Path) -> Path:
    finished.holdout(in_tmp, 6)
    for side in ("production", "candidate"):
        finished.predict(in_tmp, side, [True] * 6)
    return in_tmp / "data"


def test_holdout_and_both_sides_are_read_and_without_probes_there_are_none(written):
    found = answers.read()
    assert found.holdout.height == 6
    assert set(found.predictions) == {"production", "candidate"}
    assert found.probes == {}


def test_they_are_read_from_another_folder_too(written, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert answers.read(written).holdout.height == 6


@pytest.mark.parametrize("name", ["holdout.parquet", "predictions/production.parquet", "predictions/candidate.parquet"])
def test_a_missing_file_is_named(written, name):
    (written / name).unlink()
    with pytest.raises(Error, match=f"{name} not found"):
        answers.read()


def test_a_file_without_its_columns_is_an_error(written):
    path = written / "predictions/candidate.parquet"
    files.write_table(path, pl.read_parquet(path).drop("output"))
    with pytest.raises(Error, match=r"candidate\.parquet lacks the columns \['output'\]"):
        answers.read()


@pytest.mark.parametrize("name", ["holdout.parquet", "predictions/production.parquet", "predictions/candidate.parquet"])
def test_a_file_without_rows_is_an_error(written, name):
    files.write_table(written / name, pl.read_parquet(written / name).head(0))
    with pytest.raises(Error, match=f"{name} has no rows"):
        answers.read()


def test_the_probes_of_each_side_that_was_asked_are_read_with_the_canaries(written):
    table = pl.DataFrame({"id": ["a"], "metric": "x_attacks", "message": "?", "output": "!", "score": 0.0})
    files.write_table(written / "predictions/candidate_probes.parquet", table)
    files.write_table(written / "predictions/candidate_canaries.parquet", table.with_columns(id=pl.lit("canary-001")))
    found = answers.read().probes
    assert {side: probes["id"].to_list() for side, probes in found.items()} == {"candidate": ["a", "canary-001"]}
