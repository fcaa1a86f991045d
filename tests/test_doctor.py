"""`trunkline doctor`: each check fails on what it is for, passes when that is mended, and says how."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

import github_double
import starter
from github_double import REPOSITORY
from trunkline import cli
from trunkline.clients import cml, machine
from trunkline.errors import Error
from trunkline.operations import doctor
from trunkline.operations.doctor import dvc, git, github, rules, secrets
from trunkline.operations.doctor import hub as hub_check
from trunkline.operations.doctor import machine as machine_check
from trunkline.operations.doctor.refs import matches
from trunkline.params import ReleaseParams
from trunkline.verdict import Verdict

ROOT = Path(__file__).parent.parent
PASS, INCONCLUSIVE, FAIL = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL


def verdicts(found) -> dict[str, Verdict]:
    return {diagnosis.name: diagnosis.verdict for diagnosis in found}


def named(found, name: str):
    return next(diagnosis for diagnosis in found if diagnosis.name == name)


@pytest.fixture
def clone(in_tmp, monkeypatch) -> Path:
    """A clone of a bare origin with one commit, where Git knows nobody but Ada."""
    home = in_tmp / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GITHUB_ACTIONS", "GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    folder = in_tmp / "clone"
    starter.git(in_tmp, "init", "--quiet", "--bare", "origin.git")
    starter.git(in_tmp, "init", "--quiet", "clone")
    starter.git(folder, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    starter.git(folder, "remote", "add", "origin", "../origin.git")
    starter.git(folder, "push", "--quiet", "origin", "main")
    monkeypatch.chdir(folder)
    return folder


# This machine.


def test_a_python_that_the_package_is_not_for_fails(in_tmp, monkeypatch):
    assert verdicts(machine_check.check())["python"] is PASS
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert named(machine_check.check(), "python").found == "3.13 is neither 3.11 nor 3.12"


def test_the_disk_must_hold_what_a_run_leaves(in_tmp, monkeypatch):
    assert named(machine_check.check(), "disk").verdict is INCONCLUSIVE, "the base model's size is not known"
    (in_tmp / "models/base").mkdir(parents=True)
    (in_tmp / "models/base/model.safetensors").write_bytes(bytes(1000))
    assert named(machine_check.check(), "disk").verdict is PASS
    monkeypatch.setattr(machine, "free_bytes", lambda folder: 4999)
    assert named(machine_check.check(), "disk").verdict is FAIL, "5,000 bytes are still needed"
    monkeypatch.setattr(machine, "free_bytes", lambda folder: 5000)
    assert named(machine_check.check(), "disk").verdict is PASS


def test_no_gpu_is_no_mistake_and_a_broken_driver_is_one(in_tmp, monkeypatch):
    monkeypatch.setattr(machine, "gpus", lambda: [])
    assert named(machine_check.check(), "gpu") == ("gpu", PASS, "none seen: the CPU trains", "")
    monkeypatch.setattr(machine, "gpus", lambda: ["NVIDIA L4, 23034 MiB"])
    assert named(machine_check.check(), "gpu").found == "NVIDIA L4, 23034 MiB"

    def broken():
        raise Error("nvidia-smi failed", "install the driver")

    monkeypatch.setattr(machine, "gpus", broken)
    assert named(machine_check.check(), "gpu") == ("gpu", FAIL, "nvidia-smi failed", "install the driver")


def test_a_stage_whose_shell_would_outlive_dvc_is_named_with_the_line_to_write(in_tmp):
    assert "stages" not in verdicts(machine_check.check()), "without a pipeline there is none"
    Path("dvc.yaml").write_text("stages: [")
    assert "stages" not in verdicts(machine_check.check())
    Path("dvc.yaml").write_bytes((starter.ROOT / "dvc.yaml").read_bytes())
    assert named(machine_check.check(), "stages").verdict is PASS
    own = {"mine": {"cmd": ["./trunk", "python own.py"]}, "each": {"foreach": ["a"], "do": {"cmd": "own ${item}"}}}
    stages = {"train": {"cmd": ".venv/bin/trunkline train"}, "data": {"cmd": ["exec trunkline data"]}, **own}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    found = named(machine_check.check(), "stages")
    assert (found.verdict, found.fix) == (FAIL, "in dvc.yaml: cmd: exec .venv/bin/trunkline train")
    assert found.found.startswith("train: ")


# Git.


def test_a_clone_with_identity_origin_history_and_tags_passes(clone):
    assert set(verdicts(git.check()).items()) == {(name, PASS) for name in ("identity", "origin", "history", "tags")}


def test_no_repository_is_one_mistake(in_tmp, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(in_tmp.parent))
    assert verdicts(git.check()) == {"repository": FAIL}


@pytest.mark.parametrize("missing", ["user.name", "user.email"])
def test_nobody_to_commit_as_fails_but_in_a_workflow(clone, monkeypatch, missing):
    starter.git(clone, "config", "--global", "--unset", missing)
    found = named(git.check(), "identity")
    assert (found.verdict, found.fix) == (FAIL, f"git config --global {missing} '...'")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert verdicts(git.check())["identity"] is PASS


def test_a_missing_origin_fails_and_a_dead_one_could_not_be_asked(clone):
    starter.git(clone, "remote", "set-url", "origin", "https://ada:ghp_secret@127.0.0.1:9/acme/trunkline")
    found = git.check()
    assert named(found, "tags").verdict is INCONCLUSIVE
    assert "ghp_secret" not in str(found)
    starter.git(clone, "remote", "remove", "origin")
    assert verdicts(git.check()) == {"identity": PASS, "origin": FAIL, "history": PASS}


def test_a_shallow_clone_and_tags_that_were_not_fetched_fail_until_the_fix_is_run(clone):
    starter.git(clone, "commit", "--quiet", "--allow-empty", "--message", "Go on")
    starter.git(clone, "push", "--quiet", "origin", "main")
    for name in ("model@v0.1.0", "model#production#1"):
        starter.git(clone.parent / "origin.git", "tag", "--annotate", "--message", "x", name, "main")
    starter.git(clone, "remote", "set-url", "origin", f"file://{clone.parent}/origin.git")
    starter.git(clone, "fetch", "--quiet", "--depth=1", "--no-tags", "origin", "main")
    found = git.check()
    assert (named(found, "history").verdict, named(found, "tags").verdict) == (FAIL, FAIL)
    assert named(found, "tags").found == "not as in origin: model#production#1 and 1 more"
    for name in ("history", "tags"):
        subprocess.run(shlex.split(named(found, name).fix), cwd=clone, capture_output=True, check=True)
    assert {verdicts(git.check())[name] for name in ("history", "tags")} == {PASS}


# The DVC remote.


def configured(folder: Path, **remote: str) -> None:
    (folder / ".dvc").mkdir(exist_ok=True)
    lines = "".join(f"    {name} = {value}\n" for name, value in remote.items())
    (folder / ".dvc/config").write_text(f"[core]\n    remote = storage\n['remote \"storage\"']\n{lines}")


def test_without_dvc_or_a_default_remote_nothing_can_be_handed_over(in_tmp):
    assert verdicts(dvc.check()) == {"configuration": FAIL}
    (in_tmp / ".dvc").mkdir()
    assert verdicts(dvc.check()) == {"remote": FAIL, "cache": PASS}
    (in_tmp / ".dvc/config").write_text("[core]\n    remote = storage\n")
    assert verdicts(dvc.check()) == {"remote": FAIL, "cache": PASS}
    (in_tmp / ".dvc/config").write_text("no section")
    assert verdicts(dvc.check()) == {"configuration": FAIL}


def test_a_remote_that_lists_its_files_and_verifies_passes(in_tmp):
    (in_tmp / "storage").mkdir()
    configured(in_tmp, url=str(in_tmp / "storage"), verify="true")
    assert set(verdicts(dvc.check()).values()) == {PASS}


def test_a_remote_that_does_not_verify_fails_and_an_empty_place_could_not_be_asked(in_tmp):
    configured(in_tmp, url=str(in_tmp / "nowhere"))
    found = dvc.check()
    assert verdicts(found) == {"remote": PASS, "verify": FAIL, "answer": INCONCLUSIVE, "cache": PASS}
    assert named(found, "verify").fix.startswith("dvc remote modify storage verify true")


def test_a_remote_that_refuses_fails_with_the_reason(in_tmp):
    (in_tmp / "file").touch()
    configured(in_tmp, url="s3://bucket/folder", credentialpath="nothing", no_such_option="1")
    assert verdicts(dvc.check()) == {"configuration": FAIL}
    configured(in_tmp, url="ssh://127.0.0.1:9/folder")
    answer = named(dvc.check(), "answer")
    assert answer.verdict is FAIL
    assert answer.found.startswith("the remote storage refused: ")


def test_a_remote_that_hangs_fails(in_tmp, monkeypatch):
    configured(in_tmp, url=str(in_tmp))
    monkeypatch.setattr("trunkline.clients.dvc.settings.SECONDS", 0.01)
    assert named(dvc.check(), "answer").verdict is FAIL


def test_a_cache_that_is_a_file_fails(in_tmp):
    (in_tmp / "file").touch()
    (in_tmp / ".dvc").mkdir()
    (in_tmp / ".dvc/config").write_text("[cache]\n    dir = ../file\n")
    assert named(dvc.check(), "cache").verdict is FAIL


# GitHub.


@pytest.fixture
def job(double, in_tmp, monkeypatch):
    """A GitHub on which nothing is set up, and a token that may see that."""
    github_double.job(double, in_tmp, monkeypatch, token="ghp_admin")
    monkeypatch.setattr(cml, "COMMAND", "cml-is-not-here")
    return double


def look(comment_with: str = "auto", sign: str = "none", hub: str | None = None) -> list:
    release = ReleaseParams.model_construct(sign=sign, hub=hub)
    found = github.check(comment_with, release, wait=lambda seconds: None)
    return [*found.pull_requests, *found.releases, *found.watching]


def follow(double, fix: str) -> None:
    """Do what `gh api` would do with these commands."""
    for line in fix.split(" && "):
        program, api, *words = shlex.split(line)
        assert (program, api) == ("gh", "api"), line
        method, content, options = "", {}, iter(words)
        for word in options:
            if word == "--method":
                method = next(options)
            elif word == "--input":
                content = json.loads((ROOT / next(options)).read_text())
            elif word in ("-f", "-F"):
                key, value = next(options).split("=", 1)
                *outer, inner = key.replace("]", "").split("[")
                place = content
                for name in outer:
                    place = place.setdefault(name, {})
                place[inner] = json.loads(value) if word == "-F" else value
            else:
                path = word
        address, token = f"{double.url}/api/v3/{path}", {"Authorization": "Bearer ghp_admin"}
        answer = requests.request(method or "POST", address, json=content, headers=token, timeout=60)
        assert answer.ok, f"{line}: {answer.text}"


def test_following_every_command_mends_everything(job):
    before = look()
    wrong = [diagnosis for diagnosis in before if diagnosis.verdict is FAIL]
    first = ["branch rules", "gpu-pr", "tag rules", "registry", "production", "env rules", "monitoring", "retraining"]
    first += ["rollout", "promote-reviewed", "rollback"]
    assert [diagnosis.name for diagnosis in wrong] == first, "where there is no environment nobody asks for its secrets"
    for diagnosis in wrong:
        follow(job, diagnosis.fix)
    key = named(look(), "release key")
    assert key.verdict is FAIL
    for environment in secrets.KEYED:
        assert f"gh secret set RELEASE_KEY --env {environment} < release_key" in key.fix
        job.secrets[environment] = ["OTHER", "RELEASE_KEY"]
        assert (named(look(), "release key").verdict is PASS) == (environment == "rollback")
    assert {name for name, verdict in verdicts(look()).items() if verdict is INCONCLUSIVE} == {
        "runner",
        "storage",
        "reviewers",
    }
    job.secrets["registry"].append("DVC_CONFIG")
    job.environments["promote-reviewed"]["protection_rules"] = [{"id": 1, "type": "required_reviewers"}]
    online = {"name": "gpu-1", "status": "online", "labels": [{"name": "self-hosted"}, {"name": "GPU-PR"}]}
    job.runners.append(online)
    assert set(verdicts(look()).values()) == {PASS}


def test_the_page_about_runners_names_every_ruleset_and_environment():
    page = (ROOT / ".github/RUNNERS.md").read_text()
    kept = {path.stem for path in (ROOT / ".github/rulesets").iterdir()}
    assert kept == {"main", *rules.TAG_RULES, *rules.WRITTEN_BY_RELEASES}
    assert set(re.findall(r"--input \.github/rulesets/([\w-]+)\.json", page)) == kept
    loops = [names.split() for names in re.findall(r"^for name in (.+); do$", page, re.M)]
    assert loops == [[name for name, (_, only) in github.ENVIRONMENTS.items() if only], list(secrets.KEYED)]


def test_nothing_is_written(job):
    look()
    assert {request.method for request in job.requests} == {"GET"}


@pytest.mark.parametrize("missing", rules.REQUIRED)
def test_main_must_require_both_statuses(job, missing):
    ruleset = json.loads((ROOT / ".github/rulesets/main.json").read_text()) | {"id": 1}
    statuses = ruleset["rules"][-1]["parameters"]
    both = list(statuses["required_status_checks"])
    statuses["required_status_checks"] = [row for row in both if row["context"] != missing]
    job.rulesets.append(ruleset)
    assert named(look(), "branch rules").found == f"main can be merged into without {missing}"
    job.protection = {"enabled": True, "required_status_checks": {"contexts": [missing]}}
    assert named(look(), "branch rules").verdict is PASS, "a classic protection requires the other"
    statuses["strict_required_status_checks_policy"] = False
    assert "behind main" in named(look(), "branch rules").found
    statuses["strict_required_status_checks_policy"] = True
    reviews = next(rule["parameters"] for rule in ruleset["rules"] if rule["type"] == "pull_request")
    reviews["dismiss_stale_reviews_on_push"] = False
    assert named(look(), "branch rules").found == "what is pushed after an approval can be merged into main unseen"
    for name, value in (("require_last_push_approval", True), ("required_approving_review_count", 0)):
        before, reviews[name] = reviews[name], value
        assert named(look(), "branch rules").verdict is PASS
        reviews[name] = before
    reviews["dismiss_stale_reviews_on_push"] = True
    ruleset["enforcement"] = "evaluate"
    assert named(look(), "branch rules").verdict is FAIL
    job.protection["required_status_checks"]["contexts"] = list(rules.REQUIRED)
    assert named(look(), "branch rules").verdict is INCONCLUSIVE, "strictness is told to administrators only"


def test_a_tag_of_either_kind_is_made_by_a_release_alone_and_kept_for_ever(job):
    read = [json.loads((ROOT / f".github/rulesets/{name}.json").read_text()) for name in ("tags", "tags-history")]
    read = [ruleset | {"id": number} for number, ruleset in enumerate(read)]
    job.rulesets[:] = read
    assert named(look(), "tag rules").verdict is PASS
    assert ([len(one["bypass_actors"]) for one in read], read[0]["rules"]) == ([2, 0], [{"type": "creation"}])
    for number, name in enumerate(("tags", "tags-history")):
        names = read[number]["conditions"]["ref_name"]
        for broken in (
            {"enforcement": "disabled"},
            {"rules": read[number]["rules"][1:]},
            {"conditions": {"ref_name": {**names, "include": names["include"][:1]}}},
            {"conditions": {"ref_name": {**names, "exclude": ["refs/tags/model@*"]}}},
        ):
            job.rulesets[:] = read
            job.rulesets[number] = read[number] | broken
            found = named(look(), "tag rules")
            assert (found.verdict, found.fix.split("/")[-1]) == (FAIL, f"{name}.json"), broken


def test_a_branch_of_an_environment_is_written_by_a_release_alone_and_rewritten_by_nobody(job):
    read = {name: json.loads((ROOT / f".github/rulesets/{name}.json").read_text()) for name in ("env", "env-history")}
    job.rulesets += [ruleset | {"id": number} for number, ruleset in enumerate(read.values())]
    assert named(look(), "env rules").verdict is PASS
    assert "bypass_actors" not in str(read["env-history"]["rules"]) and read["env-history"]["bypass_actors"] == []
    for name, ruleset in enumerate(read.values()):
        for rule in ruleset["rules"]:
            job.rulesets[name] = ruleset | {"id": name, "rules": [one for one in ruleset["rules"] if one != rule]}
            found = named(look(), "env rules")
            assert found.verdict is FAIL, rule
            assert [*read][name] + ".json" in found.fix
        job.rulesets[name] = ruleset | {"id": name}
    job.rulesets[0] = read["env"] | {
        "id": 0,
        "conditions": {"ref_name": {"include": ["refs/heads/main"], "exclude": []}},
    }
    assert "creation and update" in named(look(), "env rules").found


def test_an_environment_with_secrets_is_for_main_alone_and_the_gpus_for_pull_requests(job):
    custom = {"protected_branches": False, "custom_branch_policies": True}
    job.environments = {name: {"name": name, "deployment_branch_policy": None} for name in github.ENVIRONMENTS}
    assert [verdicts(look())[name] for name in github.ENVIRONMENTS] == [PASS, *[FAIL] * 7]
    for environment in job.environments.values():
        environment["deployment_branch_policy"] = custom
    job.deploying_refs = {"gpu-pr": ["main"], "registry": ["main"], "production": ["releases/*"]}
    job.deploying_refs |= {"monitoring": ["main"], "retraining": ["retrain/*"], "rollout": ["*"]}
    job.deploying_refs |= {"promote-reviewed": ["main"], "rollback": ["hotfix"]}
    expected = [FAIL, PASS, FAIL, PASS, FAIL, FAIL, PASS, FAIL]
    assert [verdicts(look())[name] for name in github.ENVIRONMENTS] == expected
    assert named(look(), "rollout").found == "* may use it too, and its secrets"
    job.deploying_refs |= {"gpu-pr": ["refs/pull/*/merge"], "production": ["main", "ma*"], "retraining": ["main"]}
    job.deploying_refs |= {"rollback": ["main"], "rollout": ["main"]}
    assert named(look(), "production").found == "ma* may use it too, and its secrets"
    job.deploying_refs["production"] = ["main"]
    assert [verdicts(look())[name] for name in github.ENVIRONMENTS] == [PASS] * 8
    for environment in job.environments.values():
        environment["deployment_branch_policy"] = {"protected_branches": True, "custom_branch_policies": False}
    assert [verdicts(look())[name] for name in github.ENVIRONMENTS] == [FAIL, *[PASS] * 7]


def test_a_runner_is_found_on_the_last_page_by_both_labels(job):
    job.runners = [{"name": str(n), "status": "online", "labels": [{"name": "self-hosted"}]} for n in range(100)]
    assert named(look(), "runner").verdict is INCONCLUSIVE, "an ephemeral runner is there only while it works"
    job.runners.append({"name": "gpu-1", "status": "offline", "labels": [{"name": "self-hosted"}, {"name": "gpu-pr"}]})
    assert named(look(), "runner").found == "gpu-1 is offline"
    job.runners[-1]["status"] = "online"
    assert named(look(), "runner").verdict is PASS


def test_only_where_something_serves_a_runner_that_reaches_the_log_and_a_token_for_retrainings_are_asked_for(job):
    assert {verdicts(look())[name] for name in ("serving", "retrain token")} == {PASS}
    job.variables[""] = {"SERVING": "true"}
    assert {verdicts(look())[name] for name in ("serving", "retrain token")} == {INCONCLUSIVE}
    job.runners = [{"name": "gpu-1", "status": "online", "labels": [{"name": "self-hosted"}, {"name": "gpu-pr"}]}]
    assert named(look(), "serving").verdict is INCONCLUSIVE, "a runner for trainings is none that reaches the log"
    job.runners.append({"name": "log-1", "status": "offline", "labels": [{"name": "self-hosted"}, {"name": "serving"}]})
    assert named(look(), "serving").found == "log-1 is offline"
    job.runners[-1]["status"] = "online"
    job.environments["retraining"] = {"name": "retraining"}
    assert "RETRAIN_TOKEN" in named(look(), "retrain token").fix
    job.secrets["retraining"] = ["RETRAIN_TOKEN"]
    assert {verdicts(look())[name] for name in ("serving", "retrain token")} == {PASS}


def test_a_release_that_is_signed_with_a_key_needs_it_where_it_is_made(job):
    assert {named(look(sign=sign), "signing").verdict for sign in ("none", "sigstore")} == {PASS}
    assert named(look(sign="key"), "signing").verdict is INCONCLUSIVE, "there is no environment to look into"
    job.environments["registry"] = {"name": "registry"}
    found = named(look(sign="key"), "signing")
    assert (found.verdict, found.fix) == (FAIL, "gh secret set SIGNING_KEY --env registry < release.pem")
    job.secrets["registry"] = ["SIGNING_KEY"]
    assert named(look(sign="key"), "signing").verdict is PASS


@pytest.mark.parametrize("place", ["a secret", "registry", ""])
def test_a_release_that_goes_to_the_hub_needs_a_token_or_an_identity_where_it_is_made(job, place):
    assert "hub token" not in verdicts(look())
    assert named(look(hub="acme/triage"), "hub token").verdict is INCONCLUSIVE
    job.environments["registry"] = {"name": "registry"}
    assert named(look(hub="acme/triage"), "hub token").verdict is FAIL
    if place == "a secret":
        job.secrets["registry"] = ["HF_TOKEN"]
    else:
        job.variables[place] = {"HF_OIDC_RESOURCE": "acme/triage"}
    assert named(look(hub="acme/triage"), "hub token").verdict is PASS


@pytest.mark.parametrize("place", ["a secret", "registry", ""])
def test_a_release_needs_a_way_to_the_data_which_its_machine_does_not_know(job, place):
    assert named(look(), "storage").verdict is INCONCLUSIVE
    job.environments["registry"] = {"name": "registry"}
    assert "neither the secret DVC_CONFIG nor the variable AWS_ROLE_ARN" in named(look(), "storage").found
    if place == "a secret":
        job.secrets["registry"] = ["DVC_CONFIG"]
    else:
        job.variables[place] = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/release"}
    assert named(look(), "storage").verdict is PASS


def test_a_public_repository_is_for_a_human_to_judge(job):
    job.private = False
    assert named(look(), "visibility").verdict is INCONCLUSIVE


@pytest.mark.parametrize(("wanted", "verdict"), [("auto", PASS), ("github", PASS), ("cml", FAIL)])
def test_cml_must_be_there_only_where_it_was_asked_for(job, stand_in, monkeypatch, wanted, verdict):
    assert named(look(wanted), "comment").verdict is verdict
    monkeypatch.setattr(cml, "COMMAND", "cml")
    assert named(look(wanted), "comment").verdict is PASS


def test_a_workflows_token_sees_all_but_runners_secrets_and_variables(job, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_write")
    job.environments["registry"] = {"name": "registry"}
    found = look(sign="key")
    hidden = ("runner", "serving", "release key", "signing", "storage", "retrain token")
    assert {verdicts(found)[name] for name in hidden} == {INCONCLUSIVE}
    assert "administration: read" in named(found, "runner").fix
    assert named(found, "tag rules").verdict is FAIL


def test_without_a_token_nothing_is_asked_and_that_is_said(job, monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN")
    found = look()
    assert {diagnosis.verdict for diagnosis in found if diagnosis.name != "comment"} == {INCONCLUSIVE}
    assert named(found, "tag rules").found == "not asked: set GITHUB_TOKEN"
    assert job.requests == []


@pytest.mark.parametrize("wrong", ["token", "repository", "server"])
def test_a_repository_that_does_not_answer_is_one_failure_and_the_rest_is_not_asked(job, monkeypatch, wrong):
    change = {
        "token": ("GITHUB_TOKEN", "ghp_wrong"),
        "repository": ("GITHUB_REPOSITORY", "acme/other"),
        "server": ("GITHUB_API_URL", "http://127.0.0.1:9"),
    }
    monkeypatch.setenv(*change[wrong])
    found = look()
    assert verdicts(found)["repository"] is FAIL
    assert {diagnosis.verdict for diagnosis in found[2:]} == {INCONCLUSIVE}
    assert "ghp_wrong" not in str(found)


def test_an_answer_of_another_shape_is_no_pass(job):
    job.faults = []
    job.fail(200, path="/environments", times=50, text="{}")
    found = verdicts(look())
    assert {found[name] for name in github.ENVIRONMENTS} == {INCONCLUSIVE}


@pytest.mark.parametrize(
    ("address", "api"),
    [
        ("https://github.com/acme/trunkline.git", "https://api.github.com"),
        ("https://ada:ghp_secret@github.com/acme/trunkline", "https://api.github.com"),
        ("git@github.com:acme/trunkline.git", "https://api.github.com"),
        ("ssh://git@git.example.com:2222/acme/trunkline", "https://git.example.com/api/v3"),
        ("https://acme.ghe.com/acme/trunkline", "https://api.acme.ghe.com"),
    ],
)
def test_outside_of_actions_the_origin_tells_the_repository(monkeypatch, address, api):
    monkeypatch.delenv("GITHUB_API_URL", raising=False)
    monkeypatch.setenv("GH_HOST", "git.example.com")
    found = github.place(address)
    assert (found.api, found.repository) == (api, REPOSITORY)


@pytest.mark.parametrize("address", ["https://gitlab.com/acme/trunkline", "git@github.com.example.com:acme/trunkline"])
def test_a_token_is_shown_to_no_server_that_is_not_githubs(job, monkeypatch, address):
    monkeypatch.setattr("trunkline.clients.git.clone.address", lambda remote: address)
    for name in ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GH_HOST"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    monkeypatch.setattr("requests.Session.request", lambda *arguments, **named: asked.append(arguments))
    found = named(look(), "repository")
    assert (found.verdict, asked) == (FAIL, [])
    assert "not known to be GitHub's" in found.found
    assert "GH_HOST=" in found.fix


@pytest.mark.parametrize("address", [None, "/srv/git/trunkline.git", "../origin.git", "https://github.com/acme"])
def test_an_origin_that_is_not_on_github_is_said(job, monkeypatch, address):
    for name in ("GITHUB_API_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("trunkline.clients.git.clone.address", lambda remote: address)
    repository = named(look(), "repository")
    assert "names no repository on GitHub" in repository.found
    assert f"`git remote {'set-url' if address else 'add'} origin " in repository.fix


@pytest.mark.parametrize(
    ("ref", "pattern", "expected"),
    [
        ("refs/tags/model@v1.0.0", "refs/tags/*@v*", True),
        ("refs/tags/team/model@v1.0.0", "refs/tags/*@v*", False),
        ("refs/tags/team/model@v1.0.0", "refs/tags/**/*@v*", True),
        ("refs/tags/model@v1.0.0", "refs/tags/**/*@v*", True),
        ("refs/tags/model@v1.0.0", "refs/tags/model@v1?0?0", True),
        ("refs/tags/model@v1.0.0", "refs/tags/model@v1.0", False),
        ("refs/tags/model#production#1", "refs/tags/*@v*", False),
        ("main", "~ALL", True),
    ],
)
def test_patterns_are_githubs(ref, pattern, expected):
    assert matches(ref, [pattern]) is expected


# The Hub.


@pytest.mark.parametrize(
    ("role", "model", "expected"),
    [
        ("writers", True, {"token": PASS, "model": PASS}),
        ("readers", True, {"token": PASS, "model": FAIL}),
        ("writers", False, {"token": PASS, "model": INCONCLUSIVE}),
        ("nobody", True, {"token": FAIL}),
        (None, True, {"token": INCONCLUSIVE}),
    ],
)
def test_a_token_of_the_hub_must_be_one_that_may_write_there(hub, monkeypatch, role, model, expected):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if role:
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        hub.writers = {"hf_mine"} if role == "writers" else set()
        hub.readers = {"hf_mine"} if role == "readers" else set()
    if model:
        hub.publish("acme/triage", {"README.md": b"a model"})
    found = hub_check.check("acme/triage")
    assert verdicts(found) == expected
    assert "hf_mine" not in str(found)
    assert not [request for request in hub.asked if not request.startswith("GET ")], "nothing is written"
    assert all(diagnosis.fix for diagnosis in found if diagnosis.verdict is not PASS)


def test_a_hub_that_does_not_answer_is_said(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    hub.writers.add("hf_mine")
    hub.fail("whoami", status=500)
    assert "answers HTTP 500" in named(hub_check.check("acme/triage"), "token").found


def test_the_hub_is_asked_only_where_releases_go_there(clone, hub, monkeypatch):
    monkeypatch.setattr(doctor.github, "check", lambda *asked: github.Parts([], [], []))
    assert "Hugging Face Hub" not in doctor.run(starter.settings(clone))[0]
    assert hub.asked == []
    page = doctor.run(starter.settings(clone, release__hub="acme/triage"))[0]
    assert "publish releases on the Hugging Face Hub: " in page


# The whole.


def test_the_page_shows_each_part_and_the_exit_code_is_the_worst(clone, double, monkeypatch, capsys):
    starter.settings(clone)
    monkeypatch.setattr(doctor.github, "check", lambda *asked: github.Parts([], [], []))
    starter.git(clone, "remote", "remove", "origin")
    assert cli.main(["doctor"]) == 3
    page = capsys.readouterr().out
    assert "hand results over through Git: does not work yet\n" in page
    assert "-> git remote add origin https://github.com/OWNER/NAME\n" in page
    assert "  fail          configuration  DVC is not set up here\n" in page
