"""Inputs, split and task made from examples: what `release` makes again is what the stage `features` wrote."""

from pathlib import Path

import polars as pl

import starter
from trunkline import featured
from trunkline.clients import project
from trunkline.records import Report, Task
from trunkline.stages import features


def test_what_is_made_again_is_what_the_stage_wrote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    starter.inputs(tmp_path)
    settings = starter.settings(tmp_path, features__holdout=0.4)
    rows = starter.examples(tmp_path)
    features.run(settings)
    made = featured.feature(rows, project.prompt(settings.features.prompt), settings)
    assert made.report == Report.read(features.REPORT)
    assert made.train.equals(pl.read_parquet(features.TRAIN))
    assert made.holdout.equals(pl.read_parquet(features.HOLDOUT))
    assert made.task == Task.read(Path("data/task.json"))
    other = featured.feature(rows, project.prompt(settings.features.prompt) + " ", settings)
    assert other.task.prompt_id != made.task.prompt_id
