"""A provider of hosted models with OpenAI's API, on a socket of this machine, that can change without a word."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

import releases
import starter
from served import answering
from trunkline import guard, prompts
from trunkline.clients import bundles, files, hosted
from trunkline.records import Bundle, Task
from trunkline.records.serving import Provider as Record

Answer = Callable[[str], str]


def right(message: str) -> str:
    """What a good model answers to a message of `starter.rows`."""
    for intent, words in starter.WORDS.items():
        if any(part in message for part in words):
            return json.dumps({"intent": intent, "urgency": "normal"})
    return json.dumps({"intent": starter.INTENTS[0], "urgency": "normal"})


def wrong(message: str) -> str:
    """What another model answers."""
    return "I am sorry, I cannot help with that."


class Provider:
    """What it serves, and what it was asked.

    Attributes:
        answer: from the last message to the answer.
        answers: likewise, of models that are asked for by these names.
        model: what it says that it is.
        fingerprint: its ``system_fingerprint``.
        counts: whether it tells the tokens.
        trouble: responses that it gives instead, one a request, before it answers.
        delay: seconds that an answer takes.
        key: the only one that it takes; None: any.
        tells_key: whether it repeats the key that it was sent when it refuses something.
        bodies: of all requests.
        most: requests that it had at once.
    """

    def __init__(self) -> None:
        self.answer: Answer = right
        self.answers: dict[str, Answer] = {}
        self.model: str | None = "large-2026-08"
        self.fingerprint: str | None = "fp_1"
        self.counts = True
        self.trouble: list[tuple[int, dict[str, str]]] = []
        self.delay = 0.0
        self.key: str | None = None
        self.tells_key = False
        self.bodies: list[dict[str, Any]] = []
        self.most = 0
        self._now = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        said = f" ({request.headers.get('Authorization')})" if self.tells_key else ""
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "wrong key" + said}}, status=401)
        if request.path != "/v1/chat/completions":
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        body = await request.json()
        self.bodies.append(body)
        if self.trouble:
            status, headers = self.trouble.pop(0)
            document = {"error": {"message": "not now" + said, "code": status}}
            if status == 200 and body["stream"]:
                return await self._stream(request, [document])
            return web.json_response(document, status=status, headers=headers)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self.delay)
            whole = self._document(body["model"], body["messages"])
            if not body["stream"]:
                return web.json_response(whole)
            return await self._stream(request, _pieces(whole))
        finally:
            self._now -= 1

    async def _stream(self, request: web.Request, documents: list[dict[str, Any]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for document in documents:
            await response.write(b"data: " + json.dumps(document).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    def _document(self, model: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        text = self.answers.get(model, self.answer)(messages[-1]["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        found: dict[str, Any] = {"model": self.model, "system_fingerprint": self.fingerprint, "choices": [choice]}
        if self.counts:
            prompt = sum(len(message["content"].split()) for message in messages)
            found["usage"] = {"prompt_tokens": prompt, "completion_tokens": len(text.split()) + 1}
        return found


class Front:
    """A provider behind whose one address engines answer. Which engine a name means, only the provider knows.

    Attributes:
        engines: addresses of engines, by the names that are asked for.
        bodies: of all requests.
    """

    _FINGERPRINT = re.compile(rb'"system_fingerprint":"[^"]*"')

    def __init__(self, engines: dict[str, str]) -> None:
        self.engines = engines
        self.bodies: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Let the engine answer, word for word but for its fingerprint."""
        body = await request.json()
        self.bodies.append(body)
        url = self.engines[body["model"]] + request.path
        async with ClientSession() as session, session.post(url, json=body | {"model": "tgi"}) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for line in answer.content:
                await response.write(self._FINGERPRINT.sub(b'"system_fingerprint":null', line))
            await response.write_eof()
            return response


def _pieces(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer in the documents of a stream."""
    head = {"model": whole["model"], "system_fingerprint": whole["system_fingerprint"]}
    words = whole["choices"][0]["message"]["content"].split(" ")
    texts = [words[0], *(f" {word}" for word in words[1:])]
    pieces = [{**head, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in texts]
    end = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return [*pieces, end, *([{**head, "choices": [], "usage": whole["usage"]}] if "usage" in whole else [])]


def record(url: str, task: Task, **changes: object) -> Record:
    """What a hosted release holds of its provider, with what this answers now pinned."""
    known: dict[str, object] = {
        "model": "large",
        "url": url,
        "key": None,
        "usd_input": 2.0,
        "usd_output": 8.0,
        "retries": 0,
        "timeout": 60.0,
        "concurrent": 4,
        "messages": ("my card is gone", "why was I charged 12 EUR", "the app shows my old number"),
        "pinned_tokens": 32,
        "said": None,
        "fingerprint": None,
        "pins": (),
    }
    made = hosted.identified(Record.model_validate(known | changes))
    return hosted.pin(made, [tuple(prompts.render(task, message)) for message in made.messages])


def bundle(folder: Path, version: str, provider: Record, task: Task, **changes: object) -> dict[str, object]:
    """Write a hosted release's bundle into a folder; returns the facts of its manifest."""
    files.write_text(folder / "provider.json", provider.text())
    weights = {"provider.json": files.sha256(folder / "provider.json")}
    made = Bundle(
        kind="hosted",
        release=None,
        base="5" * 64,
        weights=weights,
        task=task,
        partitions=("2026-07",),
        trained_on=None,
        params={"method": "none"},
    )
    files.write_text(folder / "bundle.json", made.text())
    base = {"source": f"hosted:{provider.model}", "sha256": "5" * 64, "model": provider.said}
    facts: dict[str, object] = {
        "kind": "hosted",
        "weights": bundles.hashes(folder),
        "base": {name: value for name, value in base.items() if value is not None},
        "task": task,
        "guard": guard.guard_id({}),
        "decoding": {"decoding": "auto", "max_new_tokens": 32},
        "params": {"serve": {"guard": {}}},
        **changes,
    }
    commit = str(facts.pop("commit", "c" * 40))
    files.write_text(folder / "manifest.json", releases.manifest(version, commit, **facts).text())
    return facts


@contextmanager
def serving() -> Iterator[tuple[Provider, dict[str, object]]]:
    """A running provider, and the params that make its model the base."""
    provider = Provider()
    with answering(provider.handle) as url:
        yield provider, params(url)


def params(url: str, **changes: object) -> dict[str, object]:
    """Params of a project whose candidate is a prompt for a provider's model."""
    return {
        "base": {"model": "hosted:large", "sha256": None},
        "hosted__url": url,
        "hosted__key": None,
        "hosted__usd_per_million": {"input": 2.0, "output": 8.0},
        "hosted__retries": 2,
        "hosted__timeout": 60.0,
        "hosted__concurrent": 4,
        "train__method": "none",
        "evaluate__scorers": ["exact_match", "valid_json"],
        **changes,
    }
