"""Which data, releases and predictions contain a customer; what was not looked at is never `not affected`."""

import shutil
from datetime import timedelta

import pytest

import logged
import released
import releases
import starter
from trunkline import cli, params
from trunkline.clients import predictions
from trunkline.operations import promote
from trunkline.split import in_holdout

MODEL = releases.MODEL


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    released.build(folder)
    return folder


@pytest.fixture
def repository(built, in_tmp, nameless):
    shutil.copytree(built, in_tmp, dirs_exist_ok=True)
    return in_tmp


@pytest.fixture(scope="module")
def sides(built):
    """Customers of each seed on the training side, and on the holdout's."""
    features = params.load(built / "params.yaml").features
    found: dict[tuple[int, bool], str] = {}
    for seed in range(3):
        for number in range(10):
            customer = f"c-{seed}-{number}"
            found.setdefault((seed, in_holdout(customer, features.salt, features.holdout)), customer)
    return found


def affected(capsys, customer: str) -> tuple[int, str]:
    code = cli.main(["affected", "--customer", customer])
    return code, " ".join(capsys.readouterr().out.split())


def test_a_customer_of_the_training_side_is_found_in_data_and_weights(repository, sides, capsys):
    customer = sides[1, False]
    code, shown = affected(capsys, f" {customer} ")
    assert code == 3
    assert f"customer {customer}: the split puts it on the training side" in shown
    assert f"{released.IN_DVC} 2 2 working tree, v1.0.0, v1.1.0" in shown
    assert f"{released.TRAIN} 2 2 v1.0.0, v1.1.0" in shown
    assert f"{MODEL}@v1.0.0: its weights were trained on 2 rows" in shown
    assert "fail: 2 of 2 releases were trained on this customer" in shown
    assert not any(word in shown for word in ("order", "charged", "card")), "no message is shown"


def test_a_later_customer_does_not_affect_an_earlier_release(repository, sides, capsys):
    code, shown = affected(capsys, sides[2, False])
    assert code == 3
    assert f"{MODEL}@v1.0.0: not affected" in shown
    assert f"{MODEL}@v1.1.0: its weights were trained on 2 rows" in shown


def test_a_customer_of_the_holdout_affects_no_weights(repository, sides, capsys):
    code, shown = affected(capsys, sides[1, True])
    assert code == 3
    assert "the split puts it on the holdout" in shown
    assert f"{MODEL}@v1.0.0: not trained on it; 2 rows in its holdout" in shown
    assert "0 of 2 releases were trained on this customer" in shown


def test_rows_that_were_left_out_are_found_in_the_raw_data(repository, sides, capsys):
    code, shown = affected(capsys, sides[0, False])
    assert code == 3
    assert f"{MODEL}@v1.1.0: not trained on it; 2 raw rows that were left out" in shown


def test_who_is_nowhere_is_not_affected(repository, capsys):
    code, shown = affected(capsys, "c-9-9")
    assert code == 0
    assert "no data that were looked at contain it" in shown
    assert f"{MODEL}@v1.0.0: not affected" in shown
    assert "pass: no data, no release and no prediction contain this customer" in shown


def test_part_of_an_id_is_no_customer_and_nobody_is_an_error(repository, sides, capsys):
    assert affected(capsys, sides[1, False][:-1])[0] == 0
    assert affected(capsys, " ")[0] == 1


def test_what_is_not_here_is_fetched_from_the_remote(repository, nameless, sides, capsys):
    remote = nameless / "storage"
    shutil.copytree(repository / ".dvc/cache", remote)
    (repository / ".dvc/config").write_text(f"[core]\n remote = s\n['remote \"s\"']\n url = {remote}\n")
    starter.git(repository, "commit", "-qam", "remote")
    shutil.rmtree(repository / ".dvc/cache")
    shutil.rmtree(repository / "data")
    starter.git(repository, "checkout", "-q", "--", "data")
    starter.git(repository, "tag", "-d", f"{MODEL}@v1.1.0")
    code, shown = affected(capsys, sides[1, False])
    assert f"{MODEL}@v1.0.0: its weights were trained on 2 rows" in shown
    assert "not looked at: data/raw/2026-08.jsonl: it is not here: `dvc pull` it (working tree)" in shown
    assert code == 4


def test_what_is_nowhere_makes_it_inconclusive(repository, sides, capsys):
    shutil.rmtree(repository / ".dvc/cache")
    starter.git(repository, "tag", "-d", f"{MODEL}@v1.1.0")
    (repository / released.TRAIN).unlink()
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert f"{MODEL}@v1.0.0: unknown whether its weights were trained on it" in shown
    assert f"not looked at: {released.TRAIN}: neither the DVC cache nor a remote holds" in shown
    assert "not affected" not in shown
    code, shown = affected(capsys, sides[1, False])
    assert code == 4
    assert "its weights count as trained on it: 2 raw rows on the training side" in shown
    assert "1 of 1 releases were trained on this customer, and 2 places could not be looked at" in shown


def test_releases_that_this_clone_cannot_know_of_make_it_inconclusive(repository, capsys):
    assert affected(capsys, "c-9-9")[0] == 0
    starter.git(repository, "remote", "add", "origin", "../nowhere.git")
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "not looked at: releases that this clone does not know: git ls-remote: fatal: '../nowhere.git'" in shown
    starter.git(repository, "remote", "remove", "origin")
    (repository / ".git/shallow").write_text(starter.git(repository, "rev-list", "--max-parents=0", "HEAD") + "\n")
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "this clone is shallow and has no remote origin: nobody can tell which versions there are" in shown


def test_a_release_without_a_manifest_and_a_line_that_cannot_be_read_are_told(repository, sides, capsys):
    starter.git(repository, "tag", "-am", "x", f"{MODEL}@v2.0.0")
    with (repository / released.IN_GIT).open("a") as file:
        file.write('{"customer": "c-9-9", \n')
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert f"{MODEL}@v2.0.0: unknown" in shown
    assert "1 of 1 unreadable lines name this customer (working tree)" in shown


def test_a_withdrawn_release_still_has_its_weights(repository, sides, capsys):
    starter.git(repository, "tag", "-am", "x", f"{MODEL}@v1.0.0!", f"{MODEL}@v1.0.0^{{}}")
    assert f"{MODEL}@v1.0.0: its weights were trained on 2 rows" in affected(capsys, sides[1, False])[1]


def keep(folder, *assignments):
    """Log predictions with their outcomes."""
    settings = params.load(folder / "params.yaml").serve.log
    logged.keep(settings, *assignments, *[logged.ended(assignment) for assignment in assignments])


def test_predictions_are_counted_by_release_with_what_erasing_would_do(repository, capsys):
    days = [logged.NOW + timedelta(days=day) for day in range(3)]
    keep(
        repository,
        logged.assigned(customer="c-9-9", time=days[0], release=f"{MODEL}@v1.0.0"),
        *[logged.assigned(customer="c-9-9", time=day, release=f"{MODEL}@v1.1.0") for day in days],
        logged.assigned(customer="c-9-98"),
    )
    code, shown = affected(capsys, "c-9-9")
    assert code == 3
    assert f"{MODEL}@v1.0.0 1 2026-11-01 12:00 2026-11-01 12:00 text" in shown
    assert f"{MODEL}@v1.1.0 3 2026-11-01 12:00 2026-11-03 12:00 text" in shown
    assert "`trunkline predictions erase c-9-9` would delete customer, input, output and comments of 4" in shown
    assert "fail: 0 of 2 releases were trained on this customer, 4 predictions name it" in shown
    assert cli.main(["predictions", "erase", "c-9-9"]) == 0
    assert "in 4 predictions" in capsys.readouterr().out
    code, shown = affected(capsys, "c-9-9")
    assert code == 0
    assert "no prediction that was looked at names it" in shown
    assert "what was logged of it up to" in shown


def test_a_log_that_is_elsewhere_is_not_looked_at_once_something_serves(repository, capsys):
    assert affected(capsys, "c-9-9")[0] == 0, "nothing was ever served"
    promote.run(params.load(repository / "params.yaml"), "v1.1.0", "production", reason="better", by="ann")
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "not looked at: there is no prediction log .trunkline/predictions.sqlite here" in shown


def test_hashed_customers_are_found_only_with_the_key(repository, capsys, monkeypatch):
    monkeypatch.setenv(predictions.kept.KEY, "a key")
    keep(repository, logged.assigned(customer="c-9-9"))
    starter.settings(repository, serve__log__customer="hash")
    keep(repository, logged.assigned(customer="c-9-9"), logged.assigned(customer="c-9-9"))
    code, shown = affected(capsys, "c-9-9")
    assert code == 3
    assert "comments of 2 predictions" in shown
    assert "does not find the 1 that are logged as text while serve.log.customer is hash" in shown
    monkeypatch.delenv(predictions.kept.KEY)
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "not looked at: serve.log: set TRUNKLINE_LOG_KEY" in shown
    assert f"{MODEL}" in shown


def test_customers_that_are_not_logged_cannot_be_looked_for_where_texts_are_kept(repository, capsys):
    starter.settings(repository, serve__log__customer="none", serve__log__input="none", serve__log__output="none")
    keep(repository, logged.assigned(customer="c-9-9"))
    assert affected(capsys, "c-9-9")[0] == 0, "nothing personal is kept"
    starter.settings(repository, serve__log__customer="none", serve__log__input="none")
    keep(repository, logged.assigned(customer="c-9-9"))
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "serve.log.customer is none: the log keeps inputs or outputs" in shown


def test_records_that_never_reached_the_log_are_told(repository, capsys):
    settings = params.load(repository / "params.yaml").serve.log
    keep(repository, logged.assigned(customer="c-9-8"))
    spool = predictions.moving.first_free(repository / settings.spool, settings.spool_mb << 20)
    spool.append(predictions.moving.packed(logged.assigned(customer="c-9-9")))
    assert affected(capsys, "c-9-9")[0] == 0, "a gateway has it open, which moves it on at once"
    spool.close()
    (repository / settings.spool / predictions.REJECTED).write_text("{}\n")
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "not looked at: 1 records wait in .trunkline/spool" in shown
    assert "rejected.jsonl holds records that the database refused" in shown


def test_a_log_that_cannot_be_read_is_told(repository, capsys):
    place = repository / ".trunkline/predictions.sqlite"
    place.parent.mkdir(exist_ok=True)
    place.write_text("no database, whatever its name says")
    code, shown = affected(capsys, "c-9-9")
    assert code == 4
    assert "not looked at: the prediction log" in shown
