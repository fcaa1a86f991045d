"""Text out of tokens while they come, never half a character."""

from collections.abc import Callable

_INCOMPLETE = "\ufffd"


class Text:
    """Decodes tokens one after the other; together the pieces are what decoding all at once gives.

    The two-window method of vLLM and TGI: a tokenizer may write a token differently at the beginning of a
    text, so each is decoded behind the ones before it.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """Start an empty text."""
        self._decode = decode
        self._tokens: list[int] = []
        self._first = self._read = 0  # of the window, and the tokens of it that are written

    def add(self, token: int) -> str:
        """What the token adds; empty while it is part of a character that is not whole yet."""
        self._tokens.append(token)
        text = self._window()
        if text.endswith(_INCOMPLETE):
            return ""
        return self._write(text)

    def rest(self) -> str:
        """What is left when no more tokens come: a character that stays in pieces."""
        return self._write(self._window())

    def _window(self) -> str:
        return self._decode(self._tokens[self._first :])

    def _write(self, text: str) -> str:
        known = len(self._decode(self._tokens[self._first : self._read]))
        self._first, self._read = self._read, len(self._tokens)
        return text[known:]
