"""Where a killed run goes on from: one file, used only by the very same run and only when it is whole."""

import hashlib
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from trunkline.clients import files

PATH = Path(".trunkline/train/checkpoint")

_log = logging.getLogger(__name__)


def key_of(**determining: JsonValue) -> str:
    """A hash of everything that determines a run, the source of the package's loaded modules included."""
    modules = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "trunkline"}
    code = {name: files.sha256(Path(path)) for name, path in sorted(modules.items()) if path}
    text = json.dumps({**determining, "code": code, "torch": torch.__version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write(key: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint: the run's key, the hash of the rest, the rest."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    header = f"{key}\n{hashlib.sha256(content).hexdigest()}\n".encode()
    with files.replacing(PATH) as partial:
        partial.write_bytes(header + content)


def read(key: str) -> dict[str, Any] | None:
    """The state to go on from, or None where there is none for this run."""
    if not PATH.is_file():
        return None
    owner, _, rest = PATH.read_bytes().partition(b"\n")
    digest, _, content = rest.partition(b"\n")
    if owner.decode(errors="replace") != key:
        _log.info("train  starting anew: the checkpoint is of another run")
        return None
    if digest.decode(errors="replace") != hashlib.sha256(content).hexdigest():
        _log.warning("train  starting anew: the checkpoint is damaged")
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return state


def remove() -> None:
    """Forget the checkpoint of a finished run."""
    files.remove(PATH)
