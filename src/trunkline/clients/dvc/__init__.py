"""What DVC knows about this working tree, through its command line."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from trunkline.clients import files
from trunkline.errors import Error

PIPELINE = Path("dvc.yaml")


def changed_stages() -> list[str]:
    """Names of the stages whose code, data, params or outputs differ from dvc.lock, in DVC's order.

    Raises:
        Error: there is no pipeline here, another DVC command holds the lock, or DVC failed.
    """
    if not PIPELINE.is_file():
        raise Error(f"{PIPELINE} not found", "run this from the repository's top folder")
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Error(f"dvc status failed: {_last(done.stderr)}", "run `dvc status` to see why")
    try:
        status = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise Error(f"dvc status answered without JSON: {done.stdout[:80]!r}", "run `dvc status`") from None
    return [_stage(name) for name in status]


def _stage(name: str) -> str:
    # A stage of another folder's dvc.yaml is reported as `path/dvc.yaml:stage`.
    return name.removeprefix(f"{PIPELINE}:")


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    wrong = [line for line in lines if line.startswith("ERROR:")]
    return (wrong or lines or ["it said nothing"])[0].removeprefix("ERROR: ")


def recorded_hash(lock: bytes, path: str) -> str:
    """DVC's content hash of an output in the text of a dvc.lock.

    Raises:
        Error: the lock is not YAML, or no stage has that output.
    """
    try:
        stages = yaml.safe_load(lock)["stages"].values()
        hashes = [out["md5"] for stage in stages for out in stage.get("outs", ()) if out["path"] == path]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise Error(
            f"that commit's dvc.lock cannot be read: {error}", "choose a commit made after `dvc repro`"
        ) from None
    if not hashes:
        raise Error(f"that commit's dvc.lock has no output {path}", "choose a commit made after `dvc repro`")
    return str(hashes[0])


def kept(path: Path) -> dict[str, str]:
    """What a ``.dvc`` file names: DVC's content hash by path, from that file's folder.

    Raises:
        Error: it is none.
    """
    try:
        outs = yaml.safe_load(files.read_text(path))["outs"]
        return {str(out["path"]): str(out["md5"]) for out in outs}
    except (yaml.YAMLError, KeyError, TypeError):
        raise Error(f"{path.name} is no file of `dvc add`", "run `dvc add` again for what it names") from None


def fetch(revision: str, path: str, target: Path) -> None:
    """As `revisions.fetch`, which needs DVC's library: who only asks DVC's command line does not wait for that."""
    from trunkline.clients.dvc import revisions

    revisions.fetch(revision, path, target)
