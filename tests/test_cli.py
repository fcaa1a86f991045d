"""The command line: the lifecycle, exit codes, one error with its next step."""

import os
import sys
from io import BytesIO, TextIOWrapper

import pytest

import starter
from trunkline import cli
from trunkline.operations import gate
from trunkline.verdict import Verdict


def test_help_reads_as_the_lifecycle(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    steps = [*cli.STAGES, *cli.OPERATIONS]
    places = [text.index(f"  {step:<12}") for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "--fast"], ["promote", "v1.0.0"]])
def test_a_wrong_command_line_is_2(arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_an_error_is_1_with_the_next_step_on_stderr(in_tmp, capsys):
    assert cli.main(["features"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "error: params.yaml not found\nhint: run this from the repository's top folder\n"


def test_an_error_is_an_annotation_in_github_actions(in_tmp, capsys, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (in_tmp / "params.yaml").write_text("a: [")
    cli.main(["features"])
    annotation = capsys.readouterr().err.splitlines()[-1]
    assert annotation.startswith("::error::params.yaml is not valid YAML")


def test_a_stage_that_works_is_0(in_tmp):
    starter.inputs(in_tmp)
    starter.examples(in_tmp)
    starter.settings(in_tmp)
    assert cli.main(["features"]) == 0


def test_an_interrupted_operation_is_one_line_and_dies_by_the_signal(in_tmp, monkeypatch, capsys):
    starter.settings(in_tmp)

    def interrupted(params, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "run", interrupted)
    monkeypatch.setattr(cli, "_die_interrupted", lambda: sys.exit(130))
    with pytest.raises(SystemExit) as ended:
        cli.main(["gate"])
    assert ended.value.code == 130
    told = "interrupted: `trunkline gate` has not finished; run it again, nothing half-written counts\n"
    assert capsys.readouterr() == ("", told)


def test_verdicts_have_the_documented_exit_codes():
    assert cli.EXIT_CODES == {Verdict.PASS: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}


def test_what_a_terminal_cannot_show_is_a_question_mark(in_tmp, monkeypatch):
    starter.settings(in_tmp)
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr(gate, "run", lambda params, **_: ("loss ▃▁", Verdict.PASS))
    assert cli.main(["gate"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue() == b"loss ??\n"


def test_a_reader_that_wants_no_more_changes_no_exit_code(in_tmp, monkeypatch):
    starter.settings(in_tmp)
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        monkeypatch.setattr(gate, "run", lambda params, **_: ("much", Verdict.FAIL))
        assert cli.main(["gate"]) == 3


def test_a_result_that_finds_no_place_is_an_error(in_tmp, monkeypatch, capsys):
    starter.settings(in_tmp)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        monkeypatch.setattr(gate, "run", lambda params, **_: ("much", Verdict.PASS))
        assert cli.main(["gate"]) == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert "cannot print the result: No space left on device" in capsys.readouterr().err
