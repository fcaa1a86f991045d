"""A judge over HTTP: many questions, a bounded number at once and within a budget, each answer handed on as it comes.

What one request may meet, and which faults are tried again, is in `clients/engines`.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from trunkline.clients import engines
from trunkline.clients.engines import Engine
from trunkline.params.judge import JudgeParams
from trunkline.params.serve import EngineParams, TimeoutParams
from trunkline.records.serving import Completion, Failure, Request

# What a model's chat template adds to a message, in tokens and at most.
_AROUND = 64

# With the place of the question, and the answer: None where the judge refuses this question as such.
Take = Callable[[int, Completion | None], None]


class Purse:
    """What may be spent: never more than that, if no token is less than a byte, and no try without an answer costs.

    Args:
        settings: its budget and its price.

    Attributes:
        spent: US dollars, and what is on its way at the most that it can cost.
    """

    def __init__(self, settings: JudgeParams) -> None:
        self.spent = 0.0
        self._budget, self._price = settings.usd, settings.usd_per_million

    def reserve(self, request: Request) -> float | None:
        """What a question can cost, which is spent from now on; None where that is too much."""
        messages = [] if isinstance(request.prompt, str) else request.prompt
        read = sum(len(message["content"].encode()) + _AROUND for message in messages)
        most = (read * self._price.input + request.max_new_tokens * self._price.output) / 1e6
        if self._budget is not None and self.spent + most > self._budget:
            return None
        self.spent += most
        return most

    def settle(self, reserved: float, usd: float | None) -> None:
        """What it did cost; None where the judge does not count its tokens: then the most that it can."""
        self.spent += 0.0 if usd is None else usd - reserved


def ask(settings: JudgeParams, prompts: Sequence[tuple[dict[str, str], ...]], purse: Purse, take: Take) -> str | None:
    """Ask each question, in order; after the first fault no more, but what was asked is waited for.

    Args:
        settings: whom, and how.
        prompts: chat messages each.
        purse: paid from.
        take: called with each answer.

    Returns:
        Why not all were asked; None where they were.

    Raises:
        Error: the environment variable of the key is not set.
    """
    return asyncio.run(_ask(settings, prompts, purse, take))


async def _ask(
    settings: JudgeParams, prompts: Sequence[tuple[dict[str, str], ...]], purse: Purse, take: Take
) -> str | None:
    engine, waiting, stopped = _connect(settings), iter(enumerate(prompts)), list[str]()
    try:
        one = _Turn(engine, settings, purse, take)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(settings.concurrent, len(prompts))):
                group.create_task(one.after_another(waiting, stopped))
    except ExceptionGroup as faults:
        # The log takes no verdict, and nothing else is raised in there.
        raise faults.exceptions[0] from None
    finally:
        await engine.close()
    return stopped[0] if stopped else None


class _Turn:
    """One of the questions that are on their way."""

    def __init__(self, engine: Engine, settings: JudgeParams, purse: Purse, take: Take) -> None:
        self._engine, self._settings, self._purse, self._take = engine, settings, purse, take

    async def after_another(
        self, waiting: Iterator[tuple[int, tuple[dict[str, str], ...]]], stopped: list[str]
    ) -> None:
        for place, prompt in waiting:
            if stopped:
                return
            request = Request(prompt=prompt, max_new_tokens=self._settings.max_new_tokens, temperature=0)
            reserved = self._purse.reserve(request)
            if reserved is None:
                stopped.append(f"the budget of {self._settings.usd:g} US dollars (monitor.judge.usd) is spent")
                return
            try:
                answer = await self._engine.complete(request)
            except Failure as failure:
                if failure.kind != "invalid":
                    stopped.append(failure.problem)
                    return
                self._purse.settle(reserved, 0.0)
                self._take(place, None)
                continue
            self._purse.settle(reserved, answer.usd)
            self._take(place, answer)


def _connect(settings: JudgeParams) -> Engine:
    asked = EngineParams(
        kind="openai",
        url=settings.url,
        model=settings.model,
        key=settings.key,
        usd_per_million=settings.usd_per_million,
        retries=settings.retries,
    )
    return engines.connect(asked, TimeoutParams.of(settings.timeout), proxied=True)
