"""One prediction, from its assignment to its outcome, whatever happens in between."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from trunkline import guard, probes
from trunkline.clients.predictions import Full, Log
from trunkline.guard import Finding
from trunkline.operations.serve.metrics import Metrics
from trunkline.operations.serve.refusals import Refused
from trunkline.operations.serve.routing import Assigned
from trunkline.records.prediction import Assignment, Outcome
from trunkline.records.serving import Chunk, Completion, Failure, Request
from trunkline.wire.tgi import Waits

# Of a message that is read beside the event loop.
_LONG_CHARS = 500

_logger = logging.getLogger(__name__)


class Asker(NamedTuple):
    """Whose request it is; None where it does not say.

    Attributes:
        unit: what is randomised.
        customer: for erasure.
    """

    unit: str | None
    customer: str | None


class Exchange:
    """A customer's message and what comes of it.

    Attributes:
        assigned: who answers.
        waits: what it waited for before its engine was asked; nothing before it was.
    """

    def __init__(self, log: Log, metrics: Metrics, assigned: Assigned, message: str, start: float) -> None:
        """Begin at ``start``, seconds of `time.perf_counter`."""
        self._log, self._metrics, self._start = log, metrics, start
        self.assigned, self._message = assigned, message
        self.waits = Waits(0.0, 0.0)
        self._prediction = ""
        self._findings: list[Finding] = []
        self._first: float | None = None
        self._measures = False
        self._completion: Completion | None = None

    def assign(self, prediction: str, asker: Asker, shadow_of: str | None = None) -> None:
        """Log who answers: before the engine is asked.

        Args:
            prediction: its id.
            asker: whose it is.
            shadow_of: the prediction whose request it mirrors; None where the answer is for a client.

        Raises:
            Full: the log takes no more.
        """
        assigned = self.assigned
        assignment = Assignment(
            prediction=prediction,
            time=datetime.now(UTC),
            unit=asker.unit or prediction,
            customer=asker.customer,
            arm=assigned.arm,
            weight=assigned.weight,
            rollout=assigned.rollout,
            release=assigned.backend.release.name,
            environment=assigned.environment,
            input=self._message,
            shadow_of=shadow_of,
        )
        self._log.record(assignment)
        self._prediction = prediction

    async def complete(self, asked: Request) -> Completion:
        """The whole answer.

        Args:
            asked: how it is to be generated; its prompt is not looked at.

        Raises:
            Refused: the release's guard refuses input or output, or its engine has not proved itself or is full.
            Failure: the engine gives none.
        """
        request = await self._question(asked)
        async with self._slot():
            completion = await self.assigned.backend.engine.complete(request)
        self._judge(completion)
        return completion if asked.details else replace(completion, tokens=())

    async def stream(self, asked: Request) -> AsyncGenerator[Chunk, None]:
        """The answer as it is written; held back as a whole where a guard may refuse it. See `complete`."""
        request = await self._question(asked)
        backend = self.assigned.backend
        holds = guard.blocks_output(backend.release.guard)
        held: list[Chunk] = []
        async with self._slot(), aclosing(backend.engine.stream(request)) as chunks:
            async for chunk in chunks:
                if self._first is None and (chunk.text or chunk.tokens):
                    self._first = time.perf_counter()
                if chunk.end is not None:
                    self._judge(chunk.end)
                shown = chunk if asked.details else _without_tokens(chunk)
                if not any(shown):
                    continue
                if holds:
                    held.append(shown)
                else:
                    yield shown
        for chunk in held:
            yield chunk

    def end(self, status: int, error: str | None, streamed: bool) -> Outcome:
        """Log what came of it, once, and return it.

        Args:
            status: that the client got.
            error: its kind; None without one.
            streamed: whether the answer was asked for as a stream.
        """
        outcome = Outcome(
            prediction=self._prediction,
            time=datetime.now(UTC),
            status=status,
            error=error,
            latency_ms=(time.perf_counter() - self._start) * 1000,
            ttft_ms=None if self._first is None else (self._first - self._start) * 1000,
            findings=tuple(finding.id for finding in self._findings),
            **self._answer(),
        )
        try:
            self._log.record(outcome)
        except Full as error:
            # The answer has gone out: its assignment without an outcome counts as a failure of its arm.
            _logger.error("serve  the outcome of %s is not logged: %s", self._prediction, error.problem)
        self._metrics.end(self._arm, outcome, streamed)
        return outcome

    def doubt(self, failure: Failure) -> None:
        """Let an engine prove itself anew after a failure that another engine may follow."""
        if failure.kind in ("disconnected", "refused", "garbage"):
            self.assigned.backend.doubt()

    @property
    def _arm(self) -> tuple[str, str]:
        return self.assigned.backend.release.name, self.assigned.arm

    def _answer(self) -> dict[str, Any]:
        """What the log holds of the answer; None where there is none."""
        found = self._completion
        names = ("tokens_in", "tokens_out", "usd", "output", "format_ok", "engine_model", "engine_fingerprint")
        if found is None:
            return dict.fromkeys((*names, "finish_reason", "confidence"))
        usable = probes.usable(found.text, self.assigned.backend.release.task)
        said = (found.tokens_in, found.tokens_out, found.usd, found.text, usable, found.model, found.fingerprint)
        confidence = found.confidence if self._measures else None
        return {**dict(zip(names, said, strict=True)), "finish_reason": found.finish, "confidence": confidence}

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        ready = time.perf_counter()
        async with self.assigned.backend.slot():
            self.waits = Waits((ready - self._start) * 1000, (time.perf_counter() - ready) * 1000)
            yield

    async def _question(self, asked: Request) -> Request:
        """What the engine is asked: the release's own prompt around the customer's message."""
        backend = self.assigned.backend
        if backend.problem is not None:
            raise backend.unproven()
        if len(self._message) <= _LONG_CHARS:
            prompt = self._prepare()
        else:
            # Reading it takes tens of milliseconds, in which others are to be answered too.
            prompt = await asyncio.to_thread(self._prepare)
        choices = backend.release.choices if asked.choices is None else asked.choices
        # The holdout's answers, which others are compared with, are greedy.
        self._measures = backend.tells and asked.greedy
        return replace(asked, prompt=prompt, choices=choices, details=asked.details or self._measures)

    def _prepare(self) -> tuple[Mapping[str, str], ...]:
        self._guard("input", "", 422)
        return self.assigned.backend.release.conversation(self._message)

    def _judge(self, completion: Completion) -> None:
        self._completion = completion
        self.assigned.backend.answered(completion)
        self._guard("output", completion.text, 424)

    def _guard(self, on: Literal["input", "output"], output: str, status: int) -> None:
        release = self.assigned.backend.release
        exchange = guard.Exchange(self._message, output, release.task)
        decision = guard.decide(release.guard, on, exchange)
        self._findings += decision.findings
        self._metrics.find(self._arm, decision.findings)
        if decision.action == "block":
            name = decision.findings[-1].id.partition(":")[0]
            raise Refused(status, "guard", f"the {on} is refused by {name}", "guard")


def _without_tokens(chunk: Chunk) -> Chunk:
    """What a client gets that did not ask for tokens; may be nothing."""
    return Chunk(chunk.text, (), None if chunk.end is None else replace(chunk.end, tokens=()))
