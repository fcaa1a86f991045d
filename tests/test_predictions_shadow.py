"""Shadows in the prediction log: told apart from what was served, paired with it, and older logs go on."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

import logged
import starter
from trunkline import cli
from trunkline.clients import predictions
from trunkline.clients.predictions.database import Database
from trunkline.operations.trace import predicted
from trunkline.records.prediction import Assignment, Selection


@pytest.fixture
def database(tmp_path):
    opened = Database(logged.settings(tmp_path).database)
    yield opened
    opened.close()


def both(**shadow):
    """A served prediction and its shadow."""
    served = logged.assigned(arm="stable", weight=0.0)
    return served, logged.assigned(weight=0.0, shadow_of=served.prediction, **shadow)


def test_what_nobody_was_served_is_in_no_window_and_nothing_is_learned_from_it(database):
    served, shadow = both()
    database.add([served, shadow, *map(logged.ended, (served, shadow))])
    database.add([logged.said(one, source="agent", label="card_lost") for one in (served, shadow)])
    everything = Selection(rollout="r1", environment="production")
    for frame in (database.window(everything), database.texts(everything), database.feedback(everything)):
        assert frame["prediction"].to_list() == [served.prediction]
    assert database.count(everything) == (1, 1, 1)
    learned = predictions.labelled(database, Selection(), ["agent"])
    assert learned["prediction"].to_list() == [served.prediction]
    shadows = everything._replace(shadow=True)
    assert database.texts(shadows)["prediction"].to_list() == [shadow.prediction]
    assert database.count(shadows) == (1, 1, 1)


def test_a_pair_is_what_both_arms_made_of_one_request(database):
    served, shadow = both(unit="conversation-9")
    database.add([served, shadow, logged.ended(served, error="timeout", output=None)])
    alone = predictions.pairs(database, "r1").row(0, named=True)
    assert (alone["prediction"], alone["unit"], alone["time"]) == (shadow.prediction, "conversation-9", logged.NOW)
    assert (alone["canary_ended"], alone["stable_error"], alone["agree"]) == (None, "timeout", None)
    database.add([logged.ended(shadow, latency_ms=7.0, format_ok=False)])
    whole = predictions.pairs(database, "r1")
    assert dict(whole.schema) == dict(predictions.PAIRS)
    assert whole.select("canary_latency_ms", "stable_latency_ms", "canary_format_ok").row(0) == (7.0, 120.5, False)
    assert predictions.pairs(database, "another").is_empty()


def test_pairs_come_as_the_canary_was_asked_and_say_whether_both_say_the_same(database):
    made = [both() for _ in range(4)]
    ends = [logged.ended(shadow, output=f"{number % 2}") for number, (_, shadow) in enumerate(made)]
    database.add([*(logged.ended(served, output="1") for served, _ in made), *reversed(ends)])
    database.add([one for pair in reversed(made) for one in pair])
    found = predictions.pairs(database, "r1")
    assert found["prediction"].to_list() == [shadow.prediction for _, shadow in made]
    assert found["agree"].to_list() == [False, True, False, True]


def test_a_customers_shadows_are_erased_and_pruned_with_everything_else(database):
    served, shadow = both()
    database.add([served, shadow, *map(logged.ended, (served, shadow))])
    assert database.erase("c-1", predictions.moment(logged.NOW)) == 2
    found = database.find(shadow.prediction)
    assert (found.erased, found.assignment.customer, found.assignment.input, found.outcome.output) == (
        True,
        *[None] * 3,
    )
    assert found.assignment.unit == database.find(served.prediction).assignment.unit
    assert database.prune(predictions.moment(logged.NOW + timedelta(days=1))) == 2


def test_show_and_trace_say_that_it_was_a_shadow(in_tmp, database, capsys):
    served, shadow = both()
    database.add([served, shadow, logged.ended(shadow)])
    told = dict(predicted.told(database.find(shadow.prediction)))
    assert told["shadow"] == f"of {served.prediction}, whose request it mirrors: nobody got this answer"
    assert "shadow" not in dict(predicted.told(database.find(served.prediction)))
    note = predicted.logged(database.find(shadow.prediction)).note
    assert note == "in the log with its outcome, a shadow's"
    starter.settings(in_tmp, serve__log__database=str(database.engine.url))
    assert cli.main(["predictions", "show", shadow.prediction]) == 0
    assert f'"shadow_of": "{served.prediction}"' in capsys.readouterr().out


def test_a_log_of_before_there_were_shadows_goes_on_and_all_in_it_was_served(tmp_path):
    url = logged.settings(tmp_path).database
    engine = logged.older(url, "0001")
    old = logged.assigned()
    row = {**old.model_dump(exclude={"shadow_of"}), "time": predictions.moment(old.time), "erased": False}
    columns = ", ".join(row)
    with engine.begin() as open_:
        insert = f"INSERT INTO assignment ({columns}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608
        open_.execute(sa.text(insert), row)
    engine.dispose()
    database = Database(url)
    assert database.find(old.prediction).assignment == old
    assert database.window(Selection())["prediction"].to_list() == [old.prediction]
    database.close()


def test_what_waits_in_a_spool_since_before_there_were_shadows_is_read():
    written = logged.assigned()
    assert Assignment.model_validate_json(written.model_dump_json(exclude={"shadow_of"})) == written
