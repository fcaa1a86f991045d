"""`trunkline retrain`: new labels become one partition and one pull request, or a reason why not."""

import contextlib
import json
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from dvc.repo import Repo

import github_double
import labelled
import logged
import pull_request as pr
import releases
import starter
from github_double import Answer, GitHubDouble, Request
from labelled import MONTH, PARTITION
from test_alert import monitored, signal
from trunkline import cli, params
from trunkline.clients import git, pinned, predictions, trial
from trunkline.clients.github import GitHub, workflow
from trunkline.errors import Error
from trunkline.operations import promote, retrain
from trunkline.operations.retrain import proposal, tree
from trunkline.records import Production, Report
from trunkline.records.prediction import Selection
from trunkline.stages import data
from trunkline.verdict import Verdict

BRANCH = f"retrain/{MONTH}"


@pytest.fixture
def world(nameless, double, monkeypatch) -> labelled.World:
    made = labelled.World(nameless, double, monkeypatch)
    (made.clone / ".git/info/exclude").write_text("/reports/monitor.*\n")
    monitored(signal(verdict=Verdict.PASS), verdict=Verdict.PASS)
    return made


@pytest.fixture
def real_stage() -> None:
    """Named by tests that let the data stage run as its own process."""


@pytest.fixture(autouse=True)
def in_this_process(request, monkeypatch) -> None:
    """The data stage without a process of its own, which takes seconds to begin; not where the test wants it real."""
    if "real_stage" in request.fixturenames:
        return

    def quickly(step: str, folder: Path) -> Report:
        with pr.standing_in(folder), contextlib.suppress(Error):
            data.run(params.load(folder / "params.yaml"))
        return Report.read(folder / "reports/data.json")

    monkeypatch.setattr(trial, "run", quickly)


def run(world: labelled.World, reason: str | None = None) -> tuple[str, Verdict]:
    return retrain.run(world.params, reason, wait=lambda seconds: None)


def rows(world: labelled.World, branch: str = BRANCH, path: str = PARTITION) -> list[dict[str, object]]:
    return [json.loads(line) for line in world.files_of(branch)[path].splitlines()]


@pytest.mark.usefixtures("real_stage")
def test_new_labels_become_the_next_partition_and_one_pull_request(world):
    asked = world.label(30)
    said, verdict = run(world)
    (pull,) = world.work.pulls
    assert verdict is Verdict.PASS
    assert said.startswith(f"opened {pull['html_url']}: Retrain on 30 new labelled rows ({MONTH})")
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (BRANCH, "main")
    assert [label["name"] for label in pull["labels"]] == ["retrain"]
    assert list(world.files_of(BRANCH)) == [PARTITION]
    first = next(row for row in rows(world) if row["id"] == asked[0].prediction)
    assert first == {
        "id": asked[0].prediction,
        "customer": asked[0].customer,
        "conversation": asked[0].unit,
        "created_at": asked[0].time.isoformat(),
        "channel": None,
        "language": None,
        "message": asked[0].input,
        "intent": "card_lost",
        "urgency": "normal",
    }
    for part in (
        "30 new labelled rows",
        "| labels of agent | 30 |",
        "0.625 GPU hours, 0.625 US dollars",
        "by the schedule",
    ):
        assert part in pull["body"]
    assert starter.git(world.clone, "status", "--porcelain") == "", "nothing here has changed"


# One pull request at a time, which may merge by itself.


def test_what_passes_and_is_not_unusual_is_merged_by_github_and_nobody_is_asked(world):
    world.label(25)
    said, _ = run(world)
    (pull,) = world.work.pulls
    assert pull["auto_merge"] is not None
    assert pull["requested_reviewers"] == []
    assert said.endswith("GitHub merges it as soon as all that is required has passed")
    # The same again writes nothing, and neither does a row more: training costs more than it is worth.
    head, asked = world.work.branch(BRANCH), len(world.double.requests)
    world.label(26)
    said, verdict = run(world)
    assert (said.startswith("nothing to do"), verdict) == (True, Verdict.PASS)
    assert world.work.branch(BRANCH) == head
    assert not [request for request in world.double.requests[asked:] if request.method in ("PATCH", "PUT")]
    # Enough more rows replace the branch's commit, and an alarm that they do not mend stops GitHub from merging it.
    world.label(60)
    monitored(signal("serving/errors"), signal())
    Path("reports/monitor.svg").write_text("<svg>later</svg>")
    said, _ = run(world)
    assert said.startswith(f"updated {pull['html_url']}: Retrain on 60 new")
    assert len(rows(world)) == 60
    assert len(world.work.pulls) == 1
    assert pull["title"].startswith("Retrain on 60")
    assert starter.git(world.origin, "rev-list", "--count", f"main..{BRANCH}") == "1"
    assert pull["auto_merge"] is None
    assert pull["requested_reviewers"] == [{"login": "bob"}]
    assert pull["body"].startswith("**A review is needed:** newer data do not mend the alarms serving/errors.")
    for part in ("| drift/rare&#95;tokens | 0.31 | 0.04 | 0.27 | up | 1,200 |", "31 % of the words are rare"):
        assert part in pull["body"].replace("rare_tokens", "rare&#95;tokens")
    # A figure is an image of the commit, which whoever may read the repository sees.
    commit = world.work.branch(BRANCH)
    address = f"{world.double.url}/{github_double.REPOSITORY}/blob/{commit}/reports/retrain.svg?raw=true"
    assert f"![The alarms over time](<{address}>)" in pull["body"]
    assert world.files_of(BRANCH)["reports/retrain.svg"] == "<svg>later</svg>"


def test_a_customer_who_is_erased_leaves_the_open_pull_request(world):
    asked = world.label(25)
    run(world)
    with predictions.reading(world.params.serve.log) as database:
        database.erase(asked[0].customer, predictions.moment(labelled.NOW) + 10**9)
    run(world)
    customers = {row["customer"] for row in rows(world)}
    assert asked[0].customer not in customers
    assert len(customers) == 12


def test_rows_of_an_open_pull_request_that_became_too_old_since_train_nothing_anew_unless_they_must_go(world):
    """A commit keeps them anyway, and some become too old with every hour."""
    old = world.label(25, time=labelled.NOW - timedelta(days=9))
    world.label(25, seed=3)
    run(world)
    head = world.work.branch(BRANCH)
    world.settings(serve__log=logged.settings(world.folder, keep_days=5).model_dump())
    assert run(world)[0].startswith("nothing to do")
    assert world.work.branch(BRANCH) == head
    with predictions.reading(world.params.serve.log) as database:
        database.erase(old[0].customer, predictions.moment(labelled.NOW) + 10**9)
    assert run(world)[0].startswith("updated")
    assert old[0].customer not in {row["customer"] for row in rows(world)}


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("allowed", "Auto merge is not allowed"),
        ("required", "in clean status"),
        ("gate", "main can be merged into without trunkline/gate"),
        ("params", "retrain.auto_merge is false"),
        ("monitor", "the monitor has left no report"),
        ("bot", "do not start by themselves"),
    ],
)
def test_where_github_may_not_merge_it_a_review_is_asked_for_with_the_reason(world, monkeypatch, setting, reason):
    world.label(25)
    match setting:
        case "allowed":
            world.work.allows_auto_merge = False
        case "required":
            # Nothing is required, so GitHub would merge at once what no gate has seen.
            world.work.requires = False
        case "gate":
            statuses = world.double.rulesets[0]["rules"][-1]["parameters"]["required_status_checks"]
            statuses[:] = [row for row in statuses if row["context"] != "trunkline/gate"]
        case "params":
            world.settings(retrain__auto_merge=False)
            world.merge("a human decides")
        case "monitor":
            Path("reports/monitor.json").unlink()
        case "bot":
            monkeypatch.setenv("GITHUB_TOKEN", "ghs_write")
    run(world)
    (pull,) = world.work.pulls
    assert pull["auto_merge"] is None
    assert pull["state"] == "open"
    assert pull["body"].startswith("**A review is needed:**")
    assert reason in pull["body"].splitlines()[0]
    assert pull["requested_reviewers"] == [{"login": "bob"}]
    assert ("No workflow starts by itself" in pull["body"]) is (setting == "bot")


@pytest.mark.parametrize("others", ["dirty", "none"])
def test_an_open_pull_request_with_rows_that_must_go_is_not_merged_by_github_where_it_cannot_be_mended(world, others):
    """Its rows are of customers who were erased since, and what came besides is not fit, or there is nothing else."""
    asked = world.label(25)
    run(world)
    (pull,) = world.work.pulls
    assert pull["auto_merge"] is not None
    with predictions.reading(world.params.serve.log) as database:
        for customer in {one.customer for one in asked} if others == "none" else {asked[0].customer}:
            database.erase(customer, predictions.moment(labelled.NOW) + 10**9)
    if others == "none":
        with pytest.raises(Error, match="may be used any more"):
            run(world)
    else:
        for one in world.label(40, seed=3):
            world.log(logged.said(one, label="dunno", time=labelled.NOW))
        assert run(world)[1] is Verdict.FAIL
    assert pull["auto_merge"] is None
    why = {"none": "none of its rows", "dirty": "it holds rows that"}[others]
    assert pull["body"].startswith(f"**A review is needed:** {why}")
    assert "GitHub merges this" not in pull["body"]
    assert "### New data" in pull["body"]
    assert pull["requested_reviewers"] == [{"login": "bob"}]


def test_an_open_pull_request_is_held_by_what_happens_after_it_was_opened(world):
    """Also where a run ended between the hold and the text."""
    world.label(25)
    run(world)
    (pull,) = world.work.pulls
    monitored(signal("serving/errors"), signal())
    world.double.fail(422, method="PATCH", path=f"/pulls/{pull['number']}")
    with pytest.raises(Error):
        run(world)
    assert pull["auto_merge"] is None
    assert run(world)[0].startswith("nothing to do")
    assert pull["body"].startswith("**A review is needed:** newer data do not mend the alarms serving/errors.")
    asked = len(world.double.requests)
    run(world)
    assert not [one for one in world.double.requests[asked:] if one.method in ("PATCH", "PUT", "DELETE")]


def test_an_open_pull_request_whose_text_is_of_other_rows_gets_its_own(world):
    """A run may end between its push and what it writes about it."""
    world.label(25)
    run(world)
    (pull,) = world.work.pulls
    world.label(60)
    world.double.fail(422, method="PATCH", path=f"/pulls/{pull['number']}")
    with pytest.raises(Error):
        run(world)
    assert (len(rows(world)), pull["title"][:13]) == (60, "Retrain on 25")
    head = world.work.branch(BRANCH)
    assert run(world)[0].startswith("updated")
    assert pull["title"].startswith("Retrain on 60")
    assert "60 new labelled rows" in pull["body"]
    assert world.work.branch(BRANCH) == head, "nothing is trained anew for a text"
    assert run(world)[0].startswith("nothing to do")


def test_somebody_elses_commits_on_the_branch_are_never_lost(world):
    world.label(25)
    run(world)
    starter.git(world.clone, "fetch", "-q", "origin", BRANCH)
    starter.git(world.clone, "checkout", "-q", "FETCH_HEAD")
    (world.clone / PARTITION).write_text((world.clone / PARTITION).read_text().replace("normal", "high"))
    starter.git(world.clone, "commit", "-qam", "correct the labels")
    starter.git(world.clone, "push", "-q", "origin", f"HEAD:{BRANCH}")
    head = world.work.branch(BRANCH)
    starter.git(world.clone, "checkout", "-q", "main")
    world.label(60)
    with pytest.raises(Error, match=f"{BRANCH} holds commits of others"):
        run(world)
    assert world.work.branch(BRANCH) == head


def test_a_branch_that_moved_meanwhile_is_not_overwritten(world):
    stale = proposal.Branch(BRANCH, None)
    starter.git(world.clone, "push", "-q", "origin", f"HEAD:refs/heads/{BRANCH}")
    head = world.work.branch(BRANCH)
    wanted = proposal.Proposal(stale, {PARTITION: b"{}\n"}, "Retrain", None, lambda *_: "", [], [])
    with pytest.raises(Error, match="somebody else works on"):
        proposal.make(GitHub(workflow.here()), None, ("main", head or ""), wanted)
    assert world.work.branch(BRANCH) == head
    assert world.work.pulls == []


@pytest.mark.parametrize("place", ["/pulls", "/labels"])
def test_a_run_that_ended_anywhere_is_finished_by_the_next(world, place):
    world.label(25)
    world.double.fail(422, method="POST", path=place)
    with pytest.raises(Error):
        run(world)
    assert world.work.branch(BRANCH)
    run(world)
    (pull,) = world.work.pulls
    assert [label["name"] for label in pull["labels"]] == ["retrain"]
    assert len(rows(world)) == 25


def test_a_run_that_was_killed_after_its_push_is_finished_by_the_next(world, monkeypatch):
    world.label(25)
    asked, killed = threading.Event(), threading.Event()

    def answer(double: GitHubDouble, request: Request) -> Answer:
        if request.method == "POST" and request.path.endswith("/pulls"):
            asked.set()
            killed.wait()
            return Answer(502)
        return real(double, request)

    real = GitHubDouble.answer
    with monkeypatch.context() as patch:
        patch.setattr(GitHubDouble, "answer", answer)
        started = subprocess.Popen([sys.executable, "-m", "trunkline", "retrain"], stdout=subprocess.DEVNULL)
        try:
            assert asked.wait(300)
        finally:
            started.kill()
            started.wait()
            killed.set()
    assert (world.work.branch(BRANCH) is not None, world.work.pulls) == (True, [])
    run(world)
    (pull,) = world.work.pulls
    assert [label["name"] for label in pull["labels"]] == ["retrain"]
    assert (len(rows(world)), pull["auto_merge"] is not None) == (25, True)


def test_a_pull_request_of_a_fork_is_not_taken_for_the_open_one(world):
    world.label(25)
    fork = world.work.add_pull("mallory", BRANCH, "Retrain", owner="mallory/trunkline")
    run(world)
    assert fork["title"] == "Retrain"
    assert len(world.work.pulls) == 2


# When there is none.


def test_after_a_pull_request_there_is_none_before_the_cool_down_is_over_but_by_hand(world):
    world.label(25)
    made = world.work.add_pull("ada", "retrain/2026-10", "Retrain", labels=["retrain"], state="closed")
    made["created_at"] = f"{labelled.NOW - timedelta(days=13):%Y-%m-%dT%H:%M:%SZ}"
    said, verdict = run(world)
    assert (said.startswith("nothing to do: the last"), verdict) == (True, Verdict.PASS)
    assert len(world.work.pulls) == 1
    run(world, reason="new *product*")
    assert "by ada, by hand: new &#42;product&#42;" in world.work.pulls[1]["body"]


def test_when_the_cool_down_is_over_the_next_one_is_opened_without_the_figure_of_the_last(world):
    world.label(25)
    Path("reports/retrain.svg").write_text("<svg>of the last one</svg>")
    world.merge("the last one")
    made = world.work.add_pull("ada", "retrain/2026-10", "Retrain", labels=["retrain"], state="closed")
    made["created_at"] = f"{labelled.NOW - timedelta(days=15):%Y-%m-%dT%H:%M:%SZ}"
    assert run(world)[1] is Verdict.PASS
    assert "![" not in world.work.pulls[-1]["body"]
    assert starter.git(world.origin, "diff", "--diff-filter=D", "--name-only", "main", BRANCH) == "reports/retrain.svg"
    assert len(world.work.pulls) == 2


def test_too_few_rows_exit_with_4_and_say_what_was_left_out(world, capsys):
    world.label(19)
    world.label(3, seed=5, customer=None)
    assert cli.main(["retrain"]) == 4
    said = "19 new labelled rows, and 20 are needed (0 were there already, 3 labels without a known customer or input)"
    assert capsys.readouterr().out.strip() == said
    assert world.work.pulls == world.work.issues == []


def test_dirty_labels_stop_at_the_data_checks_and_a_human_is_asked_once(world, capsys):
    for number, asked in enumerate(world.label(25)):
        if number < 10:
            world.log(logged.said(asked, label="<b>dunno</b>", time=labelled.NOW))
    assert cli.main(["retrain"]) == 3
    assert "data.limits.rejected: 10 of 25 new rows failed a schema rule (0.4, limit 0.2)" in capsys.readouterr().out
    run(world)
    (issue,) = world.work.issues
    assert issue["title"] == "support-triage: new labelled rows are not fit to train on"
    assert "10 of 25 new rows" in issue["body"]
    assert world.work.pulls == []
    assert world.work.branch(BRANCH) is None
    # Somebody corrects the labels: the last one that an agent gave counts.
    with predictions.reading(world.params.serve.log) as database:
        said = database.feedback(Selection())
    for prediction in said.filter(pl.col("label").str.contains("dunno"))["prediction"]:
        right = json.dumps({"intent": "card_lost", "urgency": "low"})
        world.log(logged.said(logged.assigned(prediction=prediction), label=right, time=labelled.NOW))
    assert run(world)[1] is Verdict.PASS
    assert issue["state"] == "closed"
    assert len(world.work.pulls) == 1


def test_labels_that_contradict_what_is_known_are_seen_by_the_checks(world):
    known = labelled.later(1, "2026-08")
    for row in known[:25]:
        asked = logged.assigned(time=labelled.NOW, input=row["message"], customer=row["customer"])
        wrong = "card_lost" if row["intent"] != "card_lost" else "transfer_fee"
        world.log(asked, logged.said(asked, label=json.dumps({"intent": wrong, "urgency": "low"})))
    said, verdict = run(world)
    assert verdict is Verdict.FAIL
    assert "25 of 25 new rows have another answer elsewhere" in said


def test_only_what_is_merged_is_built_upon(world):
    world.label(25)
    (world.clone / "code.txt").write_text("not merged")
    starter.git(world.clone, "commit", "-qam", "not merged")
    with pytest.raises(Error, match="is not merged into main"):
        run(world)


# What is collected.


def gathered(world: labelled.World) -> tree.Gathered:
    with tree.of(world.params, git.resolve("HEAD")) as made:
        return tree.gather(world.params, made, labelled.NOW)


def test_only_labels_of_the_named_sources_count_and_never_what_the_model_said(world):
    world.label(3, seed=2)
    world.label(4, seed=3, source="judge")
    world.label(5, seed=4, source="model")
    silent = logged.assigned(time=labelled.NOW, input="nobody said anything")
    world.log(silent, logged.ended(silent), logged.said(silent, label=None, source="agent"))
    assert gathered(world).new.rows.height == 3
    world.settings(retrain__sources=["agent", "judge"])
    assert gathered(world).new.rows.height == 7


def test_what_is_too_old_to_keep_is_not_learned_from(world):
    world.label(3)
    world.label(4, seed=3, time=labelled.NOW - timedelta(days=91))
    assert gathered(world).new.rows.height == 7
    world.settings(serve__log=logged.settings(world.folder, keep_days=90).model_dump())
    assert gathered(world).new.rows.height == 3


def test_who_opted_out_or_was_erased_is_left_out_of_the_log_and_of_files(world):
    asked = world.label(6)
    starter.write_rows(world.clone / "drop/crm.jsonl", labelled.later(3, MONTH, 6))
    dropped = [row["customer"] for row in labelled.later(3, MONTH, 6)]
    (world.clone / "opt_out.txt").write_text(f"{asked[0].customer}\n\n {dropped[0]} \n")
    world.settings(retrain__drop="drop", retrain__opt_out="opt_out.txt")
    with predictions.reading(world.params.serve.log) as database:
        for customer in (asked[2].customer, dropped[2]):
            database.erase(customer, predictions.moment(labelled.NOW))
    found = gathered(world)
    kept = set(found.new.rows["customer"])
    assert kept == {asked[4].customer, dropped[4]}
    assert found.incoming.left_out == {
        "rows of customers who opted out": 4,
        "rows of customers who were erased": 2,
    }


def test_where_no_column_names_the_customer_nobody_can_be_left_out_and_it_says_so(world):
    (world.clone / "opt_out.txt").write_text("c-1\n")
    columns = world.params.data.columns.model_dump() | {"customer": None}
    world.settings(retrain__opt_out="opt_out.txt", data__columns=columns)
    world.label(25)
    with pytest.raises(Error, match="opt_out names customers, and data.columns.customer is null"):
        gathered(world)


@pytest.mark.parametrize("form", ["hash", "none"])
@pytest.mark.parametrize("name", ["input", "customer"])
def test_a_log_without_texts_is_refused_and_can_be_left_out(world, monkeypatch, name, form):
    monkeypatch.setenv("TRUNKLINE_LOG_KEY", "k" * 40)
    world.settings(serve__log=logged.settings(world.folder, **{name: form}).model_dump())
    with pytest.raises(Error, match=f"serve.log.{name} is {form}") as caught:
        gathered(world)
    assert "retrain.sources" in caught.value.hint
    starter.write_rows(world.clone / "drop/crm.jsonl", labelled.later(3, MONTH, 6))
    kept = logged.settings(world.folder, **{name: form}).model_dump()
    world.settings(serve__log=kept, retrain__sources=[], retrain__drop="drop")
    assert gathered(world).new.rows.height == 6


def test_hashes_that_the_log_kept_before_it_kept_texts_are_no_messages(world):
    world.label(2, input="a" * 64)
    world.label(3, customer="0" * 64)
    found = gathered(world)
    assert found.new.rows.is_empty()
    assert found.incoming.left_out == {"labels without a known customer or input": 5}


def test_files_of_each_kind_are_taken_from_the_drop_folder_with_personal_data_masked(world):
    made = labelled.later(3, MONTH, 9)
    made[0] |= {"message": "mail ann@example.com about my lost card"}
    starter.write_rows(world.clone / "drop/a.jsonl", made[:3])
    pl.DataFrame(made[3:6]).write_csv(world.clone / "drop/b.csv")
    pl.DataFrame(made[6:]).write_parquet(world.clone / "drop/c.parquet")
    (world.clone / "drop/.upload.csv").write_text("half of a")
    with (world.clone / "drop/a.jsonl").open("a") as file:
        file.write("{not json\n")
    world.settings(retrain__drop="drop", retrain__sources=[])
    found = gathered(world)
    texts = [json.loads(line) for line in found.text.splitlines()]
    assert sorted(row["id"] for row in texts) == [row["id"] for row in made]
    assert {row["channel"] for row in texts} == {"app", "email"}
    assert "mail <EMAIL> about my lost card" in {row["message"] for row in texts}
    assert found.incoming.unreadable == 1
    assert sorted(set(found.new.rows["partition"])) == ["a.jsonl", "b.csv", "c.parquet"]


def test_what_is_there_already_by_id_or_by_message_is_not_new(world):
    known = labelled.later(1, "2026-08", 3)
    by_message = [row | {"id": f"x-{n}", "message": row["message"].upper()} for n, row in enumerate(known)]
    fresh = labelled.later(4, MONTH, 2)
    starter.write_rows(world.clone / "drop/crm.jsonl", [*known, *by_message, *fresh, fresh[0]])
    world.settings(retrain__drop="drop")
    found = gathered(world)
    assert sorted(found.new.rows["id"]) == [row["id"] for row in fresh]
    assert found.new.repeats == 7


def test_partitions_that_dvc_keeps_count_too_and_are_fetched_and_hashed(world):
    starter.git(world.clone, "rm", "-q", "--cached", "data/raw/2026-08.jsonl")
    with pr.standing_in(world.clone), Repo.init(".") as repo:
        repo.add("data/raw/2026-08.jsonl")
    storage = world.folder / "storage"
    (world.clone / ".dvc/config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {storage}\n"
    )
    with pr.standing_in(world.clone), Repo() as repo:
        repo.push()
    world.merge("let DVC keep August")
    (world.clone / "data/raw/2026-08.jsonl").unlink()
    starter.write_rows(world.clone / "drop/crm.jsonl", labelled.later(1, "2026-08", 3))
    world.settings(retrain__drop="drop")
    assert gathered(world).new.repeats == 3
    (stored,) = (path for path in storage.rglob("*") if path.is_file())
    stored.chmod(0o644)
    stored.write_text(stored.read_text().replace("card", "cart"))
    with pytest.raises(Error, match="2026-08.jsonl"):
        gathered(world)
    stored.unlink()
    with pytest.raises(Error, match="2026-08.jsonl"):
        gathered(world)


def test_a_folder_that_dvc_keeps_as_one_is_refused(world):
    (world.clone / "data/raw.dvc").write_text("outs: []\n")
    world.merge("let DVC keep all")
    with pytest.raises(Error, match="DVC keeps data/raw as one folder"):
        gathered(world)


def test_production_that_has_moved_on_is_pinned_in_the_same_commit(world, monkeypatch):
    commits = releases.releases(world.clone, "v1.0.0")
    promote.run(world.params, "v1.0.0", "production", None, "ann")
    moved = Production(release="v1.0.0", revision=commits["v1.0.0"], weights="w", partitions=("2026-07.jsonl",))
    monkeypatch.setattr(pinned, "of_commit", lambda name, commit: moved.model_copy(update={"revision": commit}))
    world.label(25)
    run(world)
    found = world.files_of(BRANCH)
    assert sorted(found) == ["data/production.json", PARTITION]
    assert Production.model_validate_json(found["data/production.json"]) == moved
    assert "<code>data/production.json</code> is written anew" in world.work.pulls[0]["body"]


def test_what_the_monitor_said_of_another_project_or_left_damaged_is_no_evidence(world):
    world.label(25)
    monitored(model="other")
    with pytest.raises(Error, match="is about other, not about support-triage"):
        run(world)
    Path("reports/monitor.json").write_text("{")
    with pytest.raises(Error, match="monitor.json") as caught:
        run(world)
    assert "trunkline monitor" in caught.value.hint


def test_outside_of_a_job_it_says_where_to_run_it(world, monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY")
    with pytest.raises(Error, match="not set: GITHUB_REPOSITORY"):
        run(world)


def test_a_month_whose_partition_is_merged_gets_another(world):
    starter.write_rows(world.clone / PARTITION, labelled.later(6, MONTH))
    world.merge("this month's first")
    before = (world.clone / PARTITION).read_text()
    world.label(25)
    run(world)
    branch = f"retrain/{MONTH}_2"
    assert list(world.files_of(branch)) == [f"data/raw/{MONTH}_2.jsonl"]
    assert starter.git(world.origin, "show", f"{branch}:{PARTITION}") == before.strip()
