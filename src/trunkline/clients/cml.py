"""CML's ``cml comment``, run so that it can neither upload a file nor change the machine it runs on.

What it does was recorded from CML 0.20.6, the last release; it takes no care of these itself:

- ``--publish``, on by default, sends every local file that the report links to a public server;
- ``update`` looks at a pull request's first 30 comments and takes the last with its watermark, whoever
  wrote it; where there is none it posts another one;
- every ``CML_COMMENT_*`` variable is an option;
- it adds ``safe.directory = *`` to the user's Git configuration.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from trunkline.clients import scratch
from trunkline.clients.github import Refused, Workflow
from trunkline.clients.github.http import hide
from trunkline.errors import Error

COMMAND = "cml"
SECONDS = 120.0  # a call takes two; with this it also sits out one rate limit
# What it appends to a comment is shorter; a project's name is part of it.
WATERMARK_CHARACTERS = 300
_FIRST_PAGE = 30
# What it reads; a job's other credentials are not for a tool without maintainers.
_OF_MACHINE = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS")
_OF_ACTIONS = "ACTOR|EVENT_NAME|EVENT_PATH|HEAD_REF|REF|REPOSITORY|REPOSITORY_OWNER|RUN_ID|SERVER_URL|SHA|WORKFLOW"
_KEPT = re.compile("|".join([*_OF_MACHINE, "CI", f"GITHUB_({_OF_ACTIONS})", "(?i:(https?|all|no)_proxy)"]))
_HINT = "write `comment_with: github` in params.yaml to do without CML"


class Failed(Error):
    """CML is missing, or did not do what it was asked; whether it has posted is not known."""


class Comment(NamedTuple):
    """What CML is to post.

    Attributes:
        pull: number of the pull request.
        body: Markdown, without the watermark.
        title: of the watermark, by which ``update`` finds the comment.
    """

    pull: int
    body: str
    title: str


def found() -> bool:
    """Whether there is a ``cml`` on PATH."""
    return shutil.which(COMMAND) is not None


def would_update(bodies: Sequence[str], title: str) -> int | None:
    """Which of a pull request's comments ``update`` would edit, by its place; None: it would post another."""
    shown = re.sub(r"([_*\[<])", r"\\\1", f"CML watermark {title}")
    watermark = re.compile(rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "{re.escape(shown)}"\)')
    places = [place for place, body in enumerate(bodies[:_FIRST_PAGE]) if watermark.search(body)]
    return places[-1] if places else None


def comment(action: Literal["create", "update"], wanted: Comment, workflow: Workflow) -> str:
    """Run ``cml comment`` and return the comment's address.

    Raises:
        Refused: the token may not comment.
        Failed: CML cannot be run, fails, hangs, or is another program of that name.
    """
    executable = shutil.which(COMMAND)
    if executable is None:
        raise Failed(f"there is no `{COMMAND}` on PATH", f"install CML 0.20.6, or {_HINT}")
    with scratch.folder() as folder:
        # An empty folder: whatever the report links to is not there.
        (folder / "report.md").write_text(wanted.body, encoding="utf-8")
        command = [
            *(executable, "comment", action, "--publish=false", f"--target=pr/{wanted.pull}"),
            *("--driver=github", f"--repo={workflow.server}/{workflow.repository}"),
            *(f"--watermark-title={wanted.title}", "report.md"),
        ]
        code, out, err = _run(command, folder, _environment(workflow.token, folder))
    said = hide(_cause(err or out), workflow.token)
    if code != 0 and "Resource not accessible" in out + err:
        raise Refused(f"GitHub refused `cml comment`: {said}", "give the job the permission `pull-requests: write`")
    if code != 0:
        raise Failed(f"`cml comment {action}` failed ({code}): {said}", _HINT)
    address = re.search(r"^https?://\S+$", out, re.MULTILINE)
    if address is None:
        raise Failed(f"`cml comment {action}` named no comment: {said}", f"is that `{COMMAND}` CML? {_HINT}")
    return address[0]


def _environment(token: str, folder: Path) -> dict[str, str]:
    # NODE_OPTIONS stays the user's: what repairs uploads under Node 18 is refused by Node 16, and nothing is uploaded.
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    own = {"REPO_TOKEN": token, "ITERATIVE_DO_NOT_TRACK": "1", "GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}
    return kept | own


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    try:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"`{COMMAND}` cannot be run: {error.strerror}", _HINT) from None
    with started:
        try:
            out, err = started.communicate(timeout=SECONDS)
        except BaseException as stopped:
            # Whatever it has started holds its pipes and would be waited for.
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            if isinstance(stopped, subprocess.TimeoutExpired):
                raise Failed(f"`{COMMAND} comment` did not end within {SECONDS:.0f} s", _HINT) from None
            raise
    return started.returncode, out, err


def _cause(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower()]
    return (wrong or lines or ["it said nothing"])[0]
