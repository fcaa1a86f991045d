"""The engine's metrics in Prometheus' text format, by the names and buckets of TGI.

Unlike TGI's, ``tgi_request_count`` counts a chat completion once.
"""

from trunkline import exposition
from trunkline.exposition import Histogram

_SECONDS = tuple(0.0001 * 1.5**n for n in range(1, 36))


class Metrics:
    """What one engine process has done.

    Attributes:
        answered: requests with a whole answer.
    """

    def __init__(self, most_tokens: int) -> None:
        """Start at zero; histograms of tokens reach up to ``most_tokens`` in 100 steps."""
        steps = [most_tokens * step / 100 for step in range(1, 101)]
        self._histograms = {
            "tgi_request_duration": Histogram(_SECONDS),
            "tgi_request_mean_time_per_token_duration": Histogram(_SECONDS),
            "tgi_request_input_length": Histogram(steps),
            "tgi_request_generated_tokens": Histogram(steps),
            "tgi_request_max_new_tokens": Histogram(steps),
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
        lines = _single("tgi_request_count", "counter", self._asked)
        lines += _single("tgi_request_success", "counter", self.answered)
        if self._failures:
            lines += exposition.head("tgi_request_failure", "counter")
            lines += [
                exposition.sample("tgi_request_failure", {"err": k}, n) for k, n in sorted(self._failures.items())
            ]
        lines += _single("tgi_batch_current_size", "gauge", running)
        lines += _single("tgi_queue_size", "gauge", waiting)
        for name, histogram in self._histograms.items():
            lines += [*exposition.head(name, "histogram"), *histogram.samples(name, {})]
        return "\n".join(lines) + "\n"


def _single(name: str, kind: str, value: int) -> list[str]:
    return [*exposition.head(name, kind), exposition.sample(name, {}, value)]
