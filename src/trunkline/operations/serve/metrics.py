"""What the gateway counts, by the names of `trunkline.metrics`, in Prometheus' text format."""

from collections.abc import Iterable

from trunkline import exposition, metrics
from trunkline.clients.predictions import Status
from trunkline.exposition import Histogram
from trunkline.guard import Finding
from trunkline.metrics import METRICS
from trunkline.operations.serve.backend import Backend
from trunkline.records.prediction import Outcome

Labels = tuple[str, ...]


class Metrics:
    """What one gateway process has done.

    Attributes:
        ended: predictions, however they ended.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.ended = 0
        self._counted: dict[str, dict[Labels, float]] = {m.name: {} for m in METRICS if m.kind != "histogram"}
        self._timed: dict[str, dict[Labels, Histogram]] = {m.name: {} for m in METRICS if m.kind == "histogram"}
        self._buckets = {metric.name: metric.buckets for metric in METRICS}

    def refuse(self, reason: str) -> None:
        """Count a request that was refused before it had an arm."""
        self._add("trunkline_refused_requests_total", (reason,))

    def find(self, arm: Labels, findings: Iterable[Finding]) -> None:
        """Count what guards found."""
        for finding in findings:
            self._add("trunkline_guard_hits_total", (*arm, finding.id, finding.action))

    def mirror(self, release: str, result: str) -> None:
        """Count a request that the canary is to answer for nobody: ``answered``, ``failed`` or ``dropped``."""
        self._add("trunkline_shadow_requests_total", (release, result))

    def end(self, arm: Labels, outcome: Outcome, streamed: bool) -> None:
        """Count a prediction by its outcome.

        Args:
            arm: the release's name and the arm.
            streamed: whether tokens could be seen as they came.
        """
        self.ended += 1
        self._add("trunkline_requests_total", (*arm, str(outcome.status)))
        if outcome.error is not None:
            self._add("trunkline_request_errors_total", (*arm, outcome.error))
        self._time("trunkline_request_duration_seconds", arm, outcome.latency_ms / 1000)
        self._add("trunkline_prompt_tokens_total", arm, outcome.tokens_in or 0)
        self._add("trunkline_generated_tokens_total", arm, outcome.tokens_out or 0)
        self._add("trunkline_cost_usd_total", arm, outcome.usd or 0)
        if not streamed or outcome.ttft_ms is None:
            return
        self._time("trunkline_time_to_first_token_seconds", arm, outcome.ttft_ms / 1000)
        if outcome.tokens_out is not None and outcome.tokens_out > 1:
            seconds = (outcome.latency_ms - outcome.ttft_ms) / 1000
            self._time("trunkline_time_per_output_token_seconds", arm, seconds / (outcome.tokens_out - 1))

    def text(self, arms: Iterable[tuple[str, Backend]], weight: float, log: Status) -> str:
        """All of it, with what is true at this moment.

        Args:
            arms: each arm with what answers it.
            weight: the canary's share of the units.
            log: how the prediction log is.
        """
        now: dict[str, dict[Labels, float]] = {
            "trunkline_canary_weight_ratio": {(): weight},
            "trunkline_spool_records": {(): log.waiting},
            "trunkline_spool_used_ratio": {(): log.used / log.capacity},
        }
        for arm, backend in arms:
            labels: Labels = (backend.release.name, arm)
            now.setdefault("trunkline_queue_requests", {})[labels] = backend.waiting
            now.setdefault("trunkline_in_flight_requests", {})[labels] = backend.running
            now.setdefault("trunkline_engine_up_ratio", {})[labels] = float(backend.problem is None)
        lines: list[str] = []
        for metric in METRICS:
            lines += exposition.head(metric.name, metric.kind, metric.help)
            for labels, histogram in self._timed.get(metric.name, {}).items():
                lines += histogram.samples(metric.name, dict(zip(metric.labels, labels, strict=True)))
            values = now.get(metric.name) or self._counted.get(metric.name, {})
            lines += [_sample(metric, told, value) for told, value in values.items()]
        return "\n".join(lines) + "\n"

    def _add(self, name: str, labels: Labels, value: float = 1) -> None:
        counted = self._counted[name]
        counted[labels] = counted.get(labels, 0) + value

    def _time(self, name: str, labels: Labels, seconds: float) -> None:
        timed = self._timed[name]
        if labels not in timed:
            timed[labels] = Histogram(self._buckets[name])
        timed[labels].add(seconds)


def _sample(metric: metrics.Metric, labels: Labels, value: float) -> str:
    return exposition.sample(metric.name, dict(zip(metric.labels, labels, strict=True)), value)
