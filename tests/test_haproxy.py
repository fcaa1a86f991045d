"""The rendered configuration and the runtime API, against the real HAProxy under load while the weight changes."""

import asyncio
import math
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ports import free_ports
from supervised import until
from trunkline import assignment, haproxy
from trunkline.clients import haproxy as runtime
from trunkline.errors import Error
from trunkline.params.deploy import HAProxyParams

HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="haproxy: Debian's package haproxy")
SALT = "b5d1f0c2-salt"
RAMP = (0.05, 0.25, 0.5, 1.0)
UNITS = [f"conversation-{number}" for number in range(400)]
CLIENTS = 6
# What a machine that stands still for a while must not end meanwhile: connections that wait, and live servers.
PATIENT = {"timeout http-request 10s": "timeout http-request 60s", "check inter 2s": "check inter 60s"}


class Seen(NamedTuple):
    """One request: when, whose, and what the gateway that answered it was told."""

    start: float
    end: float
    unit: str
    status: int
    server: str
    arm: str
    weight: float


def patient(configuration: str) -> str:
    """The rendered configuration with the timeouts that no test waits for."""
    for usual, longer in PATIENT.items():
        assert usual in configuration
        configuration = configuration.replace(usual, longer)
    return configuration


async def _gateway(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its own name and the headers that it got."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = (line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
            headers = {header.lower(): value for header, value in lines}
            body = orjson.dumps({"server": name, "headers": headers})
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], headers: str) -> tuple[int, dict]:
    reader, writer = connection
    writer.write(f"GET / HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length"))
    body = await reader.readexactly(length)
    status = int(head.split()[1])
    return status, orjson.loads(body) if status == 200 else {}


class Proxy:
    """A HAProxy in front of a stable and a canary gateway, all of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.gateways = {name: self.run(self._listen(name)) for name in ("stable", "canary")}
        addresses = {
            name: [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"] for name, server in self.gateways.items()
        }
        port = free_ports()
        self.params = HAProxyParams(
            bind=f"127.0.0.1:{port}",
            metrics=f"127.0.0.1:{port + 1}",
            unit_header="x-unit",
            timeout=60,
            socket=str(folder / "haproxy.sock"),
            map=str(folder / "canary.map"),
            **addresses,
        )
        (folder / "haproxy.cfg").write_text(patient(haproxy.render(SALT, self.params)))
        (folder / "canary.map").write_text(haproxy.map_file(0.0))
        self.start()

    async def _listen(self, name: str) -> asyncio.Server:
        return await asyncio.start_server(lambda r, w: _gateway(name, r, w), "127.0.0.1", 0)

    async def end(self) -> None:
        """HAProxy has closed every connection; let the gateways see it."""
        for server in self.gateways.values():
            server.close()
        await asyncio.sleep(0.05)

    def run(self, task):
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(120)

    def start(self) -> None:
        command = [str(HAPROXY), "-f", str(self.folder / "haproxy.cfg"), "-db"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(Error):
                runtime.entries(Path(self.params.socket), Path(self.params.map))
                return
            time.sleep(0.02)
        raise AssertionError("HAProxy did not start")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def set_weight(self, weight: float) -> None:
        runtime.set_entry(Path(self.params.socket), Path(self.params.map), haproxy.KEY, haproxy.entry(weight))

    def command(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.params.socket)
            connection.sendall(f"{text}\n".encode())
            connection.recv(1000)

    def get(self, headers: str = "") -> dict:
        return self.run(self._get(headers))

    async def _get(self, headers: str) -> dict:
        connection = await asyncio.open_connection(*self.params.bind.split(":"))
        status, body = await ask(connection, headers)
        connection[1].close()
        assert status == 200
        return body


@pytest.fixture(scope="module")
def proxy(tmp_path_factory) -> Iterator[Proxy]:
    made = Proxy(tmp_path_factory.mktemp("haproxy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "SECONDS", 60.0)
        yield made
    made.stop()
    made.run(made.end())
    made.loop.call_soon_threadsafe(made.loop.stop)


@pytest.fixture(scope="module")
def load(proxy) -> tuple[list[Seen], list[tuple[float, float, float]]]:
    """Requests of steady clients while the weight goes up, and when it did: (asked, done, weight)."""
    seen: list[Seen] = []
    changes = [(0.0, 0.0, 0.0)]
    over = threading.Event()

    async def client(offset: int) -> None:
        connection = await asyncio.open_connection(*proxy.params.bind.split(":"))
        place = offset
        while not over.is_set():
            unit = UNITS[place % len(UNITS)]
            place += CLIENTS
            start = time.monotonic()
            status, body = await ask(connection, f"X-Unit: {unit}\r\n")
            told = body.get("headers", {})
            arm, weight = told.get("x-trunkline-arm", ""), float(told.get("x-trunkline-weight", "nan"))
            seen.append(Seen(start, time.monotonic(), unit, status, body.get("server", ""), arm, weight))
        connection[1].close()

    def all_answered() -> None:
        """Wait until every unit has asked after the last change, and was answered."""
        _, done, _ = changes[-1]
        until(lambda: len({request.unit for request in [*seen] if request.start > done}) == len(UNITS))

    running = [asyncio.run_coroutine_threadsafe(client(number), proxy.loop) for number in range(CLIENTS)]
    for weight in RAMP:
        all_answered()
        asked = time.monotonic()
        proxy.set_weight(weight)
        changes.append((asked, time.monotonic(), weight))
    all_answered()
    over.set()
    for each in running:
        each.result(60)
    return seen, changes


@needs_haproxy
def test_no_request_fails_while_the_weight_changes(load):
    seen, changes = load
    assert len(changes) == 1 + len(RAMP)
    assert len(seen) > 2 * len(UNITS)
    assert {request.status for request in seen} == {200}


@needs_haproxy
def test_haproxy_assigns_exactly_as_the_gateway_and_the_analysis_do(load):
    seen, _ = load
    for request in seen:
        assert request.server == request.arm == assignment.arm_of(SALT, request.unit, request.weight)
    assert {request.weight for request in seen} == {0.0, *RAMP}


@needs_haproxy
def test_a_changed_weight_holds_from_the_next_request_on(load):
    seen, changes = load
    ends = [*(asked for asked, _, _ in changes[1:]), float("inf")]
    for (_, done, weight), end in zip(changes, ends, strict=True):
        between = [request for request in seen if request.start > done and request.end < end]
        assert len(between) > 20
        assert {request.weight for request in between} == {weight}


@needs_haproxy
def test_who_is_on_the_canary_stays_there_while_the_ramp_goes_up(load):
    seen, _ = load
    for unit in UNITS:
        stable = [request.weight for request in seen if request.unit == unit and request.arm == "stable"]
        canary = [request.weight for request in seen if request.unit == unit and request.arm == "canary"]
        assert max(stable) < min(canary)


@needs_haproxy
def test_a_request_without_a_unit_gets_one_of_its_own(proxy):
    proxy.set_weight(0.5)
    answers = [proxy.get(header) for header in [""] * 30 + ["X-Unit: \r\n"] * 5]
    units = [answer["headers"]["x-unit"] for answer in answers]
    assert len(set(units)) == len(units)
    for unit, answer in zip(units, answers, strict=True):
        assert answer["server"] == assignment.arm_of(SALT, unit, 0.5)
    assert {answer["server"] for answer in answers} == {"stable", "canary"}


@needs_haproxy
def test_what_a_client_says_about_its_arm_is_not_believed(proxy):
    proxy.set_weight(0.0)
    answer = proxy.get("X-Unit: a\r\nX-Trunkline-Arm: canary\r\nX-Trunkline-Weight: 1\r\nX-Trunkline-Else: 1\r\n")
    told = {name: value for name, value in answer["headers"].items() if name.startswith("x-trunkline")}
    assert (answer["server"], told) == ("stable", {"x-trunkline-arm": "stable", "x-trunkline-weight": "0.0"})


@needs_haproxy
def test_the_last_of_several_units_counts_and_is_the_only_one_passed_on(proxy):
    proxy.set_weight(0.5)
    answer = proxy.get("X-Unit: first\r\nX-Unit: \xfcnit, with a comma\r\n")
    assert answer["headers"]["x-unit"].encode("latin-1").decode() == "\xfcnit, with a comma"
    assert answer["server"] == assignment.arm_of(SALT, "\xfcnit, with a comma", 0.5)


@needs_haproxy
def test_a_weight_outlives_haproxy(proxy):
    proxy.set_weight(0.25)
    proxy.stop()
    proxy.start()
    held = runtime.entries(Path(proxy.params.socket), Path(proxy.params.map))
    assert held[haproxy.KEY] == haproxy.entry(0.25)
    assert proxy.get("X-Unit: a\r\n")["headers"]["x-trunkline-weight"] == "0.25"


@needs_haproxy
def test_a_dead_haproxy_is_an_error_and_the_weight_waits_in_the_file(proxy):
    proxy.stop()
    try:
        with pytest.raises(Error, match="HAProxy does not answer at") as caught:
            proxy.set_weight(0.5)
        assert "deploy.haproxy.socket" in caught.value.hint
        assert Path(proxy.params.map).read_text() == haproxy.map_file(0.5)
    finally:
        proxy.start()


@needs_haproxy
def test_a_map_that_haproxy_does_not_use_is_an_error(proxy, tmp_path):
    with pytest.raises(Error, match="Unknown map identifier"):
        runtime.set_entry(Path(proxy.params.socket), tmp_path / "other.map", "canary", "1:0.1")


@needs_haproxy
def test_it_measures_for_prometheus(proxy):
    import requests

    told = requests.get(f"http://{proxy.params.metrics}/metrics", timeout=60)
    assert 'haproxy_backend_http_responses_total{proxy="canary",code="2xx"}' in told.text


@needs_haproxy
def test_a_canary_without_a_live_server_loses_its_units_to_stable(proxy):
    proxy.set_weight(1.0)
    proxy.command("disable server canary/canary-1")
    answer = proxy.get("X-Unit: a\r\n")
    assert (answer["server"], answer["headers"]["x-trunkline-arm"]) == ("stable", "canary")
    proxy.command("enable server canary/canary-1")
    assert proxy.get("X-Unit: a\r\n")["server"] == "canary"


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_is_a_share(weight):
    with pytest.raises(Error, match="is not a weight"):
        haproxy.entry(weight)


@given(st.floats(0, 1))
def test_an_entry_holds_its_weight_to_the_last_digit(weight):
    place, _, held = haproxy.entry(weight).partition(":")
    assert (float(held), int(place)) == (weight, math.ceil(weight * assignment.POSITIONS))


VALID = {
    **{"bind": "*:8080", "metrics": "127.0.0.1:8405", "unit_header": "x-unit", "timeout": 300},
    **{"socket": "/run/s", "map": "/etc/m", "stable": ["10.0.0.1:80", "[fd00::1]:80"], "canary": []},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("canary", [text]) for text in ("10.0.0.1", "10.0.0.1:0", "a b:80", "10.0.0.1:80\n    bind *:22", "")),
        *(("bind", text) for text in ("8080", "*:8080 ssl", "*:8080\n")),
        *(("unit_header", text) for text in ("X-Unit", "x-unit)", "x unit")),
        *(("map", text) for text in ("relative", "/etc/a b", "/etc/m)\n")),
        ("stable", []),
    ],
)
def test_no_value_can_add_to_the_configuration(key, value):
    HAProxyParams.model_validate(VALID)
    with pytest.raises(ValidationError):
        HAProxyParams.model_validate(VALID | {key: value})


@needs_haproxy
def test_a_configuration_without_a_canary_is_valid(tmp_path):
    params = HAProxyParams.model_validate(VALID | {"map": str(tmp_path / "map")})
    (tmp_path / "map").write_text(haproxy.map_file(0.0))
    (tmp_path / "haproxy.cfg").write_text(haproxy.render(SALT, params))
    done = subprocess.run([str(HAPROXY), "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
