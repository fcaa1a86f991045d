"""An assignment is published whole or not at all, and a lost race is decided anew."""

import contextlib
import os
import signal
import time
from types import SimpleNamespace

import psutil
import pytest

import starter
from trunkline.clients.git import branches, publishing, tags
from trunkline.errors import Error
from trunkline.records.release import Amendment, Change, Tag

BRANCH = "env/production"


def change(known: list[Tag], content: str = "v1") -> Change:
    """The next assignment by number, as the registry would decide."""
    number = 1 + max((int(tag.name.rpartition("#")[2]) for tag in known), default=0)
    return Change(
        Tag(f"m#production#{number}", "HEAD", 0, f"serve {content}\n\n{{}}\n"), BRANCH, {"m.yaml": content.encode()}
    )


def assign(decide) -> Change:
    return publishing.publish(BRANCH, lambda _, known: decide(known))


def publish(content: str) -> None:
    assign(lambda known: change(known, content))


def forked(action) -> int:
    """Do something in a process of its own, which ends with 0 if it was done."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def its(session: int) -> list[int]:
    """The processes of a session that still run."""
    running = []
    for process in psutil.process_iter(["pid", "status"]):
        with contextlib.suppress(ProcessLookupError):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session:
                running.append(process.pid)
    return running


def on_origin(folder, content: str = "m.yaml") -> str:
    return starter.git(folder.parent / "origin.git", "show", f"{BRANCH}:{content}")


def test_tag_and_branch_reach_the_remote_and_this_clone_together(clones):
    assign(change)
    assert on_origin(clones[0]) == "v1"
    assert (
        [tag.name for tag in tags.everything()] == [tag.name for tag in tags.published("origin")] == ["m#production#1"]
    )
    assert starter.git(clones[0], "log", "--format=%s", f"origin/{BRANCH}") == "serve v1"
    assert starter.git(clones[0], "status", "--porcelain") == ""


def test_a_lost_race_is_decided_anew_with_what_the_winner_made(clones, monkeypatch):
    seen = []

    def decide(known):
        if not seen:
            os.chdir(clones[1])
            publish("winner")
            os.chdir(clones[0])
        seen.append([tag.name for tag in known])
        return change(known, "second")

    assign(decide)
    assert seen == [[], ["m#production#1"]]
    assert on_origin(clones[0]) == "second"
    assert starter.git(clones[0], "log", "--format=%s", f"origin/{BRANCH}") == "serve second\nserve winner"


def test_many_who_publish_at_once_all_get_through_one_after_the_other(clones, nameless):
    folders = [*clones, nameless / "clone-2", nameless / "clone-3"]
    for folder in folders[2:]:
        starter.git(nameless, "clone", "-q", "--depth=1", f"file://{nameless}/origin.git", str(folder))
    children = [forked(lambda folder=folder: (os.chdir(folder), publish(str(folder)))) for folder in folders]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert [tag.name for tag in tags.published("origin")] == [f"m#production#{number}" for number in range(1, 5)]
    branches.refresh("origin", "env/")
    served = starter.git(clones[0], "log", "--format=%s", f"origin/{BRANCH}").split("\n")
    assert sorted(served) == sorted(f"serve {folder}" for folder in folders)


def test_an_amendment_is_decided_by_the_branch_it_is_pushed_on(clones):
    assign(change)
    seen = []

    def decide(head, known):
        content = branches.at(head, "m.yaml").decode()
        if not seen:
            os.chdir(clones[1])
            publishing.amend(BRANCH, lambda *_: Amendment("winner", {"m.yaml": b"v2"}, None))
            os.chdir(clones[0])
        seen.append((content, [tag.name for tag in known]))
        return None if content == "v3" else Amendment("second\n\nwith a reason", {"m.yaml": b"v3"}, None)

    assert publishing.amend(BRANCH, decide).files == {"m.yaml": b"v3"}
    assert seen == [("v1", ["m#production#1"]), ("v2", ["m#production#1"])]
    assert on_origin(clones[0]) == "v3"
    assert starter.git(clones[0], "log", "-3", "--format=%s", f"origin/{BRANCH}") == "second\nwinner\nserve v1"
    made = publishing.head(BRANCH)
    assert publishing.amend(BRANCH, decide) is None, "nothing is left to do"
    assert publishing.head(BRANCH) == branches.remote_head("origin", BRANCH) == made


def test_a_tag_and_several_files_are_amended_together_or_not_at_all(clones):
    wanted = change([])
    amendment = Amendment("promote", {"m.yaml": b"v1", "m.rollout.yaml": b"state: promoted"}, wanted.tag)
    publishing.amend(BRANCH, lambda *_: amendment)
    assert on_origin(clones[0], "m.rollout.yaml") == "state: promoted"
    assert (
        [tag.name for tag in tags.everything()] == [tag.name for tag in tags.published("origin")] == [wanted.tag.name]
    )
    hook = clones[0].parent / "origin.git/hooks/update"
    hook.write_text("#!/bin/sh\ncase $1 in refs/tags/*) exit 1;; esac\n")
    hook.chmod(0o755)
    with pytest.raises(Error, match="cannot push|hook declined"):
        publishing.amend(BRANCH, lambda _, known: amendment._replace(files={"m.yaml": b"v2"}, tag=change(known).tag))
    assert on_origin(clones[0]) == "v1"


def test_without_a_branch_or_a_remote_an_amendment_begins_one_here(clones):
    starter.git(clones[0], "remote", "remove", "origin")
    assert publishing.head(BRANCH) is None
    publishing.amend(BRANCH, lambda head, _: Amendment("first", {"m.yaml": str(head).encode()}, None))
    publishing.amend(BRANCH, lambda head, _: Amendment("second", {"n.yaml": str(head).encode()}, None))
    head = publishing.head(BRANCH)
    assert branches.at(head, "m.yaml") == b"None"
    assert branches.versions(head, "m.yaml") == [b"None"]
    assert branches.histories(None, "env/", "n.yaml") == {BRANCH: [branches.at(head, "n.yaml")]}


def test_a_lock_that_is_held_there_is_waited_for_longer_each_time(clones, monkeypatch):
    held, pauses = clones[0].parent / f"origin.git/refs/heads/{BRANCH}.lock", []
    held.parent.mkdir()
    held.touch()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            held.unlink()

    monkeypatch.setattr(publishing, "time", SimpleNamespace(sleep=pause))
    assign(change)
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    assert on_origin(clones[0]) == "v1"


def test_a_race_is_not_run_for_ever(clones, monkeypatch):
    monkeypatch.setattr(publishing, "TRIES", 2)

    def decide(known):
        os.chdir(clones[1])
        assign(lambda there: change(there, f"winner {len(there)}"))
        os.chdir(clones[0])
        return change(known, "loser")

    with pytest.raises(Error, match="others were faster 2 times.*moved on"):
        assign(decide)
    assert not any("loser" in tag.message for tag in [*tags.everything(), *tags.published("origin")])


@pytest.mark.parametrize("kind", ["lightweight", "of a tag", "of a file"])
@pytest.mark.parametrize("alone", [False, True], ids=["at the remote", "without a remote"])
def test_a_name_that_a_tag_has_which_says_nothing_is_told_and_is_no_lost_race(clones, kind, alone):
    assign(change)
    words = {"lightweight": [], "of a tag": ["-am", "x"], "of a file": ["-am", "x"]}[kind]
    target = {"lightweight": "HEAD", "of a tag": "m#production#1", "of a file": "HEAD:code.txt"}[kind]
    starter.git(clones[0], "tag", *words, "m#production#2", target)
    starter.git(clones[0], "push", "-q", "origin", "m#production#2")
    if alone:
        starter.git(clones[0], "remote", "remove", "origin")
    with pytest.raises(Error, match="tag m#production#2 is there and says nothing") as caught:
        assign(lambda known: change(known, "v2"))
    starter.git(clones[0], *caught.value.hint.split("`")[1].split()[1:])
    assign(lambda known: change(known, "v2"))
    assert [tag.name for tag in tags.everything()] == ["m#production#1", "m#production#2"]


def test_what_is_there_already_is_not_made_again(clones):
    assign(change)
    made = branches.remote_head("origin", BRANCH)
    assign(lambda known: change([]))
    assert branches.remote_head("origin", BRANCH) == made
    starter.git(clones[0].parent / "origin.git", "branch", "-D", BRANCH)
    assign(lambda known: change([]))
    assert on_origin(clones[0]) == "v1", "a branch that was lost is written again"
    assert len(tags.published("origin")) == 1


def test_a_push_that_is_refused_leaves_nothing_behind(clones):
    hook = clones[0].parent / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'the disk is full' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Error, match="the disk is full"):
        assign(change)
    assert tags.everything() == []
    assert branches.remote_head("origin", BRANCH) is None


@pytest.mark.parametrize(
    ("hook", "seen"), [("clone-0/.git/hooks/pre-push", []), ("origin.git/hooks/post-receive", [1])]
)
def test_killed_before_or_after_the_push_it_is_run_again(clones, hook, seen):
    """Before it nobody sees anything; after it all is there but this clone's tag, which the next look brings."""
    path, pid = clones[0].parent / hook, clones[0].parent / "pid"
    path.write_text(f"#!/bin/sh\n[ -e {pid} ] || exit 0\nkilled=$(cat {pid})\nrm {pid}\nkill -9 $killed\nexit 1\n")
    path.chmod(0o755)
    child = forked(lambda: (os.setsid(), pid.write_text(str(os.getpid())), publish("v1")))
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    while its(child):
        time.sleep(0.01)  # Git, which outlives it, is done with the refs
    assert tags.everything() == []
    assert [len(found) for found in [tags.published("origin")] if found] == seen
    assign(change)
    assert len(tags.everything()) == len(seen) + 1


def test_without_a_remote_the_refs_of_this_clone_are_set(clones):
    starter.git(clones[0], "remote", "remove", "origin")
    assign(change)
    assign(lambda known: change(known, "v2"))
    assert [tag.name for tag in tags.everything()] == ["m#production#1", "m#production#2"]
    assert starter.git(clones[0], "show", f"{BRANCH}:m.yaml") == "v2"


def test_an_unreachable_remote_decides_nothing(clones):
    starter.git(clones[0], "remote", "set-url", "origin", str(clones[0] / "nowhere"))
    with pytest.raises(Error, match="nowhere") as caught:
        assign(change)
    assert "git remote -v" in caught.value.hint
    assert tags.everything() == []
