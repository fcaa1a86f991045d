"""Ask an engine directly, through `trunkline serve` and through LiteLLM's proxy: what each adds, and what it costs.

    python -m venv /tmp/litellm && /tmp/litellm/bin/pip install 'litellm[proxy]'
    python benchmarks/gateway.py --litellm /tmp/litellm/bin/litellm

The engine is a stub that answers at once, in a process of its own, the same for all. Trunkline does all that it does
when it serves: it assigns, guards input and output, renders the release's prompt and logs to SQLite; LiteLLM forwards,
with one worker and without a database. Both check an API key.

Latency: one request at a time, the contenders in turn, so that whatever else the machine does hits all alike.
Requests a second and core: many at once, divided by the processor seconds of the proxy's processes alone, which
hardly notice a busy machine.
"""

import argparse
import asyncio
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import gateways

RESULTS = Path(__file__).parent / "results" / "gateway.json"
BODY = {"model": "support-triage", "messages": [{"role": "user", "content": gateways.MESSAGE}], "max_tokens": 16}
KEY, KEY_NAME = f"sk-{secrets.token_hex(32)}", "TRUNKLINE_BENCHMARK_KEY"
WARM_UP = 30


class Contender(NamedTuple):
    """Where requests go, and whose processor time they take; None: nobody's between client and engine."""

    name: str
    url: str
    pid: int | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--litellm", required=True, help="its command, in an environment of its own")
    parser.add_argument("--requests", type=int, default=300, help="of each contender and kind, one at a time")
    parser.add_argument("--load", type=int, default=600, help="of each contender and kind, so many at once")
    parser.add_argument("--at-once", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bundle = gateways.bundle(Path(folder), "v1.0.0")
        engine = stack.enter_context(stub(bundle))
        os.environ[KEY_NAME] = KEY
        gateway = stack.enter_context(gateways.process(Path(folder), engine, bundle, serve__gateway__keys=KEY_NAME))
        contenders = [
            Contender("direct", engine, None),
            Contender("trunkline serve", gateway.url, gateway.process.pid),
            stack.enter_context(litellm(arguments.litellm, Path(folder), engine)),
        ]
        found = asyncio.run(measured(contenders, arguments))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**vars(arguments), "found": found}, indent=2))
    show(found)


@contextmanager
def stub(bundle: Path) -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).parents[1] / "tests/moody.py"), str(bundle), "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def litellm(command: str, folder: Path, engine: str) -> Iterator[Contender]:
    to = {"model": "openai/support-triage", "api_base": f"{engine}/v1", "api_key": "none"}
    config = folder / "litellm.json"  # JSON is YAML
    config.write_text(json.dumps({"model_list": [{"model_name": BODY["model"], "litellm_params": to}]}))
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    called = [command, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    alone = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    alone["LITELLM_MASTER_KEY"] = KEY
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | alone
    quiet = subprocess.DEVNULL
    with subprocess.Popen([*called, "--telemetry", "False"], env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            yield Contender("LiteLLM", f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


async def measured(contenders: list[Contender], arguments: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {contender.name: {} for contender in contenders}
    headers, limit = {"Authorization": f"Bearer {KEY}"}, aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(headers=headers, timeout=limit) as session:
        for contender in contenders:
            await ready(session, contender)
        for stream in (False, True):
            kind = "stream" if stream else "whole"
            times = await in_turn(session, contenders, stream, arguments.requests)
            for contender in contenders:
                cuts = statistics.quantiles(times[contender.name], n=100)
                said = {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}
                said |= await load(session, contender, stream, arguments.load, arguments.at_once)
                found[contender.name][kind] = said
    return found


async def ready(session: aiohttp.ClientSession, contender: Contender) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            for _ in range(WARM_UP):
                await ask(session, contender, False)
                await ask(session, contender, True)
            return
        except (aiohttp.ClientError, AssertionError):
            if time.monotonic() > end:
                raise SystemExit(f"{contender.name} does not answer") from None
            await asyncio.sleep(0.5)


async def ask(session: aiohttp.ClientSession, contender: Contender, stream: bool) -> float:
    """Seconds until the last byte."""
    start = time.perf_counter()
    async with session.post(contender.url + "/v1/chat/completions", json={**BODY, "stream": stream}) as answer:
        content = await answer.read()
    took = time.perf_counter() - start
    assert answer.status == 200, content
    assert (content.count(b"data: ") > 5) if stream else (json.loads(content)["choices"][0]["message"]["content"])
    return took


async def in_turn(
    session: aiohttp.ClientSession, contenders: list[Contender], stream: bool, count: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(count):
        for contender in contenders:
            times[contender.name].append(await ask(session, contender, stream))
    return times


async def load(
    session: aiohttp.ClientSession, contender: Contender, stream: bool, count: int, at_once: int
) -> dict[str, float]:
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            await ask(session, contender, stream)

    before, start = processor_seconds(contender.pid), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    wall, used = time.perf_counter() - start, processor_seconds(contender.pid) - before
    return {"per_s": count / wall} | ({"per_core_s": count / used} if used else {})


def processor_seconds(pid: int | None) -> float:
    if pid is None:
        return 0.0
    top = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in (top, *top.children(recursive=True)))


def show(found: dict[str, Any]) -> None:
    print("| | added p50 | added p99 | requests/s and core |")
    print("|---|---|---|---|")
    for kind in ("whole", "stream"):
        direct, own = found["direct"][kind], found["trunkline serve"][kind]
        print(f"| {kind}, direct | ({direct['p50_ms']:.1f} ms) | ({direct['p99_ms']:.1f} ms) | |")
        for name in ("trunkline serve", "LiteLLM"):
            one = found[name][kind]
            cells = [
                f"{one[cut] - direct[cut]:.1f} ms (x {(one[cut] - direct[cut]) / (own[cut] - direct[cut]):.1f})"
                for cut in ("p50_ms", "p99_ms")
            ]
            ratio = one["per_core_s"] / own["per_core_s"]
            print(f"| {kind}, {name} | {' | '.join(cells)} | {one['per_core_s']:.0f} (x {ratio:.2f}) |")


if __name__ == "__main__":
    main()
