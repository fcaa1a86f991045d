"""The Hub's client against a double of it: whole and right files, or one clear Error; bounded patience."""

import time
from pathlib import Path

import pytest

import hub_double
import ports
from hub_double import TOKEN
from trunkline.clients import hub as client
from trunkline.errors import Error

REPO = "acme/model"
WEIGHTS = bytes(range(256)) * 32768  # 8 MiB
CONTENTS = {"config.json": b"{}", "empty.txt": b"", "model.safetensors": WEIGHTS}


@pytest.fixture
def commit(hub, in_tmp: Path) -> str:
    """A model on the double; the test runs in an empty folder."""
    (in_tmp / "into").mkdir()
    return hub.publish(REPO, CONTENTS)


def fetch(commit: str, *names: str) -> dict[str, bytes]:
    client.Snapshot(REPO, commit).fetch(names or CONTENTS, Path("into"))
    return {path.name: path.read_bytes() for path in Path("into").iterdir()}


def refused(commit: str) -> Error:
    with pytest.raises(Error) as caught:
        fetch(commit)
    assert caught.value.hint
    assert "\n" not in caught.value.problem
    assert not list(Path("into").iterdir()), "all or nothing"
    return caught.value


def kept() -> dict[str, int]:
    return {path.name.partition(".")[2]: path.stat().st_size for path in client.DOWNLOADS.iterdir()}


def test_files_arrive_whole_and_nothing_is_left_behind(commit):
    assert fetch(commit) == CONTENTS
    assert kept() == {}


def test_a_small_file_is_read_and_not_fetched_again(hub, commit):
    snapshot = client.Snapshot(REPO, commit)
    assert snapshot.read("config.json") == b"{}"
    snapshot.fetch(CONTENTS, Path("into"))
    assert hub.fetched() == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(hub, commit, status):
    hub.fail("/api/models/", status=status, times=2, headers={"Retry-After": "3600"})
    hub.fail("model.safetensors", status=status, times=2, headers={"Retry-After": "3600"})
    assert fetch(commit) == CONTENTS


def test_a_cut_connection_goes_on_where_it_was_cut(hub, commit):
    for _ in range(5):  # more cuts than tries: each brings something
        hub.fail("GET .*model.safetensors", cut=1_500_000, times=1)
    assert fetch(commit) == CONTENTS
    ranges = [request.rpartition("bytes=")[2] for request in hub.asked if "bytes=" in request]
    assert ranges == ["1500000-", "3000000-", "4500000-", "6000000-", "7500000-"]


def test_a_trickle_is_no_progress(hub, commit):
    hub.fail("GET .*model.safetensors", cut=1000)
    assert "does not answer (peer closed connection" in refused(commit).problem
    assert kept()["model.safetensors"] == 1000 * (1 + len(client.WAITS_S))


def test_a_server_that_knows_no_ranges_gives_the_whole_file_again(hub, commit):
    hub.fail("GET .*model.safetensors", cut=400_000, times=1)
    hub.fail("bytes=", content=WEIGHTS)
    assert fetch(commit) == CONTENTS


def test_large_files_come_from_another_host_that_gets_no_token(hub, commit, tmp_path, monkeypatch):
    """As from the real Hub, whose content network would refuse the request if the token came with it."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with hub_double.serving(tmp_path / "elsewhere") as network:
        network.writers.clear()
        assert network.publish(REPO, CONTENTS) == commit
        network.fail("GET .*model.safetensors", cut=3_000_000, times=1)
        elsewhere = {"Location": f"{network.url}/{REPO}/resolve/{commit}/model.safetensors"}
        hub.fail("GET .*model.safetensors", status=302, headers=elsewhere)
        assert fetch(commit) == CONTENTS
        assert [request.rpartition(" ")[2] for request in network.asked][1:] == ["bytes=3000000-"]


def test_a_fetch_that_failed_keeps_what_is_good(hub, commit):
    hub.fail("GET .*model.safetensors", cut=400_000, times=1)
    hub.fail("GET .*model.safetensors", status=503)
    assert "HTTP 503" in refused(commit).problem
    assert kept() == {"config.json": 2, "empty.txt": 0, "model.safetensors": 400_000}
    hub.faults.clear()
    hub.asked.clear()
    assert fetch(commit) == CONTENTS
    assert [request.rpartition("bytes=")[2] for request in hub.asked if "resolve" in request] == ["400000-"]


def test_a_damaged_beginning_is_fetched_anew(hub, commit):
    hub.fail("GET .*model.safetensors", cut=400_000, times=1)
    hub.fail("GET .*model.safetensors", status=503)
    refused(commit)
    hub.faults.clear()
    (begun,) = client.DOWNLOADS.glob("*.model.safetensors")
    begun.write_bytes(bytes(400_000))
    assert fetch(commit) == CONTENTS


def test_leftovers_of_another_model_are_removed(commit):
    client.DOWNLOADS.mkdir(parents=True)
    (client.DOWNLOADS / f"{'0' * 64}.model.safetensors").write_bytes(b"begun")
    fetch(commit)
    assert kept() == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", bytes(len(WEIGHTS))),
        ("model.safetensors", WEIGHTS[:-1]),
        ("model.safetensors", WEIGHTS + b"more"),
        ("config.json", b"[]"),
    ],
)
def test_a_file_that_is_not_the_recorded_one_is_refused_and_forgotten(hub, commit, name, content):
    """Large files are compared by SHA-256, small ones by the SHA-1 that Git names them by."""
    hub.fail(f"GET .*{name}", content=content)
    assert f"{name} of {REPO}@{commit} is not what the Hub records: {len(content)} bytes" in refused(commit).problem
    assert name not in kept()
    hub.faults.clear()
    assert fetch(commit) == CONTENTS


def test_a_body_that_ends_early_again_and_again_is_an_error(hub, commit):
    hub.fail("GET .*model.safetensors", cut=0)
    assert "does not answer (peer closed connection" in refused(commit).problem
    assert len([request for request in hub.asked if "model.safetensors" in request]) == 1 + len(client.WAITS_S)


def test_a_dead_or_silent_hub_is_given_up_within_a_minute(hub, commit, monkeypatch):
    for pattern in ("/api/models/", "GET .*model.safetensors"):
        hub.faults.clear()
        hub.fail(pattern, silent=True)
        monkeypatch.setattr(client, "TIMEOUT_S", 0.5)
        start = time.monotonic()
        assert "does not answer (timed out)" in refused(commit).problem
        assert time.monotonic() - start < 60
    with ports.kept() as nobodys:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{nobodys}")
        assert "does not answer ([Errno 111] Connection refused)" in refused(commit).problem


def test_patience_is_bounded():
    """The worst server takes every connection and never answers; the one above, with real limits."""
    assert len(client.WAITS_S) > 0
    assert client.TIMEOUT_S * (len(client.WAITS_S) + 1) + sum(client.WAITS_S) <= 60


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Log in to the hotel's network</html>", "does not answer like a Hub"),
        (b"\xff\xfe", "does not answer like a Hub"),
        (b"{}", "does not answer like a Hub"),
        (b'{"id": "a/b", "siblings": [{"rfilename": "config.json"}]}', "does not answer like a Hub"),
        (
            b'{"id": "a/b", "siblings": [{"rfilename": "config.json", "size": 1, "blobId": "../../../x"}]}',
            "does not answer like a Hub",
        ),
        (b'{"id": "a/b", "sha": "0000", "siblings": []}', "answers with another commit"),
    ],
)
def test_an_answer_that_is_not_the_hubs_is_refused(hub, commit, body, said):
    hub.fail("/api/models/", content=body)
    assert said in refused(commit).problem


@pytest.mark.parametrize("name", ["acme/--x", "acme/" + "x" * 97])
def test_a_name_that_the_hub_cannot_have_is_refused(hub, in_tmp, name):
    with pytest.raises(Error, match="cannot be the name of a model"):
        client.Snapshot(name, "0" * 40)
    assert hub.asked == []


def test_offline_mode_is_told(hub, commit, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids it" in refused(commit).problem


@pytest.mark.parametrize("pattern", ["/api/models/", "/resolve/"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 416, 418, 429, 500])
def test_neither_token_nor_password_is_repeated(hub, commit, monkeypatch, pattern, status):
    """Not even when the server, or a proxy before it, sends back what it was sent."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url.replace("//", "//user:secret@"))
    hub.fail(pattern, status=status, headers={"X-Error-Message": f"Bearer {TOKEN} user:secret"})
    error = refused(commit)
    assert TOKEN not in str(error)
    assert "secret" not in str(error)
