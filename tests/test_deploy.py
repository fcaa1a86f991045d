"""`trunkline deploy`: manifests of a tagged release, and HAProxy's configuration with its weight."""

import socket
from pathlib import Path

import pytest

import starter
from trunkline import haproxy, params
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
    said = deploy.run(settings, "kubernetes", "v1.2.0", None, 0.0)
    written = in_tmp / "deploy/kubernetes/support-triage.yaml"
    assert "serves support-triage@v1.2.0" in said
    assert '&version "v1.2.0"' in written.read_text()
    assert written.read_text() == (ROOT / "deploy/kubernetes/support-triage.yaml").read_text()
    with pytest.raises(Error, match="no release support-triage@v9.0.0") as caught:
        deploy.run(settings, "kubernetes", "v9.0.0", None, 0.0)
    assert caught.value.hint == "releases: v1.2.0"
    with pytest.raises(Error, match="which release"):
        deploy.run(settings, "kubernetes", None, None, 0.0)


def test_haproxy_is_prepared_before_its_first_start(settings, in_tmp):
    said = deploy.run(settings, "haproxy", None, SALT, 0.05)
    assert "start HAProxy" in said
    assert (in_tmp / "canary.map").read_text() == haproxy.map_file(0.05)
    assert "server canary-1 10.0.0.21:8000" in (in_tmp / "deploy/haproxy/haproxy.cfg").read_text()


def test_the_committed_haproxy_example_is_what_is_rendered():
    own = params.load(ROOT / "params.yaml").deploy.haproxy
    rendered = haproxy.render(SALT, own)
    assert (ROOT / "deploy/haproxy/haproxy.cfg").read_text() == rendered


def test_a_haproxy_that_is_gone_is_an_error(settings, in_tmp):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(settings.deploy.haproxy.socket)
    with pytest.raises(Error, match="does not answer"):
        deploy.run(settings, "haproxy", None, SALT, 0.25)
    assert (in_tmp / "canary.map").read_text() == haproxy.map_file(0.25)


@pytest.mark.parametrize(("salt", "weight", "said"), [(None, 0.1, "salt"), ("", 0.1, "salt"), (SALT, 1.5, "1.5")])
def test_a_wrong_argument_changes_nothing(settings, in_tmp, salt, weight, said):
    with pytest.raises(Error, match=said):
        deploy.run(settings, "haproxy", None, salt, weight)
    assert list(in_tmp.iterdir()) == []
