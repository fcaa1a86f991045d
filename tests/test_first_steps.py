"""The README's way from a clone to a pull request with a comment, as far as one can go without an account."""

import contextlib
import os
import re
import shlex
import subprocess
from pathlib import Path

from dvc.cli import main as dvc
from dvc.repo import Repo

import starter
from trunkline import params
from trunkline.cli.commands import OPERATIONS
from trunkline.clients.dvc import settings

README = (starter.ROOT / "README.md").read_text()
COMMANDS = re.search(r"## From clone to a pull request with a comment\n.*?```\n(.*?)```", README, re.S)[1].splitlines()


def command(start: str) -> str:
    """The one command that begins so, without its comment."""
    (found,) = [line for line in COMMANDS if line.startswith(start)]
    return found.partition("#")[0].strip()


def test_at_most_ten_commands_lead_to_a_pull_request():
    assert len(COMMANDS) <= 10
    assert (COMMANDS[0].partition(" ")[0], COMMANDS[-1].partition(" --")[0]) == ("git", "gh pr create")
    used = re.findall(r"trunkline (\w+)", "\n".join(COMMANDS))
    assert used and set(used) <= OPERATIONS.keys()


def test_the_dvc_remote_that_they_make_is_the_default_and_verifies(in_tmp):
    Repo.init(str(in_tmp), no_scm=True).close()
    for start in ("dvc remote add", "dvc remote modify"):
        assert dvc(command(start).split()[1:]) == 0
    found = settings.settings()
    assert (found.remote, found.url, found.verify) == ("storage", "s3://BUCKET/FOLDER", True)


def test_the_change_that_they_propose_is_one_of_params_and_no_other(in_tmp):
    text = (starter.ROOT / "params.yaml").read_text()
    Path("params.yaml").write_text(text)
    before = params.load(Path("params.yaml"))
    subprocess.run(shlex.split(command("sed")), check=True)
    after = params.load(Path("params.yaml"))
    assert after.train.learning_rate < before.train.learning_rate, "it says that it learns more slowly"
    assert after.model_copy(update={"train": before.train}) == before


def test_make_knows_what_they_ask_it_for():
    with contextlib.chdir(starter.ROOT):
        wanted = re.search(r"make (\S+)", command("make"))[1]
        assert re.search(rf"^{re.escape(wanted)}:", Path("Makefile").read_text(), re.M)


def test_what_a_shell_has_set_for_another_project_reaches_no_command_of_make():
    names = ("HOME", "OPTIMIZE", "PATH", "SAFEPATH", "WARNINGS", "IOENCODING", "UTF8")
    other = {f"PYTHON{name}": "other" for name in names}
    other |= {"VIRTUAL_ENV": "/other", "PIP_TARGET": "/other", "LC_ALL": "C"}
    asked = ["make", "--eval", "show: ; @env", "show"]
    shown = subprocess.run(
        asked, cwd=starter.ROOT, env=os.environ | other, capture_output=True, text=True, check=True
    ).stdout
    seen = dict(line.partition("=")[::2] for line in shown.splitlines())
    assert not other.keys() & seen.keys()
    assert seen["PATH"].startswith(f"{starter.ROOT}/.venv/bin:"), "a `dvc` elsewhere on it is not the one that runs"
