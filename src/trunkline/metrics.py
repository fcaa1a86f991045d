"""The gateway's Prometheus metrics: what it exports, and what rules, dashboard and autoscaler may ask for.

Names and units follow Prometheus' conventions: base units, and ``_total`` for what only grows. Every metric of
an answer says the release and the arm, so that canary and stable are compared whatever engine is behind them.
"""

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["requests", "seconds", "tokens", "usd", "records", "ratio"]

# What answered: the release's name (`model@v1.2.0`) and `stable` or `canary`.
ARM = ("release", "arm")
# Upper bounds in seconds; 10 is what the latency alert counts by.
LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PER_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: as exported; a histogram adds ``_bucket``, ``_sum`` and ``_count``.
        labels: all of them, in order; a histogram's buckets add ``le``.
        help: what it counts, for the ``# HELP`` line.
        buckets: upper bounds of a histogram, in its unit; +Inf is added.
    """

    name: str
    kind: Kind
    unit: Unit
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric("trunkline_requests_total", "counter", "requests", (*ARM, "status"), "Answers by HTTP status."),
    Metric(
        *("trunkline_request_errors_total", "counter", "requests", (*ARM, "error")),
        "Answers that failed, by kind; a stream may fail after status 200. client_left is no fault of ours.",
    ),
    Metric(
        *("trunkline_request_duration_seconds", "histogram", "seconds", ARM),
        "From the request to the end of its answer.",
        LATENCY_S,
    ),
    Metric(
        *("trunkline_time_to_first_token_seconds", "histogram", "seconds", ARM),
        "From the request to the engine's first token, of streams, also while a guard holds it back.",
        FIRST_TOKEN_S,
    ),
    Metric(
        *("trunkline_time_per_output_token_seconds", "histogram", "seconds", ARM),
        "From the first token to the end, per further token; the mean of each stream.",
        PER_TOKEN_S,
    ),
    Metric("trunkline_prompt_tokens_total", "counter", "tokens", ARM, "Tokens of prompts, as the engine counts."),
    Metric("trunkline_generated_tokens_total", "counter", "tokens", ARM, "Tokens of answers, as the engine counts."),
    Metric("trunkline_cost_usd_total", "counter", "usd", ARM, "What the tokens cost by the engine's prices."),
    Metric("trunkline_guard_hits_total", "counter", "requests", (*ARM, "guard", "action"), "What guards found."),
    Metric("trunkline_queue_requests", "gauge", "requests", ARM, "Requests that wait for their engine."),
    Metric("trunkline_in_flight_requests", "gauge", "requests", ARM, "Requests that an engine is answering."),
    Metric("trunkline_engine_up_ratio", "gauge", "ratio", ARM, "1 while the engine proves its release, else 0."),
    Metric("trunkline_canary_weight_ratio", "gauge", "ratio", (), "Share of the units that go to the canary."),
    Metric(
        *("trunkline_shadow_requests_total", "counter", "requests", ("release", "result")),
        "Requests mirrored to a canary that nobody is served by: answered, failed, dropped.",
    ),
    Metric(
        *("trunkline_refused_requests_total", "counter", "requests", ("reason",)),
        "Requests refused before they had an arm: key, size, slow, rate, overload, log, invalid.",
    ),
    Metric("trunkline_spool_records", "gauge", "records", (), "Log records that the database does not have yet."),
    Metric("trunkline_spool_used_ratio", "gauge", "ratio", (), "Share of the spool in use; at 1 requests are refused."),
)
