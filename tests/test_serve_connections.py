"""What is no request, no whole one, or one that never ends, over raw sockets: bounded, named, and in no log."""

import contextlib
import gzip
import json
import socket
import zlib
from collections.abc import Iterator

import pytest
import requests

import gateways
import served
from gateways import ANSWER, MESSAGE, World, wait
from trunkline.clients import listening
from trunkline.operations import serve

BODY = json.dumps({"inputs": MESSAGE}).encode()
HEAD = b"POST /generate HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
KEY = "sk-a-secret"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gateways.serving(tmp_path_factory.mktemp("world"), serve__gateway__request_bytes=10_000) as running:
        yield running


def connected(url: str) -> socket.socket:
    place = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=60)
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return place


def heard(place: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    said = b""
    while part := place.recv(65536):
        said += part
    return said


def bare(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(content) + packer.flush()


def drip(place: socket.socket) -> bool:
    """Whether a connection has ended; else one byte more is sent on it."""
    try:
        place.sendall(b"x")
        place.setblocking(False)
        return place.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_head_that_never_ends_has_its_connection_closed_and_nobody_else_is(world, monkeypatch):
    monkeypatch.setattr(listening, "IDLE_S", 3.0)
    with served.running(serve.application(world.params, world.traffic, None)) as url:
        places = [connected(url), connected(url)]
        places[1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert places[1].recv(1000).startswith(b"HTTP/1.1 200")
        for place in places:
            place.sendall(HEAD + b"x-long: ")
        world.stable.fails, world.stable.slow_s = "slow", 1.2
        answer = requests.post(url + "/generate_stream", json={"inputs": MESSAGE}, stream=True, timeout=60)
        # As slow as can be: what came last counts for nothing.
        for place in places:
            wait(lambda place=place: drip(place), 60)
        # An answer may take longer.
        assert '"generated_text":"{' in answer.text
        world.stable.fails = None


def test_chunks_that_are_none_are_refused_at_once_and_nothing_of_them_is_logged(world, caplog):
    for chunks in (b"zz\r\n" + BODY, b"5\r\n" + BODY + b"\r\n0\r\n\r\n", b"-5\r\n" + BODY):
        for apart in (True, False):
            with connected(world.url) as place:
                place.sendall(CHUNKED if apart else CHUNKED + chunks)
                if apart:
                    # Whoever answers waits for the body by then.
                    wait(lambda: requests.get(world.url + "/health", timeout=60).status_code == 200)
                    place.sendall(chunks)
                said = heard(place)
            assert said.split(b" ")[1] == b"400"
            assert b"chunk" in said
    assert caplog.records == []


@pytest.mark.parametrize("line", [f"Authorization: Bearer {KEY}\0", f"{KEY} : x", f"x-long: {'x' * 9000}"])
def test_what_is_no_http_is_refused_and_in_no_log(world, caplog, line):
    with connected(world.url) as place:
        place.sendall(HEAD + line.encode() + b"\r\n\r\n")
        assert heard(place).split(b" ")[1] == b"400"
    assert caplog.records == []


@pytest.mark.parametrize("form", ["gzip", "deflate", "bare"])
def test_a_packed_body_is_unpacked_and_one_that_is_not_whole_or_too_large_is_refused_by_name(world, form):
    said = {"Content-Encoding": "gzip" if form == "gzip" else "deflate"}
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "bare": bare}[form]

    def ask(content: bytes) -> requests.Response:
        return requests.post(world.url + "/generate", data=content, headers=said, timeout=60)

    assert ask(pack(BODY)).json() == {"generated_text": ANSWER}
    packed = pack(BODY + b" " * 500)
    for broken in (packed[:-1], packed[:20], b"", packed + b"x"):
        answer = ask(broken)
        assert (answer.status_code, "not one whole" in answer.json()["error"]) == (422, True)
    # A bomb is never unpacked.
    assert ask(pack(b" " * 5_000_000)).status_code == 413


def test_an_encoding_that_is_not_understood_is_refused_by_name(world):
    for name in ("br", "zstd", "gzip, gzip", "aes128gcm"):
        answer = requests.post(world.url + "/generate", data=BODY, headers={"Content-Encoding": name}, timeout=60)
        assert (answer.status_code, name in answer.json()["error"]) == (422, True)


def stalled(url: str, key: str = "x") -> socket.socket:
    """A connection on which a body is said to come, and never does."""
    place = connected(url)
    place.sendall(HEAD + b"Authorization: Bearer " + key.encode() + b"\r\nContent-Length: 100\r\n\r\n{")
    return place


def status_of(place: socket.socket) -> int:
    """What a connection is answered; 0 while it is not. May be asked again: what is looked at stays there."""
    place.setblocking(False)
    try:
        return int(place.recv(1000, socket.MSG_PEEK).split(b" ")[1])
    except BlockingIOError:
        return 0


def test_bodies_that_never_come_keep_nobody_out(tmp_path):
    few = {"serve__gateway__max_concurrent": 2, "serve__gateway__queue": 2, "serve__gateway__body_seconds": 600.0}
    with gateways.serving(tmp_path, **few) as world, contextlib.ExitStack() as open_:
        places = [open_.enter_context(stalled(world.url)) for _ in range(10)]
        # The oldest are given up for the next.
        wait(lambda: all(status_of(place) == 429 for place in places[:6]))
        # Here the body comes behind its head, as most clients send it.
        for _ in range(3):
            assert world.post("/generate", inputs=MESSAGE).json() == {"generated_text": ANSWER}
        assert [status_of(place) for place in places[9:]] == [0]
        assert world.metrics()['trunkline_refused_requests_total{reason="overload"}'] >= 6


def test_a_keys_bodies_that_never_come_keep_out_no_other_and_without_a_key_none_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWAY_KEYS", "first second")
    monkeypatch.setattr(listening, "LINGER_S", 0.1)
    few = {"serve__gateway__max_concurrent": 1, "serve__gateway__queue": 1, "serve__gateway__body_seconds": 600.0}
    with (
        gateways.serving(tmp_path, serve__gateway__keys="GATEWAY_KEYS", **few) as world,
        contextlib.ExitStack() as open_,
    ):
        firsts = [open_.enter_context(stalled(world.url, "first")) for _ in range(2)]
        thirds = [open_.enter_context(stalled(world.url, "third")) for _ in range(20)]
        assert all(heard(place).startswith(b"HTTP/1.1 401") for place in thirds)
        seconds = [open_.enter_context(stalled(world.url, "second")) for _ in range(9)]
        wait(lambda: all(status_of(place) == 429 for place in seconds[:7]))
        answer = world.post("/generate", headers={"Authorization": "Bearer second"}, inputs=MESSAGE)
        assert answer.json() == {"generated_text": ANSWER}
        assert [status_of(place) for place in firsts] == [0, 0]
