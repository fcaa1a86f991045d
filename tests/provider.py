"""A provider of hosted models with OpenAI's API, on a socket of this machine, that can change without a word."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

import starter
from served import answering

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
        model: what it says that it is.
        fingerprint: its ``system_fingerprint``.
        counts: whether it tells the tokens.
        trouble: responses that it gives instead, one a request, before it answers.
        delay: seconds that an answer takes.
        key: the only one that it takes; None: any.
        bodies: of all requests.
        most: requests that it had at once.
    """

    def __init__(self) -> None:
        self.answer: Answer = right
        self.model: str | None = "large-2026-08"
        self.fingerprint: str | None = "fp_1"
        self.counts = True
        self.trouble: list[tuple[int, dict[str, str]]] = []
        self.delay = 0.0
        self.key: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.most = 0
        self._now = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "wrong key"}}, status=401)
        if request.path != "/v1/chat/completions":
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        body = await request.json()
        self.bodies.append(body)
        if self.trouble:
            status, headers = self.trouble.pop(0)
            return web.json_response({"error": {"message": "not now"}}, status=status, headers=headers)
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self.delay)
            return web.json_response(self._document(body["messages"]))
        finally:
            self._now -= 1

    def _document(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        text = self.answer(messages[-1]["content"])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        found: dict[str, Any] = {"model": self.model, "system_fingerprint": self.fingerprint, "choices": [choice]}
        if self.counts:
            prompt = sum(len(message["content"].split()) for message in messages)
            found["usage"] = {"prompt_tokens": prompt, "completion_tokens": len(text.split()) + 1}
        return found


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
        "hosted__timeout": 5.0,
        "hosted__concurrent": 4,
        "train__method": "none",
        "evaluate__scorers": ["exact_match", "valid_json"],
        **changes,
    }
