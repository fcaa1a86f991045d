"""Gateways in front of doubles of engines: what a test of `trunkline serve` runs in."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import requests
from aiohttp import web

import releases
import served
import starter
from trunkline import guard, identity, prompts, transforms
from trunkline.clients import files, listening, predictions
from trunkline.operations import serve
from trunkline.params import Params
from trunkline.records import Answer, Task
from trunkline.records.prediction import Prediction, Selection
from trunkline.records.release import Manifest
from trunkline.records.traffic import Served, Traffic

ALLOWED = {"intent": starter.INTENTS, "urgency": ("low", "normal", "high")}
TEMPLATE = (starter.ROOT / "data/prompts/triage.jinja").read_text()
TASK = Task(
    prompt_id=prompts.identify(TEMPLATE, ALLOWED),
    template=TEMPLATE,
    variables=ALLOWED,
    transforms=transforms.identify(("clean_text@1", "mask_pii@1")),
    answer=Answer(format="json", fields=("intent", "urgency"), allowed=ALLOWED),
)
GUARD = {"injection@1": "flag", "pii@1": "flag", "format@1": "flag", "pii_leak@1": "flag"}
ANSWER = '{"intent": "card_lost", "urgency": "high"}'
MESSAGE = "My card is gone, please block it."
MODEL = releases.MODEL
SALT = "0123456789abcdef"
# However busy this machine is, an engine that answers does so in time.
PATIENT = {"connect": 60.0, "first_token": 60.0, "next_token": 60.0, "total": 120.0}


def bundle(folder: Path, version: str, guards: dict[str, str] | None = None, task: Task = TASK) -> Path:
    """A release's bundle, without the weights that nobody loads here."""
    actions = GUARD if guards is None else guards
    made = releases.manifest(
        version,
        "c" * 40,
        task=task,
        weights={releases.ADAPTER: files.combined({version: "3" * 64, "x": "4" * 64})},
        guard=guard.guard_id(actions),
        decoding={"decoding": "auto", "max_new_tokens": 32},
        params={"serve": {"guard": actions}},
    )
    files.write_text(folder / version / "manifest.json", made.text())
    return folder / version


class Engine:
    """A double of `trunkline engine` that serves a bundle: says what it is told to, in pieces of a token each.

    Attributes:
        says: the tokens of every answer.
        fails: ``hang``, ``held`` (until it is something else), ``slow`` (between tokens), ``cut``, ``drop`` (at once),
            ``garbage``, ``error`` or a status; None: it answers.
        retry_after: what it says beside a status that refuses; None: nothing, as TGI and vLLM do.
        asked: the bodies of requests that are no probes.
        left: requests whose client closed the connection.
        counts: tokens in and out that it tells of what is no probe; None: as they are.
    """

    def __init__(self, bundle: Path) -> None:
        manifest = Manifest.read(bundle / "manifest.json")
        self.name = f"{manifest.model}@{manifest.version}"
        self.digest = identity.of_release(manifest)
        self.says = [ANSWER[:10], ANSWER[10:20], ANSWER[20:]]
        self.fails: str | int | None = None
        self.retry_after: str | None = "7"
        self.finish = "stop"
        self.asked: list[dict[str, Any]] = []
        self.left = self.running = self.most = 0
        self.slow_s = 0.05
        self.counts: tuple[int, int] | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/info":
            return web.json_response({"model_id": self.name, "model_sha": self.digest, "version": "double"})
        if request.path == "/tokenize":
            text = (await request.json())["inputs"]
            return web.json_response([{"id": n, "start": n, "stop": n + 1, "text": c} for n, c in enumerate(text)])
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": self.name}]})
        body = await request.json()
        if body["max_tokens"] == 1 and not body.get("stream"):
            return web.json_response(self._whole(body))
        self.asked.append(body)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._answer(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            # As an engine ends it; raised, it would stand in the log of a test as a fault of whoever is tested.
            listening.give_up(request)
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if isinstance(self.fails, int):
            document = {"error": "so it is", "error_type": "validation"}
            headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
            return web.json_response(document, status=self.fails, headers=headers)
        if self.fails == "hang":
            await asyncio.sleep(3600)
        if self.fails == "drop":
            assert request.transport is not None
            request.transport.abort()
        if self.fails == "garbage":
            return web.json_response({"hello": "world"})
        if body.get("stream"):
            return await self._stream(request, body)
        if self.fails == "slow":
            await asyncio.sleep(self.slow_s * len(self.says))
        await self._held()
        return web.json_response(self._whole(body))

    async def _held(self) -> None:
        while self.fails == "held":
            await asyncio.sleep(0.01)

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, token in enumerate(self.says):
            choice = {"index": 0, "delta": {"content": token}, "finish_reason": None, **self._details(body, [number])}
            await response.write(self._event({**self._head(), "choices": [choice]}))
            if self.fails == "slow":
                await asyncio.sleep(self.slow_s)
            await self._held()
            if self.fails == "cut" and number:
                assert request.transport is not None
                request.transport.abort()
            if self.fails == "error" and number:
                await response.write(self._event({"error": {"message": "broken", "http_status_code": 424}}))
                return response
        end = {"index": 0, "delta": {}, "finish_reason": self.finish}
        await response.write(self._event({**self._head(), "choices": [end]}))
        await response.write(self._event({**self._head(), "choices": [], "usage": self._usage()}))
        await response.write(b"data: [DONE]\n\n")
        return response

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.says)}
        details = self._details(body, list(range(len(self.says))))
        choice = {"index": 0, "message": message, "finish_reason": self.finish, **details}
        return {**self._head(), "choices": [choice], "usage": self._usage()}

    def _head(self) -> dict[str, Any]:
        return {"model": self.name, "system_fingerprint": self.digest[:12]}

    def _usage(self) -> dict[str, int]:
        known = (90, len(self.says))
        read, written = self.counts if self.counts is not None and self.running else known
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _details(self, body: dict[str, Any], numbers: list[int]) -> dict[str, Any]:
        if not body.get("logprobs"):
            return {}
        content = [{"token": self.says[number], "logprob": -0.5, "special": False} for number in numbers]
        return {"logprobs": {"content": content}, "token_ids": [5 + number for number in numbers]}

    @staticmethod
    def _event(document: Any) -> bytes:
        return b"data: " + json.dumps(document).encode() + b"\n\n"


class World:
    """A running gateway, and what is around it.

    Attributes:
        stable: the engine of v1.0.0.
        canary: the engine of v1.1.0, running whether or not it gets traffic.
        traffic: the file that the gateway follows.
    """

    def __init__(self, folder: Path, urls: tuple[str, str], engines: tuple[Engine, Engine], params: Params) -> None:
        self.folder, self.urls, self.params = folder, urls, params
        self.stable, self.canary = engines
        self.traffic = folder / "traffic.json"
        self.url = ""

    def split(self, weight: float, rollout: str | None = "r1", **changes: Any) -> Traffic:
        """Write traffic.json."""
        arms = [
            Served(release=engine.name, bundle=str(self.folder / engine.name.partition("@")[2]), url=url)
            for engine, url in zip((self.stable, self.canary), self.urls, strict=True)
        ]
        known = {
            "environment": "production",
            "rollout": rollout,
            "salt": None if rollout is None else SALT,
            "weight": weight,
            "stable": arms[0],
            "canary": None if rollout is None else arms[1],
        }
        made = Traffic(**(known | changes))
        files.write_text(self.traffic, made.text())
        return made

    def post(self, path: str = "/v1/chat/completions", headers: Any = None, **body: Any) -> requests.Response:
        """Ask; a chat unless told otherwise."""
        if path == "/v1/chat/completions":
            body = {"messages": [{"role": "user", "content": MESSAGE}], **body}
        return requests.post(self.url + path, json=body, headers=headers, timeout=60)

    def get(self, path: str) -> requests.Response:
        """Ask a route that only tells."""
        return requests.get(self.url + path, timeout=60)

    def logged(self, answer: requests.Response) -> Prediction:
        """What the log holds of an answer, as soon as it holds its outcome."""
        return logged(self.params, answer.headers["x-trunkline-prediction"])

    def everything(self) -> list[Prediction]:
        """All that is logged, once nothing waits any more."""
        wait(lambda: self.metrics()["trunkline_spool_records"] == 0)
        with predictions.reading(self.params.serve.log) as database:
            ids = database.texts(Selection())["prediction"].to_list()
            return [found for one in ids if (found := database.find(one)) is not None]

    def metrics(self) -> dict[str, float]:
        """Every sample that the gateway exports now."""
        lines = self.get("/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    @property
    def proved(self) -> bool:
        """Whether all engines have proved what they serve."""
        return all(up == 1 for name, up in self.metrics().items() if name.startswith("trunkline_engine_up_ratio"))


def logged(params: Params, prediction: str) -> Prediction:
    """A prediction, as soon as the log holds its outcome."""
    found: list[Prediction] = []

    def look() -> bool:
        with contextlib.suppress(Exception):
            one = predictions.find(params.serve.log, prediction)
            if one is not None and one.outcome is not None:
                found.append(one)
        return bool(found)

    wait(look)
    return found[0]


def wait(true: Any, seconds: float = 60) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.01)


class Process(NamedTuple):
    """`trunkline serve` as a process of its own; ``log`` is what it says."""

    process: subprocess.Popen[str]
    url: str
    params: Params
    log: list[str]


@contextlib.contextmanager
def process(folder: Path, engine: str, bundle: Path, **changes: Any) -> Iterator[Process]:
    """`trunkline serve --bundle` in front of an engine, ready to answer; killed at the end, if it has not ended."""
    params = settings(folder, serve__engines__stable__url=engine, project__module="project.py", **changes)
    (folder / "project.py").write_text("")
    command = [sys.executable, "-m", "trunkline", "serve", "--bundle", str(bundle), "--listen", "127.0.0.1:0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=os.environ.copy(), stderr=pipe, stdout=pipe, text=True) as started:
        log: list[str] = []
        assert started.stderr is not None
        try:
            for line in started.stderr:
                log.append(line)
                if ready := re.search(r"answers on (http://\S+)", line):
                    reader = threading.Thread(target=lambda: log.extend(started.stderr or ()), daemon=True)
                    reader.start()
                    yield Process(started, ready[1], params, log)
                    break
            else:
                raise AssertionError("".join(log))
        finally:
            started.kill()


def rows(params: Params) -> list[Prediction]:
    """All that is logged, after the gateway has ended, however it did."""
    with predictions.reading(params.serve.log) as database:
        predictions.recover(params.serve.log, database)
        ids = database.texts(Selection())["prediction"].to_list()
        return [one for name in ids if (one := database.find(name)) is not None]


def settings(folder: Path, **changes: Any) -> Params:
    """params.yaml with its log in the folder, and with patience."""
    log = {"database": f"sqlite:///{folder}/predictions.sqlite", "spool": str(folder / "spool"), "spool_mb": 1}
    known = {f"serve__log__{name}": value for name, value in log.items()} | {"serve__timeouts": dict(PATIENT)}
    return starter.settings(folder, **(known | changes))


@contextlib.contextmanager
def serving(
    folder: Path, weight: float = 0.0, rollout: str | None = None, guards: Any = None, **changes: Any
) -> Iterator[World]:
    """A gateway with traffic.json: v1.0.0 alone, or with v1.1.0 as the canary of a rollout."""
    engines = tuple(Engine(bundle(folder, version, guards)) for version in ("v1.0.0", "v1.1.0"))
    with served.answering(engines[0]) as stable, served.answering(engines[1]) as canary:
        world = World(folder, (stable, canary), engines, settings(folder, **changes))  # type: ignore[arg-type]
        world.split(weight, rollout)
        with served.running(serve.application(world.params, world.traffic, None)) as world.url:
            wait(lambda: world.proved)
            yield world
