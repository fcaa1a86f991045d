"""The prediction log on a real PostgreSQL, also when it is stopped while gateways write."""

import itertools
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import polars as pl
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import gateways
import logged
import postgres
import rollouts
import starter
from test_predictions_faults import SPOOL_MB, accepted_until_killed, logged_in, start_writer, wait_for
from test_rollout_analyse import METRICS, STEPS, served
from trunkline import cli
from trunkline.clients import predictions
from trunkline.clients.predictions import connection, many, tables
from trunkline.clients.predictions import log as log_module
from trunkline.clients.predictions.database import Database
from trunkline.errors import Error
from trunkline.operations.rollout.looking import Controller
from trunkline.records.monitoring import Asked
from trunkline.records.prediction import Selection

pytestmark = pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING)
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server():
    with postgres.Postgres() as running:
        yield running


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Nothing is given up because this machine is slow: a server that is stopped refuses at once."""
    monkeypatch.setattr(connection, "WAIT_S", 60)


@pytest.fixture
def settings(server, tmp_path):
    return logged.settings(tmp_path, database=server.database(f"log{os.getpid()}x{next(_numbers)}"))


def test_what_was_recorded_is_found_whole(settings):
    log = predictions.Log(settings)
    assignment = logged.assigned(input="weg\x00 \ud800 日本")
    outcome, said = logged.ended(assignment), logged.said(assignment)
    for record in (said, outcome, assignment):
        log.record(record)
    assert log.close(60)
    found = predictions.find(settings, assignment.prediction)
    assert (found.assignment, found.outcome, found.feedback) == (assignment, outcome, (said,))
    with predictions.reading(settings) as database:
        frame = database.window(Selection(rollout="r1", since=logged.NOW))
        assert dict(frame.schema) == dict(predictions.WINDOW)
        assert frame["findings"].to_list() == [["pii@1:0123456789ab"]]


def test_the_migrations_make_exactly_the_tables_and_several_may_start_at_once(settings):
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Database(settings.database), range(4)))
    with opened[0].engine.connect() as open_:
        options = {"version_table": "schema_version"}
        assert compare_metadata(MigrationContext.configure(open_, opts=options), tables.metadata) == []
    for database in opened:
        database.close()


def test_erasing_and_pruning_are_as_on_sqlite(settings):
    database = Database(settings.database)
    early, late, other = logged.assigned(), logged.assigned(), logged.assigned(customer="c-2")
    database.add([early, other, logged.ended(late), logged.said(other)])
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 1
    database.add([late, logged.ended(early), logged.said(late)])
    for assignment in (early, late):
        found = database.find(assignment.prediction)
        assert (found.erased, found.assignment.customer, found.outcome.output) == (True, None, None)
    assert database.find(other.prediction).assignment == other
    assert database.prune(predictions.moment(logged.NOW + timedelta(days=1))) == 3
    assert database.window(Selection()).is_empty()
    database.close()


def test_lineage_asks_as_on_sqlite(settings):
    assert predictions.absent(settings) is None
    given = [logged.assigned(time=logged.NOW + timedelta(hours=hour)) for hour in (1, 0)]
    logged.keep(settings, *given, *[logged.ended(one, engine_fingerprint=f"fp-{one.time.hour}") for one in given])
    logged.keep(settings, nameless := logged.assigned(customer=None, input=None))
    with predictions.reading(settings) as database:
        assert predictions.first_answer(database, "m@v1.1.0").engine_fingerprint == "fp-12"
        assert predictions.first_answer(database, "m@v9.0.0") is None
        (held,) = predictions.of_customer(database, "c-1")
        assert held == ("m@v1.1.0", 2, logged.NOW, logged.NOW + timedelta(hours=1))
        assert not predictions.nameless_texts(database)
        database.add([logged.ended(nameless)])
        assert predictions.nameless_texts(database)
        assert predictions.erased_until(database, "c-1") is None
        database.erase("c-1", predictions.moment(logged.NOW))
        # Nothing that is there came after the erasure, whatever its gateway's clock says.
        assert predictions.erased_until(database, "c-1") == logged.NOW + timedelta(hours=1)
        assert predictions.of_customer(database, "c-1") == ()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("CREATE INDEX long ON assignment (input)", "index row"),
        ("ALTER TABLE assignment ADD CHECK (unit <> 'bad')", "violates check constraint"),
    ],
)
def test_a_record_that_is_never_taken_does_not_stop_the_others(settings, tmp_path, rule, said):
    log = predictions.Log(settings)
    with Database(settings.database).engine.begin() as open_:
        open_.execute(sa.text(rule))
    bad = logged.assigned(unit="bad", input="".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(40_000)))
    good = logged.assigned()
    log.record(bad)
    log.record(good)
    assert log.close(60)
    assert logged_in(settings)["prediction"].to_list() == [good.prediction]
    rejected = json.loads((tmp_path / "spool/rejected.jsonl").read_text())
    assert bad.prediction in rejected["record"]
    assert said in rejected["reason"]


def test_while_the_servers_disk_is_full_records_wait(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "LONGEST_WAIT_S", 0.2)
    log = predictions.Log(settings)
    refuse = "BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END"
    with Database(settings.database).engine.begin() as open_:
        open_.execute(sa.text(f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $${refuse}$$"))
        open_.execute(sa.text("CREATE TRIGGER no_room BEFORE INSERT ON assignment EXECUTE FUNCTION no_room()"))
    asked = logged.assigned()
    log.record(asked)
    wait_for(lambda: log.status.problem is not None)
    assert "could not extend file" in log.status.problem
    log.record(logged.ended(asked))
    assert log.status.waiting == 2
    with Database(settings.database).engine.begin() as open_:
        open_.execute(sa.text("DROP TRIGGER no_room ON assignment"))
    assert log.close(60)
    assert logged_in(settings)["status"].to_list() == [200]
    assert not (tmp_path / "spool/rejected.jsonl").exists()


def test_a_server_that_is_stopped_and_started_while_two_gateways_write_loses_nothing(settings, server, monkeypatch):
    monkeypatch.setattr(log_module, "LONGEST_WAIT_S", 0.2)
    # Room for all that comes until the server is back, however long it takes.
    roomy = settings.model_copy(update={"spool_mb": 64})
    logs = [predictions.Log(roomy) for _ in range(2)]
    accepted: list[str] = []
    stop = threading.Event()

    def serve(log):
        while not stop.wait(0.005):
            assignment = logged.assigned()
            log.record(assignment)
            log.record(logged.ended(assignment))
            accepted.append(assignment.prediction)

    threads = [threading.Thread(target=serve, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(accepted) > 100)
        server.stop()
        try:
            wait_for(lambda: all(log.status.problem for log in logs))
            count = len(accepted)
            wait_for(lambda: len(accepted) > count + 50)
        finally:
            server.start()
        wait_for(lambda: not any(log.status.problem for log in logs))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert all(log.close(60) for log in logs)
    frame = logged_in(settings)
    assert sorted(accepted) == frame["prediction"].to_list()
    assert frame["status"].null_count() == 0


def test_a_gateway_starts_without_its_server_and_a_command_says_what_is_wrong(settings, server, monkeypatch):
    monkeypatch.setattr(log_module, "LONGEST_WAIT_S", 0.2)
    server.stop()
    try:
        log = predictions.Log(settings)
        log.record(logged.assigned())
        with pytest.raises(Error, match=r"the prediction log postgresql.* does not answer: .*refused") as caught:
            predictions.find(settings, "x")
        assert "password" not in caught.value.problem
    finally:
        server.start()
    assert log.close(60)
    assert logged_in(settings).height == 1


def test_two_gateways_answer_while_the_network_to_their_database_swallows_everything(server, tmp_path, monkeypatch):
    """Nobody is told: the connections stay open, and nothing comes any more."""
    monkeypatch.setattr(log_module, "LONGEST_WAIT_S", 0.2)
    name = server.database(f"log{os.getpid()}x{next(_numbers)}").rpartition("/")[2]
    with postgres.Network(server.port) as network, ExitStack() as stack:
        url = f"postgresql+psycopg://{postgres.USER}@127.0.0.1:{network.port}/{name}"
        worlds = []
        for folder in (tmp_path / "one", tmp_path / "other"):
            folder.mkdir()
            with monkeypatch.context() as patch:
                patch.setattr(connection, "SILENT_S", 1.0)
                worlds.append(stack.enter_context(gateways.serving(folder, serve__log__database=url)))
        answers = [world.post() for world in worlds]
        for world in worlds:
            assert len(world.everything()) >= 1
        network.swallow()
        answers += [world.post() for world in worlds for _ in range(5)]
        for world in worlds:
            wait_for(lambda world=world: world.metrics()["trunkline_spool_records"] == 0)
        wait_for(lambda: logged_in(worlds[0].params.serve.log)["status"].null_count() == 0)
        frame = logged_in(worlds[0].params.serve.log)
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(frame["prediction"]) == sorted(answer.headers["x-trunkline-prediction"] for answer in answers)
    assert frame["status"].to_list() == [200] * 12


def test_a_killed_writer_loses_nothing(settings, tmp_path):
    accepted = accepted_until_killed(start_writer(tmp_path, database=settings.database), 300)
    assert predictions.Log(settings.model_copy(update={"spool_mb": SPOOL_MB})).close(120)
    found = logged_in(settings)["prediction"].to_list()
    assert len(found) == len(set(found))
    assert set(accepted) <= set(found)


def test_labels_are_found_and_who_was_erased_is_not_learned_from(settings):
    asked, other = logged.assigned(), logged.assigned(customer="c-2")
    Database(settings.database).add([asked, other, logged.said(asked), logged.said(other)])
    with predictions.reading(settings) as database:
        assert predictions.labelled(database, Selection(since=logged.NOW), ["agent"]).height == 2
        database.erase("c-1", predictions.moment(logged.NOW))
        found = predictions.labelled(database, Selection(), ["agent"])
        assert found["customer"].to_list() == ["c-2"]
        assert found["time"].to_list() == [other.time]
        assert predictions.erased(database, ["c-1", "c-2"]) == {"c-1"}


def test_pairs_and_windows_tell_shadows_apart_as_on_sqlite(settings):
    served = logged.assigned(arm="stable", weight=0.0)
    shadow = logged.assigned(weight=0.0, shadow_of=served.prediction)
    database = Database(settings.database)
    database.add([served, shadow, logged.ended(served), logged.ended(shadow, format_ok=False)])
    assert database.window(Selection())["prediction"].to_list() == [served.prediction]
    assert database.window(Selection(shadow=True))["prediction"].to_list() == [shadow.prediction]
    pair = predictions.pairs(database, "r1").row(0, named=True)
    assert (pair["prediction"], pair["canary_format_ok"], pair["stable_format_ok"]) == (shadow.prediction, False, True)
    assert pair["agree"] is True
    database.close()


def test_pieces_of_a_window_are_as_on_sqlite_also_where_ids_do_not_go_with_time(settings, monkeypatch):
    monkeypatch.setattr(many, "_AT_ONCE", 2)
    asked = [logged.assigned(time=logged.NOW - timedelta(hours=n), unit=f"u-{n}") for n in range(6)]
    database = Database(settings.database)
    database.add([*asked, *map(logged.ended, asked[1:]), logged.said(asked[2]), logged.said(asked[5])])
    chosen = Selection(since=logged.NOW - timedelta(hours=4), until=logged.NOW + timedelta(hours=1))
    pieces = list(predictions.pieces(database, chosen))
    assert [piece.height for piece in pieces] == [2, 2, 1]
    found = pl.concat(pieces).sort("prediction")
    window = database.window(chosen)
    assert found.equals(window.select(found.columns))
    assert found["findings"].to_list() == [None, *[["pii@1:0123456789ab"]] * 4]
    assert predictions.said(database, chosen, ["agent"], logged.NOW)["unit"].to_list() == ["u-2"]
    texts = predictions.texts(database, [asked[0].prediction, asked[1].prediction])
    assert texts.sort("prediction").rows() == [
        (asked[0].prediction, "My card is gone.", None),
        (asked[1].prediction, "My card is gone.", logged.ended(asked[1]).output),
    ]
    (nothing,) = predictions.pieces(database, Selection(release="m@v9.0.0"))
    assert nothing.is_empty()
    database.close()


def test_a_rollout_goes_on_where_it_was_when_its_server_is_back(settings, server, nameless, monkeypatch):
    monkeypatch.setattr(rollouts.World, "address", settings.database)
    world = rollouts.World(nameless, monkeypatch, poll_seconds=30)
    world.start(1)
    controller = Controller(world.settings, "production")
    step = next(look for _ in range(30) for look in world.play(30, controller))
    assert (step.rollout.action, step.rollout.weight) == ("advance", 0.5)
    server.stop()
    try:
        with pytest.raises(Error, match="does not answer"):
            controller.look(world.now.timestamp())
    finally:
        server.start()
    assert [look.rollout.action for look in world.play(900, controller)] == ["promote"]
    assert world.serves()["version"] == rollouts.CANARY
    assert len(world.subjects) == 4, "no step was written twice"


def test_a_job_on_kubernetes_judges_by_it_and_cannot_tell_while_it_is_away(settings, server, in_tmp, monkeypatch):
    now = (logged.NOW + timedelta(hours=1)).timestamp()
    monkeypatch.setattr("trunkline.operations.rollout.time.time", lambda: now)
    plan = {"rollout__metrics": METRICS, "rollout__steps": STEPS, "rollout__hard_stops": {}}
    starter.settings(in_tmp, serve__log__database=settings.database, **plan)
    analyse = ["rollout", "analyse", "--canary", "v1.1.0", "--weight", "0.25"]
    database = Database(settings.database)
    served(database, canary=0.2, error=0.2)
    assert cli.main(analyse) == 0
    server.stop()
    try:
        assert cli.main(analyse) == 1
    finally:
        server.start()
    served(database, canary=0.9, error=0.2)
    assert cli.main(analyse) == 3
    database.close()


def test_of_two_monitors_that_remember_at_once_what_they_asked_neither_is_refused(settings):
    first, second = (Asked(time=f"2026-11-0{day}T00:00:00+00:00", signals=()) for day in (1, 2))
    with predictions.reading(settings) as database, ThreadPoolExecutor() as pool:
        with database.engine.begin() as other:
            row = tables.asked.insert().values(release="m@v1.0.0", environment="production", content=first.text())
            other.execute(row)
            waits = pool.submit(predictions.remember, database, "m@v1.0.0", "production", second)
            wait_for(lambda: waiting(database.engine))
        waits.result(120)
        assert predictions.remembered(database, "m@v1.0.0", "production", Asked) == second


def waiting(engine: sa.Engine) -> bool:
    """Whether a statement waits for another transaction."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with engine.connect() as open_:
        return bool(open_.execute(sa.text(query)).scalar())
