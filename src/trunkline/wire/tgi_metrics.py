"""A server's metrics in Prometheus' text format, by the names and buckets of TGI: what its dashboards ask for.

Unlike TGI's, ``tgi_request_count`` counts a chat completion once.
"""

from trunkline import exposition
from trunkline.exposition import Histogram
from trunkline.wire.tgi import Waits

_SECONDS = tuple(0.0001 * 1.5**n for n in range(1, 36))
_STEPS = ("validation", "queue", "inference")


class Metrics:
    """What one server process has done.

    Attributes:
        answered: requests with a whole answer.
    """

    def __init__(self, most_tokens: int, steps: bool) -> None:
        """Start at zero.

        Args:
            most_tokens: histograms of tokens reach up to it in 100 steps.
            steps: whether the steps of a request are timed, from its validation to its inference.
        """
        bounds = [most_tokens * step / 100 for step in range(1, 101)]
        timed = _STEPS if steps else ()
        self._histograms = {
            "tgi_request_duration": Histogram(_SECONDS),
            **{f"tgi_request_{step}_duration": Histogram(_SECONDS) for step in timed},
            "tgi_request_mean_time_per_token_duration": Histogram(_SECONDS),
            "tgi_request_input_length": Histogram(bounds),
            "tgi_request_generated_tokens": Histogram(bounds),
            "tgi_request_max_new_tokens": Histogram(bounds),
        }
        self._failures: dict[str, int] = {}
        self._asked = 0
        self.answered = 0

    def ask(self, max_new_tokens: int) -> None:
        """Count a request that was understood."""
        self._asked += 1
        self._histograms["tgi_request_max_new_tokens"].add(max_new_tokens)

    def answer(self, tokens_in: int, tokens_out: int, seconds: float, waits: Waits | None = None) -> None:
        """Count a whole answer.

        Args:
            tokens_in: of the prompt.
            tokens_out: of the answer.
            seconds: from the request to the end of its answer.
            waits: of these, what passed before its inference; None where that is not timed.
        """
        self.answered += 1
        inference = seconds
        if waits is not None:
            inference = max(seconds - (waits.validation + waits.queue) / 1000, 0.0)
            for step, value in zip(_STEPS, (waits.validation / 1000, waits.queue / 1000, inference), strict=True):
                self._histograms[f"tgi_request_{step}_duration"].add(value)
        self._histograms["tgi_request_duration"].add(seconds)
        self._histograms["tgi_request_mean_time_per_token_duration"].add(inference / max(tokens_out, 1))
        self._histograms["tgi_request_input_length"].add(tokens_in)
        self._histograms["tgi_request_generated_tokens"].add(tokens_out)

    def fail(self, kind: str) -> None:
        """Count a request without a whole answer: ``validation overloaded generation incomplete dropped``."""
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
