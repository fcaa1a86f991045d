"""`trunkline serve` under ten times the load that it takes, while everything around it breaks, and it is killed too."""

import asyncio
import json
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import requests

import gateways
from gateways import MESSAGE, Process, process
from tgi_document import check
from trunkline.params import Params

ROOM = {"serve__gateway__max_concurrent": 2, "serve__gateway__queue": 2}
CLIENTS = 40
TIMEOUTS = {"connect": 0.5, "first_token": 0.5, "next_token": 0.4, "total": 2.0}
LIMITS = ROOM | {"serve__gateway__probe_seconds": 0.2, "serve__gateway__body_seconds": 1.0, "serve__timeouts": TIMEOUTS}
# How the engine is, one after the other, and what the log must then say of an answer: none goes by without effect.
MOODS: list[tuple[object, str | None]] = [
    (None, None),
    ("hang", "timeout"),
    (None, None),
    ("garbage", "garbage"),
    ("slow", None),
    ("kill", "unproven"),
    (None, None),
    (500, "failed"),
    ("cut", "disconnected"),
    ("error", "failed"),
    ("kill", "unproven"),
    ("slow", "client_left"),
    (429, "overloaded"),
    (None, None),
]
# For so long at least.
MOOD_S = 0.7
# What a machine may take for anything at all.
PATIENCE_S = 120
# What may come of a request: whole answers, and refusals that say why.
STATUSES = {200, 400, 408, 413, 422, 424, 429, 502, 503, 504}
MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b'{"inputs": 3}',
    b'{"inputs": "x", "parameters": []}',
    b'{"inputs": "\\ud800"}',
    b"[" * 100_000,
    b'{"inputs": "' + b"x" * 300_000 + b'"}',
]
# The gateway's memory after it has warmed up, by so much at most.
GROWTH_BYTES = 16 * 2**20


class Got(NamedTuple):
    """What a client knows of its request: status and whether it was told of a failure, unless it left before."""

    status: int | None
    broken: bool
    began: float
    ended: float


class Clients:
    """Forty clients that ask without a pause, each time in another way.

    Attributes:
        url: of the gateway that is there now.
        got: what came, by the receipt's prediction.
        statuses: how often each came, malformed requests included.
    """

    def __init__(self) -> None:
        self.url = ""
        self.got: dict[str, Got] = {}
        self.statuses: Counter[int] = Counter()
        self.refused = self.left = 0
        self._chance = random.Random(0)

    async def go_on(self, until: asyncio.Event) -> None:
        """Ask until it is set."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as session:
            await asyncio.gather(*(self._client(session, until) for _ in range(CLIENTS)))

    async def _client(self, session: aiohttp.ClientSession, until: asyncio.Event) -> None:
        ways = (self._ask, self._ask, self._ask, self._leave, self._malformed, self._break_off)
        while not until.is_set():
            try:
                await self._chance.choice(ways)(session)
            except (aiohttp.ClientError, ConnectionError):
                # Only a gateway that was killed may do this; what it had accepted must be logged all the same.
                self.refused += 1
            await asyncio.sleep(0.1)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        stream, began = self._chance.random() < 0.5, time.time()
        async with session.post(self.url + "/", json={"inputs": MESSAGE, "stream": stream}) as answer:
            name = answer.headers.get("x-trunkline-prediction")
            if name is not None:
                self.got[name] = Got(None, False, began, time.time())
            content = await answer.read()
        self._see(answer, content)
        broken = answer.status != 200 or b'"error"' in content
        if name is not None:
            self.got[name] = Got(answer.status, broken, began, time.time())

    async def _leave(self, session: aiohttp.ClientSession) -> None:
        began = time.time()
        body = {"inputs": MESSAGE, "stream": self._chance.random() < 0.5}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.random() * 0.2), session.post(self.url + "/", json=body) as answer:
                name = answer.headers.get("x-trunkline-prediction")
                if name is not None:
                    self.got[name] = Got(None, False, began, time.time())
                answer.close()
        self.left += 1

    async def _malformed(self, session: aiohttp.ClientSession) -> None:
        async with session.post(self.url + "/", data=self._chance.choice(MALFORMED)) as answer:
            content = await answer.read()
        self._see(answer, content)
        assert 400 <= answer.status < 500
        assert "x-trunkline-prediction" not in answer.headers

    async def _break_off(self, _: Any) -> None:
        host, port = self.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b'POST /generate HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{"inputs": "')
        await writer.drain()
        writer.transport.abort()
        self.left += 1

    def _see(self, answer: aiohttp.ClientResponse, content: bytes) -> None:
        self.statuses[answer.status] += 1
        assert answer.status in STATUSES, content
        if answer.status != 200:
            check(json.loads(content), "ErrorResponse")
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1


class Engine:
    """The engine's process, which is told how to behave, or killed and later started again at the same place."""

    def __init__(self, bundle: Path) -> None:
        self._bundle, self._port = bundle, 0
        self._start()

    def be(self, mood: object) -> None:
        if mood == "kill":
            self.end()
            return
        if self._process.poll() is not None:
            self._start()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(mood) + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        command = [sys.executable, str(Path(__file__).parent / "moody.py"), str(self._bundle), str(self._port)]
        pipe = subprocess.PIPE
        # It tells of each client that it lost, and there it is the gateway that leaves.
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = int(self.url.rpartition(":")[2])


@contextmanager
def engine(bundle: Path) -> Iterator[Engine]:
    started = Engine(bundle)
    try:
        yield started
    finally:
        started.end()


def memory(gateway: Process) -> int:
    """Bytes that are resident."""
    pages = int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1])
    return pages * 4096


def errors(params: Params) -> Counter[str | None]:
    """How often each stands in the log by now; None: answers that were whole."""
    with closing(sqlite3.connect(params.serve.log.database.removeprefix("sqlite:///"))) as database:
        return Counter(dict(database.execute("SELECT error, COUNT(*) FROM outcome GROUP BY error")))


async def soak(clients: Clients, gateway: Process, double: Engine) -> list[int]:
    """Let the clients ask while the engine goes through its moods; the gateway's memory after each."""
    clients.url, until = gateway.url, asyncio.Event()
    asking = asyncio.create_task(clients.go_on(until))
    memories = []
    for mood, effect in MOODS:
        before, end = errors(gateway.params)[effect], time.monotonic() + PATIENCE_S
        await asyncio.to_thread(double.be, mood)
        await asyncio.wait([asking], timeout=MOOD_S)
        while not asking.done() and errors(gateway.params)[effect] == before:
            assert time.monotonic() < end, f"no {effect} while the engine is {mood}"
            await asyncio.wait([asking], timeout=0.1)
        memories.append(memory(gateway))
        if asking.done():
            break
    until.set()
    await asking
    return memories


async def killed(clients: Clients, gateway: Process, double: Engine) -> float:
    """Kill the gateway while it streams to everybody; when it was dead."""
    double.be("slow")
    clients.url, until = gateway.url, asyncio.Event()
    asking = asyncio.create_task(clients.go_on(until))
    await asyncio.wait([asking], timeout=2 * MOOD_S)
    gateway.process.kill()
    await asyncio.to_thread(gateway.process.wait)
    moment = time.time()
    while not clients.refused and not asking.done():
        await asyncio.wait([asking], timeout=0.1)
    until.set()
    await asking
    return moment


def quiet(gateway: Process) -> bool:
    """Nothing is open or waits any more."""
    lines = requests.get(gateway.url + "/metrics", timeout=60).text.splitlines()
    found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}
    names = ("trunkline_queue", "trunkline_in_flight", "trunkline_spool_records")
    open_ = [value for name, value in found.items() if name.startswith(names)]
    return len(open_) == 3 and not any(open_)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc to see a process' memory")
def test_under_ten_times_its_load_while_all_breaks_nothing_accepted_is_lost_and_memory_stays(tmp_path):
    bundle, clients = gateways.bundle(tmp_path, "v1.0.0"), Clients()
    with engine(bundle) as double:
        with process(tmp_path, double.url, bundle, **LIMITS) as first:
            moment = asyncio.run(killed(clients, first, double))
        assert clients.refused
        clients.refused = 0
        with process(tmp_path, double.url, bundle, **LIMITS) as second:
            memories = asyncio.run(soak(clients, second, double))
            gateways.wait(lambda: quiet(second))
            # No connection stays open.
            gateways.wait(lambda: len(list(Path(f"/proc/{second.process.pid}/fd").iterdir())) < 3 * CLIENTS)
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(PATIENCE_S) == 0
            assert second.process.stdout is not None
            ended = int(second.process.stdout.read().split()[0].replace(",", ""))
    logged = {one.assignment.prediction: one for one in gateways.rows(first.params)}
    # The gateway that lived never refused a connection, and never had a fault of its own.
    assert clients.refused == 0
    assert "Traceback" not in "".join((*first.log, *second.log))
    # Every receipt is in the log, with what its client got; only what a killed gateway was answering has no end.
    assert set(clients.got) <= set(logged)
    endless = {name for name, one in logged.items() if one.outcome is None}
    for name in endless & set(clients.got):
        got = clients.got[name]
        assert got.began < moment
        # Of a stream that has ended the gateway writes that down at once.
        assert got.status is None or moment < got.ended + MOOD_S
    # One a client, of the hundreds that they asked.
    assert len(endless) <= CLIENTS
    assert ended == sum(one.assignment.time.timestamp() > moment for one in logged.values())
    for name, got in clients.got.items():
        if got.status is not None and name not in endless:
            outcome = logged[name].outcome
            assert (outcome.status, outcome.error is not None) == (got.status, got.broken), outcome
    # It was a soak.
    assert len(memories) == len(MOODS)
    assert clients.statuses[429] > clients.statuses[200] > 0
    # Memory is flat.
    assert statistics.median(memories[-3:]) - memories[len(memories) // 3] < GROWTH_BYTES
