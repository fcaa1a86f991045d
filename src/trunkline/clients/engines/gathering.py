"""One answer from an engine while it comes in, whatever its format on the wire."""

import time
from typing import NamedTuple

from trunkline.clients.engines.stops import Stops
from trunkline.params.serve import PriceParams
from trunkline.records.serving import Chunk, Completion, Failure, Finish, Request, Token

_FINISHES: dict[str, Finish] = {
    "stop": "eos_token",
    "eos_token": "eos_token",
    "stop_sequence": "stop_sequence",
    "length": "length",
    "content_filter": "content_filter",
}
# No answer has more tokens; whoever counts so many, or less than none, counts nothing.
_MOST_TOKENS = 10**9


class Piece(NamedTuple):
    """What one document says; None for what it does not say.

    Attributes:
        finish: the server's word for what ended the answer.
        stopped_by: the stop text that ended it.
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish: str | None = None
    stopped_by: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    model: str | None = None
    fingerprint: str | None = None


class Gathering:
    """All that came of one request so far."""

    def __init__(self, request: Request, price: PriceParams) -> None:
        """Start now."""
        self._start = time.perf_counter()
        self._first: float | None = None
        # TGI leaves the stop text in the answer; others do not, and nothing is found.
        self._stops = Stops(request.stop)
        self._price = price
        self._tokens: list[Token] = []
        self._known = Piece()

    @property
    def finished(self) -> bool:
        """Whether the server said what ended the answer."""
        return self._known.finish is not None

    def add(self, piece: Piece) -> Chunk:
        """Take what came and return what may be shown of it."""
        if self._first is None and (piece.text or piece.tokens):
            self._first = time.perf_counter()
        shown = self._stops.add(piece.text)
        if piece.finish is not None:
            if piece.finish not in _FINISHES:
                raise Failure("garbage", f"the engine ends an answer with the unknown reason {piece.finish[:50]!r}")
            shown += self._stops.rest()
        self._tokens += piece.tokens
        said = {name: value for name, value in piece._asdict().items() if value is not None}
        self._known = self._known._replace(**{**said, "text": "", "tokens": ()})
        return Chunk(shown, piece.tokens)

    def end(self, streamed: bool) -> Completion:
        """The whole answer.

        Raises:
            Failure: the server never said that it is whole, or counts what cannot be.
        """
        known = self._known
        if known.finish is None:
            raise Failure("disconnected", "the answer ends before it is whole")
        for count in (known.tokens_in, known.tokens_out):
            if count is not None and not 0 <= count <= _MOST_TOKENS:
                raise Failure("garbage", f"the engine counts {count} tokens")
        now = time.perf_counter()
        stopped_by = self._stops.found or known.stopped_by
        return Completion(
            text=self._stops.text,
            finish="stop_sequence" if stopped_by is not None else _FINISHES[known.finish],
            stopped_by=stopped_by,
            tokens_in=known.tokens_in,
            tokens_out=known.tokens_out,
            tokens=tuple(self._tokens),
            ttft_ms=(self._first - self._start) * 1000 if streamed and self._first is not None else None,
            latency_ms=(now - self._start) * 1000,
            model=known.model,
            fingerprint=known.fingerprint,
            usd=self._usd(),
        )

    def _usd(self) -> float | None:
        known = self._known
        if known.tokens_in is None or known.tokens_out is None:
            return None
        return (known.tokens_in * self._price.input + known.tokens_out * self._price.output) / 1e6
