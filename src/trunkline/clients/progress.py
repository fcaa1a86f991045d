"""Progress on stderr: one line drawn over on a terminal, a plain line every few seconds in CI."""

import sys
import time

_SECONDS = 5.0


class Progress:
    """Counts finished items of a known total and says how fast and how long still."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start = time.monotonic()
        self._shown = float("-inf")
        self._first: int | None = None
        self._terminal = sys.stderr.isatty()

    def update(self, done: int, note: str = "") -> None:
        """Show that ``done`` items of the total are finished; ``note`` is added as it is."""
        now = time.monotonic()
        if self._first is None:
            # A resumed run starts at `done`: its speed must not count what an earlier process did.
            self._first = done
        last = done >= self._total
        if not last and now - self._shown < (0.1 if self._terminal else _SECONDS):
            return
        self._shown = now
        self._draw(done, note, now - self._start, last)

    def _draw(self, done: int, note: str, seconds: float, last: bool) -> None:
        fresh = done - (self._first or 0)
        rate = fresh / seconds if seconds > 0 else 0.0
        eta = f"eta {(self._total - done) / rate:.0f}s" if rate > 0 and not last else f"{seconds:.0f}s"
        parts = [f"{self._label} {done}/{self._total} {self._unit}", f"{rate:.1f} {self._unit}/s", note, eta]
        line = "  ".join(part for part in parts if part)
        if self._terminal:
            width = 24
            filled = width * done // max(self._total, 1)
            line = f"\r\x1b[2K[{'#' * filled}{'.' * (width - filled)}] {line}"
            print(line, end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
