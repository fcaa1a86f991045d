"""CML run safely, against a stand-in that refuses every unsafe call and keeps CML's traps."""

import os
import sys
import time
from pathlib import Path

import pytest

import github_double
from github_double import BOT
from trunkline.clients import cml
from trunkline.clients.github import Refused, workflow
from trunkline.errors import Error

WANTED = cml.Comment(pull=42, body="# report\n\n[a file](.git/config) ![](plot.png)", title="trunkline support-triage")
WATERMARK = '![](https://cml.dev/watermark.png#c0ffee00 "CML watermark trunkline support-triage")'


@pytest.fixture
def job(double, tmp_path, monkeypatch) -> workflow.Workflow:
    github_double.job(double, tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    return workflow.here()


def trouble(folder: Path, kind: str) -> None:
    """Let the stand-in behave like this from now on."""
    (folder / "bin/trouble").write_text(kind)


def test_without_cml_there_is_an_error_with_two_ways_out(job, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not cml.found()
    with pytest.raises(Error, match="no `cml` on PATH") as caught:
        cml.comment("create", WANTED, job)
    assert "install CML" in caught.value.hint
    assert "comment_with: github" in caught.value.hint


def test_cml_posts_the_report_and_names_its_address(double, job, stand_in):
    assert cml.found()
    address = cml.comment("create", WANTED, job)
    (row,) = double.threads[42]
    assert address == row["html_url"]
    assert row["body"].startswith(WANTED.body)
    assert row["user"]["login"] == BOT


def test_what_cml_appends_fits_the_room_that_is_left_for_it(double, job, stand_in):
    cml.comment("create", WANTED._replace(title="trunkline " + "long_name" * 8), job)
    (row,) = double.threads[42]
    assert len(row["body"]) - len(WANTED.body) <= cml.WATERMARK_CHARACTERS


def test_update_edits_the_comment_with_the_watermark(double, job, stand_in):
    for title in ("trunkline support-triage", "trunkline snake_case_name"):
        first = cml.comment("create", WANTED._replace(title=title), job)
        assert cml.comment("update", WANTED._replace(title=title, body="later"), job) == first
    assert [row["body"].partition("\n")[0] for row in double.threads[42]] == ["later", "later"]


def test_cml_gets_the_token_and_no_other_secret(double, job, stand_in, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "CML_COMMENT_WATCH", "CML_SEND_COMMENT_PR"):
        monkeypatch.setenv(name, "true")
    cml.comment("create", WANTED, job)
    assert {request.headers["authorization"] for request in double.requests} == {"token ghs_write"}


def test_the_stand_in_would_notice(double, job, stand_in, monkeypatch):
    """A check that cannot fail is a defect: without our environment and folder the same call is refused."""
    monkeypatch.setattr(cml, "_environment", lambda token, folder: dict(os.environ))
    with pytest.raises(Error, match="UNSAFE CALL: the token's place is REPO_TOKEN"):
        cml.comment("create", WANTED, job)
    assert double.requests == []


def test_the_users_git_configuration_stays_as_it_is(job, stand_in, tmp_path):
    cml.comment("create", WANTED, job)
    assert not (tmp_path / ".gitconfig").exists()


def test_a_read_only_token_is_told_apart_from_a_broken_cml(double, job, stand_in, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    with pytest.raises(Refused, match="Resource not accessible by integration"):
        cml.comment("create", WANTED, workflow.here())


@pytest.mark.parametrize(
    ("kind", "said"), [("crash", r"failed \(7\): TypeError"), ("other program", "named no comment")]
)
def test_a_cml_that_does_not_work_is_an_error(job, stand_in, tmp_path, kind, said):
    trouble(tmp_path, kind)
    with pytest.raises(Error, match=said) as caught:
        cml.comment("create", WANTED, job)
    assert not isinstance(caught.value, Refused)
    assert "comment_with: github" in caught.value.hint


def test_a_cml_that_cannot_be_run_is_an_error(job, tmp_path, stand_in):
    (tmp_path / "bin/cml").write_bytes(b"\x7fELF, but no more")
    with pytest.raises(Error, match="cannot be run"):
        cml.comment("create", WANTED, job)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_cml_that_hangs_is_ended_with_whatever_it_started(job, stand_in, tmp_path, monkeypatch):
    trouble(tmp_path, "hang")
    # As long as it takes until it has started something.
    for seconds in (1, 4, 16, 64):
        monkeypatch.setattr(cml, "SECONDS", float(seconds))
        with pytest.raises(Error, match=f"did not end within {seconds} s"):
            cml.comment("create", WANTED, job)
        if (tmp_path / "bin/sleeper").exists():
            break
    sleeper = int((tmp_path / "bin/sleeper").read_text())
    deadline = time.monotonic() + 60
    while alive(sleeper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(sleeper)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("token", "kind"), [("ghs_write", "crash"), ("ghs_read", ""), ("ghs_wrong", "")])
def test_the_token_is_in_no_message_of_cmls(job, stand_in, tmp_path, monkeypatch, token, kind):
    monkeypatch.setenv("GITHUB_TOKEN", token)
    trouble(tmp_path, kind)
    with pytest.raises(Error) as caught:
        cml.comment("create", WANTED, workflow.here())
    assert "***" in caught.value.problem
    assert token not in str(caught.value)


def test_which_comment_update_would_take_is_known_before(double, job):
    other = WATERMARK.replace("support-triage", "support")
    assert cml.would_update([], WANTED.title) is None
    assert cml.would_update(["text", f"mine\n\n{other}"], WANTED.title) is None
    assert cml.would_update([WATERMARK, "text", f"later\n\n{WATERMARK}", "text"], WANTED.title) == 2
    assert cml.would_update(["text"] * 29 + [WATERMARK], WANTED.title) == 29
    assert cml.would_update(["text"] * 30 + [WATERMARK], WANTED.title) is None


@pytest.mark.parametrize("title", ["trunkline support-triage", "trunkline snake_case_name"])
@pytest.mark.parametrize("before", [0, 29, 30])
def test_what_is_known_before_is_what_cml_does(double, job, stand_in, title, before):
    wanted = WANTED._replace(title=title)
    for _ in range(before):
        double.comment("talk", "ada")
    cml.comment("create", wanted, job)
    rows = double.threads[42]
    place = cml.would_update([row["body"] for row in rows], title)
    assert (place is None) is (before == 30)
    cml.comment("update", wanted._replace(body="later"), job)
    assert rows[len(rows) - 1 if place is None else place]["body"].startswith("later")
    assert len(rows) == before + (2 if place is None else 1)
