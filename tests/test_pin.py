"""Pin and fetch production: a Git revision's candidate, from DVC's cache or remote, verified."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import releases
import starter
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations import pin, promote
from trunkline.records import Base, Bundle, Production, Task
from trunkline.stages import features, production

PIPELINE = """
stages:
  base:
    cmd: mkdir -p models && cp -r made/base models/base
    outs: [models/base]
  train:
    cmd: mkdir -p models && cp -r made/candidate models/candidate
    outs: [models/candidate]
"""


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], check=True, capture_output=True)


def make_candidate(folder: Path, content: str) -> None:
    """A trained candidate as the train stage leaves it, in `made/`, which DVC's stages copy."""
    base_hash = files.sha256(folder / "made/base/model.safetensors")
    candidate = folder / "made/candidate"
    candidate.mkdir(parents=True, exist_ok=True)
    (candidate / "adapter_model.safetensors").write_text(content)
    bundle = Bundle(
        kind="lora",
        release=None,
        base=base_hash,
        weights={"adapter_model.safetensors": files.sha256(candidate / "adapter_model.safetensors")},
        task=Task.read(features.TASK),
        partitions=("2026-07", "2026-08"),
        trained_on="0" * 64,
        params={},
    )
    files.write_text(candidate / "bundle.json", bundle.text())


def make_base(folder: Path, content: str) -> None:
    base = folder / "made/base"
    base.mkdir(parents=True, exist_ok=True)
    (base / "model.safetensors").write_text(content)
    digest = files.sha256(base / "model.safetensors")
    record = Base(source=f"path:{content}", weights={"model.safetensors": digest}, sha256=digest)
    files.write_text(base / "base.json", record.text())


def commit(folder: Path, message: str) -> str:
    dvc("repro", "--force")
    starter.git(folder, "add", "-A")
    starter.git(folder, "commit", "-qm", message)
    return starter.git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A repository with one trained candidate, committed."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        starter.git(folder, "init", "-q")
        dvc("init", "-q")
        starter.inputs(folder)
        starter.examples(folder)
        features.run(starter.settings(folder))
        make_base(folder, "base one")
        make_candidate(folder, "first")
        (folder / "dvc.yaml").write_text(PIPELINE)
        commit(folder, "first candidate")
    return folder


@pytest.fixture
def repository(built, in_tmp):
    shutil.copytree(built, in_tmp, dirs_exist_ok=True)
    return in_tmp


def test_before_the_first_release_production_is_the_untuned_base(repository):
    settings = starter.settings(repository)
    production.run(settings)
    bundle = Bundle.read(production.FOLDER / "bundle.json")
    assert (bundle.kind, bundle.release, bundle.weights) == ("base", None, {})
    assert bundle.task == Task.read(features.TASK)


def test_a_pinned_revision_is_fetched_though_the_working_tree_has_moved_on(repository):
    settings = starter.settings(repository)
    make_candidate(repository, "second")
    commit(repository, "second candidate")
    assert "pins HEAD~1" in pin.run(settings, "HEAD~1")
    pinned = Production.read(Path(settings.production.pinned))
    assert pinned.partitions == ("2026-07", "2026-08")
    assert pinned.weights.endswith(".dir")
    production.run(settings)
    assert (production.FOLDER / "adapter_model.safetensors").read_text() == "first"
    assert Bundle.read(production.FOLDER / "bundle.json").release == "HEAD~1"


def test_a_release_on_another_base_model_brings_it_along(repository):
    settings = starter.settings(repository)
    make_base(repository, "base two")
    make_candidate(repository, "second")
    commit(repository, "second candidate")
    pin.run(settings, "HEAD~1")
    production.run(settings)
    assert (production.FOLDER / "base/model.safetensors").read_text() == "base one"


def test_base_unpins(repository):
    settings = starter.settings(repository)
    pin.run(settings, "HEAD")
    assert "untuned base model" in pin.run(settings, "base")
    assert Production.read(Path(settings.production.pinned)).revision is None


def test_a_release_is_pinned_by_its_version_and_production_by_nothing(repository):
    settings = starter.settings(repository)
    path = Path(settings.production.pinned)
    assert "untuned base model" in pin.run(settings)
    first = starter.git(repository, "rev-parse", "HEAD")
    releases.release("v1.0.0", first)
    assert "untuned base model" in pin.run(settings), "released, and not yet serving"
    assert "pins v1.0.0" in pin.run(settings, "v1.0.0")
    by_version = Production.read(path)
    assert (by_version.release, by_version.revision) == ("v1.0.0", first)
    promote.run(settings, "v1.0.0", "production", by="ann")
    starter.git(repository, "commit", "-q", "--allow-empty", "-m", "main moves on")
    pin.run(settings, "base")
    assert "pins v1.0.0" in pin.run(settings)
    assert Production.read(path) == by_version
    starter.git(repository, "remote", "add", "origin", "../nowhere.git")
    with pytest.raises(Error, match=r"nowhere\.git"):
        pin.run(settings)
    assert Production.read(path) == by_version, "what this clone does not know of is not the untuned base model"


@pytest.mark.parametrize(
    ("tag", "wanted", "problem"),
    [
        ("support-triage@v1.0.0!", "v1.0.0", "v1.0.0 was withdrawn"),
        ("support-triage@v1.0.0!", None, "v1.0.0 was withdrawn"),
        ("v9.9.9", "v9.9.9", "there is no release v9.9.9"),
        ("v9.9.9", "other@v1.0.0", "is a release of other"),
    ],
)
def test_what_is_no_release_is_not_pinned(in_tmp, tag, wanted, problem):
    starter.git(in_tmp, "init", "-q")
    starter.git(in_tmp, "commit", "-q", "--allow-empty", "-m", "one")
    releases.release("v1.0.0", "HEAD")
    settings = starter.settings(in_tmp)
    starter.git(in_tmp, "tag", "-am", "x", "support-triage#production#1")
    starter.git(in_tmp, "tag", "-am", "x", tag)
    with pytest.raises(Error, match=problem):
        pin.run(settings, wanted)
    assert not Path(settings.production.pinned).exists()


def test_production_that_serves_no_release_is_told(in_tmp):
    starter.git(in_tmp, "init", "-q")
    starter.git(in_tmp, "commit", "-q", "--allow-empty", "-m", "one")
    starter.git(in_tmp, "tag", "-am", "x", "support-triage#production#1")
    with pytest.raises(Error, match="which is no release") as caught:
        pin.run(starter.settings(in_tmp))
    assert "trunkline pin" in caught.value.hint


def test_a_revision_without_a_candidate_is_refused(repository):
    settings = starter.settings(repository)
    with pytest.raises(Error, match="no such revision|unknown"):
        pin.run(settings, "nowhere")
    (repository / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    starter.git(repository, "commit", "-qam", "empty lock")
    with pytest.raises(Error, match="has no output models/candidate"):
        pin.run(settings, "HEAD")


def test_weights_that_are_nowhere_are_named(repository):
    settings = starter.settings(repository)
    pin.run(settings, "HEAD")
    shutil.rmtree(repository / ".dvc/cache")
    shutil.rmtree(repository / "models")
    make_models(repository)
    with pytest.raises(Error, match="cannot fetch models/candidate") as caught:
        production.run(settings)
    assert "dvc push" in caught.value.hint
    assert not production.FOLDER.exists()


def test_a_corrupted_cache_object_is_never_used(repository):
    """DVC trusts its cache; what is fetched here is hashed."""
    settings = starter.settings(repository)
    pin.run(settings, "HEAD")
    content = (repository / "models/candidate/adapter_model.safetensors").read_text()
    shutil.copytree(repository / ".dvc/cache", repository / "made/objects")
    for cached in (repository / ".dvc/cache").rglob("*"):
        if cached.is_file() and cached.read_text() == content:
            cached.chmod(0o644)
            cached.write_text("garbage")
            cached.chmod(0o444)
    with pytest.raises(Error, match="adapter_model.safetensors is damaged in the local DVC cache"):
        production.run(settings)
    assert not production.FOLDER.exists()
    remote(repository, "storage", repository / "made/objects")
    production.run(settings)
    assert (production.FOLDER / "adapter_model.safetensors").read_text() == content, "the remote has it whole"


def remote(folder: Path, name: str, kept: Path) -> None:
    """Let the DVC remote be a folder beside the repository that holds these objects."""
    if kept.exists():
        shutil.copytree(kept, folder / name, dirs_exist_ok=True)
    (folder / ".dvc/config").write_text(f"[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = ../{name}\n")


def test_what_was_trained_before_the_remote_moved_is_fetched_from_where_it_is_now(repository):
    """The commit's own configuration names a remote that is gone."""
    settings = starter.settings(repository)
    remote(repository, "old", repository / ".dvc/cache")
    starter.git(repository, "commit", "-qam", "keep objects in old")
    (repository / "old").rename(repository / "new")
    shutil.rmtree(repository / ".dvc/cache")
    remote(repository, "new", repository / "nothing")
    starter.git(repository, "commit", "-qam", "keep objects in new")
    assert "pins HEAD~1" in pin.run(settings, "HEAD~1")
    production.run(settings)
    assert (production.FOLDER / "adapter_model.safetensors").read_text() == "first"
    assert not list(production.FOLDER.parent.glob("*partial*")), "nothing half fetched is left"


def test_a_broken_pin_is_refused(repository):
    settings = starter.settings(repository)
    Path(settings.production.pinned).write_text(json.dumps({"release": "x"}))
    with pytest.raises(Error, match="data/production.json: revision"):
        production.run(settings)


def make_models(folder: Path) -> None:
    shutil.copytree(folder / "made/base", folder / "models/base")
