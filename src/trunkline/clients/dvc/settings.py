"""The remote that DVC pushes to: how it is configured, and whether it answers."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from dvc.config import Config
from dvc.exceptions import DvcException

from trunkline.errors import Error

SECONDS = 60.0  # a cloud that does not answer is tried again and again by its own client


class Settings(NamedTuple):
    """What `.dvc/config` and the levels above and below it say together.

    Attributes:
        remote: name of the default remote; None: there is none.
        url: its address; None: the name has none.
        verify: whether what is pulled is compared with its hash.
        cache: the folder of the cache.
    """

    remote: str | None
    url: str | None
    verify: bool
    cache: Path


def settings() -> Settings:
    """Read the configuration; of a secret in it nothing is kept.

    Raises:
        Error: DVC was not initialised here, or its configuration cannot be read.
    """
    if not Path(".dvc").is_dir():
        raise Error("DVC is not set up here", "run `dvc init` in the repository's top folder")
    try:
        found = Config.from_cwd()
    except DvcException as error:
        raise Error(f"DVC's configuration: {' '.join(str(error).split())}", "correct .dvc/config") from error
    name = found["core"].get("remote")
    remote = found["remote"].get(name, {})
    return Settings(name, remote.get("url"), bool(remote.get("verify")), Path(found["cache"].get("dir", ".dvc/cache")))


def listed(name: str) -> str | None:
    """Ask the remote for its list of files.

    Returns:
        None when it answered; DVC's words when there is nothing at its address yet.

    Raises:
        Error: it refused, or did not answer within a minute.
    """
    hint = "correct the remote's url and credentials; `dvc list-url remote://" + name + "` says more with -v"
    try:
        # A process of its own, because a cloud's client cannot be told to give up.
        command = [sys.executable, "-m", "dvc", "list-url", f"remote://{name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Error(f"the remote {name} did not answer within {SECONDS:.0f} s", hint) from None
    if done.returncode == 0:
        return None
    said = _said(done.stderr)
    if "does not exist" in said:
        return said
    raise Error(f"the remote {name} refused: {said}", hint)


def _said(text: str) -> str:
    """DVC's own words of what went wrong; what follows them is where to get help."""
    return next((line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR:")), "no reason")
