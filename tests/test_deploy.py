"""`trunkline deploy`: manifests of a tagged release, and HAProxy's configuration with its weight."""

import contextlib
import socket
from pathlib import Path

import pytest

import releases
import rollouts
import starter
from trunkline import cli, haproxy, params
from trunkline.clients.git import tags
from trunkline.errors import Error
from trunkline.operations import deploy
from trunkline.params import Params
from trunkline.records.release import Manifest, message

ROOT = Path(__file__).parent.parent
SALT = "an example's salt"


def manifest(commit: str, **changes: object) -> Manifest:
    later = {name: None for name in ("approval", "bundle") if name in Manifest.model_fields}
    answer = {"format": "text", "fields": ["answer"], "allowed": {}}
    task = {"prompt_id": "p", "template": "{{ message }}", "variables": {}, "transforms": [], "answer": answer}
    content = {
        **{"model": "support-triage", "version": "v1.2.0", "commit": commit, "lock": "a" * 64, "data": {}},
        **{
            "base": {"source": "path:base", "sha256": "b" * 64},
            "kind": "merged",
            "task": task,
            "guard": "0" * 12,
            "decoding": {},
        },
        **{"weights": {"model.safetensors": "c" * 64}, "params": {}, "scores": {}, "verdict": "pass"},
        "production": {"release": None, "revision": None, "weights": None, "partitions": []},
        **{"environment": None, "tools": {}, "hub": None, "created": "2026-11-01T00:00:00Z", "by": "ada", "run": None},
    }
    return Manifest.model_validate({**content, **later, **changes})


@pytest.fixture
def settings(in_tmp) -> Params:
    """The project's own values, with HAProxy's files in this test's folder."""
    own = params.load(ROOT / "params.yaml")
    proxy = own.deploy.haproxy.model_copy(update={"socket": str(in_tmp / "s.sock"), "map": str(in_tmp / "canary.map")})
    return own.model_copy(update={"deploy": own.deploy.model_copy(update={"haproxy": proxy})})


def test_a_release_becomes_manifests(settings, in_tmp):
    starter.git(in_tmp, "init", "-q")
    starter.git(in_tmp, "commit", "-q", "--allow-empty", "-m", "first")
    commit = starter.git(in_tmp, "rev-parse", "HEAD")
    tags.create("support-triage@v1.2.0", commit, message("release v1.2.0", manifest(commit)))
    said = deploy.run(settings, "kubernetes", "v1.2.0", None, 0.0, None)
    written = in_tmp / "deploy/kubernetes/support-triage.yaml"
    assert "serves support-triage@v1.2.0" in said
    assert '&version "v1.2.0"' in written.read_text()
    assert written.read_text() == (ROOT / "deploy/kubernetes/support-triage.yaml").read_text()
    with pytest.raises(Error, match="no release support-triage@v9.0.0") as caught:
        deploy.run(settings, "kubernetes", "v9.0.0", None, 0.0, None)
    assert caught.value.hint == "releases: v1.2.0"
    with pytest.raises(Error, match="which release"):
        deploy.run(settings, "kubernetes", None, None, 0.0, None)


def test_haproxy_is_prepared_before_its_first_start(settings, in_tmp):
    said = deploy.run(settings, "haproxy", None, SALT, 0.05, None)
    assert "start HAProxy" in said
    assert (in_tmp / "canary.map").read_text() == haproxy.map_file(0.05)
    assert "server canary-1 10.0.0.21:8000" in (in_tmp / "deploy/haproxy/haproxy.cfg").read_text()


def test_on_kubernetes_an_environments_branch_says_what_argo_cd_makes_so(settings, nameless):
    """Beside what serves and is tried there, in a folder of its own, and nothing is committed twice."""
    (clone,) = releases.clones(nameless)
    with contextlib.chdir(clone):
        for version in ("v1.2.0", "v1.3.0"):
            commit = releases.commit(clone, version)
            tags.create(
                f"support-triage@{version}", commit, message(f"release {version}", manifest(commit, version=version))
            )
        starter.git(clone, "push", "-q", "--tags", "origin", "HEAD:env/production")
        shown = [deploy.run(settings, "kubernetes", "v1.2.0", None, 0.0, "production") for _ in range(2)]
        assert shown[0] == shown[1]
        assert "kubernetes/support-triage.yaml on env/production serves support-triage@v1.2.0" in shown[0]
        deploy.run(settings, "kubernetes", "v1.3.0", None, 0.0, "production")
        assert not (clone / "deploy").exists(), "nothing is written here"
    origin = nameless / "origin.git"
    example = (ROOT / "deploy/kubernetes/support-triage.yaml").read_text()
    subjects = starter.git(origin, "log", "-3", "--format=%s", "env/production").splitlines()
    assert subjects[:2] == [f"support-triage@{version} in production: Kubernetes" for version in ("v1.3.0", "v1.2.0")]
    for commit, version in (("env/production~1", "v1.2.0"), ("env/production", "v1.3.0")):
        written = starter.git(origin, "show", f"{commit}:kubernetes/support-triage.yaml")
        assert written.splitlines() == example.replace("v1.2.0", version).splitlines()
    assert len(starter.git(origin, "ls-tree", "--name-only", "env/production").splitlines()) > 1, "all else stays"


def test_haproxy_follows_an_environments_rollout(settings, nameless, monkeypatch):
    world = rollouts.World(nameless, monkeypatch)
    here = world.settings.model_copy(update={"deploy": settings.deploy})
    with pytest.raises(Error, match="nothing was ever tried in production"):
        deploy.run(here, "haproxy", None, None, 0.0, "production")
    world.start(0.1)
    with pytest.raises(Error, match="the salt is given, and production has one"):
        deploy.run(here, "haproxy", None, SALT, 0.0, "production")
    weights = Path(settings.deploy.haproxy.map)
    plan = world.rollout.plan.model_copy(update={"salt": "of somebody else"})
    world.by_hand(world.rollout.model_copy(update={"plan": plan}).yaml())
    deploy.run(here, "haproxy", None, None, 0.0, "production")
    assert Path("deploy/haproxy/haproxy.cfg").read_text() == haproxy.render(rollouts.SALT, settings.deploy.haproxy)
    assert weights.read_text() == haproxy.map_file(0.25)
    assert cli.main(["rollout", "rollback", "--reason", "no"]) == 0
    deploy.run(here, "haproxy", None, None, 0.0, "production")
    assert weights.read_text() == haproxy.map_file(0.0)


def test_the_committed_haproxy_example_is_what_is_rendered():
    own = params.load(ROOT / "params.yaml").deploy.haproxy
    rendered = haproxy.render(SALT, own)
    assert (ROOT / "deploy/haproxy/haproxy.cfg").read_text() == rendered


def test_a_haproxy_that_is_gone_is_an_error(settings, in_tmp):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(settings.deploy.haproxy.socket)
    with pytest.raises(Error, match="does not answer"):
        deploy.run(settings, "haproxy", None, SALT, 0.25, None)
    assert (in_tmp / "canary.map").read_text() == haproxy.map_file(0.25)


@pytest.mark.parametrize(("salt", "weight", "said"), [(None, 0.1, "salt"), ("", 0.1, "salt"), (SALT, 1.5, "1.5")])
def test_a_wrong_argument_changes_nothing(settings, in_tmp, salt, weight, said):
    with pytest.raises(Error, match=said):
        deploy.run(settings, "haproxy", None, salt, weight, None)
    assert list(in_tmp.iterdir()) == []
