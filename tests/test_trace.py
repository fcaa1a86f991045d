"""From a prediction, a release, a tag or a commit back to weights, data and code: verified, not here, or broken."""

import hashlib
import json
import os
import shutil
from datetime import timedelta

import pytest

import logged
import released
import releases
import starter
from trunkline import cli, identity, params
from trunkline.clients import dvc, git, predictions
from trunkline.clients.git import tags
from trunkline.operations import promote
from trunkline.records import Bundle
from trunkline.records.release import Manifest, message

MODEL = releases.MODEL


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    return folder, released.build(folder)


@pytest.fixture
def repository(built, in_tmp, nameless):
    shutil.copytree(built[0], in_tmp, dirs_exist_ok=True)
    return in_tmp


@pytest.fixture
def commits(built):
    return built[1]


def trace(capsys, what: str) -> tuple[int, str]:
    code = cli.main(["trace", what])
    shown = capsys.readouterr()
    return code, " ".join((shown.out + shown.err).split())


def test_every_link_of_a_release_is_verified(repository, commits, capsys):
    code, shown = trace(capsys, "v1.0.0")
    assert code == 0
    assert f"{MODEL}@v1.0.0: pass (all 13 links are verified)" in shown
    for link in (
        "verified release",
        f"verified code commit {commits['v1.0.0'][:12]}",
        "verified lock dvc.lock",
        "verified params params.yaml",
        f"verified training commit {commits['v1.0.0'][:12]} by Test at",
        f"verified weights {releases.ADAPTER}",
        "verified trained models/candidate of the released weights",
        "verified trained on data/train.parquet",
        "verified trained from path:models/small",
        f"verified data {released.IN_GIT}",
        f"verified data {released.IN_DVC}",
    ):
        assert link in shown
    assert "(in Git)" in shown
    assert "(in the DVC cache)" in shown


def test_a_start_is_a_release_a_tag_or_a_commit(repository, commits, capsys):
    promote.run(starter.settings(repository), "v1.1.0", "production", reason="better", by="ann")
    tree = f"{commits['v1.0.0']}^{{tree}}"
    aside = starter.git(repository, "commit-tree", "-p", commits["v1.0.0"], "-m", "x", tree)
    for what, release, link in (
        (f"{MODEL}@v1.0.0", "v1.0.0", "verified release"),
        (f"{MODEL}#production#1", "v1.1.0", "production serves v1.1.0 (promote by ann at"),
        (commits["v1.0.0"][:10], "v1.0.0", "verified release"),
        (f"{commits['v1.1.0']}^0", "v1.1.0", "verified release"),
    ):
        code, shown = trace(capsys, what)
        assert (code, shown.partition(":")[0]) == (0, f"{MODEL}@{release}"), what
        assert link in shown
    for what, problem in (
        (aside, "no release of support-triage holds commit"),
        ("v9.0.0", "there is no release v9.0.0"),
        (f"{MODEL}#canary#9", "there is no tag support-triage#canary#9"),
        ("nothing", "'nothing' leads to no release"),
        ("other@v1.0.0", "is a release of other"),
    ):
        code, shown = trace(capsys, what)
        assert code == 1
        assert problem in shown


def test_a_commit_leads_to_the_first_release_that_holds_it(repository, commits, capsys):
    starter.git(repository, "commit", "-q", "--allow-empty", "-m", "edit the README")
    edit = starter.git(repository, "rev-parse", "HEAD")
    starter.git(repository, "commit", "-q", "--allow-empty", "-m", "and more")
    for version in ("v1.2.0", "v1.3.0"):
        releases.release(version, "HEAD")
    _, shown = trace(capsys, edit)
    assert f"verified commit {edit} (v1.2.0 is the first release that holds it)" in shown


def test_a_clone_without_dvcs_cache_is_inconclusive_and_says_how_to_get_it(repository, nameless, capsys, monkeypatch):
    starter.git(nameless, "clone", "-q", str(repository), "clone")
    monkeypatch.chdir(nameless / "clone")
    code, shown = trace(capsys, "v1.0.0")
    assert code == 4
    assert "inconclusive (7 of 13 links could not be verified here)" in shown
    assert "not here data data/train.parquet" in shown
    assert "`--fetch` asks the DVC remote for it" in shown
    assert f"verified data {released.IN_GIT}" in shown


def test_a_clone_without_dvcs_cache_can_ask_the_remote(repository, nameless, capsys, monkeypatch):
    shutil.move(repository / ".dvc/cache", nameless / "storage")
    starter.git(nameless, "clone", "-q", str(repository), "clone")
    monkeypatch.chdir(nameless / "clone")
    config = f"[core]\n remote = s\n['remote \"s\"']\n url = {nameless}/storage\n"
    (nameless / "clone/.dvc/config").write_text(config)
    assert cli.main(["trace", "v1.0.0"]) == 4
    assert cli.main(["trace", "v1.0.0", "--fetch"]) == 0
    assert "in the DVC remote" in capsys.readouterr().out


def test_a_shallow_clone_does_not_guess(repository, nameless, capsys, monkeypatch):
    starter.git(nameless, "clone", "-q", "--depth=1", f"file://{repository}", "clone")
    monkeypatch.chdir(nameless / "clone")
    tags.known()
    code, shown = trace(capsys, "v1.1.0")
    assert code == 4
    assert "not here training commit" in shown
    assert "this clone is shallow" in shown


def test_a_file_of_the_working_tree_stands_in_for_the_cache(repository, capsys):
    shutil.rmtree(repository / ".dvc/cache")
    code, shown = trace(capsys, "v1.1.0")
    assert code == 4
    assert "(in the working tree)" in shown


def damaged(folder, version: str, path: str) -> None:
    md5 = released.manifest_of(folder, version)["data"][path]["md5"]
    file = released.cached(folder, md5)
    file.chmod(0o644)
    file.write_bytes(b"garbage")


@pytest.mark.parametrize("path", [released.IN_DVC, released.TRAIN])
def test_a_damaged_object_of_the_cache_is_broken(repository, capsys, path):
    shutil.rmtree(repository / "data")
    damaged(repository, "v1.0.0", path)
    code, shown = trace(capsys, "v1.0.0")
    assert code == 3
    assert "fail (1 of 13 links are broken)" in shown
    assert f"BROKEN data {path}" in shown


def forged(folder, **changes: object) -> None:
    """The tag of v1.0.0 made anew with a changed manifest, as somebody with the right to push could."""
    name = f"{MODEL}@v1.0.0"
    made = releases.Manifest.model_validate(released.manifest_of(folder, "v1.0.0")).model_copy(update=changes)
    commit = starter.git(folder, "rev-parse", f"{name}^{{commit}}")
    starter.git(folder, "tag", "-d", name)
    tags.create(name, commit, message("release", made))


def only(path: str, md5: str | None) -> dict:
    return {"data": {path: releases.Content(md5=md5, sha256="0" * 64)}}


def test_a_manifest_that_was_changed_is_broken(repository, capsys):
    true = releases.Manifest.model_validate(released.manifest_of(repository, "v1.0.0")).model_dump()
    for changes, link in (
        ({"lock": "0" * 64}, "BROKEN lock dvc.lock"),
        ({"params": {}}, "BROKEN params params.yaml"),
        ({"weights": {releases.ADAPTER: "0" * 64}}, "BROKEN trained models/candidate"),
        ({"base": {"source": "x", "sha256": "0" * 64}}, "BROKEN trained from"),
        (only(released.TRAIN, "0" * 32), "the commit records it as"),
        (only(released.IN_DVC, "../../../../etc/passwd"), "the commit records it as"),
        (only(released.IN_GIT, None), f"BROKEN data {released.IN_GIT}"),
        ({"version": "v1.0.1"}, "BROKEN release"),
        ({"commit": "0" * 40}, "BROKEN release"),
    ):
        forged(repository, **changes)
        code, shown = trace(capsys, "v1.0.0")
        assert code == 3, changes
        assert link in shown
        forged(repository, **releases.Manifest.model_validate(true).__dict__)
    assert trace(capsys, "v1.0.0")[0] == 0


def test_the_released_files_are_those_of_the_bundle_or_else_of_training(repository, capsys):
    weights = released.manifest_of(repository, "v1.0.0")["weights"]
    lock = git.show(f"{MODEL}@v1.0.0", "dvc.lock")
    folder = dvc.recorded_hash(lock, released.CANDIDATE)
    listing = json.loads(released.cached(repository, folder).read_text())
    record = next(member["md5"] for member in listing if member["relpath"] == "bundle.json")
    named = Bundle.read(released.cached(repository, record)).model_copy(update={"release": f"{MODEL}@v1.0.0"})
    digest = hashlib.sha256(named.text().encode()).hexdigest()

    forged(repository, weights={**weights, "bundle.json": digest})
    code, shown = trace(capsys, "v1.0.0")
    assert code == 0
    assert "(that of models/candidate under the release's name)" in shown
    forged(repository, weights={**weights, "bundle.json": "0" * 64})
    assert trace(capsys, "v1.0.0")[0] == 4, "some other record, which is not here"

    bundle = "b" * 32 + ".dir"
    place = released.cached(repository, bundle)
    place.parent.mkdir()
    place.write_text(json.dumps([{"relpath": "bundle.json", "md5": record}]))
    forged(repository, weights={**weights, "bundle.json": "0" * 64}, bundle=bundle)
    code, shown = trace(capsys, "v1.0.0")
    assert code == 3
    assert "BROKEN weights bundle.json" in shown


def test_a_release_of_another_tool_and_its_assignment_are_inconclusive(repository, capsys):
    starter.git(repository, "tag", "-am", "Registering", f"{MODEL}@v3.0.0")
    starter.git(repository, "tag", "-am", "Assigning", f"{MODEL}#production#1")
    code, shown = trace(capsys, f"{MODEL}#production#1")
    assert code == 4
    assert "not here decision" in shown
    assert "made by another tool" in shown
    assert "holds no manifest" in shown


def test_a_withdrawn_release_can_be_traced(repository, capsys):
    starter.git(repository, "tag", "-am", "x", f"{MODEL}@v1.0.0!", f"{MODEL}@v1.0.0^{{}}")
    code, shown = trace(capsys, "v1.0.0")
    assert code == 0
    assert "which was withdrawn" in shown


def test_nothing_is_taken_for_verified_when_there_is_nothing(repository, capsys):
    os.rename(repository / ".dvc", repository / "elsewhere")
    assert trace(capsys, "v1.0.0")[0] == 4


def answered(folder, **changes):
    """A prediction of v1.1.0 in the log, answered by `trunkline engine` as far as `changes` do not say otherwise."""
    digest = identity.of_release(Manifest.model_validate(released.manifest_of(folder, "v1.1.0")))
    given = {"release": f"{MODEL}@v1.1.0", **{n: v for n, v in changes.items() if n in logged.Assignment.model_fields}}
    end = {"engine_model": f"{MODEL}@v1.1.0", "engine_fingerprint": digest[:12]}
    assignment = logged.assigned(**given)
    outcome = logged.ended(assignment, **end | {n: v for n, v in changes.items() if n not in given})
    logged.keep(params.load(folder / "params.yaml").serve.log, assignment, outcome)
    return assignment


def test_a_prediction_leads_to_its_release_and_everything_behind_it(repository, commits, capsys):
    assignment = answered(repository)
    logged.keep(params.load(repository / "params.yaml").serve.log, logged.said(assignment))
    code, shown = trace(capsys, assignment.prediction)
    assert code == 0
    assert f"{MODEL}@v1.1.0: pass (all 16 links are verified)" in shown
    for known in (
        "time 2026-11-01T12:00:00+00:00 in production",
        "unit conversation-1",
        "customer c-1",
        "arm canary at weight 0.25 of rollout r1",
        "input My card is gone.",
        'output {"intent": "card_lost"}',
        "outcome status 200, 120 ms, first token after 40 ms, 190 tokens in, 24 tokens out, 1e-05 USD, right format",
        "guard pii@1:0123456789ab",
        "feedback 2026-11-01T12:00:00+00:00 agent: card_lost, score 1, the customer was happy",
        f"verified prediction {assignment.prediction} (in the log with its outcome)",
        f"verified engine {MODEL}@v1.1.0",
        "(it names the released weights)",
        f"verified code commit {commits['v1.1.0'][:12]}",
        f"verified data {released.ADDED}",
    ):
        assert known in shown


def test_an_unknown_prediction_and_an_absent_log_are_errors_that_say_where_to_look(repository, capsys):
    unknown = predictions.new_id()
    code, shown = trace(capsys, unknown)
    assert code == 1
    assert "there is no prediction log .trunkline/predictions.sqlite" in shown
    answered(repository)
    code, shown = trace(capsys, "0190163d-8694-739b-aea5-966c26f8ad91")
    assert code == 1
    assert "the prediction log has no prediction 0190163d-8694-739b-aea5-966c26f8ad91" in shown
    assert "its id was made at 2024-06-14T" in shown
    assert "older than 90 days are deleted" in shown


def test_an_erased_prediction_still_leads_to_its_release(repository, capsys):
    assignment = answered(repository)
    assert cli.main(["predictions", "erase", "c-1"]) == 0
    code, shown = trace(capsys, assignment.prediction)
    assert code == 0
    assert "customer erased" in shown
    assert "input erased" in shown
    assert "output erased" in shown
    assert "(a random name since the erasure)" in shown
    assert "the customer's data in it were erased" in shown
    assert "My card" not in shown


def test_texts_are_shown_only_as_the_log_keeps_them(repository, capsys, monkeypatch):
    monkeypatch.setenv(predictions.kept.KEY, "a key")
    starter.settings(repository, serve__log__customer="hash", serve__log__input="none", serve__log__output="hash")
    _, shown = trace(capsys, answered(repository, customer="Ada Lovelace").prediction)
    assert "customer hash " in shown
    assert "input not in the log" in shown
    assert "output hash " in shown
    assert "Lovelace" not in shown


def test_what_customers_write_does_not_steer_the_terminal(repository, capsys):
    assignment = answered(repository, input="\x1b[2Jgone\nverified  release  forged", unit="u\u202e1")
    assert cli.main(["trace", assignment.prediction]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert not [line for line in shown.splitlines() if line.strip().startswith("verified  release  forged")]


def test_a_prediction_without_an_outcome_is_inconclusive(repository, capsys):
    assignment = logged.assigned(release=f"{MODEL}@v1.1.0")
    logged.keep(params.load(repository / "params.yaml").serve.log, assignment)
    code, shown = trace(capsys, assignment.prediction)
    assert code == 4
    assert "not here prediction" in shown
    assert "no outcome is logged" in shown


@pytest.mark.parametrize(
    ("release", "why"),
    [
        (f"{MODEL}@working-copy", "a working copy was served"),
        (f"{MODEL}@v9.0.0", "the registry has no such release"),
        ("other@v1.0.0", "it is a release of other"),
    ],
)
def test_a_prediction_that_leads_to_no_release_is_inconclusive(repository, capsys, release, why):
    code, shown = trace(capsys, answered(repository, release=release).prediction)
    assert code == 4
    assert f"{release}: inconclusive (1 of 2 links could not be verified here)" in shown
    assert f"not here release {release} ({why}" in shown


@pytest.mark.parametrize(
    ("model", "fingerprint", "code", "link"),
    [
        (f"{MODEL}@v1.1.0", "0123456789ab", 3, "it names other weights than the released ones"),
        (f"{MODEL}@v1.0.0", None, 3, "it says that it serves another release"),
        ("gpt", "fp_1", 4, "it does not tell the hash of its weights"),
        (None, None, 4, "it did not say what it is"),
    ],
)
def test_an_engine_that_is_not_shown_to_serve_the_release_is_no_pass(
    repository, capsys, model, fingerprint, code, link
):
    prediction = answered(repository, engine_model=model, engine_fingerprint=fingerprint).prediction
    found, shown = trace(capsys, prediction)
    assert found == code
    assert link in shown


def test_an_engine_that_changed_under_a_release_is_told(repository, capsys):
    start = logged.NOW - timedelta(days=2)
    for late in range(2):
        time = start + timedelta(hours=late)
        same = answered(repository, time=time, engine_model="gpt", engine_fingerprint="fp_1")
    moved = answered(repository, engine_model="gpt", engine_fingerprint="fp_2")
    assert "it says what it said at the release's first answer" in trace(capsys, same.prediction)[1]
    code, shown = trace(capsys, moved.prediction)
    assert code == 4
    assert "gpt fp_2 (it CHANGED: the release's first answer, 2026-10-30T12:00:00+00:00, came from gpt fp_1)" in shown


@pytest.mark.parametrize(
    ("recorded", "said", "code", "link"),
    [
        ({"model": "large-1", "fingerprint": "fp_1"}, ("large-1", "fp_1"), 0, "says what it said when it was released"),
        ({"model": "large-1", "fingerprint": "fp_1"}, ("large-1", "fp_2"), 4, "its fingerprint was fp_1 when"),
        ({"model": "large-1", "fingerprint": "fp_1"}, ("large-2", "fp_1"), 3, "the provider's model was large-1 when"),
        ({"model": "large-1"}, ("large-1", None), 4, "the provider names no fingerprint"),
    ],
)
def test_a_provider_is_held_to_what_it_said_when_its_model_was_released(repository, capsys, recorded, said, code, link):
    true = released.manifest_of(repository, "v1.0.0")
    weights = {"provider.json": "a" * 64}
    forged(repository, kind="hosted", weights=weights, base={**true["base"], **recorded}, version="v1.0.0")
    prediction = answered(
        repository, release=f"{MODEL}@v1.0.0", engine_model=said[0], engine_fingerprint=said[1]
    ).prediction
    shown = trace(capsys, prediction)[1]
    state = {0: "verified", 4: "not here", 3: "BROKEN"}[code]
    assert f"{state} engine {said[0]}" in shown
    assert link in shown
    assert "trained on" not in shown
