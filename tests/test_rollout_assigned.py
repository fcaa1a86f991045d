"""What `promote`, `rollback` and `status` do while a release is tried, and after one was rolled back."""

import pytest
import yaml

import releases
import starter
from rollouts import CANARY, MODEL, STABLE, World
from trunkline import cli
from trunkline.clients.git import publishing, tags

NEWER = "v1.2.0"


@pytest.fixture
def world(nameless, monkeypatch) -> World:
    made = World(nameless, monkeypatch)
    releases.releases(made.clones[0], NEWER)
    return made


def start(*more: str, version: str = CANARY) -> None:
    assert cli.main(["rollout", "start", version, *more]) == 0


def refused(world, capsys, *arguments: str) -> str:
    before = starter.git(world.clones[0], "ls-remote", "origin")
    capsys.readouterr()
    assert cli.main([*arguments]) == 1
    assert starter.git(world.clones[0], "ls-remote", "origin") == before
    return capsys.readouterr().err


def promote(version: str, *more: str) -> tuple[str, ...]:
    return ("promote", version, "--to", "production", *more)


def status(capsys) -> str:
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    return capsys.readouterr().out


# promote


@pytest.mark.parametrize("version", [CANARY, NEWER])
def test_nothing_is_promoted_past_a_rollout_that_runs_or_is_held(world, capsys, version):
    start()
    for _ in range(2):
        said = refused(world, capsys, *promote(version))
        assert f"production is trying {CANARY}, since" in said
        assert "`trunkline rollout promote --reason TEXT` once it is held, or `rollback`" in said
        cli.main(["rollout", "hold", "--reason", "wait"])


def test_another_environment_is_not_concerned(world):
    start()
    assert cli.main(["promote", NEWER, "--to", "staging"]) == 0


def test_what_was_not_compared_with_what_serves_is_tried_only_with_a_reason_and_its_promotion_says_so(world, capsys):
    cli.main(promote(CANARY))
    gap = f"{NEWER} was compared with {STABLE}, but {CANARY} serves in production"
    assert gap in refused(world, capsys, "rollout", "start", NEWER)
    start("--reason", "it cannot wait", version=NEWER)
    assert world.rollout.reason == f"it cannot wait ({gap})"
    cli.main(["rollout", "hold", "--reason", "look"])
    assert cli.main(["rollout", "promote", "--reason", "it is good"]) == 0
    assert world.serves()["reason"] == f"it is good ({world.rollout.name}) ({gap})"


def test_what_serves_may_be_promoted_again_all_the_while(world):
    start()
    assert cli.main(promote(STABLE)) == 0
    assert (world.rollout.state, world.serves()["version"]) == ("running", STABLE)


def test_what_a_rollout_rolled_back_is_promoted_only_after_it_was_tried_again(world, capsys):
    start()
    cli.main(["rollout", "rollback", "--reason", "refunds go wrong"])
    said = refused(world, capsys, *promote(CANARY, "--reason", "I know better"))
    assert f"{CANARY} is not promoted to production: a rollout of {CANARY} was rolled back there" in said
    assert f"`trunkline rollout start {CANARY} --reason TEXT`" in said
    start("--reason", "it was the engine")
    cli.main(["rollout", "hold", "--reason", "look"])
    assert cli.main(["rollout", "promote", "--reason", "it was the engine"]) == 0
    assert world.serves()["version"] == CANARY
    assert cli.main(promote(CANARY)) == 0, "what serves already changes nothing"


def test_a_newer_release_than_was_rolled_back_is_promoted_and_an_older_one_is_not(world, capsys):
    start(version=NEWER)
    cli.main(["rollout", "rollback", "--reason", "worse"])
    assert f"a rollout of {NEWER} was rolled back there" in refused(world, capsys, *promote(CANARY))
    releases.releases(world.clones[0], "v1.3.0")
    assert cli.main(promote("v1.3.0")) == 0


def test_of_a_promotion_and_a_start_at_once_the_second_decides_with_what_the_first_did(world, monkeypatch, capsys):
    """The promotion has read the branch before the rollout started there."""
    here = publishing._head
    stale = here("origin", "env/production")
    start()
    answers = iter([stale])
    monkeypatch.setattr(publishing, "_head", lambda *which: next(answers, None) or here(*which))
    assert cli.main(promote(NEWER)) == 1
    assert f"production is trying {CANARY}" in capsys.readouterr().err
    assert (world.rollout.state, world.serves()["version"]) == ("running", STABLE)


# rollback


@pytest.fixture
def served(world) -> World:
    """Production has served two releases, and tries a third one."""
    cli.main(promote(CANARY))
    start("--reason", "it cannot wait", version=NEWER)
    return world


@pytest.mark.parametrize("held", [False, True])
def test_a_rollback_ends_the_rollout_in_the_same_push(served, capsys, held):
    if held:
        cli.main(["rollout", "hold", "--reason", "look"])
    before = len(served.subjects)
    assert cli.main(["rollback", "--to", STABLE, "--reason", "all is wrong", "--by", "bob"]) == 0
    assert "it ended the rollout that ran there" in capsys.readouterr().out
    assert len(served.subjects) == before + 1
    ended = served.rollout
    assert (ended.state, ended.weight, ended.canary, ended.stable) == ("rolled_back", 0.0, NEWER, CANARY)
    assert (ended.because, ended.by, ended.reason) == ("human", "bob", "all is wrong")
    assert served.serves()["version"] == STABLE
    assert f"{MODEL}#production#3" in {tag.name for tag in tags.published("origin")}
    assert f"a rollout of {NEWER} was rolled back there" in refused(served, capsys, *promote(NEWER))


def test_a_rollback_to_what_serves_says_how_to_end_the_rollout(served, capsys):
    said = refused(served, capsys, "rollback", "--to", CANARY, "--reason", "x")
    assert f"production already serves {CANARY}, and tries {NEWER}" in said
    assert "`trunkline rollout rollback --reason TEXT`" in said


def test_a_rollback_that_is_refused_leaves_the_rollout(served, capsys):
    refused(served, capsys, "rollback", "--to", NEWER, "--reason", "it never served")
    assert served.rollout.state == "running"


def test_a_rollout_that_nobody_can_read_does_not_stop_a_rollback(served):
    clone = served.clones[1]
    starter.git(clone, "fetch", "-q", "origin", "env/production")
    starter.git(clone, "checkout", "-q", "FETCH_HEAD")
    (clone / f"{MODEL}.rollout.yaml").write_text("state: 3\n")
    starter.git(clone, "commit", "-qam", "break it")
    starter.git(clone, "push", "-q", "origin", "HEAD:env/production")
    assert cli.main(["rollback", "--to", STABLE, "--reason", "all is wrong"]) == 0
    assert served.serves()["version"] == STABLE


def test_after_a_rollout_is_over_a_rollback_leaves_its_record(served, capsys):
    cli.main(["rollout", "rollback", "--reason", "worse", "--by", "ann"])
    record = served.rollout
    capsys.readouterr()
    assert cli.main(["rollback", "--to", STABLE, "--reason", "older still"]) == 0
    assert "ended the rollout" not in capsys.readouterr().out
    assert served.rollout == record


# status


def test_what_is_tried_or_was_rolled_back_does_not_wait_to_be_promoted(world, capsys):
    assert f"{NEWER} was not promoted yet" in status(capsys)
    start(version=NEWER)
    shown = status(capsys)
    assert f"{NEWER} is being tried at 25%" in shown
    assert "trunkline promote" not in shown
    cli.main(["rollout", "rollback", "--reason", "worse"])
    shown = status(capsys)
    assert f"{NEWER} tried in production: rollback" in shown
    assert "trunkline promote" not in shown
    releases.releases(world.clones[0], "v1.3.0")
    assert "v1.3.0 was not promoted yet: `trunkline promote v1.3.0 --to production`" in status(capsys)


def test_a_newer_release_waits_for_the_rollout_that_runs(world, capsys):
    start()
    shown = status(capsys)
    assert f"{NEWER} waits until the rollout of {CANARY} is over" in shown
    assert "trunkline promote" not in shown


def test_a_rollout_elsewhere_does_not_keep_a_release_from_production(world, capsys):
    assert cli.main(["promote", STABLE, "--to", "staging"]) == 0
    start("--environment", "staging", version=NEWER)
    assert f"{NEWER} was not promoted yet" in status(capsys)


# start


def test_a_start_that_is_run_again_finds_it_done(world, capsys):
    start()
    before = starter.git(world.clones[0], "ls-remote", "origin")
    capsys.readouterr()
    start()
    said = capsys.readouterr().out
    assert f"{CANARY} in production: start at 0.25" in said
    assert f"{CANARY} is tried already, since {world.rollout.started}: nothing was changed" in said
    assert cli.main(["rollout", "start", CANARY, "--split", "0.5"]) == 1
    assert "is trying v1.1.0 already, as a ramp" in capsys.readouterr().err
    assert starter.git(world.clones[0], "ls-remote", "origin") == before
    assert yaml.safe_load(starter.git(world.origin, "show", f"env/production:{MODEL}.rollout.yaml"))["weight"] == 0.25
