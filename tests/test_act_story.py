"""The workflows in act with the real commands, from a pull request to a rollback: a tiny model, and nothing made up."""

import re
import time
from collections.abc import Iterator

import pytest

import act
import act_world
import starter
from act_world import MODEL, World
from merged import configure
from trunkline.records.release import Manifest

pytestmark = pytest.mark.slow
FIRST, SECOND = f"{MODEL}@v0.1.0", f"{MODEL}@v0.2.0"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Iterator[World]:
    """A project on main that has never run."""
    import tiny

    folder = tmp_path_factory.mktemp("act-story")
    act_world.build(folder / "world", tiny.build_teachable(folder / "base"), folder / "commands")
    with act_world.standing(folder / "world") as world:
        yield world


@pytest.fixture(scope="module")
def kept_out(small) -> tuple[list[act.Run], int]:
    """What the first pull request starts as a draft and as a fork's, and how often GitHub is asked then."""
    small.propose("first", train__seed=1)
    runs = [small.pull_request("first", draft=True), small.pull_request("first", owner="somebody/fork")]
    return runs, len(small.github.requests)


@pytest.fixture(scope="module")
def trained(small, kept_out) -> tuple[World, act.Run]:
    """The first pull request, and what its workflow did."""
    return small, small.pull_request("first")


@pytest.fixture(scope="module")
def merged(trained, tmp_path_factory) -> Iterator[World]:
    """Two merges that nobody has released yet; the second was compared with the untuned base model too."""
    with act_world.another(trained[0], tmp_path_factory.mktemp("merged")) as world:
        world.merge("first")
        world.propose("second", gate__margin=0.25)
        world.run_by_hand("second")
        world.merge("second")
        yield world


@pytest.fixture(scope="module")
def released(merged, tmp_path_factory) -> Iterator[World]:
    """The first merge is released and serves; main is at the second."""
    with act_world.another(merged, tmp_path_factory.mktemp("released")) as world:
        run = world.release(first(world))
        assert (run.code, run.jobs) == (0, {"register": "succeeded", "promote": "succeeded"}), run.log
        yield world


def first(world: World) -> str:
    """The first merge."""
    return world.git("rev-parse", "main^1")


def second(world: World) -> str:
    return world.head("main")


# A pull request.


def test_a_draft_and_a_fork_start_nothing_of_what_trains_once_it_is_neither(kept_out, trained):
    runs, asked = kept_out
    assert [(run.code, run.jobs, run.lines()) for run in runs] == [(0, {}, [])] * 2, runs[0].log
    assert asked == 0
    assert trained[1].jobs["train"] == "succeeded", "the very same commit"


def test_a_pull_request_is_trained_committed_commented_and_judged(trained):
    world, run = trained
    assert (run.code, run.jobs) == (0, dict.fromkeys(("plan", "train", "report"), "succeeded")), run.log
    made, parent = world.git("log", "-2", "--format=%H", "first").split()
    assert world.git("log", "-1", "--format=%s", parent) == "first"
    changed = world.git("diff", "--name-only", parent, made).splitlines()
    assert "dvc.lock" in changed
    assert {name.partition("/")[0] for name in changed} == {"dvc.lock", "reports"}
    assert (world.github.statuses[0]["sha"], world.github.statuses[0]["state"]) == (made, "success")
    (comment,) = world.github.threads[42]
    assert f"## {MODEL}: pass" in comment["body"]
    assert "points better than production on exact_match" in comment["body"]
    assert run.lines() == ["report: gh workflow run checks.yml --ref first"]


def test_the_commit_of_the_job_trains_nothing_and_is_judged_again(trained):
    world, _ = trained
    made = world.head("first")
    run = world.pull_request("first")
    assert (run.code, run.jobs) == (0, {"plan": "succeeded", "report": "succeeded"}), run.log
    assert "nothing has changed" in run.log
    assert world.head("first") == made
    assert [(row["sha"], row["state"]) for row in world.github.statuses] == [(made, "success")] * 2
    assert len(world.github.threads[42]) == 1, "the comment is kept up, not doubled"


def test_a_candidate_that_learned_nothing_fails_the_job_and_its_status(released, tmp_path):
    with act_world.another(released, tmp_path) as world:
        head = world.propose("worse", pin=True, train__learning_rate=1.0e-4)
        run = world.pull_request("worse")
        assert (run.code, run.jobs) == (1, {"plan": "succeeded", "train": "succeeded", "report": "failed"}), run.log
        made = world.head("worse")
        assert world.git("rev-parse", f"{made}^") == head
        assert [(row["sha"], row["state"]) for row in world.github.statuses] == [(made, "failure")]
        (comment,) = world.github.threads[42]
        assert f"## {MODEL}: fail" in comment["body"]
        assert "points worse than production on exact_match" in comment["body"]


def test_a_training_that_fails_is_told_and_what_cannot_be_told_leaves_the_job_green_and_its_status_pending(
    trained, tmp_path
):
    with act_world.another(trained[0], tmp_path) as world:
        month = world.clone / "data/raw/2026-08.jsonl"
        world.take("first", "strict")
        rows = month.read_text()
        month.write_text(rows.replace('"message"', '"mess"'))
        broken = world.commit("strict")
        world.github.ran("2026-11-02T08:00:00Z", broken, "cancelled", minutes=60, branch="strict")
        run = world.pull_request("strict")
        assert (run.code, run.jobs) == (1, {"plan": "succeeded", "train": "failed", "report": "succeeded"}), run.log
        assert world.head("strict") == broken, "nothing is handed over"
        assert [(row["sha"], row["state"]) for row in world.github.statuses] == [(broken, "pending")]
        assert f"## {MODEL}: inconclusive" in world.github.threads[42][0]["body"]
        assert "(1 of it for nothing that was kept)" in run.log, "GitHub is asked with the job's own token"
        world.github.statuses.clear()

        month.write_text(rows)
        configure(world.clone, gate__alpha=1.0e-12)
        world.commit("strict")
        run = world.pull_request("strict")
        assert (run.code, run.jobs) == (0, dict.fromkeys(("plan", "train", "report"), "succeeded")), run.log
        assert "Running stage 'evaluate'" in run.log
        assert "Running stage 'train'" not in run.log, "the weights are those of the branch it follows"
        assert [(row["sha"], row["state"]) for row in world.github.statuses] == [(world.head("strict"), "pending")]
        assert f"## {MODEL}: inconclusive" in world.github.threads[42][0]["body"]


# A merge.


def test_a_merge_is_released_stored_and_promoted(released):
    assert released.tags() == {FIRST: first(released), f"{MODEL}#production#1": first(released)}
    manifest = Manifest.model_validate_json(released.git("tag", "--list", "--format=%(contents:body)", FIRST))
    assert (manifest.commit, manifest.verdict) == (first(released), "pass")
    objects = {path.parent.name + path.name for path in (released.folder / "storage/files/md5").rglob("*.dir")}
    assert manifest.bundle in objects
    assert released.serves()["version"] == "v0.1.0"


def test_the_tag_and_the_branch_of_a_promotion_are_one_push(released):
    wanted = {f"refs/tags/{MODEL}#production#1", "refs/heads/env/production"}
    assert [set(push) for push in released.pushes() if wanted & set(push)] == [wanted]


def test_every_link_of_the_release_is_verified_on_another_machine(released, tmp_path):
    clone = tmp_path / "clone"
    starter.git(tmp_path, "clone", "--quiet", str(released.origin), str(clone))
    done = released.shell("trunkline", "trace", "v0.1.0", "--fetch", where=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "links are verified" in done.stdout


def test_a_merge_that_was_compared_with_what_no_longer_serves_is_refused(released):
    before = released.tags()
    run = released.release(second(released))
    assert (run.code, run.jobs) == (1, {"register": "failed"})
    assert re.search("compared with the untuned base model, but .*v0.1.0", run.log), run.log
    assert released.tags() == before


def test_of_two_merges_at_once_each_has_its_own_version_or_is_told_why_not(merged, tmp_path):
    with act_world.another(merged, tmp_path) as world:
        commits = [first(world), second(world)]
        running = [world.begin_release(commit) for commit in commits]
        runs = [act.ended(*one) for one in running]
        versions = [commit for name, commit in sorted(world.tags().items()) if "@" in name]
        assert versions in (commits, commits[:1], commits[1:]), "each at most once, and the newer version the newer"
        told = (
            "it was promoted while this ran",
            "an older commit gets no newer version",
            "newer release may be promoted",
            uncompared := "was compared with the untuned base model, but v0.1.0 serves in production",
        )
        for run in runs:
            assert run.code == 0 or any(text in run.log for text in told), run.log
        assert any(run.code == 0 for run in runs), [run.log for run in runs]
        refused = any(uncompared in run.log for run in runs)
        assert world.serves()["commit"] == versions[0 if refused else -1]


def test_a_release_that_is_killed_anywhere_is_completed_by_the_next_run(merged, tmp_path):
    with act_world.another(merged, tmp_path) as world:
        killed_at(world, "refs/tags/.*@")
        assert world.tags() == {}, "its tag was on its way"
        killed_at(world, "refs/heads/env/")
        assert world.tags() == {FIRST: first(world)}, "its promotion was on its way"
        run = world.release(first(world))
        assert (run.code, run.jobs) == (0, {"register": "succeeded", "promote": "succeeded"}), run.log
        assert world.tags() == {FIRST: first(world), f"{MODEL}#production#1": first(world)}
        assert world.serves()["version"] == "v0.1.0"


def killed_at(world: World, push: str) -> None:
    """Release the first merge on a machine that is lost while it pushes such a ref."""
    with world.holding(push) as held:
        running, home = world.begin_release(first(world))
        deadline = time.monotonic() + 1200
        while not held.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.exists(), (home / "log").read_text()
        act.kill(running)


def test_the_next_release_is_compared_with_the_first_and_can_be_rolled_back(released, tmp_path):
    with act_world.another(released, tmp_path) as world:
        world.propose("next", pin=True, train__seed=2)
        run = world.pull_request("next")
        assert (run.code, world.github.statuses[-1]["state"]) == (0, "success"), run.log
        world.merge("next")
        assert world.release(second(world)).code == 0
        assert set(world.tags()) == {FIRST, SECOND, f"{MODEL}#production#1", f"{MODEL}#production#2"}
        assert world.serves()["version"] == "v0.2.0"

        why = "refunds go to the wrong queue"
        run = world.dispatch("rollout", action="rollback", version="v0.1.0", reason=why)
        assert (run.code, run.jobs) == (0, {"rollback": "succeeded"}), run.log
        assert world.serves()["version"] == "v0.1.0"
        assert world.tags()[f"{MODEL}#production#3"] == first(released)
        history = world.shell("trunkline", "history").stdout.splitlines()
        assert [line.split()[:3] for line in history[1:]] == [
            ["1", "production", "v0.1.0"],
            ["2", "production", "v0.2.0"],
            ["3", "production", "v0.1.0"],
        ]
        assert why in history[3]
        assert f"{why}; pinned: only a release newer than v0.2.0" in world.shell("trunkline", "status").stdout

        # It pins: a run of the release that was rolled back, by mistake, finds that release and does not undo that.
        before = world.tags(), world.pushes()
        run = world.release(second(world))
        assert (world.tags(), world.pushes()) == before
        assert (run.code, run.jobs) == (1, {"register": "succeeded", "promote": "failed"})
        assert "was rolled back from v0.2.0" in run.log
        assert world.serves()["version"] == "v0.1.0"
