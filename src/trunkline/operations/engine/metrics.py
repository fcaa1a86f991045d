"""The engine's metrics in Prometheus' text format, by the names and buckets of TGI.

Written by hand: TGI's counters lack the ``_total`` that client libraries force on them. Unlike TGI's,
``tgi_request_count`` counts a chat completion once.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

_SECONDS = tuple(0.0001 * 1.5**n for n in range(1, 36))


class _Histogram:
    def __init__(self, bounds: Iterable[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        bounds = [*(f"{bound:.10g}" for bound in self._bounds), "+Inf"]
        totals = list(accumulate(self._counts))
        buckets = [f'{name}_bucket{{le="{bound}"}} {total}' for bound, total in zip(bounds, totals, strict=True)]
        return [f"# TYPE {name} histogram", *buckets, f"{name}_sum {self._sum:.10g}", f"{name}_count {totals[-1]}"]


class Metrics:
    """What one engine process has done.

    Attributes:
        answered: requests with a whole answer.
    """

    def __init__(self, most_tokens: int) -> None:
        """Start at zero; histograms of tokens reach up to ``most_tokens`` in 100 steps."""
        steps = [most_tokens * step / 100 for step in range(1, 101)]
        self._histograms = {
            "tgi_request_duration": _Histogram(_SECONDS),
            "tgi_request_mean_time_per_token_duration": _Histogram(_SECONDS),
            "tgi_request_input_length": _Histogram(steps),
            "tgi_request_generated_tokens": _Histogram(steps),
            "tgi_request_max_new_tokens": _Histogram(steps),
        }
        self._failures: dict[str, int] = {}
        self._asked = 0
        self.answered = 0

    def ask(self, max_new_tokens: int) -> None:
        """Count a request that was understood."""
        self._asked += 1
        self._histograms["tgi_request_max_new_tokens"].add(max_new_tokens)

    def answer(self, tokens_in: int, tokens_out: int, seconds: float) -> None:
        """Count a whole answer."""
        self.answered += 1
        self._histograms["tgi_request_duration"].add(seconds)
        self._histograms["tgi_request_mean_time_per_token_duration"].add(seconds / max(tokens_out, 1))
        self._histograms["tgi_request_input_length"].add(tokens_in)
        self._histograms["tgi_request_generated_tokens"].add(tokens_out)

    def fail(self, kind: str) -> None:
        """Count a request that got no whole answer: ``validation``, ``overloaded``, ``generation`` or ``dropped``."""
        self._failures[kind] = self._failures.get(kind, 0) + 1

    def text(self, running: int, waiting: int) -> str:
        """All of it in Prometheus' text format.

        Args:
            running: requests in the batch.
            waiting: accepted requests that are not in it yet.
        """
        lines = ["# TYPE tgi_request_count counter", f"tgi_request_count {self._asked}"]
        lines += ["# TYPE tgi_request_success counter", f"tgi_request_success {self.answered}"]
        if self._failures:
            lines.append("# TYPE tgi_request_failure counter")
            lines += [f'tgi_request_failure{{err="{kind}"}} {n}' for kind, n in sorted(self._failures.items())]
        lines += ["# TYPE tgi_batch_current_size gauge", f"tgi_batch_current_size {running}"]
        lines += ["# TYPE tgi_queue_size gauge", f"tgi_queue_size {waiting}"]
        for name, histogram in self._histograms.items():
            lines += histogram.lines(name)
        return "\n".join(lines) + "\n"
