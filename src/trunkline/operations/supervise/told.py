"""Says each problem once, however often it is met."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from trunkline.errors import Error

_log = logging.getLogger(__name__)


class Told:
    """What was said, and is not over yet."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._said: dict[str, str] = {}

    @contextmanager
    def about(self, what: str) -> Iterator[None]:
        """Catch an error, and say it if it is another than the last of this kind; say too when it is over."""
        try:
            yield
        except Error as error:
            if self._said.get(what) != error.problem:
                _log.warning("supervise  %s; all goes on as it was (%s)", error.problem, error.hint)
            self._said[what] = error.problem
        else:
            if self._said.pop(what, None) is not None:
                _log.info("supervise  %s is well again", what)
