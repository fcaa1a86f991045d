"""`trunkline release` with real Git, a bare origin and a real DVC remote: one merged commit, exactly one release."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from dvc.repo import Repo

import finished
import merged
import s3
import starter
from hub_double import TOKEN
from merged import Places
from test_remote import small_disk
from test_signing import key_pair
from trunkline import cli, identity, params
from trunkline.clients import bundles, dvc, files, process, signing
from trunkline.clients.dvc import objects, stored
from trunkline.clients.git import branches, tags
from trunkline.clients.hub import upload
from trunkline.errors import Error
from trunkline.operations import release
from trunkline.operations.release import comparing, registering
from trunkline.records import Base, Bundle, Production, Report
from trunkline.records.release import Approval, Decision, Manifest, message
from trunkline.stages import compare
from trunkline.verdict import Check, Verdict

MODEL = "support-triage"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Places:
    """Two merged commits; the second has a raw partition in DVC and another candidate."""
    places = merged.build(tmp_path_factory.mktemp("merged"))
    merged.add_partition(places.work, "2026-08")
    merged.run(places.work, "second candidate")
    merged.commit(places.work, "second candidate")
    merged.push(places.work)
    return places


@pytest.fixture
def origin(built, tmp_path) -> Path:
    """The bare repository, of this test alone."""
    return Path(shutil.copytree(built.origin, tmp_path / "origin.git"))


@pytest.fixture(autouse=True)
def actor(monkeypatch) -> None:
    """Who decides, also where Git knows nobody."""
    monkeypatch.setenv("GITHUB_ACTOR", "ada")


@pytest.fixture
def runner(origin, tmp_path, monkeypatch) -> Path:
    """A fresh clone at the second commit, without data, and the current folder."""
    folder = merged.clone(origin, tmp_path / "runner")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def remote(built, runner, tmp_path) -> Path:
    """The DVC remote, of this test alone."""
    folder = Path(shutil.copytree(built.remote, tmp_path / "remote"))
    (runner / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    url = {folder}\n")
    return folder


def run(bump: str = "minor", by: str | None = None, reason: str | None = None) -> tuple[str, Verdict]:
    return release.run(params.load(Path("params.yaml")), bump, by, reason)


def released(origin: Path) -> list[str]:
    return starter.git(origin, "tag", "--list", f"{MODEL}@*").splitlines()


def manifest(name: str) -> Manifest:
    tag = next(tag for tag in tags.everything() if tag.name == name)
    return Manifest.of(tag)


def head(folder: Path, revision: str = "HEAD") -> str:
    return starter.git(folder, "rev-parse", revision)


@contextlib.contextmanager
def second_runner(origin: Path, folder: Path, revision: str = "main") -> Iterator[Path]:
    """Another machine's clone, current inside the block."""
    if not folder.exists():
        merged.clone(origin, folder)
        starter.git(folder, "checkout", "-q", revision)
    with contextlib.chdir(folder):
        yield folder


def objects_in(remote: Path) -> set[str]:
    return {str(path.relative_to(remote)) for path in remote.rglob("*") if path.is_file()}


# ---- one commit, one release


def test_a_merged_commit_becomes_a_tag_whose_manifest_names_all_it_is_made_of(origin, runner, built):
    text, verdict = run()
    assert verdict is Verdict.PASS
    assert text.splitlines()[0] == f"{MODEL}@v0.1.0"
    assert released(origin) == [f"{MODEL}@v0.1.0"]
    found = manifest(f"{MODEL}@v0.1.0")
    assert found.commit == head(runner)
    assert found.lock == files.sha256(Path("dvc.lock"))
    assert found.by == "ada"
    assert (found.verdict, found.approval, found.hub) == (Verdict.PASS, None, None)
    assert sorted(found.data) == [
        "data/holdout.parquet",
        "data/raw/2026-07.jsonl",
        "data/raw/2026-08.jsonl",
        "data/train.parquet",
    ]
    for path, content in found.data.items():
        assert content.sha256 == files.sha256(built.work / path)
    assert found.data["data/raw/2026-07.jsonl"].md5 is None, "only Git holds it"
    assert found.data["data/raw/2026-08.jsonl"].md5 is not None, "DVC holds it"
    weights = built.work / "models/candidate/adapter_model.safetensors"
    assert found.weights["adapter_model.safetensors"] == files.sha256(weights)
    assert found.configuration == {"config.json": files.sha256(built.work / "models/base/config.json")}
    assert found.scores["exact_match"]["candidate"] > found.scores["exact_match"]["production"]
    assert found.environment == files.sha256(Path("requirements.lock"))
    assert found.tools["torch"] == "2.13.0"
    assert not release.SCRATCH.exists()


def test_any_machine_gets_the_bundle_back_by_the_hash_in_the_tag(origin, runner, tmp_path):
    run()
    with second_runner(origin, tmp_path / "deployer") as folder:
        found = manifest(f"{MODEL}@v0.1.0")
        bundles.fetch(found, folder / "bundle", params.load(Path("params.yaml")).release)
    names = {path.name for path in (tmp_path / "deployer/bundle").iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "bundle.json", "manifest.json", "README.md"}
    card = (tmp_path / "deployer/bundle/README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n")
    row = next(line.split(" | ") for line in card.splitlines() if line.startswith("| exact_match |"))
    scores = found.scores["exact_match"]
    assert row[1:3] == [f"{100 * scores[side]:.1f} %" for side in ("production", "candidate")]
    assert (row[3].startswith("+"), row[4]) == (True, "2.0 % |")
    assert found.commit in card
    assert found.data["data/train.parquet"].sha256 in card


def test_a_second_run_tells_the_same_and_changes_nothing(origin, runner, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    first = run()
    before = (released(origin), objects_in(remote))
    assert run("major") == first
    assert (released(origin), objects_in(remote)) == before
    assert (tmp_path / "outputs").read_text() == "version=v0.1.0\n" * 2, "the jobs after this one need it both times"


def test_the_same_commit_from_another_clone_is_the_same_release(origin, runner, tmp_path):
    first = run()
    with second_runner(origin, tmp_path / "other"):
        assert run() == first
    assert released(origin) == [f"{MODEL}@v0.1.0"]


def test_the_next_commit_takes_the_version_that_bump_says(origin, runner, tmp_path):
    with second_runner(origin, tmp_path / "other", "main~1"):
        run()
    run("patch")
    assert released(origin) == [f"{MODEL}@v0.1.0", f"{MODEL}@v0.1.1"]
    assert manifest(f"{MODEL}@v0.1.1").commit == head(runner)


def test_a_commit_that_changes_only_texts_is_the_release_that_its_lock_has_already(origin, runner, remote):
    first, _ = run()
    before = objects_in(remote)
    Path("notes.md").write_text("what we have learned")
    commit = merged.commit(runner, "notes")
    text, verdict = run("major")
    assert (text, verdict) == (f"commit {commit[:12]} is already released as v0.1.0:\n{first}", Verdict.PASS)
    assert (released(origin), objects_in(remote)) == ([f"{MODEL}@v0.1.0"], before)


def test_the_same_lock_bundled_in_another_way_or_after_a_withdrawal_is_another_release(origin, runner):
    run()
    merged.configure(runner, serve__guard={"format@1": "flag"})
    merged.commit(runner, "another guard")
    run()
    assert released(origin) == [f"{MODEL}@v0.1.0", f"{MODEL}@v0.2.0"]
    for version in ("v0.1.0!", "v0.2.0!"):
        starter.git(runner, "tag", "-am", "withdrawn", f"{MODEL}@{version}")
    starter.git(runner, "push", "-q", "--tags")
    assert run()[0].startswith(f"{MODEL}@v0.3.0\n")


def test_a_shallow_clone_without_tags_fetches_them_and_goes_on_counting(origin, runner, tmp_path, monkeypatch):
    with second_runner(origin, tmp_path / "other", "main~1"):
        run("major")
    shallow = merged.clone(origin, tmp_path / "shallow", "--depth", "1", "--no-local", "--no-tags")
    monkeypatch.chdir(shallow)
    assert run()[0].startswith(f"{MODEL}@v1.1.0\n")


def test_a_shallow_clone_without_a_remote_is_refused_with_the_command(origin, runner, tmp_path, monkeypatch):
    shallow = merged.clone(origin, tmp_path / "shallow", "--depth", "1", "--no-local", "--no-tags")
    starter.git(shallow, "remote", "remove", "origin")
    monkeypatch.chdir(shallow)
    with pytest.raises(Error, match="shallow") as caught:
        run()
    assert "git fetch --unshallow --tags" in caught.value.hint


def test_without_an_origin_the_tag_is_local_and_it_says_so(runner):
    starter.git(runner, "remote", "remove", "origin")
    text, _ = run()
    assert text.splitlines()[0] == f"{MODEL}@v0.1.0 (only in this clone: it has no remote origin)"
    assert run()[0] == text


def test_a_clock_that_is_years_ahead_elsewhere_changes_nothing(origin, runner, tmp_path, monkeypatch):
    with second_runner(origin, tmp_path / "other", "main~1"), monkeypatch.context() as patched:
        made = tags.write
        patched.setattr(tags, "write", lambda name, commit, text, after: made(name, commit, text, 4_000_000_000))
        run()
    run()
    dates = starter.git(origin, "for-each-ref", "--format=%(refname:strip=2) %(taggerdate:unix)", "refs/tags")
    assert dates.splitlines() == [f"{MODEL}@v0.1.0 4000000001", f"{MODEL}@v0.2.0 4000000002"]


def test_a_deprecated_model_gets_no_further_release(runner):
    starter.git(runner, "tag", "-a", "-m", "retired", f"{MODEL}@deprecated")
    starter.git(runner, "push", "-q", "origin", f"{MODEL}@deprecated")
    with pytest.raises(Error, match="deprecated"):
        run()


def test_a_signed_release_verifies_by_the_public_key_in_git_and_a_changed_one_does_not(runner, tmp_path, monkeypatch):
    private, public = key_pair(tmp_path, "release")
    monkeypatch.setenv(signing.KEY, str(private))
    shutil.copyfile(public, "release.pub")
    merged.configure(runner, release__sign="key", release__public_key="release.pub")
    merged.commit(runner, "sign releases")
    run()
    settings = params.load(Path("params.yaml")).release
    back = runner / ".trunkline/back"
    bundles.fetch(manifest(f"{MODEL}@v0.1.0"), back, settings)
    assert "is an OpenSSF model signature (elliptic curve key)" in (back / "README.md").read_text()
    (back / "adapter_model.safetensors").write_text("other weights")
    with pytest.raises(Error, match="signature does not hold"):
        signing.verify(back, settings)


def traced(capsys, *options: str) -> tuple[int, str]:
    capsys.readouterr()
    code = cli.main(["trace", "v0.1.0", "--fetch", *options])
    found = re.search(r"(verified|not here|BROKEN) signature .*", " ".join(capsys.readouterr().out.split()))
    return code, found[0] if found else ""


def sign_with(runner: Path, public: Path | None) -> None:
    """Let params.yaml ask for the signature of this key, in `release.pub`; None: of one that is not here."""
    if public is not None:
        shutil.copyfile(public, runner / "release.pub")
    merged.configure(runner, release__sign="key", release__public_key="release.pub" if public else "nowhere.pub")


def test_a_trace_verifies_the_signature_by_the_key_that_must_have_signed_now(
    runner, remote, tmp_path, monkeypatch, capsys
):
    private, public = key_pair(tmp_path, "release")
    monkeypatch.setenv(signing.KEY, str(private))
    sign_with(runner, public)
    merged.commit(runner, "sign releases")
    run()
    code, shown = traced(capsys)
    assert (code, shown) == (0, "verified signature model.sig of release.pub (it holds over all 5 files of the bundle)")
    sign_with(runner, key_pair(tmp_path, "other")[1])
    code, shown = traced(capsys)
    assert code == 3
    assert "BROKEN signature model.sig of release.pub (the release's signature does not hold" in shown
    sign_with(runner, None)
    assert traced(capsys)[0] == 4
    sign_with(runner, public)
    bundle = manifest(f"{MODEL}@v0.1.0").bundle
    listing = json.loads(place_of(remote, bundle).read_text())
    found = {row["relpath"]: row["md5"] for row in listing}
    damage(remote, found["README.md"], b"a better card")
    assert "does not hold" in traced(capsys)[1]
    damage(remote, bundle, json.dumps([{"relpath": "../card.md", "md5": found["model.sig"]}]).encode())
    code, shown = traced(capsys)
    assert (code, "its bundle names a file outside of itself: ../card.md" in shown) == (3, True)
    damage(remote, bundle, None)
    code, shown = traced(capsys)
    assert (code, "`--fetch` asks the DVC remote for the bundle" in shown) == (4, True)


def test_a_release_from_before_releases_were_signed_is_not_verified(runner, remote, tmp_path, capsys):
    run()
    sign_with(runner, key_pair(tmp_path, "release")[1])
    code, shown = traced(capsys)
    assert (code, "not here signature" in shown, "released without one" in shown) == (4, True, True)


@pytest.mark.slow
def test_merged_weights_are_released_whole_and_answer_as_base_and_adapter_do(tiny_base, tmp_path, monkeypatch):
    import torch

    import test_model
    from trunkline.clients import model

    adapter = test_model.lora(tmp_path / "adapter", tiny_base)
    places = merged.build(tmp_path, tiny_base, adapter, release__weights="merged", evaluate__precision="fp32")
    monkeypatch.chdir(merged.clone(places.origin, tmp_path / "runner"))
    run()
    found = manifest(f"{MODEL}@v0.1.0")
    assert (found.kind, found.base["sha256"]) == ("merged", Base.read(tiny_base / "base.json").sha256)
    bundles.fetch(found, Path(".trunkline/back"), params.load(Path("params.yaml")).release)
    own = Base.read(Path(".trunkline/back/base.json"))
    assert identity.of_release(found) == identity.digest(own.weights, None, own.configuration), "as its engine says"
    assert found.configuration["config.json"] == found.weights["config.json"]
    assert Path(".trunkline/back/README.md").read_text().startswith("---\nlibrary_name: transformers\n")
    alone = model.load(Path(".trunkline/back"), None, "fp32", "eager")
    both = model.load(tiny_base, adapter, "fp32", "eager")
    assert torch.equal(test_model.logits(alone), test_model.logits(both))


# ---- races


def test_of_two_merged_commits_at_once_one_wins_and_the_other_takes_the_next_version(
    origin, runner, tmp_path, monkeypatch
):
    """The other runner is done between this one's choice of a version and its push."""
    push, others = branches.push, [tmp_path / "other"]

    def overtaken(*arguments: object) -> None:
        while others:
            with second_runner(origin, others.pop(), "main~1"):
                run()
        push(*arguments)

    monkeypatch.setattr(branches, "push", overtaken)
    text, _ = run()
    assert text.startswith(f"{MODEL}@v0.2.0\n")
    starter.git(runner, "fetch", "-q", "--tags")
    assert manifest(f"{MODEL}@v0.1.0").commit == head(runner, "HEAD~1")
    second = manifest(f"{MODEL}@v0.2.0")
    assert second.commit == head(runner)
    bundles.fetch(second, tmp_path / "back", params.load(Path("params.yaml")).release)
    assert Manifest.read(tmp_path / "back/manifest.json").version == "v0.2.0", "the bundle was built anew"


def test_of_two_merged_commits_at_once_the_older_gets_no_newer_version(origin, runner, tmp_path, monkeypatch):
    push, others = branches.push, [runner]

    def overtaken(*arguments: object) -> None:
        while others:
            with contextlib.chdir(others.pop()):
                run()
        push(*arguments)

    monkeypatch.setattr(branches, "push", overtaken)
    problem = f"{MODEL}@v0.1.0 is of commit {head(runner)[:12]}, which follows commit {head(runner, 'HEAD~1')[:12]}"
    with second_runner(origin, tmp_path / "other", "main~1"), pytest.raises(Error, match=problem):
        run()
    assert released(origin) == [f"{MODEL}@v0.1.0"]


def test_of_two_runs_on_the_same_commit_one_release_comes(origin, runner, tmp_path, monkeypatch):
    push, others = branches.push, [tmp_path / "other"]

    def overtaken(*arguments: object) -> None:
        while others:
            with second_runner(origin, others.pop()):
                run()
        push(*arguments)

    monkeypatch.setattr(branches, "push", overtaken)
    assert run()[0].startswith(f"{MODEL}@v0.1.0\n")
    assert released(origin) == [f"{MODEL}@v0.1.0"]


def test_a_race_that_is_lost_time_after_time_ends(runner, monkeypatch):
    def lost(*_: object) -> None:
        raise branches.Rejected("origin has moved on: stale info", "fetch")

    monkeypatch.setattr(branches, "push", lost)
    monkeypatch.setattr(registering, "TRIES", 2)
    with pytest.raises(Error, match="others were faster 2 times"):
        run()
    assert tags.everything() == [], "nothing that could be taken for a release"


def test_a_push_that_the_remote_forbids_leaves_no_tag(origin, runner):
    hook = origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'tags are protected'\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Error, match="cannot push to origin"):
        run()
    assert (released(origin), tags.everything()) == ([], [])
    hook.unlink()
    assert run()[0].startswith(f"{MODEL}@v0.1.0\n")


def test_a_version_whose_name_a_lightweight_tag_has_is_told_with_the_command_and_is_no_lost_race(origin, runner):
    starter.git(origin, "tag", f"{MODEL}@v0.1.0", "main")
    with pytest.raises(Error, match=f"tag {MODEL}@v0.1.0 is there and says nothing") as caught:
        run()
    assert tags.everything() == []
    subprocess.run(caught.value.hint.split("`")[1].split(), check=True)
    assert run()[0].startswith(f"{MODEL}@v0.1.0\n")


def test_two_releases_in_one_working_tree_are_refused(runner):
    with process.alone("release"), pytest.raises(Error, match="release is already running here"):
        run()


# ---- what does not belong together


def test_a_tree_that_differs_from_its_commit_is_refused(runner):
    Path("notes.txt").write_text("not committed")
    with pytest.raises(Error, match="files here are not those of commit"):
        run()


def test_a_commit_that_was_not_merged_is_refused(origin, runner):
    Path("notes.txt").write_text("mine")
    starter.git(runner, "add", "-A")
    starter.git(runner, "commit", "-qm", "my own")
    with pytest.raises(Error, match="is not on origin/main"):
        run()
    starter.git(runner, "push", "-q", "origin", "HEAD:main")
    assert run()[1] is Verdict.PASS


def refused(origin: Path, *words: str, verdict: Verdict = Verdict.INCONCLUSIVE, approved: bool = True) -> str:
    """The commit here is merged and not released, even if a human approves."""
    merged.commit(Path(), "a merge")
    text, found = run(by="grace", reason="I looked at it") if approved else run()
    assert found is verdict
    for word in words:
        assert word in text
    assert released(origin) == []
    return text


def test_params_that_dvc_lock_does_not_know_are_stale_and_nobody_can_approve_that(origin, runner):
    merged.configure(runner, gate__margin=0.03)
    text = refused(origin, "evaluate would run again (params.yaml: gate", f"{MODEL}: not released (inconclusive)")
    assert "next: in a pull request: `trunkline pin` production, `dvc repro`" in text


def test_code_that_dvc_lock_does_not_know_is_stale(origin, runner):
    path = Path("src/trunkline/scoring.py")
    path.write_text(path.read_text() + "\n# changed\n")
    refused(origin, "dvc.lock is not of this code, data and params", "compare")


def test_code_that_is_gone_is_stale_though_dvc_would_let_it_be_missing(origin, runner):
    Path("src/project.py").unlink()
    refused(origin, "features would run again (src/project.py is missing)")


def test_a_raw_partition_that_dvc_lock_does_not_know_is_stale(origin, runner):
    starter.write_rows(Path("data/raw/2026-09.jsonl"), starter.rows(10, "2026-09", seed=3))
    refused(origin, "data would run again")


def test_a_report_that_was_edited_by_hand_is_stale(origin, runner):
    path = Path("reports/compare.json")
    path.write_text(path.read_text().replace('"unit": "conversation"', '"unit": "customer"', 1))
    refused(origin, "compare would run again")


def test_a_missing_report_is_an_error_and_no_verdict(runner):
    Path("reports/evaluate.json").unlink()
    merged.commit(runner, "a report less")
    with pytest.raises(Error, match="reports/evaluate.json not found"):
        run(by="grace", reason="I looked at it")


def test_a_commit_without_dvc_lock_or_pipeline_is_refused(origin, runner):
    Path("dvc.lock").unlink()
    refused(origin, "compare would run again (it has not run yet)")
    Path("dvc.yaml").unlink()
    refused(origin, "no stage of dvc.yaml writes reports/base.json", "no stage of dvc.yaml writes reports/compare.json")


def test_a_pipeline_that_lost_a_stage_is_refused_though_dvc_has_nothing_to_run(origin, runner):
    content = yaml.safe_load(Path("dvc.yaml").read_text())
    del content["stages"]["compare"]
    Path("dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    text = refused(origin, "no stage of dvc.yaml writes reports/compare.json")
    assert "would run again" not in text


def judged(verdict: Verdict, step: str = "compare") -> None:
    """Let a report say this, with its hash in dvc.lock."""
    report = Report.read(Path(f"reports/{step}.json"))
    check = Check(name="gate.margin", verdict=verdict, value=0.0, limit=0.0, message="as the test wants")
    merged.record(Path(), Report.of(step, (check,), report.metrics, report.details))


def test_a_failed_candidate_is_never_released(origin, runner):
    judged(Verdict.FAIL)
    refused(origin, "gate.margin: as the test wants", "not released (fail)", verdict=Verdict.FAIL)


@pytest.mark.parametrize(
    ("step", "source"),
    [("data", "the raw data"), ("features", "the examples"), ("compare", "the answers of both models")],
)
def test_a_report_that_was_written_by_hand_is_refused_though_dvc_lock_records_it(origin, runner, step, source):
    judged(Verdict.PASS, step)
    merged.commit(runner, "a report of somebody's own")
    with pytest.raises(Error, match=f"reports/{step}.json is not what {source} say: ") as caught:
        run(by="grace", reason="I looked at it")
    assert f"`dvc repro --pull --force --single-item {step}`" in caught.value.hint
    assert released(origin) == []


@pytest.fixture
def forger(built, runner, remote, tmp_path) -> Path:
    """A working copy with everything that a run left, which writes the remote of this test alone."""
    work = Path(shutil.copytree(built.work, tmp_path / "work"))
    (work / ".dvc/config.local").write_bytes((runner / ".dvc/config.local").read_bytes())
    return work


def merge_forged(runner: Path, work: Path) -> None:
    """Merge dvc.lock and reports of a working copy, whose objects are pushed: to DVC all of it is as it was run."""
    with contextlib.chdir(work), Repo() as repo:
        repo.commit(force=True)
    merged.push(work)
    shutil.copyfile(work / "dvc.lock", "dvc.lock")
    shutil.copytree(work / "reports", "reports", dirs_exist_ok=True)
    merged.commit(runner, "another run, it says")


def test_answers_that_the_comparison_is_not_of_are_refused(origin, runner, forger):
    """Predictions of another run, with their hash in dvc.lock and their objects in the remote."""
    count = files.read_parquet(forger / "data/holdout.parquet", "").height
    finished.predict(forger, "candidate", finished.share(count, 0.30, seed=3))
    merge_forged(runner, forger)
    with pytest.raises(Error, match="is not what the answers of both models say: verdict is 'pass', not 'fail'"):
        run()
    assert released(origin) == []


def test_a_holdout_that_is_not_of_the_raw_data_is_refused_though_the_comparison_is_of_it(origin, runner, forger):
    """Whoever may choose what the candidate is asked needs no better candidate."""
    path = forger / "data/holdout.parquet"
    frame = files.read_parquet(path, "")
    files.write_table(path, frame.with_columns(answer=frame["answer"].sort()))
    for side, right in (("production", 0.5), ("candidate", 1.0)):
        finished.predict(forger, side, finished.share(frame.height, right, seed=4))
    with contextlib.chdir(forger):
        compare.run(params.load(Path("params.yaml")))
    merge_forged(runner, forger)
    with pytest.raises(Error, match="data/holdout.parquet is not what the raw data make"):
        run()
    assert released(origin) == []


def test_a_candidate_that_was_trained_for_another_task_is_refused(origin, runner, forger):
    path = forger / "models/candidate/bundle.json"
    bundle = Bundle.read(path)
    task = bundle.task.model_copy(update={"template": "{% block user %}{{ message }}!{% endblock %}"})
    files.write_text(path, bundle.model_copy(update={"task": task}).text())
    merge_forged(runner, forger)
    with pytest.raises(Error, match="models/candidate is not for the task of this prompt, these transforms and data"):
        run()
    assert released(origin) == []


@pytest.fixture
def undecided(built, origin, runner, tmp_path) -> Path:
    """The runner at a merged commit whose candidate is neither shown to be as good nor to be worse."""
    work = Path(shutil.copytree(built.work, tmp_path / "work"))
    starter.git(work, "remote", "set-url", "origin", str(origin))
    merged.run(work, "third candidate", right=0.70)
    merged.commit(work, "third candidate")
    merged.push(work)
    starter.git(runner, "pull", "-q", "origin", "main")
    return runner


def test_an_inconclusive_one_needs_a_human_who_is_recorded(origin, undecided, capsys):
    text, verdict = run()
    assert (verdict, released(origin)) == (Verdict.INCONCLUSIVE, [])
    assert "not released (inconclusive)" in text
    assert "--approved-by NAME --reason" in text
    assert cli.main(["release"]) == 4
    assert "not released" in capsys.readouterr().out
    with pytest.raises(Error, match="go together"):
        run(by="grace")
    why = "the holdout is small <img src=x> [look](https://example.com)"
    text, verdict = run(by="grace", reason=why)
    assert verdict is Verdict.PASS
    assert f"verdict  inconclusive, approved by grace: {why}" in text
    found = manifest(f"{MODEL}@v0.1.0")
    assert found.approval == Approval(by="grace", reason=why)
    assert found.verdict is Verdict.INCONCLUSIVE
    bundles.fetch(found, undecided / ".trunkline/back", params.load(Path("params.yaml")).release)
    card = Path(".trunkline/back/README.md").read_text()
    assert "grace let it through: the holdout is small &#60;img" in card
    assert "](https" not in card


def test_an_approval_of_a_pass_is_not_recorded(runner):
    run(by="grace", reason="just in case")
    assert manifest(f"{MODEL}@v0.1.0").approval is None


def promote(version: str, commit: str, number: int = 1) -> None:
    decision = Decision(
        model=MODEL,
        environment="production",
        version=version,
        previous=None,
        action="promote",
        reason="canary passed",
        by="ada",
        created="2026-11-01T00:00:00+00:00",
        run=None,
    )
    name = f"{MODEL}#production#{number}"
    tags.create(name, commit, message(f"{MODEL} {version} serves in production: promote", decision))
    starter.git(Path(), "push", "-q", "origin", name)


def test_a_comparison_with_what_serves_no_more_is_stale(origin, runner, tmp_path):
    with second_runner(origin, tmp_path / "other", "main~1"):
        run()
        promote("v0.1.0", head(Path()))
    text, verdict = run(by="grace", reason="I looked at it")
    assert verdict is Verdict.INCONCLUSIVE
    assert "compared with the untuned base model, but v0.1.0 serves in production: run `trunkline pin`" in text
    assert released(origin) == [f"{MODEL}@v0.1.0"]


def test_production_that_is_promoted_during_the_release_makes_it_stale(origin, runner, tmp_path, monkeypatch):
    facts, others = release.manifest.facts, [tmp_path / "other"]

    def meanwhile(*arguments: object) -> object:
        while others:
            with second_runner(origin, others.pop(), "main~1"):
                run()
                promote("v0.1.0", head(Path()))
        return facts(*arguments)

    monkeypatch.setattr(release.manifest, "facts", meanwhile)
    with pytest.raises(Error, match="but v0.1.0 serves in production: run `trunkline pin`: it was promoted while"):
        run()


def test_before_the_first_promotion_only_the_base_model_is_production(origin, runner):
    commit = head(runner, "HEAD~1")
    pin = Production(release="mine", revision=commit, weights="0" * 32 + ".dir", partitions=())
    files.write_text(Path("data/production.json"), pin.text())
    refused(origin, "compared with mine, but nothing serves in production: run `trunkline pin`")


# ---- data and weights


def place_of(remote: Path, md5: str) -> Path:
    return remote / "files/md5" / md5[:2] / md5[2:]


def member(remote: Path, folder: str, name: str) -> str:
    listing = json.loads(place_of(remote, recorded(folder)).read_text())
    return next(row["md5"] for row in listing if row["relpath"] == name)


def damage(remote: Path, md5: str, content: bytes | None) -> None:
    path = place_of(remote, md5)
    path.chmod(0o644)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def recorded(path: str) -> str:
    return dvc.recorded_hash(Path("dvc.lock").read_bytes(), path)


def test_damaged_weights_in_the_remote_are_named(origin, runner, remote):
    damage(remote, member(remote, "models/candidate", "adapter_model.safetensors"), b"garbage of someone")
    with pytest.raises(Error, match="models/candidate/adapter_model.safetensors is damaged in the DVC remote storage"):
        run()
    assert released(origin) == []


def test_a_damaged_list_of_a_folder_in_the_remote_is_named(runner, remote):
    damage(remote, recorded("models/candidate"), b"[]")
    with pytest.raises(Error, match="models/candidate is damaged"):
        run()


def test_data_that_are_not_in_the_remote_are_named(runner, remote):
    damage(remote, recorded("data/train.parquet"), None)
    with pytest.raises(Error, match="the DVC remote storage does not hold data/train.parquet") as caught:
        run()
    assert "dvc push" in caught.value.hint


def test_base_weights_that_are_not_in_the_remote_are_missed_though_an_adapter_does_not_fetch_them(runner, remote):
    damage(remote, member(remote, "models/base", "model.safetensors"), None)
    with pytest.raises(Error, match="does not hold models/base/model.safetensors"):
        run()


def test_a_remote_that_is_not_there_is_named(runner):
    Path(".dvc/config.local").write_text("['remote \"storage\"']\n    url = /proc/nowhere\n")
    with pytest.raises(Error, match="the DVC remote storage"):
        run()


def test_a_full_remote_leaves_no_release_and_nothing_half_written_and_the_next_run_ends_in_one(
    origin, runner, remote, monkeypatch
):
    real = objects.store

    def full(*arguments: object) -> str:
        with small_disk(600):  # room for the weights of this test, and not for their manifest
            return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(objects, "store", full)
        with pytest.raises(Error, match="the DVC remote storage failed on .*File too large"):
            run()
    assert released(origin) == []
    for name in objects_in(remote):
        found = re.fullmatch(r"files/md5/(..)/([0-9a-f]{30})(?:\.dir)?", name)
        assert found is None or stored.md5(remote / name) == found[1] + found[2]
    assert run()[0].startswith(f"{MODEL}@v0.1.0\n")
    bundles.fetch(manifest(f"{MODEL}@v0.1.0"), runner / ".trunkline/back", params.load(Path("params.yaml")).release)


def test_a_bundle_that_is_damaged_where_it_is_kept_is_not_released_and_not_served(origin, runner, remote, monkeypatch):
    real = objects.store

    def damaged(*arguments: object) -> str:
        value = real(*arguments)
        listing = {row["relpath"]: row["md5"] for row in json.loads(place_of(remote, value).read_text())}
        damage(remote, listing["adapter_model.safetensors"], b"garbage of someone")
        return value

    with monkeypatch.context() as patched:
        patched.setattr(objects, "store", damaged)
        with pytest.raises(Error, match="bundle/adapter_model.safetensors is damaged in the DVC remote storage"):
            run()
    assert released(origin) == []


@pytest.mark.slow
def test_from_s3_and_to_s3_it_is_the_same_release(origin, runner, built, tmp_path, monkeypatch):
    with s3.serving() as server:
        client = s3.bucket(server, monkeypatch)
        for name in objects_in(built.remote):
            client.put_object(Bucket=s3.BUCKET, Key=f"models/{name}", Body=(built.remote / name).read_bytes())
        address = f"['remote \"storage\"']\n    url = s3://{s3.BUCKET}/models\n    endpointurl = {server}\n"
        (runner / ".dvc/config.local").write_text(address)
        md5 = member(built.remote, "models/candidate", "adapter_model.safetensors")
        kept = {"Bucket": s3.BUCKET, "Key": f"models/files/md5/{md5[:2]}/{md5[2:]}"}
        whole = client.get_object(**kept)["Body"].read()
        client.put_object(**kept, Body=b"garbage of someone")
        with pytest.raises(Error, match="adapter_model.safetensors is damaged in the DVC remote storage"):
            run()
        assert released(origin) == []
        client.put_object(**kept, Body=whole)
        run()
        with second_runner(origin, tmp_path / "deployer") as folder:
            (folder / ".dvc/config.local").write_text(address)
            found = manifest(f"{MODEL}@v0.1.0")
            bundles.fetch(found, folder / "bundle", params.load(Path("params.yaml")).release)
            assert (folder / "bundle/adapter_model.safetensors").read_bytes() == whole


def test_weights_that_another_training_left_are_refused(origin, runner, built, tmp_path):
    """dvc.lock and its objects are right, but the candidate is not of these examples."""
    work = Path(shutil.copytree(built.work, tmp_path / "work"))
    starter.git(work, "remote", "set-url", "origin", str(origin))
    bundle = json.loads((work / "models/candidate/bundle.json").read_text()) | {"trained_on": "0" * 64}
    (work / "models/candidate/bundle.json").write_text(json.dumps(bundle))
    (work / ".dvc/config").write_text("[core]\n    analytics = false\n")
    with contextlib.chdir(work), Repo() as repo:
        repo.commit(force=True)
    merged.commit(work, "another candidate")
    with contextlib.chdir(work), pytest.raises(Error, match="was trained on other examples"):
        run()


def without_remote(built: Places, origin: Path, folder: Path) -> Path:
    """The clone in which the candidate was trained, with its cache and without a remote."""
    work = Path(shutil.copytree(built.work, folder))
    starter.git(work, "remote", "set-url", "origin", str(origin))
    (work / ".dvc/config").write_text("[core]\n    analytics = false\n")
    merged.commit(work, "no remote")
    return work


def test_without_a_remote_the_cache_holds_the_bundle_and_a_warning_says_so(built, origin, tmp_path, caplog):
    work = without_remote(built, origin, tmp_path / "work")
    with contextlib.chdir(work):
        run()
        found = manifest(f"{MODEL}@v0.1.0")
        bundles.fetch(found, tmp_path / "back", params.load(Path("params.yaml")).release)
    assert "no DVC remote: the bundle is only in the local DVC cache" in caplog.text


def test_without_a_remote_a_damaged_object_of_the_cache_is_named(built, origin, tmp_path):
    """DVC itself calls this working tree up to date."""
    work = without_remote(built, origin, tmp_path / "work")
    with contextlib.chdir(work):
        damage(work / ".dvc/cache", recorded("data/holdout.parquet"), b"garbage of someone")
        with pytest.raises(Error, match="data/holdout.parquet is damaged in the local DVC cache"):
            run()


# ---- killed, overtaken, and whole


# Until the first of them only a scratch folder has been written; fetching a bundle back writes nothing else either.
STEPS = {
    "the reports are made again": (comparing, "check"),
    "the bundle is stored": (objects, "store"),
    "the Hub has the commit": (upload, "publish"),
    "the tag is written": (tags, "write"),
    "the tag is pushed": (branches, "push"),
    "the tag is here": (tags, "keep"),
    "the Hub has the tag": (upload, "tag"),
}


# A process of its own and no fork: the threads of polars do not survive one.
FATAL = """
import importlib, os, sys
from trunkline import cli
module, name = importlib.import_module(sys.argv[1]), sys.argv[2]
real = getattr(module, name)
def fatal(*arguments, **named):
    real(*arguments, **named)
    os._exit(9)
setattr(module, name, fatal)
os._exit(cli.main(["release"]))
"""


def killed_after(module: ModuleType, name: str) -> int:
    """Run the release in a process that ends, as by `kill -9`, right after a function has returned."""
    return subprocess.run([sys.executable, "-c", FATAL, module.__name__, name]).returncode


@pytest.fixture
def published(runner, hub, monkeypatch) -> Path:
    """The runner at a merged commit whose release goes to the Hub too."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    merged.configure(runner, release__hub="acme/triage")
    merged.commit(runner, "publish to the Hub too")
    return runner


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_a_second_run_ends_in_exactly_one_release(origin, published, hub, step):
    assert killed_after(*STEPS[step]) == 9
    text, verdict = run()
    assert (text.splitlines()[0], verdict) == (f"{MODEL}@v0.1.0", Verdict.PASS)
    assert released(origin) == [f"{MODEL}@v0.1.0"]
    found = manifest(f"{MODEL}@v0.1.0")
    assert hub.repositories["acme/triage"].tags == {"v0.1.0": found.hub.commit}
    bundles.fetch(found, published / ".trunkline/back", params.load(Path("params.yaml")).release)
    held = hub.repositories["acme/triage"].files(found.hub.commit)
    for path in (published / ".trunkline/back").iterdir():
        assert held[path.name].sha256 == files.sha256(path), "the Hub and the DVC remote hold the same files"
    assert run()[0] == text


@pytest.mark.parametrize("how", [{"status": 429}, {"silent": True}], ids=["429", "no answer"])
def test_a_hub_that_fails_leaves_no_release_and_the_next_run_ends_in_one(origin, published, hub, monkeypatch, how):
    hub.fail("POST .*/commit/", **how)
    with monkeypatch.context() as patched, pytest.raises(Error, match="cannot publish to acme/triage: "):
        patched.setattr(upload, "TIMEOUT_S", 0.5)
        run()
    assert released(origin) == []
    hub.faults.clear()
    run()
    assert released(origin) == [f"{MODEL}@v0.1.0"]
    assert hub.repositories["acme/triage"].tags == {"v0.1.0": manifest(f"{MODEL}@v0.1.0").hub.commit}


def test_a_hub_that_takes_no_tag_lets_nothing_be_promoted_before_a_run_has_set_it(origin, published, hub, output):
    hub.fail("POST .*/tag/", status=500)
    with pytest.raises(Error, match="cannot tag acme/triage: ") as caught:
        run()
    assert "it ends in one release" in caught.value.hint
    assert released(origin) == [f"{MODEL}@v0.1.0"]
    assert not output.exists(), "the job that promotes waits for the version"
    hub.faults.clear()
    run()
    assert released(origin) == [f"{MODEL}@v0.1.0"]
    assert hub.repositories["acme/triage"].tags == {"v0.1.0": manifest(f"{MODEL}@v0.1.0").hub.commit}
    assert output.read_text() == "version=v0.1.0\n"


@pytest.mark.slow
def test_of_real_processes_on_two_commits_each_commit_has_one_version_and_the_newer_the_newer(origin, runner, tmp_path):
    others = [merged.clone(origin, tmp_path / f"other-{number}") for number in range(2)]
    starter.git(others[0], "checkout", "-q", "main~1")
    racing = [
        subprocess.Popen(
            [sys.executable, "-m", "trunkline", "release"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in (runner, others[0], others[1])
    ]
    (newer, _), (older, why), (again, _) = [one.communicate() for one in racing]
    assert newer.splitlines()[0] == again.splitlines()[0], "the same commit"
    if racing[1].returncode:
        assert "an older commit gets no newer version" in why
        assert released(origin) == [newer.splitlines()[0]] == [f"{MODEL}@v0.1.0"]
    else:
        assert released(origin) == [older.splitlines()[0], newer.splitlines()[0]]
    assert [one.returncode for one in racing][::2] == [0, 0]
