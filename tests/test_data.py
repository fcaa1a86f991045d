"""The data stage: what is kept, what is rejected and why, and when the pipeline stops."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import starter
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import EXAMPLE_COLUMNS, Production, Report
from trunkline.stages import data
from trunkline.verdict import Verdict


@pytest.fixture
def project(in_tmp):
    starter.inputs(in_tmp)
    return in_tmp


def write(name, made):
    starter.write_rows(Path("data/raw") / name, made)


def later(seed, month, count=60):
    """Rows of a later month, none of which repeats an earlier month's."""
    return starter.rows(count * (seed + 1), month, seed)[count * seed :]


def months(*names):
    for seed, name in enumerate(names):
        write(f"{name}.jsonl", later(seed, name))


def pin(*partitions):
    record = Production(release="1.0.0", revision="0" * 40, weights="w", partitions=partitions)
    files.write_text(Path("data/production.json"), record.text())


def run(project, **changes):
    data.run(starter.settings(project, **changes))
    return pl.read_parquet(data.EXAMPLES), pl.read_parquet(data.REJECTED), Report.read(data.REPORT)


def verdicts(report):
    return {check.name.removeprefix("data.limits."): check.verdict for check in report.checks}


def damaged(made, **changes):
    return [row | changes for row in made]


def test_good_data_become_examples(project):
    months("2026-07", "2026-08")
    examples, rejected, report = run(project)
    assert examples.columns == [*EXAMPLE_COLUMNS, "channel", "language"]
    assert examples.height == 120
    assert examples["partition"].unique(maintain_order=True).to_list() == ["2026-07.jsonl", "2026-08.jsonl"]
    assert json.loads(examples["answer"][0]) == {"intent": "card_lost", "urgency": "low"}
    assert rejected.is_empty()
    assert report.verdict is Verdict.PASS
    assert set(verdicts(report)) == set(starter.settings(project).data.limits.__class__.model_fields)


def test_a_linked_folder_is_refused_and_linked_partitions_as_dvc_makes_them_are_read(project):
    months("2026-07")
    Path("data/raw").rename("elsewhere")
    Path("data/raw").symlink_to(Path("elsewhere").absolute())
    with pytest.raises(Error, match="data/raw is a link to /.*/elsewhere, and no commit holds what is there"):
        run(project)
    Path("data/raw").unlink()
    Path("data/raw").mkdir()
    Path("data/raw/2026-07.jsonl").symlink_to(Path("elsewhere/2026-07.jsonl").absolute())
    assert run(project)[0].height == 60


def test_every_rejected_row_is_stored_masked_with_its_line_and_all_its_reasons(project):
    made = starter.rows(60)
    made[4] |= {"message": None, "urgency": "soon"}
    made[9] |= {"created_at": "01/07/2026", "message": "write to ann@example.com"}
    write("2026-07.jsonl", made)
    with Path("data/raw/2026-07.jsonl").open("a") as file:
        file.write('{"id": "cut", "message": "call +49 30 12345678')
    examples, rejected, report = run(project)
    assert examples.height == 58
    assert rejected.select("partition", "line", "reasons").rows() == [
        ("2026-07.jsonl", 5, "message: missing; urgency: not an allowed value"),
        ("2026-07.jsonl", 10, "created_at: not an ISO-8601 time"),
        ("2026-07.jsonl", 61, rejected["reasons"][2]),
    ]
    assert json.loads(rejected["raw"][1])["message"] == "write to <EMAIL>"
    assert rejected["raw"][2] == '{"id": "cut", "message": "call <PHONE>'
    assert report.details["rejected"]["message: missing"] == 1
    assert report.metrics["rejected"] == 3


def test_personal_data_are_masked_in_messages_and_free_answers(project):
    made = starter.rows(30)
    made[0] |= {"message": "my card 4111 1111 1111 1111 is gone", "reply": "We wrote to ann@example.com."}
    for number, row in enumerate(made):
        row.setdefault("reply", f"Answer number {number}, we have blocked it.")
    write("2026-07.jsonl", made)
    free = {"format": "text", "fields": ["reply"], "allowed": {}}
    examples, _, report = run(project, data__answer=free)
    assert examples["message"][0] == "my card <CARD> is gone"
    assert examples["answer"][0] == "We wrote to <EMAIL>."
    assert report.details["pii"] == {"email": 1, "phone": 0, "iban": 0, "card": 1}
    assert report.metrics["pii_rows"] == 1
    assert "imbalance" not in verdicts(report), "free text has no classes"


def test_free_fields_of_a_json_answer_are_masked_and_stay_json(project):
    made = [row | {"amount": 12, "note": f"note {n}"} for n, row in enumerate(starter.rows(30))]
    made[0] |= {"note": 'say "hi" to ann@example.com', "amount": 4111111111111111}
    write("2026-07.jsonl", made)
    answer = {"format": "json", "fields": ["note", "amount"], "allowed": {}}
    examples, _, _ = run(project, data__answer=answer)
    assert json.loads(examples["answer"][0]) == {"note": 'say "hi" to <EMAIL>', "amount": "<CARD>"}
    assert json.loads(examples["answer"][1]) == {"note": "note 1", "amount": 12}


def test_a_row_that_came_masked_held_personal_data_like_one_that_is_masked_here(project):
    made = starter.rows(30)
    made[0] |= {"message": "write to <EMAIL>, it is new"}
    made[1] |= {"message": "write to ann@example.com, it is new too"}
    write("2026-07.jsonl", made)
    _, _, report = run(project)
    assert report.metrics["pii_rows"] == 2
    assert report.details["pii"]["email"] == 1, "one was found here"


def test_a_slice_that_a_source_does_not_know_is_not_compared_and_named(project):
    months("2026-07", "2026-08")
    pin("2026-07.jsonl")
    write("2026-08.jsonl", [row | {"channel": None} for row in later(1, "2026-08")])
    _, _, report = run(project)
    assert verdicts(report)["shift"] is Verdict.PASS
    (check,) = [check for check in report.checks if check.name.endswith("shift")]
    assert check.message.endswith("only one side has values of channel")
    write("2026-08.jsonl", [row | {"channel": "fax"} for row in later(1, "2026-08")])
    with pytest.raises(Error, match="channel shifted"):
        run(project)


def test_repeats_are_left_out_and_contradictions_too(project):
    made = starter.rows(60)
    made[10]["message"] = made[0]["message"].upper()
    made[10] |= {key: made[0][key] for key in ("intent", "urgency")}
    made[21] |= {"message": made[20]["message"], "intent": "card_lost", "urgency": "low"}
    made[20] |= {"intent": "transfer_fee"}
    write("2026-07.jsonl", made)
    examples, _, report = run(project, data__limits__conflicts={"pass": 0.1, "fail": 0.2})
    assert examples.height == 57
    (counts,) = report.details["partitions"]
    assert counts == {
        "partition": "2026-07.jsonl",
        "read": 60,
        "rejected": 0,
        "duplicates": 1,
        "conflicts": 2,
        "kept": 57,
    }


def test_messages_that_differ_only_in_personal_data_repeat_each_other(project):
    made = starter.rows(30)
    for number, address in ((3, "ann@example.com"), (12, "bob@example.com")):
        made[number] |= {"message": f"please write to {address}", "intent": "card_lost", "urgency": "low"}
    write("2026-07.jsonl", made)
    assert run(project)[2].metrics["duplicates"] == 1


@pytest.mark.parametrize(
    ("limit", "change"),
    [
        ("rejected", lambda made: damaged(made[:20], urgency="soon") + made[20:]),
        ("duplicates", lambda made: made + [row | {"id": row["id"] + "x"} for row in made]),
        (
            "near_duplicates",
            lambda made: made + [row | {"id": row["id"] + "x", "message": row["message"] + "!"} for row in made],
        ),
        ("conflicts", lambda made: made + [row | {"id": row["id"] + "x", "intent": "card_lost"} for row in made]),
        ("pii", lambda made: [row | {"message": f"{row['message']} a{n}@example.com"} for n, row in enumerate(made)]),
        ("imbalance", lambda made: damaged(made[:-1], intent="card_lost") + damaged(made[-1:], intent="transfer_fee")),
    ],
)
def test_each_limit_stops_what_breaks_it_and_leaves_the_good_state(project, limit, change):
    months("2026-07")
    run(project)
    before = data.EXAMPLES.read_bytes()
    write("2026-07.jsonl", change(starter.rows(60)))
    limits = {f"data__limits__{limit}": {"pass": 0.05, "fail": 0.1}}
    with pytest.raises(Error, match=f"data.limits.{limit}: ") as caught:
        run(project, **limits)
    assert "reports/data.md" in caught.value.hint
    assert data.EXAMPLES.read_bytes() == before
    report = Report.read(data.REPORT)
    assert verdicts(report)[limit] is Verdict.FAIL
    assert "# Data: fail" in data.SUMMARY.read_text()


def test_between_the_two_limits_a_human_decides(project):
    made = starter.rows(60)
    made[:6] = damaged(made[:6], urgency="soon")
    write("2026-07.jsonl", made)
    examples, _, report = run(project)
    assert examples.height == 54
    assert verdicts(report)["rejected"] is Verdict.INCONCLUSIVE
    assert report.verdict is Verdict.INCONCLUSIVE


def test_when_every_row_is_rejected_nothing_else_counts_as_measured(project):
    write("2026-07.jsonl", damaged(starter.rows(20), message=5))
    with pytest.raises(Error, match="20 of 20 rows failed a schema rule"):
        run(project)
    report = Report.read(data.REPORT)
    assert verdicts(report)["rejected"] is Verdict.FAIL
    assert {v for name, v in verdicts(report).items() if name != "rejected"} == {Verdict.INCONCLUSIVE}
    assert not data.EXAMPLES.exists()
    assert pl.read_parquet(data.REJECTED).height == 20


def test_no_example_is_an_error_even_where_the_limits_allow_it(project):
    write("2026-07.jsonl", damaged(starter.rows(20), message=5))
    with pytest.raises(Error, match="no example is left"):
        run(project, data__limits__rejected={"pass": 1.0, "fail": 1.0})


def test_a_class_without_examples_is_not_balanced(project):
    write("2026-07.jsonl", [row for row in starter.rows(60) if row["urgency"] != "high"])
    report = run(project)[2]
    (check,) = (check for check in report.checks if check.name == "data.limits.imbalance")
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "urgency has no example of high" in check.message


def moved(made):
    return [row | {"channel": "fax", "message": row["message"] + " " + "very " * 20} for row in made]


def shift_check(report):
    return next((check for check in report.checks if check.name == "data.limits.shift"), None)


def test_new_partitions_are_compared_with_those_production_was_trained_on(project):
    months("2026-07", "2026-08")
    pin("2026-07.jsonl")
    assert shift_check(run(project)[2]).verdict is Verdict.PASS
    write("2026-08.jsonl", moved(later(1, "2026-08")))
    with pytest.raises(Error, match="data.limits.shift: .* shifted against the data production was trained on"):
        run(project)
    shift = Report.read(data.REPORT).details["shift"]
    assert (shift["reference"], shift["new"]) == (["2026-07.jsonl"], ["2026-08.jsonl"])
    significant = {row["column"] for row in shift["columns"] if row["significant"]}
    assert {"channel", "message characters", "message words"} <= significant
    assert not {"language", "intent", "urgency"} & significant


def test_without_a_production_the_newest_partition_is_compared_and_the_report_says_so(project):
    months("2026-07", "2026-08", "2026-09")
    report = run(project)[2]
    assert report.details["shift"]["against"] == "the earlier partitions"
    assert report.details["shift"]["new"] == ["2026-09.jsonl"]
    assert "2026-09.jsonl against the earlier partitions" in data.SUMMARY.read_text()


def test_with_nothing_new_no_check_claims_to_have_measured_shift(project):
    months("2026-07")
    assert shift_check(run(project)[2]) is None
    pin("2026-07.jsonl")
    report = run(project)[2]
    assert shift_check(report) is None
    assert "Not measured, against nothing: no partition is new." in data.SUMMARY.read_text()


def test_a_reference_that_is_gone_is_inconclusive(project):
    months("2026-07")
    pin("2025-01.jsonl")
    assert shift_check(run(project)[2]).verdict is Verdict.INCONCLUSIVE


def test_rows_of_one_conversation_count_once(project):
    made = later(1, "2026-08")
    one = damaged(made, conversation="one", customer="one")
    months("2026-07")
    write("2026-08.jsonl", one)
    shift = run(project)[2].details["shift"]
    assert {row["new"] for row in shift["columns"]} == {1}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_other_names_and_a_label_answer_need_only_params(project, suffix):
    rows = [{"text": row["message"], "category": row["intent"]} for row in starter.rows(60)]
    path = Path("data/raw") / f"train.{suffix}"
    path.parent.mkdir(parents=True)
    if suffix == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["text", "category"])
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == "jsonl":
        starter.write_rows(path, rows)
    else:
        pl.DataFrame(rows).write_parquet(path)
    columns = dict.fromkeys(("id", "customer", "conversation", "time")) | {"message": "text"}
    answer = {"format": "label", "fields": ["category"], "allowed": {}}
    examples, _, report = run(project, data__columns=columns, data__answer=answer, data__slices=[])
    assert examples.columns == list(EXAMPLE_COLUMNS)
    assert examples["answer"].to_list() == [row["category"] for row in rows]
    assert examples["id"][0] == f"train.{suffix}:{1 if suffix != 'csv' else 2}"
    assert report.details["labels"] == {"category": {"card_lost": 20, "change_number": 20, "transfer_fee": 20}}


def test_what_cannot_be_read_stops_before_anything_is_written(project):
    for content, problem in ((None, "does not exist"), (b"", "has no rows"), (b"\xff\xfe\x00", "not JSON Lines")):
        if content is not None:
            Path("data/raw").mkdir(exist_ok=True)
            Path("data/raw/2026-07.jsonl").write_bytes(content)
        with pytest.raises(Error, match=problem):
            run(project)
    assert not data.REPORT.exists()
    assert not data.EXAMPLES.exists()


def test_untrusted_text_cannot_write_markdown_or_html(project):
    made = starter.rows(40)
    evil = "<img src=x onerror=alert(1)> | [click](https://evil.example) `code` **bold** @everyone # title\n\n# heading"
    made[0]["message"], made[1]["message"] = evil, evil + "!"
    write("2026-07.jsonl", made)
    run(project, data__message_chars={"min": 3, "max": 1000})
    text = data.SUMMARY.read_text()
    assert "&lt;img src=x onerror=alert\\(1\\)&gt; \\| \\[click\\]\\(https\\://evil.example\\)" in text
    assert "<img" not in text
    assert "\n# heading" not in text


def test_the_same_data_give_the_same_files(project):
    months("2026-07", "2026-08")
    run(project)
    before = [path.read_bytes() for path in (data.EXAMPLES, data.REJECTED, data.REPORT, data.SUMMARY)]
    run(project)
    assert [path.read_bytes() for path in (data.EXAMPLES, data.REJECTED, data.REPORT, data.SUMMARY)] == before


def dvc(*arguments):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_broken_partition_stops_dvc_and_leaves_the_good_state_untouched(project):
    pipeline = yaml.safe_load((starter.ROOT / "dvc.yaml").read_text())
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"data": pipeline["stages"]["data"]}}))
    for dependency in pipeline["stages"]["data"]["deps"]:
        if dependency.startswith("src/"):
            Path(dependency).parent.mkdir(parents=True, exist_ok=True)
            Path(dependency).write_bytes((starter.ROOT / dependency).read_bytes())
    months("2026-07")
    starter.settings(project)
    assert dvc("init", "--no-scm", "-q").returncode == 0
    done = dvc("repro")
    assert done.returncode == 0, done.stderr
    good, lock = data.EXAMPLES.read_bytes(), Path("dvc.lock").read_bytes()

    write("2026-08.jsonl", damaged(later(1, "2026-08"), urgency="soon"))
    broken = dvc("repro")
    assert broken.returncode != 0
    assert "data.limits.rejected: 60 of 120 rows failed a schema rule" in broken.stderr
    assert data.EXAMPLES.read_bytes() == good
    assert Path("dvc.lock").read_bytes() == lock
    assert Report.read(data.REPORT).verdict is Verdict.FAIL

    write("2026-08.jsonl", later(1, "2026-08"))
    assert dvc("repro").returncode == 0
    assert pl.read_parquet(data.EXAMPLES).height == 120
