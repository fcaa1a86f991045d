"""The prediction log on SQLite: what is recorded can be asked for, erased and pruned; ids sort by time."""

import json
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

import logged
from trunkline import cli, params
from trunkline.clients import predictions
from trunkline.clients.predictions import connection, ids, kept, many, moving, tables
from trunkline.clients.predictions.database import Database
from trunkline.clients.predictions.spool import Spool
from trunkline.errors import Error
from trunkline.operations import predictions as operation
from trunkline.records.monitoring import Asked
from trunkline.records.prediction import Outcome, Selection

PARAMS = Path(__file__).parent.parent / "params.yaml"


@pytest.fixture
def log(tmp_path):
    opened = predictions.Log(logged.settings(tmp_path))
    yield opened
    opened.close(timeout_s=60)


@pytest.fixture
def database(tmp_path):
    opened = Database(logged.settings(tmp_path).database)
    yield opened
    opened.close()


def test_what_was_recorded_is_found_whole(log, database):
    assignment = logged.assigned(input="Meine Karte: ist weg\n\x1b[2J")
    outcome, first, second = logged.ended(assignment), logged.said(assignment), logged.said(assignment, source="judge")
    for record in (assignment, outcome, first, second):
        log.record(record)
    assert log.flush(60)
    found = database.find(assignment.prediction)
    assert (found.assignment, found.outcome, found.feedback) == (assignment, outcome, (first, second))
    assert not found.erased
    assert log.status.waiting == 0
    assert log.status.problem is None


def test_an_unknown_prediction_is_none(database):
    assert database.find(predictions.new_id()) is None


def test_an_assignment_without_an_outcome_has_a_row_with_nulls(database):
    assignment = logged.assigned()
    database.add([assignment])
    row = database.window(Selection()).row(0, named=True)
    assert row["prediction"] == assignment.prediction
    assert row["status"] is None
    assert row["findings"] is None


def test_an_outcome_may_come_before_its_assignment_and_twice_is_once(database):
    assignment = logged.assigned()
    outcome = logged.ended(assignment)
    database.add([outcome])
    assert database.find(assignment.prediction) is None
    database.add([assignment])
    database.add([assignment, outcome, outcome])
    assert database.find(assignment.prediction).outcome == outcome
    assert database.window(Selection()).height == 1


def test_text_that_a_database_refuses_is_mended_when_it_is_recorded():
    assert logged.assigned(input="a\x00b\ud800c").input == "a\ufffdb\ufffdc"


def test_a_window_says_when_an_answer_ended_and_whether_it_was_empty(database):
    asked = [logged.assigned() for _ in range(4)]
    outputs = ("", " \n\t", '{"intent": 1}', None)
    ended = [
        logged.ended(one, output=output, time=logged.NOW + timedelta(seconds=1))
        for one, output in zip(asked, outputs, strict=True)
    ]
    database.add([*asked, *ended, logged.said(asked[0]), logged.said(asked[0])])
    window = database.window(Selection())
    assert window["empty"].to_list() == [True, True, False, None]
    assert set(window["ended"] - window["time"]) == {timedelta(seconds=1)}


def test_what_is_logged_of_a_rollout_is_counted(database):
    asked = [logged.assigned() for _ in range(3)]
    database.add([*asked, logged.assigned(rollout="r2"), logged.ended(asked[0]), logged.said(asked[1])])
    assert database.count(Selection(rollout="r1")) == (3, 1, 1)
    assert database.count(Selection(rollout="r3")) == (0, 0, 0)


def test_windows_are_frames_of_a_fixed_schema_empty_or_not(database):
    empty = database.window(Selection())
    assert dict(empty.schema) == dict(predictions.WINDOW)
    assert dict(database.texts(Selection()).schema) == dict(predictions.TEXTS)
    assert dict(database.feedback(Selection()).schema) == dict(predictions.FEEDBACK)
    assignment = logged.assigned()
    database.add([assignment, logged.ended(assignment), logged.said(assignment, time=logged.NOW + timedelta(hours=1))])
    filled = database.window(Selection())
    assert filled.schema == empty.schema
    assert filled.row(0, named=True)["time"] == logged.NOW
    assert filled.row(0, named=True)["findings"] == ["pii@1:0123456789ab"]
    assert database.texts(Selection())["output"].to_list() == ['{"intent": "card_lost"}']
    said = database.feedback(Selection()).row(0, named=True)
    assert (said["score"], said["time"] - logged.NOW) == (1.0, timedelta(hours=1))


def test_a_selection_is_by_time_release_rollout_and_environment(database):
    hours = [logged.assigned(time=logged.NOW + timedelta(hours=hour)) for hour in range(4)]
    others = [logged.assigned(release="m@v1.0.0"), logged.assigned(rollout=None), logged.assigned(environment="canary")]
    database.add([*hours, *others])

    def found(**selection):
        return set(database.window(Selection(**selection))["prediction"])

    def names(assignments):
        return {assignment.prediction for assignment in assignments}

    since, until = logged.NOW + timedelta(hours=1), logged.NOW + timedelta(hours=3)
    assert found() == names([*hours, *others])
    assert found(since=since, until=until) == names(hours[1:3])
    assert found(release="m@v1.0.0") == names(others[:1])
    assert found(rollout="r1") == names([*hours, others[0], others[2]])
    assert found(environment="canary", release="m@v1.1.0") == names(others[2:])
    assert found(release="m@v9.9.9") == set()


def test_ids_are_uuid7_and_rise_also_between_threads():
    made = [predictions.new_id() for _ in range(5_000)]
    assert made == sorted(set(made))
    assert all(uuid.UUID(one).version is None or uuid.UUID(one).version == 7 for one in made[:10])
    assert {one[14] for one in made} == {"7"}
    assert {one[19] for one in made} <= set("89ab")
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: [predictions.new_id() for _ in range(1_000)], range(4)))
    assert len({one for part in parts for one in part}) == 4_000
    assert all(part == sorted(part) for part in parts)


def test_ids_rise_when_the_clock_goes_back(monkeypatch):
    times = iter([10**18, 10**18 - 10**10, 10**18 - 10**12, 10**18 + 10**7])
    monkeypatch.setattr(ids, "_last", (0, 0))
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(times))
    made = [predictions.new_id() for _ in range(4)]
    assert made == sorted(set(made))
    assert int(uuid.UUID(made[0])) >> 80 == 10**12


# Customer, input and output: in which form they are kept


def test_a_hash_needs_a_key_and_hides_what_it_is_of(tmp_path, monkeypatch):
    monkeypatch.delenv(kept.KEY, raising=False)
    changed = logged.settings(tmp_path, customer="hash", input="hash", output="none")
    with pytest.raises(Error, match=r"serve.log.customer, serve.log.input: hash needs a key") as caught:
        predictions.Log(changed)
    assert kept.KEY in caught.value.hint
    monkeypatch.setenv(kept.KEY, "a long random text")
    opened = predictions.Log(changed)
    assignment = logged.assigned(input="SECRET INPUT", customer="SECRET CUSTOMER")
    opened.record(assignment)
    opened.record(logged.ended(assignment, output="SECRET OUTPUT"))
    assert opened.close(60)
    found = predictions.find(changed, assignment.prediction)
    assert found.assignment.customer == predictions.Kept(changed).text("customer", "SECRET CUSTOMER")
    assert len(found.assignment.input) == 64
    assert found.outcome.output is None
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes(), path


# Erasing


def test_erasing_a_customer_leaves_what_statistics_need_and_no_text(database, tmp_path):
    mine = [logged.assigned(customer="c-1", unit=f"conversation-{n % 2}", input="MYTEXT" * 3_000) for n in range(4)]
    other = logged.assigned(customer="c-2")
    without_score = logged.said(mine[1], score=None)
    records = [*mine, other, *map(logged.ended, mine), logged.said(mine[0], comment="MYTEXT"), without_score]
    database.add(records)
    before = database.window(Selection())
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 4
    after = database.window(Selection())
    told = ("unit", "erased", "empty")
    assert before.drop(told).equals(after.drop(told))
    assert after["erased"].to_list() == [True] * 4 + [False]
    units = after.filter(pl.col("prediction") != other.prediction)["unit"].to_list()
    assert len(set(units)) == 2
    assert not set(units) & {"conversation-0", "conversation-1"}
    found = database.find(mine[0].prediction)
    assert found.erased
    assert (found.assignment.customer, found.assignment.input, found.outcome.output) == (None, None, None)
    assert [(said.score, said.label, said.comment) for said in found.feedback] == [(1.0, None, None)]
    assert database.find(mine[1].prediction).feedback == ()
    assert database.find(other.prediction).assignment == other
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 0
    # Also in the pages that long texts had to themselves, and in the write-ahead log.
    for path in tmp_path.glob("predictions.sqlite*"):
        assert b"MYTEXT" not in path.read_bytes(), f"{path} still holds it"


def test_what_the_database_has_is_in_no_spool_any_more(tmp_path):
    """Otherwise it would outlive its erasure, and `keep_days`, where few requests come."""
    settings = logged.settings(tmp_path)
    log = predictions.Log(settings)
    mine = [logged.assigned(customer="MYNAME", input="MYTEXT" * number) for number in range(1, 200)]
    for one in mine:
        log.record(one)
        log.record(logged.ended(one, output="MYTEXT"))
    assert log.flush(60)
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("spool/*"))
    assert (b"MYTEXT" in kept, b"MYNAME" in kept) == (False, False)
    assert log.close(60)
    assert predictions.find(settings, mine[-1].prediction).assignment == mine[-1]


def test_nobody_else_on_the_machine_reads_what_customers_wrote(tmp_path):
    umask = os.umask(0)
    try:
        log = predictions.Log(logged.settings(tmp_path))
        log.record(logged.assigned())
        assert log.flush(60)
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.name for path in kept} >= {"predictions.sqlite", "predictions.sqlite-wal", "0.spool"}
        assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
        assert log.close(60)
    finally:
        os.umask(umask)


def test_what_was_erased_does_not_come_back_from_a_spool(database):
    """Its assignment, its outcome and its feedback may each arrive after the erasure, in any order."""
    early, late = logged.assigned(customer="c-1"), logged.assigned(customer="c-1")
    database.add([early, logged.ended(late)])
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 1
    database.add([logged.ended(early), logged.said(early), logged.said(early, score=None)])
    database.add([late])
    database.add([logged.said(late)])
    for assignment in (early, late):
        found = database.find(assignment.prediction)
        assert found.erased
        assert found.assignment.customer is None
        assert found.outcome.output is None
        assert [said.comment for said in found.feedback] == [None]


def test_a_customer_who_comes_back_after_the_erasure_is_logged_again(database):
    database.erase("c-1", predictions.moment(logged.NOW))
    again = logged.assigned(customer="c-1", time=logged.NOW + timedelta(seconds=1))
    database.add([again])
    assert database.find(again.prediction).assignment == again


def test_what_a_gateway_wrote_whose_clock_is_ahead_is_erased_too_and_what_it_still_sends(database):
    ahead, late = (logged.assigned(customer="c-1", time=logged.NOW + timedelta(minutes=n)) for n in (5, 4))
    database.add([ahead])
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 1
    database.add([late])
    assert [database.find(one.prediction).erased for one in (ahead, late)] == [True, True]


def test_pruning_deletes_what_is_older_with_all_that_belongs_to_it(database):
    old = [logged.assigned(time=logged.NOW - timedelta(days=9)) for _ in range(2_100)]
    orphan = logged.ended(logged.assigned(time=logged.NOW - timedelta(days=9)))
    new = logged.assigned()
    database.add([*old, orphan, logged.ended(old[0]), logged.said(old[0]), new, logged.ended(new), logged.said(new)])
    assert database.prune(predictions.moment(logged.NOW - timedelta(days=8))) == 2_100
    with database.engine.connect() as open_:
        counts = [open_.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables.TABLES.values()]
    assert counts == [1, 1, 1]
    assert database.prune(predictions.moment(logged.NOW - timedelta(days=8))) == 0


def test_a_running_log_prunes_by_itself(tmp_path):
    opened = predictions.Log(logged.settings(tmp_path, keep_days=1))
    opened.close(60)
    kept_long = logged.settings(tmp_path)
    with predictions.reading(kept_long) as open_:
        open_.add([logged.assigned() for _ in range(3)])
    predictions.Log(logged.settings(tmp_path, keep_days=1)).close(60)
    with predictions.reading(kept_long) as open_:
        assert open_.window(Selection()).is_empty()


# What the monitor asked


def test_of_each_release_and_environment_what_was_asked_last_is_remembered(database):
    first, second = (Asked(time=f"2026-11-0{day}T00:00:00+00:00", signals=()) for day in (1, 2))
    predictions.remember(database, "m@v1.0.0", "production", first)
    predictions.remember(database, "m@v1.0.0", "production", second)
    predictions.remember(database, "m@v1.0.0", "canary", first)
    assert predictions.remembered(database, "m@v1.0.0", "production", Asked) == second
    assert predictions.remembered(database, "m@v1.0.0", "canary", Asked) == first
    assert predictions.remembered(database, "m@v1.1.0", "production", Asked) is None
    with database.engine.begin() as open_:
        open_.execute(sa.text("UPDATE asked SET content = '{}'"))
    assert predictions.remembered(database, "m@v1.0.0", "production", Asked) is None, "of another version of Trunkline"


# The schema


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database):
    with database.engine.connect() as open_:
        options = {"version_table": "schema_version"}
        differences = compare_metadata(MigrationContext.configure(open_, opts=options), tables.metadata)
    assert differences == []


def test_a_log_of_before_confidence_was_kept_goes_on_and_of_what_is_in_it_it_is_not_known(tmp_path):
    url = logged.settings(tmp_path).database
    engine = logged.older(url, "0003")
    given = logged.assigned()
    outcome = logged.ended(given, confidence=None)
    with engine.begin() as open_:
        for table, record in ((tables.assignments, given), (tables.outcomes, outcome)):
            row = {name: value for name, value in tables.to_row(record).items() if name != "confidence"}
            known = sa.Table(table.name, sa.MetaData(), autoload_with=open_)
            open_.execute(sa.insert(known), row)
    engine.dispose()
    database = Database(url)
    assert database.find(given.prediction).outcome == outcome
    later = logged.assigned()
    database.add([later, logged.ended(later, confidence=-0.5)])
    assert database.window(Selection())["confidence"].to_list() == [None, -0.5]
    (piece,) = predictions.pieces(database, Selection())
    assert sorted(piece["confidence"], key=str) == [-0.5, None]
    database.close()


def test_what_waits_in_a_spool_since_before_confidence_was_kept_is_read():
    written = logged.ended(logged.assigned(), confidence=None)
    assert Outcome.model_validate_json(written.model_dump_json(exclude={"confidence"})) == written


def test_a_newer_schema_is_refused_and_nothing_is_changed(tmp_path, database):
    with database.engine.begin() as open_:
        open_.execute(sa.text("UPDATE schema_version SET version_num = '9999'"))
    with pytest.raises(Error, match="has schema 9999; this version of Trunkline knows up to 0005"):
        predictions.Log(logged.settings(tmp_path))


def test_several_may_migrate_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "WAIT_S", 60)
    url = logged.settings(tmp_path).database
    with ThreadPoolExecutor(4) as pool:
        for opened in pool.map(lambda _: Database(url), range(4)):
            assert opened.window(Selection()).is_empty()
            opened.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "predictions.sqlite").write_bytes(content)
    with pytest.raises(Error, match=r"predictions\.sqlite"):
        predictions.Log(logged.settings(tmp_path))


@pytest.mark.parametrize("url", ["sqlite://", "mysql://me@host/db", "postgresql://me@host/db", "predictions.sqlite"])
def test_only_known_databases_are_addresses(tmp_path, url):
    with pytest.raises(ValueError, match="database"):
        logged.settings(tmp_path, database=url)


@pytest.mark.parametrize("secret", ["me:secret@host/db", "host/db?user=me&password=secret"])
def test_a_password_in_params_is_refused(tmp_path, secret):
    with pytest.raises(ValueError, match="PGPASSWORD"):
        logged.settings(tmp_path, database=f"postgresql+psycopg://{secret}")


def test_a_broken_address_is_an_error():
    with pytest.raises(Error, match="no address of a database"):
        connection.connect("postgresql+psycopg://host:port/db")


# Records that the database will never take


def test_a_record_that_is_never_taken_is_put_aside_and_the_others_go_on(tmp_path, database):
    spool = Spool(tmp_path / "0.spool", 1 << 20)
    good = [logged.assigned() for _ in range(5)]
    contents = [moving.packed(record) for record in good]
    contents[2:2] = [b'A{"from": "a newer version"}', b"Z{}", b"A\xff\xfe"]
    for content in contents:
        spool.append(content)
    assert moving.move(database, spool, tmp_path / "rejected.jsonl") == 8
    assert database.window(Selection())["prediction"].to_list() == [record.prediction for record in good]
    rejected = [json.loads(line)["record"] for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert rejected[:2] == ['A{"from": "a newer version"}', "Z{}"]
    assert len(rejected) == 3
    assert spool.waiting == 0
    spool.close()


# Many at once


def test_two_gateways_with_many_threads_share_one_database(tmp_path):
    """And one spool folder: each has a file of its own in it."""
    logs = [predictions.Log(logged.settings(tmp_path)) for _ in range(2)]

    def serve(number):
        for _ in range(50):
            assignment = logged.assigned(unit=f"u-{number}")
            logs[number % 2].record(assignment)
            logs[number % 2].record(logged.ended(assignment))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(opened.close(60) for opened in logs)
    with predictions.reading(logged.settings(tmp_path)) as open_:
        frame = open_.window(Selection())
    assert frame.height == 300
    assert frame["status"].null_count() == 0


# The command


# What may be learned from.


def test_labels_come_with_what_was_asked_in_the_order_of_predictions_and_of_what_was_said(database):
    first, second, old = logged.assigned(), logged.assigned(), logged.assigned(time=logged.NOW - timedelta(days=9))
    unknown, silent = logged.assigned(input=None), logged.assigned()
    database.add([second, first, old, unknown, silent])
    labels = [logged.said(asked) for asked in (second, first, second, old, unknown)]
    database.add([*labels, logged.said(silent, label=None), logged.said(first, source="model")])
    since = Selection(since=logged.NOW - timedelta(days=1), until=logged.NOW + timedelta(days=1))
    found = predictions.labelled(database, since, ["agent", "judge"])
    assert found["prediction"].to_list() == [first.prediction, second.prediction, second.prediction]
    assert found["said"].to_list() == [labels[1].id, labels[0].id, labels[2].id]
    assert found.row(0, named=True) == {
        "prediction": first.prediction,
        "time": first.time,
        "unit": "conversation-1",
        "customer": "c-1",
        "input": "My card is gone.",
        "said": labels[1].id,
        "source": "agent",
        "label": "card_lost",
    }
    assert predictions.labelled(database, Selection(), ["agent"]).height == 4
    assert predictions.labelled(database, since, []).is_empty()


def test_who_was_erased_is_remembered_and_not_learned_from(database):
    asked, other = logged.assigned(), logged.assigned(customer="c-2")
    database.add([asked, other, logged.said(asked), logged.said(other)])
    database.erase("c-1", predictions.moment(logged.NOW))
    assert predictions.labelled(database, Selection(), ["agent"])["customer"].to_list() == ["c-2"]
    assert predictions.erased(database, ["c-1", "c-2", "c-3"]) == {"c-1"}
    assert predictions.erased(database, []) == set()


@pytest.fixture
def project(in_tmp):
    text = PARAMS.read_text()
    (in_tmp / "params.yaml").write_text(text)
    return params.load(in_tmp / "params.yaml")


def test_the_command_shows_exports_erases_and_prunes(project, in_tmp, capsys):
    opened = predictions.Log(project.serve.log)
    first, second = logged.assigned(input="hello\x9b2J\x1b"), logged.assigned(customer="c-2")
    for record in (first, logged.ended(first), logged.said(first), second):
        opened.record(record)
    assert opened.close(60)
    assert cli.main(["predictions", "show", first.prediction]) == 0
    shown = capsys.readouterr().out
    assert '"release": "m@v1.1.0"' in shown
    assert "\x9b" not in shown
    assert "\x1b" not in shown
    assert json.loads(shown)["outcome"]["output"] == '{"intent": "card_lost"}'
    assert cli.main(["predictions", "export", "--since", "2026-11-01", "--out", "out/all.parquet"]) == 0
    frame = pl.read_parquet("out/all.parquet")
    assert frame["prediction"].to_list() == [first.prediction, second.prediction]
    assert frame["input"].to_list() == [first.input, second.input]
    assert [said["label"] for said in frame["feedback"][0]] == ["card_lost"]
    assert cli.main(["predictions", "export", "--until", "2026-11-01T12:00:00Z", "--out", "none.parquet"]) == 0
    assert pl.read_parquet("none.parquet").is_empty()
    assert cli.main(["predictions", "erase", "c-1"]) == 0
    assert "erased in 1 predictions" in capsys.readouterr().out
    assert predictions.find(project.serve.log, first.prediction).erased
    assert cli.main(["predictions", "prune"]) == 0
    assert "0 predictions older than 90 days deleted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show"], "show of what?"),
        (["erase"], "erase of what?"),
        (["export"], "export of what?"),
        (["show", "01a223e6-19e2-7083-bc66-c3a50c494076"], "there is no prediction log"),
        (["erase", "c-1"], "there is no prediction log"),
        (["export", "--out", "x.parquet", "--since", "yesterday"], "'yesterday' is no ISO 8601"),
        (["prune", "c-1"], "prune takes no id"),
        (["show", "x", "--out", "y"], "show takes no --out"),
    ],
)
def test_a_wrong_command_is_an_error(project, arguments, said, capsys):
    assert cli.main(["predictions", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not Path(".trunkline/predictions.sqlite").exists()


def test_an_unknown_prediction_is_an_error_of_the_command(project, capsys):
    predictions.Log(project.serve.log).close(60)
    assert cli.main(["predictions", "show", "nope"]) == 1
    assert "has no prediction nope" in capsys.readouterr().err


def test_nobody_is_erased_where_customers_are_not_logged(project):
    log = project.serve.log.model_copy(update={"customer": "none"})
    changed = project.model_copy(update={"serve": project.serve.model_copy(update={"log": log})})
    with pytest.raises(Error, match="no prediction is known by its customer"):
        operation.run(changed, "erase", "c-1", None, None, None)


# The spool


@given(st.lists(st.binary(max_size=9_000), max_size=60), st.lists(st.integers(1, 12), max_size=60))
def test_a_spool_gives_back_all_that_was_put_in_and_in_order(tmp_path_factory, contents, taken):
    """However often its end is passed, with what a restart at any moment finds."""
    path = tmp_path_factory.mktemp("spool") / "0.spool"
    spool = Spool(path, 1 << 16)
    waiting: list[bytes] = []
    for content, count in zip(contents, [*taken, *[1] * len(contents)], strict=False):
        try:
            spool.append(content)
            waiting.append(content)
        except predictions.Full:
            assert spool.used + len(content) > spool.capacity / 2
        if count % 3 == 0:
            spool.close()
            spool = Spool(path, 1 << 16)
        if count > 6 and waiting:
            frames = spool.oldest(count, 1 << 20)
            assert [frame.content for frame in frames] == waiting[: len(frames)]
            spool.release(frames)
            del waiting[: len(frames)]
            assert waiting or not any(path.read_bytes()[4096:])
        assert spool.waiting == len(waiting)
    assert [frame.content for frame in spool.oldest(1_000, 1 << 30)] == waiting
    assert (spool.used == 0) == (not waiting)
    spool.close()


def test_a_spool_takes_its_room_at_once_so_that_no_full_disk_can_refuse_a_record(tmp_path):
    Spool(tmp_path / "0.spool", 1 << 20).close()
    assert (tmp_path / "0.spool").stat().st_blocks * 512 >= 1 << 20


def test_a_torn_tail_is_cut_and_the_next_record_takes_its_place(tmp_path):
    path = tmp_path / "0.spool"
    spool = Spool(path, 1 << 16)
    for number in range(3):
        spool.append(b"record %d" % number)
    end = spool.oldest(3, 1 << 20)[-1].end
    spool.close()
    with path.open("r+b") as file:
        file.seek(end - 3)
        file.write(b"\0\0\0")
    spool = Spool(path, 1 << 16)
    spool.append(b"another")
    assert [frame.content for frame in spool.oldest(9, 1 << 20)] == [b"record 0", b"record 1", b"another"]
    spool.close()


def test_damage_in_the_middle_costs_only_what_it_hit(tmp_path):
    path = tmp_path / "0.spool"
    spool = Spool(path, 1 << 16)
    for number in range(6):
        spool.append(b"record %d" % number)
    ends = [frame.end for frame in spool.oldest(6, 1 << 20)]
    spool.close()
    with path.open("r+b") as file:
        file.seek(ends[1] + 2)
        file.write(b"\0" * (ends[2] - ends[1]))
    spool = Spool(path, 1 << 16)
    spool.append(b"another")
    frames = spool.oldest(9, 1 << 20)
    assert [frame.content for frame in frames] == [b"record 0", b"record 1", b"record 4", b"record 5", b"another"]
    spool.release(frames[:3])
    spool.release(spool.oldest(9, 1 << 20))
    assert (spool.waiting, spool.used) == (0, 0)
    spool.close()


def test_a_full_spool_says_so_and_keeps_room_for_outcomes(tmp_path):
    spool = Spool(tmp_path / "0.spool", 1 << 16)
    accepted = 0
    with pytest.raises(predictions.Full, match=r"is full: \d+ records wait"):
        while True:
            spool.append(b"x" * 1_000, share=0.75)
            accepted += 1
    assert spool.waiting == accepted
    spool.append(b"x" * 1_000)
    with pytest.raises(predictions.Full):
        spool.append(b"x" * (1 << 15))
    spool.close()


def test_a_closed_log_refuses_records(tmp_path):
    log = predictions.Log(logged.settings(tmp_path))
    assert log.close(60)
    with pytest.raises(predictions.Full, match="cannot write the spool"):
        log.record(logged.assigned())


def test_a_spool_has_one_owner_and_a_removed_one_none(tmp_path):
    path = tmp_path / "0.spool"
    spool = Spool(path, 1 << 16)
    with pytest.raises(BlockingIOError):
        Spool(path, 1 << 16)
    spool.close(remove=True)
    assert not path.exists()


def test_a_spool_takes_a_new_size_when_it_is_empty(tmp_path):
    path = tmp_path / "0.spool"
    spool = Spool(path, 1 << 16)
    spool.append(b"waits")
    spool.close()
    spool = Spool(path, 1 << 17)
    assert spool.capacity < 1 << 16
    spool.release(spool.oldest(1, 1))
    spool.close()
    spool = Spool(path, 1 << 17)
    assert spool.capacity > 1 << 16
    spool.close()


# --- many predictions, piece by piece


@pytest.fixture(params=[1, 3, 1000])
def in_pieces(request, monkeypatch):
    """However many rows a piece has."""
    monkeypatch.setattr(many, "_AT_ONCE", request.param)
    return request.param


def test_pieces_hold_every_selected_prediction_once_and_no_text(database, in_pieces):
    asked = [logged.assigned(unit=f"u-{n}", time=logged.NOW + timedelta(hours=n), rollout=None) for n in range(8)]
    findings = [(), ("pii@1:12", "format@1"), (), (), (), (), ()]
    ended = [logged.ended(one, findings=found) for one, found in zip(asked[:7], findings, strict=True)]
    database.add([*asked, *ended, logged.assigned(release="m@v2")])
    chosen = Selection(since=logged.NOW + timedelta(hours=1), until=logged.NOW + timedelta(hours=8), release="m@v1.1.0")
    pieces = list(predictions.pieces(database, chosen))
    assert all(piece.height <= in_pieces for piece in pieces)
    found = pl.concat(pieces).sort("prediction")
    window = database.window(chosen)
    assert found.equals(window.select(found.columns))
    assert (found.height, found["status"].null_count()) == (7, 1)
    assert not {"customer", "input", "output", "comment"} & set(found.columns)


def test_of_nothing_there_is_one_empty_piece(database):
    (only,) = predictions.pieces(database, Selection(release="m@v9.0.0"))
    assert only.is_empty()
    assert only.schema["findings"] == pl.List(pl.String)


def test_texts_of_more_predictions_than_are_asked_for_at_once(database):
    asked = [logged.assigned(input=f"message {n}") for n in range(1203)]
    database.add([*asked, *[logged.ended(one, output=f"answer {n}") for n, one in enumerate(asked[1:], 1)]])
    wanted = [one.prediction for one in asked]
    found = predictions.texts(database, wanted).sort("prediction")
    assert found["prediction"].to_list() == wanted
    assert found["input"].to_list() == [f"message {n}" for n in range(1203)]
    assert found["output"].to_list() == [None, *(f"answer {n}" for n in range(1, 1203))]
    assert predictions.texts(database, []).columns == found.columns


def test_what_people_said_is_of_their_sources_and_of_before_a_moment(database):
    asked = [logged.assigned(time=logged.NOW + timedelta(days=day)) for day in (0, 1)]
    later = logged.NOW + timedelta(hours=3)
    told = [
        logged.said(asked[0], label="second", time=logged.NOW + timedelta(hours=2)),
        logged.said(asked[0], label="first", time=logged.NOW + timedelta(hours=1)),
        logged.said(asked[0], label="too late", time=later),
        logged.said(asked[0], label="of a model", source="judge"),
        logged.said(asked[1], label="of another window"),
    ]
    database.add([*asked, *told])
    chosen = Selection(since=logged.NOW, until=logged.NOW + timedelta(days=1))
    found = predictions.said(database, chosen, ["agent", "customer"], later)
    assert found["label"].to_list() == ["first", "second"]
    assert found["unit"].to_list() == ["conversation-1"] * 2


def test_a_window_is_read_by_its_indexes_alone(database):
    plans: list[str] = []

    def explain(connection, cursor, statement, parameters, context, several):
        if statement.startswith("SELECT"):
            rows = connection.connection.driver_connection.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            plans.extend(row[3] for row in rows)

    sa.event.listen(database.engine, "after_cursor_execute", explain)
    chosen = Selection(since=logged.NOW, until=logged.NOW + timedelta(days=1), release="m@v1", environment="production")
    list(predictions.pieces(database, chosen))
    predictions.said(database, chosen, ["agent"], logged.NOW)
    predictions.texts(database, ["a", "b"])
    assert len(plans) >= 6
    assert not [plan for plan in plans if "SCAN" in plan]
