"""Real processes and sockets for tests of what serves: `trunkline engine`, and servers that misbehave."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from trunkline.clients import listening

ROOT = Path(__file__).parent.parent


class Process(NamedTuple):
    """A running engine."""

    process: subprocess.Popen[str]
    url: str
    log: list[str]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)


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
def answering(handler: Callable[[web.Request], Awaitable[Any]], port: int = 0) -> Iterator[str]:
    """A server, on a free port where none is given, that answers everything by ``handler``; yields its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    with running(app, port) as url:
        yield url


@contextmanager
def running(app: web.Application, port: int = 0) -> Iterator[str]:
    """An application in a thread of its own; yields its address. What its start raises is raised here."""
    loop = asyncio.new_event_loop()
    started: Future[str] = Future()

    async def serve() -> tuple[web.AppRunner, str]:
        runner = web.AppRunner(app, **listening.manners(drain=0.2))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        host, taken = runner.addresses[0][:2]
        return runner, f"http://{host}:{taken}"

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            runner, url = loop.run_until_complete(serve())
        except BaseException as error:
            started.set_exception(error)
        else:
            # Said by the loop that runs until it is stopped: whoever hears it may stop it at once.
            loop.call_soon(started.set_result, url)
            loop.run_forever()
            loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield started.result(60)
    finally:
        if loop.is_running():
            loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
