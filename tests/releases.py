"""Releases of a scratch repository: Git tags as `trunkline release` makes them, without training anything."""

from pathlib import Path

import pytest

import starter
from finished import TASK
from trunkline import registry
from trunkline.clients import files, git
from trunkline.clients.git import tags
from trunkline.records import Production
from trunkline.records.release import Content, Manifest, message
from trunkline.verdict import Verdict

MODEL = "support-triage"
ADAPTER = "adapter_model.safetensors"


def clones(folder: Path, count: int = 1) -> list[Path]:
    """A bare ``origin.git`` with one commit on main, and clones of it, each with Git's identity set."""
    starter.git(folder, "init", "-q", "--bare", "origin.git")
    starter.git(folder, "clone", "-q", "origin.git", "seed")
    commit(folder / "seed", "first")
    starter.git(folder / "seed", "push", "-q", "origin", "HEAD:main")
    made = [folder / f"clone-{number}" for number in range(count)]
    for clone in made:
        starter.git(folder, "clone", "-q", "origin.git", str(clone))
        starter.git(clone, "config", "user.name", clone.name)
        starter.git(clone, "config", "user.email", f"{clone.name}@example.com")
    return made


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a bare origin with params.yaml; the test runs in it."""
    (made,) = clones(folder)
    monkeypatch.chdir(made)
    starter.settings(made)
    return made


def commit(folder: Path, text: str) -> str:
    """Commit a file that holds ``text``."""
    (folder / "code.txt").write_text(text)
    starter.git(folder, "add", "code.txt")
    starter.git(folder, "commit", "-qm", text)
    return starter.git(folder, "rev-parse", "HEAD")


def manifest(version: str, revision: str, **changes: object) -> Manifest:
    """A valid manifest of a release that nobody trained."""
    made = Manifest(
        model=MODEL,
        version=version,
        commit=revision,
        lock="1" * 64,
        data={"data/train.parquet": Content(md5="d" * 32, sha256="2" * 64)},
        base={"source": "path:models/small", "sha256": "b" * 64},
        kind="lora",
        weights={ADAPTER: "3" * 64},
        task=TASK,
        guard="0123456789ab",
        decoding={},
        params={},
        scores={},
        production=Production(release=None, revision=None, weights=None, partitions=()),
        verdict=Verdict.PASS,
        approval=None,
        environment=None,
        tools={},
        bundle=None,
        hub=None,
        created="2026-11-20T10:00:00+00:00",
        by="ann",
        run=None,
    )
    return made.model_copy(update=changes)


def release(version: str, revision: str, **changes: object) -> None:
    """Tag a commit as a release in the repository of the current folder."""
    made = manifest(version, git.resolve(revision), **changes)
    tags.create(
        f"{MODEL}@{version}", revision, message(f"release {MODEL} {version}", made), tags.last(tags.everything())
    )


def releases(folder: Path, *versions: str) -> dict[str, str]:
    """Commit and release each version in the repository of the current folder, push all, and return the commits."""
    commits = {version: commit(folder, f"release {version}") for version in versions}
    for version, revision in commits.items():
        release(version, revision, production=_pinned())
    if tags.origin():
        starter.git(folder, "push", "-q", "--tags", "origin", "HEAD:main")
    return commits


def _pinned() -> Production:
    """What serves in production, as `trunkline pin` would write it; before anything does, the newest release."""
    state = registry.of(tags.everything(), MODEL)
    serves = state.environments.get("production")
    tag = serves.tag if serves else next(reversed(state.versions.values()), None)
    name = serves.named if serves else next(reversed(state.versions), None)
    return Production(release=name and str(name), revision=tag and tag.commit, weights=None, partitions=())


def digest(path: Path) -> Content:
    """A file that only Git holds."""
    return Content(md5=None, sha256=files.sha256(path))
