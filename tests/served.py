"""Real processes and sockets for tests of what serves: `trunkline engine`, and servers that misbehave."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

ROOT = Path(__file__).parent.parent


class Process(NamedTuple):
    """A running engine."""

    process: subprocess.Popen[str]
    url: str
    log: list[str]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def command(*arguments: object, params: Path = ROOT / "params.yaml") -> list[str]:
    return [sys.executable, "-m", "trunkline", "--params", str(params), "engine", *map(str, arguments)]


@contextmanager
def engine(folder: Path, *arguments: object, params: Path = ROOT / "params.yaml") -> Iterator[Process]:
    """`trunkline engine` on a free port, ready to answer."""
    called = command("--model", folder, "--port", 0, "--threads", 1, *arguments, params=params)
    pipe = subprocess.PIPE
    with subprocess.Popen(called, cwd=folder, env=os.environ.copy(), stderr=pipe, stdout=pipe, text=True) as process:
        log: list[str] = []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                log.append(line)
                ready = re.search(r"answers on (http://\S+)", line)
                if ready:
                    reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
                    reader.start()
                    yield Process(process, ready[1], log)
                    break
            else:
                raise AssertionError("".join(log))
        finally:
            process.kill()


@contextmanager
def answering(handler: Callable[[web.Request], Awaitable[Any]]) -> Iterator[str]:
    """A server on a free port that answers everything by ``handler``; yields its address."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    address: list[str] = []

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        address.append(f"http://{host}:{port}")
        started.set()
        return runner

    def run() -> None:
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
