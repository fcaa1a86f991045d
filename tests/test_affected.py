"""Which data and releases contain a customer; what could not be looked at is never `not affected`."""

import shutil

import pytest

import released
import releases
import starter
from trunkline import cli, params
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
    assert "pass: no data and no release contain this customer" in shown


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
