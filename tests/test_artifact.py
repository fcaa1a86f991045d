"""The artifact's folder: what is written is what is read, and nothing else is."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.clients import artifact, files
from trunkline.errors import Error

HEAD = "a" * 40


@pytest.fixture
def folder(in_tmp) -> Path:
    files.write_text(in_tmp / "dvc.lock", "schema: '2.0'\n")
    for name in ("data.json", "report.md", "report.html", "train/plots/metrics/loss.tsv"):
        files.write_text(in_tmp / "reports" / name, "{}\n")
    artifact.write(HEAD)
    return in_tmp / "artifact"


def test_what_is_written_is_read(folder):
    head, found = artifact.read(folder)
    assert head == HEAD
    assert sorted(found) == [
        "dvc.lock",
        *("reports/data.json", "reports/report.html", "reports/report.md", "reports/train/plots/metrics/loss.tsv"),
    ]


def test_what_an_artifact_does_not_hold_stays_where_it_is_and_is_told(folder, caplog):
    Path("reports/figure.png").write_bytes(b"\x89PNG")
    assert artifact.write(HEAD) == 5
    assert "reports/figure.png stays here" in caplog.text
    artifact.read(folder)


def link(folder: Path) -> None:
    (folder / "reports/other.json").symlink_to("/etc/hostname")


def linked_folder(folder: Path) -> None:
    (folder / "reports/other").symlink_to("/etc")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "reports/other.json")


def deep(folder: Path) -> None:
    (folder / "reports" / "/".join("d" * 20)).mkdir(parents=True)


REFUSED = {
    "link": (link, "is a link"),
    "linked folder": (linked_folder, "is a link"),
    "pipe": (pipe, "is a link, no file"),
    "deep": (deep, "too deep"),
    "code": (lambda it: (it / "params.yaml").write_text("x"), "'params.yaml' is neither"),
    "workflow": (lambda it: files.write_text(it / ".github/workflows/x.yml", "x"), "neither"),
    "hidden report": (lambda it: (it / "reports/.x.json").write_text("{}"), "neither"),
    "script": (lambda it: (it / "reports/x.svg").write_text("<svg/>"), "neither"),
    "report outside": (lambda it: (it / "x.json").write_text("{}"), "neither"),
    "long file": (lambda it: (it / "reports/data.json").write_bytes(b" " * (artifact.MOST_BYTES_A_FILE + 1)), "5 MiB"),
    "binary": (lambda it: (it / "reports/data.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "other content": (lambda it: (it / "dvc.lock").write_text("x"), "not the file that artifact.json names"),
    "more": (lambda it: (it / "reports/x.json").write_text("{}"), "not the file that artifact.json names"),
    "less": (lambda it: (it / "reports/data.json").unlink(), "not the file that artifact.json names"),
    "no manifest": (lambda it: (it / "artifact.json").unlink(), "artifact.json not found"),
    "bad manifest": (lambda it: (it / "artifact.json").write_text('{"head": "HEAD", "files": {}}'), "head"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(folder, change, message):
    change(folder)
    with pytest.raises(Error, match=message):
        artifact.read(folder)


def test_more_files_and_bytes_than_reports_need_are_refused(folder, monkeypatch):
    monkeypatch.setattr(artifact, "MOST_BYTES", 10)
    with pytest.raises(Error, match="more than"):
        artifact.read(folder)
    monkeypatch.undo()
    monkeypatch.setattr(artifact, "MOST_FILES", 3)
    with pytest.raises(Error, match="more than 3 files"):
        artifact.read(folder)


def test_a_folder_without_a_lock_is_refused(folder):
    (folder / "dvc.lock").unlink()
    (folder / "artifact.json").write_text(f'{{"head": "{HEAD}", "files": {{}}}}')
    for path in (folder / "reports").rglob("*.*"):
        path.unlink()
    with pytest.raises(Error, match="no dvc.lock"):
        artifact.read(folder)


def test_a_folder_that_is_not_there_is_an_error(in_tmp):
    with pytest.raises(Error, match="cannot read the artifact"):
        artifact.read(in_tmp / "nothing")


@given(st.text(max_size=40), st.sampled_from(["", "reports/", "reports/a/"]), st.sampled_from(["", ".json", ".md"]))
def test_no_name_leads_out_of_the_reports(middle, before, after):
    name = before + middle + after
    if artifact.takes(name) and name != "dvc.lock":
        assert name.startswith("reports/")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert name.isascii() and name.isprintable()
