"""One answer while it is written: tokens become text, and stop texts end it."""

import time
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from trunkline.clients.embedded.text import Text
from trunkline.clients.engines.stops import Stops
from trunkline.records.serving import Chunk, Completion, Finish, Identity, Request, Token


class Writing:
    """What has become of a request so far.

    Attributes:
        ended: whether nothing more is to come.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        request: Request,
        logprobs: Sequence[float] | None,
    ) -> None:
        """Begin an answer.

        Args:
            ends: the tokens that end an answer.
            logprobs: of the tokens, filled by the sampler before a token arrives here; None where not asked for.
        """
        self._tokenizer, self._ends, self._logprobs = tokenizer, ends, logprobs
        self._text, self._stops = Text(self._decode), Stops(request.stop)
        self._count = 0
        self._tokens: list[Token] = []
        self._first: float | None = None
        self._finish: Finish = "length"
        self.ended = False

    def add(self, tokens: list[int], last: bool) -> Iterator[Chunk]:
        """Take all tokens so far, of which some are new.

        Args:
            last: whether the model is done: by an end token or at the largest number of tokens.
        """
        new = tokens[self._count :]
        for place, token in enumerate(new):
            self._first = self._first or time.perf_counter()
            self._count += 1
            if token in self._ends:
                self._finish = "eos_token"
                shown = ""
            else:
                shown = self._stops.add(self._text.add(token))
            final = last and place == len(new) - 1
            if final:
                shown += self._stops.add(self._text.rest()) + self._stops.rest()
            if self._stops.found is not None:
                self._finish = "stop_sequence"
            self.ended = final or self._stops.found is not None
            details = self._details(token)
            if shown or details:
                yield Chunk(shown, details)
            if self.ended:
                return

    def end(self, tokens_in: int, start: float, identity: Identity) -> Chunk:
        """The last chunk, with the whole answer.

        Args:
            start: when it was asked for, by ``time.perf_counter``.
        """
        completion = Completion(
            text=self._stops.text,
            finish=self._finish,
            stopped_by=self._stops.found,
            tokens_in=tokens_in,
            tokens_out=self._count,
            tokens=tuple(self._tokens),
            ttft_ms=None if self._first is None else (self._first - start) * 1000,
            latency_ms=(time.perf_counter() - start) * 1000,
            model=identity.models[0],
            fingerprint=identity.digest,
        )
        return Chunk("", (), completion)

    def _details(self, token: int) -> tuple[Token, ...]:
        if self._logprobs is None:
            return ()
        text = str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))
        special = token in self._tokenizer.all_special_ids
        found = Token(token, text, self._logprobs[self._count - 1], special)
        self._tokens.append(found)
        return (found,)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
