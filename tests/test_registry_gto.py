"""GTO itself reads the tags that we make as we do; and where it reads tags otherwise, on purpose."""

import os
import subprocess
import sys
from pathlib import Path

import gto.api
import pytest

import releases
import starter
from trunkline import registry
from trunkline.clients.git import tags
from trunkline.operations import promote, rollback

MODEL = releases.MODEL


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Three releases of our own, two environments, one rollback; and three models that GTO's way of tagging made."""
    folder = tmp_path_factory.mktemp("gto")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("GIT_CONFIG_GLOBAL", str(folder / "none"))
        starter.git(folder, "init", "-q")
        starter.git(folder, "config", "user.name", "ann")
        starter.git(folder, "config", "user.email", "ann@example.com")
        settings = starter.settings(folder)
        commits = releases.releases(folder, "v1.0.0", "v1.1.0", "v1.2.0")
        promote.run(settings, "v1.0.0", "production")
        promote.run(settings, "v1.1.0", "canary")
        promote.run(settings, "v1.1.0", "production")
        rollback.run(settings, "v1.0.0", "refunds go to the wrong queue", "production")
        foreign(commits)
        yield folder


def foreign(commits: dict[str, str]) -> None:
    """Models whose tags tie in time, disagree with their counter, or lost the version that serves."""
    first, second = commits["v1.0.0"], commits["v1.1.0"]
    for model in ("tied", "skewed", "withdrawn", "emptied"):
        tag(f"{model}@v1.0.0", first, 100)
        tag(f"{model}@v2.0.0", second, 101)
    for number, commit in ((1, second), (2, first), (3, second)):
        tag(f"tied#production#{number}", commit, 200)
    tag("skewed#production#30", first, 300)
    tag("skewed#production#31", second, 299)
    for model in ("withdrawn", "emptied"):
        tag(f"{model}#production#1", first, 200)
        tag(f"{model}#production#2", second, 201)
    tag("withdrawn@v2.0.0!", second, 202)
    tag("emptied#production!#3", second, 202)


def tag(name: str, commit: str, time: int) -> None:
    environment = {**os.environ, "GIT_COMMITTER_DATE": f"{1_700_000_000 + time} +0000"}
    subprocess.run(["git", "tag", "-am", "x", name, commit], check=True, env=environment)


@pytest.fixture(scope="module")
def theirs(repository):
    return gto.api.show(repository)


@pytest.fixture(scope="module")
def ours(repository):
    return registry.fold(tags.everything())


def test_gto_reads_our_versions_and_environments_also_after_a_rollback(theirs, ours):
    state = ours[MODEL]
    assert theirs[MODEL]["version"] == str(state.latest) == "v1.2.0"
    served = {environment: str(assigned.version) for environment, assigned in state.environments.items()}
    assert theirs[MODEL]["stage"] == served == {"canary": "v1.1.0", "production": "v1.0.0"}


def test_gto_tells_our_history_in_our_order(repository, ours):
    events = [event for event in gto.api.history(repository, artifact=MODEL) if event["stage"]]
    entries = [(entry.environment, entry.version, entry.tag) for entry in registry.history(ours[MODEL])]
    assert [(event["stage"], event["version"], event["ref"]) for event in reversed(events)] == entries


def test_gtos_command_finds_what_serves(repository):
    command = [str(Path(sys.executable).parent / "gto"), "show", f"{MODEL}#production", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "v1.0.0"


@pytest.mark.parametrize(
    ("model", "gto_says", "we_say"),
    [
        ("tied", "v1.0.0", "v2.0.0"),  # three assignments in one second: GTO has no order for them
        ("skewed", "v1.0.0", "v2.0.0"),  # a machine whose clock is behind assigns the next number
        ("withdrawn", "v1.0.0", None),  # GTO lets production serve what it served before, which nobody decided
        ("emptied", "v1.0.0", None),  # and so it does where the assignment was taken back
    ],
)
def test_where_we_read_tags_otherwise(theirs, ours, model, gto_says, we_say):
    assigned = ours[model].environments.get("production")
    version = None if assigned is None or assigned.version is None else str(assigned.version)
    assert (theirs[model]["stage"]["production"], version) == (gto_says, we_say)
