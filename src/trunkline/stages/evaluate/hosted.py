"""A side whose model a provider serves: asked over HTTP, known again by its pinned answers."""

import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from pydantic import JsonValue

from trunkline import identity
from trunkline.clients import hosted
from trunkline.clients.generation import Conversation
from trunkline.clients.model import BASE_RECORD, BUNDLE_RECORD
from trunkline.errors import Error
from trunkline.records import HOSTED, PROVIDER_RECORD, Base, Bundle
from trunkline.records.serving import Completion, Request
from trunkline.verdict import Check


class Hosted:
    """A provider's model as one side.

    Attributes:
        source: the provider's name of it.
    """

    def __init__(self, side: str, folder: Path, base: Path) -> None:
        """Ask for the pinned answers again.

        Args:
            side: ``production`` or ``candidate``.
            folder: of the hosted bundle by whose pins the side's model is known.
            base: its base model's.

        Raises:
            Error: a record is missing or damaged, or the provider does not answer.
        """
        record, bundle = Base.read(base / BASE_RECORD), Bundle.read(folder / BUNDLE_RECORD)
        if bundle.base != record.sha256:
            problem = f"{side} was made with {bundle.base[:12]}, but {base} is {record.sha256[:12]}"
            raise Error(problem, "run `dvc repro` to make it again, or restore params.yaml base and hosted")
        self._provider = hosted.read(folder, bundle.weights.get(PROVIDER_RECORD))
        self._side = side
        self._repeated = hosted.repeat(self._provider)
        self._said = {_who(answer) for answer in self._repeated}

    @property
    def source(self) -> str:
        """The provider's name of the model."""
        return self._provider.model

    @property
    def known(self) -> JsonValue:
        """All by which the model could be told from another one now; None where nothing could."""
        provider = self._provider
        outputs: list[JsonValue] = [answer.text for answer in self._repeated] if provider.pins else []
        if not outputs and any(fingerprint is None for _, fingerprint in self._said):
            return None
        return [provider.text(), outputs, [list(who) for who in sorted(self._said, key=str)]]

    def generate(
        self,
        conversations: list[Conversation],
        labels: tuple[str, ...] | None,
        max_new_tokens: int,
        show: Callable[[int, str], None],
    ) -> pl.DataFrame:
        """Answer each conversation, greedy; ``nll`` and ``confidence`` are not known, the rest as the provider counts.

        Args:
            conversations: chat messages ``{"role", "content"}``.
            labels: the only answers there may be, or None for any.
            max_new_tokens: an answer is cut here.
            show: called with the number of answers and a note.

        Raises:
            Error: the provider does not answer one of them.
        """
        requests = [
            Request(prompt=tuple(messages), max_new_tokens=max_new_tokens, temperature=0, choices=labels)
            for messages in conversations
        ]
        start = time.perf_counter()
        answers = hosted.ask(self._provider, requests, lambda done: show(done, self._provider.model))
        self._said |= {_who(answer) for answer in answers}
        return pl.DataFrame(
            {
                "output": [answer.text for answer in answers],
                "tokens_in": [answer.tokens_in for answer in answers],
                "tokens_out": [answer.tokens_out for answer in answers],
                "latency_ms": [answer.latency_ms for answer in answers],
                "seconds": (time.perf_counter() - start) / max(len(answers), 1),
                "usd": [answer.usd for answer in answers],
                "nll": None,
                "confidence": None,
            },
            schema_overrides={
                "tokens_in": pl.Int64,
                "tokens_out": pl.Int64,
                "usd": pl.Float64,
                "nll": pl.Float64,
                "confidence": pl.Float64,
            },
        )

    def check(self) -> Check:
        """Whether the provider still serves what the side was made of."""
        name = f"evaluate.provider.{self._side}"
        repeated = [answer.text for answer in self._repeated] if self._provider.pins else []
        found = identity.same(self._provider, repeated, self._said)
        message = f"{self._side} is {self.source}: {found.sentence}"
        return Check(name=name, verdict=found.verdict, value=None, limit=None, message=message)


def is_hosted(base: Path) -> bool:
    """Whether a base model is one that a provider serves."""
    return Base.read(base / BASE_RECORD).source.startswith(HOSTED)


def _who(answer: Completion) -> tuple[str | None, str | None]:
    return answer.model, answer.fingerprint
