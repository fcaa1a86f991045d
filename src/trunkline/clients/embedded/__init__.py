"""The embedded engine: a model in this process that answers many requests at once.

transformers' ContinuousBatchingManager runs the model in a thread of its own; everything here runs on one
event loop. Requests join and leave the batch at any token.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.generation.continuous_batching.requests import GenerationOutput

from trunkline.clients.embedded.sampling import Sampler, Sampling
from trunkline.clients.embedded.writing import Writing
from trunkline.clients.engines.protocol import whole
from trunkline.clients.generation import decoding
from trunkline.clients.model import LoadedModel, encode_answer, encode_prompt, end_tokens
from trunkline.errors import Error
from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request, Span

# Small pages share more of a common prompt, and waste less behind a short answer.
_PAGE_TOKENS = 32
_LOOK_S = 1.0  # between looks whether the thread that generates is still there


class Limits(NamedTuple):
    """What the engine takes on.

    Attributes:
        requests: at once; more are refused.
        batch_tokens: computed in one step.
        cache_tokens: prompts and answers of all requests together.
    """

    requests: int
    batch_tokens: int
    cache_tokens: int


def use_threads(threads: int) -> None:
    """Compute with so many threads; more than there are cores makes everything many times slower."""
    torch.set_num_threads(threads)


class _Router(OutputRouter):
    """Takes outputs from the manager's thread to the event loop, and drops those that nobody waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.listeners: dict[str, Callable[[GenerationOutput], None]] = {}

    def deliver(self, output: GenerationOutput) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_out, outputs)

    def _hand_out(self, outputs: list[GenerationOutput]) -> None:
        for output in outputs:
            listener = self.listeners.get(output.request_id)
            if listener is not None:
                listener(output)


class Embedded:
    """A model as an `Engine`; made, used and closed on one event loop.

    Attributes:
        most_tokens: of a prompt and its answer together.
        waiting: requests that were taken on and have no token yet.
    """

    def __init__(self, loaded: LoadedModel, limits: Limits, identity: Identity) -> None:
        """Take a model into service; it stays switched to paged attention until `close`.

        Args:
            loaded: the model.
            limits: what to take on.
            identity: what to say that this is.

        Raises:
            Error: the model's layers cannot be batched continuously.
        """
        self._loaded, self._limits, self._identity = loaded, limits, identity
        self._ends = end_tokens(loaded)
        self.most_tokens = min(
            limits.cache_tokens, getattr(loaded.model.config, "max_position_embeddings", limits.cache_tokens)
        )
        self._numbers = itertools.count()
        self.waiting = 0
        self._router = _Router(asyncio.get_running_loop())
        try:
            self._manager = _manager(loaded, limits, self._ends)
        except ValueError as error:
            raise Error(f"this model cannot be served here: {error}", "serve it with vLLM or TGI") from None
        self._manager.logit_processor = Sampler()
        self._manager.output_router = self._router
        self._manager.start()

    @property
    def running(self) -> int:
        """Requests that were taken on and are not answered yet."""
        return len(self._router.listeners)

    async def complete(self, request: Request) -> Completion:
        """See Engine."""
        return await whole(self.stream(request))

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """See Engine."""
        start = time.perf_counter()
        await self.health()
        prompt = self.encode(request)
        if self.running >= self._limits.requests:
            problem = f"{self.running} requests are being answered, and the engine takes no more"
            raise Failure("overloaded", problem, retry_after=1.0)
        choices = None
        if request.choices is not None:
            choices = decoding.trie(encode_answer(self._loaded.tokenizer, choice) for choice in request.choices)
        sampling = Sampling(request, len(prompt), choices)
        writing = Writing(self._loaded.tokenizer, self._ends, request, sampling.logprobs)
        name = str(next(self._numbers))
        outputs: asyncio.Queue[GenerationOutput] = asyncio.Queue()
        self._router.listeners[name] = outputs.put_nowait
        self.waiting += 1
        begun = ended = False
        try:
            accepted = self._manager.add_request(
                prompt,
                request_id=name,
                max_new_tokens=request.max_new_tokens,
                streaming=True,
                eos_token_id=sorted(self._ends),
                sampling=sampling,
            )
            while not writing.ended:
                if accepted is None:
                    raise await self._broken()
                output = await self._next(outputs)
                self.waiting -= not begun
                begun = True
                ended = output.is_finished()
                if output.error is not None:
                    raise Failure("failed", f"generation failed: {output.error}")
                for chunk in writing.add(output.generated_tokens, ended):
                    yield chunk
            yield writing.end(len(prompt), start, self._identity)
        finally:
            del self._router.listeners[name]
            self.waiting -= not begun
            if not ended:
                self._manager.cancel_request(name)

    def encode(self, request: Request) -> list[int]:
        """Token ids of a request's prompt.

        Raises:
            Failure: the chat template refuses the messages, or prompt and answer are too long.
        """
        try:
            prompt = self._prompt(request.prompt)
        except Error as error:
            raise Failure("invalid", error.problem) from None
        if not prompt:
            raise Failure("invalid", "the prompt is empty")
        if len(prompt) + request.max_new_tokens > self.most_tokens:
            problem = (
                f"the prompt has {len(prompt)} tokens and the answer may have {request.max_new_tokens}, "
                f"but both together at most {self.most_tokens}"
            )
            raise Failure("invalid", problem)
        return prompt

    async def health(self) -> None:
        """See Engine."""
        status = self._manager.background_thread_status
        if not self._manager.is_running() or status.can_accept_new_requests() is not None:
            raise await self._broken()

    async def identity(self) -> Identity:
        """See Engine."""
        return self._identity

    async def tokenize(self, text: str) -> list[Span]:
        """See Engine."""
        found = self._loaded.tokenizer(text, return_offsets_mapping=True)
        return [Span(id, *span) for id, span in zip(found["input_ids"], found["offset_mapping"], strict=True)]

    async def close(self) -> None:
        """Stop at once; what is still being answered fails."""
        await asyncio.to_thread(self._manager.stop, hard_stop=True)

    async def _next(self, outputs: asyncio.Queue[GenerationOutput]) -> GenerationOutput:
        """The next output; one that a thread that broke down never sends is not waited for."""
        while True:
            try:
                # Not wait_for: in Python 3.11 it forgets that it was cancelled when an output comes at that moment.
                async with asyncio.timeout(_LOOK_S):
                    return await outputs.get()
            except TimeoutError:
                await self.health()

    async def _broken(self) -> Failure:
        # A thread that breaks down stops first, then fails its requests, and tells why at the end.
        for _ in range(100):
            error = self._manager.background_thread_status.fatal_error
            if error is not None or not self._manager.is_running():
                break
            await asyncio.sleep(0.01)
        return Failure("failed", f"the engine has stopped generating: {error or 'it was closed'}")

    def _prompt(self, prompt: object) -> list[int]:
        tokenizer = self._loaded.tokenizer
        if isinstance(prompt, str):
            return list(tokenizer(prompt)["input_ids"])
        return encode_prompt(tokenizer, [dict(message) for message in prompt])  # type: ignore[attr-defined]


def _manager(loaded: LoadedModel, limits: Limits, ends: frozenset[int]) -> Any:  # noqa: ANN401 (untyped in transformers)
    config = ContinuousBatchingConfig(
        page_size=_PAGE_TOKENS,
        num_blocks=-(-limits.cache_tokens // _PAGE_TOKENS),
        max_batch_tokens=limits.batch_tokens,
        max_requests_per_batch=min(limits.requests, limits.batch_tokens),
        # All that transformers would otherwise choose by the machine: answers must not depend on it, and our
        # sampler needs each step to be over before the next is prepared.
        auto_switch_to_flash=False,
        use_async_batching=False,
        use_cuda_graph=False,
    )
    # The sampler decides; the manager only takes the largest score.
    greedy = GenerationConfig(do_sample=False, eos_token_id=sorted(ends), pad_token_id=min(ends))  # type: ignore[no-untyped-call]
    model: Any = loaded.model
    with torch.no_grad():
        return model.init_continuous_batching(generation_config=greedy, continuous_batching_config=config)
