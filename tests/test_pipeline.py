"""What has to run, told in a clone without any data."""

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

import pull_request as pr
import starter
from trunkline.clients import pipeline
from trunkline.clients.dvc import outputs, stored
from trunkline.errors import Error

AFTER_DATA = ["train: examples.txt is made again by data", "compare: models/candidate is made again by train"]
AFTER_TRAIN = AFTER_DATA[1:]


@pytest.fixture(scope="module")
def bare(merged, tmp_path_factory) -> Path:
    """A clone as a hosted runner has it."""
    return pr.cloned(pr.copied(merged.parent, tmp_path_factory.mktemp("bare") / "world"), "bare")


@pytest.fixture
def clone(bare):
    yield bare
    starter.git(bare, "checkout", "-q", "--", ".")
    starter.git(bare, "clean", "-qfdx", "-e", ".dvc")


def told(folder: Path) -> list[str]:
    return [f"{stage}: {reason}" for stage, reasons in pipeline.stale(folder).items() for reason in reasons]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_finished_run_is_up_to_date_without_its_data(clone):
    assert not (clone / "data/raw/2026-08.jsonl").exists()
    assert not (clone / "models").exists()
    assert told(clone) == []


CHANGES = {
    "params": (lambda it: starter.settings(it, train__epochs=9), ["train: params.yaml: train changed", *AFTER_TRAIN]),
    "foreign params": (lambda it: starter.settings(it, data__near_duplicate=0.5), []),
    "data": (lambda it: (it / "data/raw/2026-07.jsonl").write_text("x\n"), ["data: data/raw changed", *AFTER_DATA]),
    "new data": (lambda it: (it / "data/raw/2026-09.jsonl").write_text("x\n"), ["data: data/raw changed", *AFTER_DATA]),
    "data under DVC": (
        lambda it: replace(it / "data/raw/2026-08.jsonl.dvc", "md5: ", "md5: 0"),
        ["data: data/raw changed", *AFTER_DATA],
    ),
    "code gone": (lambda it: (it / "found/compare.json").unlink(), ["compare: found/compare.json is missing"]),
    "report gone": (lambda it: (it / "reports/compare.json").unlink(), ["compare: reports/compare.json is missing"]),
    "report edited": (
        lambda it: replace(it / "reports/compare.json", '"pass"', '"fail"'),
        ["compare: reports/compare.json is not what was recorded"],
    ),
    "command": (
        lambda it: replace(it / "dvc.yaml", "echo compare", "echo  compare"),
        ["compare: its command changed"],
    ),
    "frozen": (
        lambda it: replace(it / "dvc.yaml", "  compare:\n", "  compare:\n    frozen: true\n"),
        ["compare: it is frozen: `dvc unfreeze` it"],
    ),
    "no lock": (
        lambda it: (it / "dvc.lock").unlink(),
        [
            *("data: it has not run yet", "train: it has not run yet", AFTER_DATA[0]),
            *("compare: it has not run yet", AFTER_DATA[1]),
        ],
    ),
    "new params": (
        lambda it: replace(it / "dvc.yaml", "    params: [gate]", "    params: [gate, compare]"),
        ["compare: params.yaml: compare is new"],
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_names_its_stage_and_what_follows(clone, change, expected):
    change(clone)
    assert told(clone) == expected


def test_an_input_that_a_merge_took_from_another_run_is_found(clone):
    lock = (clone / "dvc.lock").read_text()
    head, separator, tail = lock.partition("  train:\n")
    recorded = next(line for line in tail.splitlines() if "md5: " in line).split("md5: ")[1]
    (clone / "dvc.lock").write_text(head + separator + tail.replace(recorded, "f" * 32, 1))
    said = told(clone)
    assert "train: examples.txt is another one than dvc.lock records where it is made" in said


def test_data_that_were_read_before_all_of_them_were_fetched_are_not_up_to_date(clone):
    """`dvc repro --allow-missing` runs a stage on half a folder, and records that half as right."""
    with pr.standing_in(clone):
        pr.repro(clone, pull=True, allow_missing=True)
        assert "data: data/raw was read without data/raw/2026-08.jsonl" in told(clone)


def test_an_input_outside_of_the_repository_is_looked_up_only_where_that_is_asked_for(clone):
    path = clone.parent / "outside.txt"
    path.write_text("one")
    replace(clone / "dvc.yaml", "deps: [data/raw,", f"deps: [{path}, data/raw,")
    pr.repro(clone, pull=True)
    assert pipeline.stale(clone, outside=True) == {}
    path.write_text("two")
    assert pipeline.stale(clone) == {}
    assert list(pipeline.stale(clone, outside=True)) == ["data", "train", "compare"]


REPORTS = [Path(f"reports/{step}.json") for step in ("data", "compare", "more")]


def test_an_output_outside_of_the_repository_is_never_up_to_date_and_of_no_release(clone):
    place = clone.parent / "outside.txt"
    place.write_text("whoever may read this")
    outs = [{"md5": stored.md5(place), "size": place.stat().st_size, "hash": "md5", "path": "../outside.txt"}]
    (clone / "outside.dvc").write_text(yaml.safe_dump({"outs": outs}))
    assert told(clone) == [f"outside.dvc: {place} lies outside of the repository"], "and not whether it was guessed"
    with pytest.raises(Error, match=r"outside\.txt lies outside of the repository"):
        outputs.read(clone)


def test_a_report_is_of_the_stage_that_writes_it_or_of_nobody(clone):
    assert pipeline.unwritten(clone, REPORTS) == [REPORTS[2]]
    text = pr.PIPELINE[: pr.PIPELINE.index("  compare:")]
    (clone / "dvc.yaml").write_text(text)
    assert told(clone) == []
    assert pipeline.unwritten(clone, REPORTS) == REPORTS[1:]
    (clone / "dvc.yaml").unlink()
    assert told(clone) == []
    assert pipeline.unwritten(clone, REPORTS) == REPORTS


def test_a_report_put_under_dvc_by_hand_is_of_no_stage(clone):
    (clone / "dvc.yaml").unlink()
    starter.git(clone, "rm", "-q", "--cached", "reports/compare.json")
    with pr.standing_in(clone), Repo() as repo:
        repo.add("reports/compare.json")
    try:
        assert told(clone) == []
        assert REPORTS[1] in pipeline.unwritten(clone, REPORTS)
    finally:
        starter.git(clone, "reset", "-q", "--hard")


def test_a_folder_without_dvc_is_an_error(tmp_path):
    with pytest.raises(Error, match="DVC: "):
        pipeline.stale(tmp_path)


def test_a_lock_that_cannot_be_read_is_an_error(clone):
    (clone / "dvc.lock").write_text("<<<<<<< HEAD\n")
    with pytest.raises(Error, match=r"dvc\.lock"):
        pipeline.stale(clone)
