"""OpenTelemetry: a span of each prediction, where the environment names a collector that takes OTLP over HTTP.

Attributes are those of the semantic conventions for HTTP and generative AI, and ``trunkline.*``; none holds what a
customer wrote or is called, or what was answered. The variables are OpenTelemetry's own, which its SDK reads.
"""

import os
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from trunkline.errors import Error
from trunkline.records.prediction import Arm, Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# As spans name it where OTEL_SERVICE_NAME does not.
_SERVICE = "trunkline"


class Tracer:
    """Sends spans in batches from a thread of its own; what a collector does not take in time is dropped."""

    def __init__(self, provider: "TracerProvider") -> None:
        """Spans go where the provider sends them."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("trunkline")
        self._parent = TraceContextTextMapPropagator()

    def record(self, request: web.Request, release: str, arm: Arm, outcome: Outcome) -> None:
        """Hand over the span of a request that has ended; a child of the one in its ``traceparent``.

        Args:
            release: such as ``support-triage@v1.2.0``.
        """
        from opentelemetry.trace import SpanKind, StatusCode

        end = int(outcome.time.timestamp() * 1e9)
        route = _route(request)
        span = self._tracer.start_span(
            route,
            self._parent.extract(request.headers),
            SpanKind.SERVER,
            _attributes(request, route, outcome) | _answerer(release, arm),
            start_time=end - int(outcome.latency_ms * 1e6),
        )
        # By the conventions for HTTP, a status of the client's making is no error of the server.
        if outcome.error is not None and not 400 <= outcome.status < 500:
            span.set_status(StatusCode.ERROR)
        span.end(end)

    def close(self, seconds: float) -> None:
        """Send what is left, for no longer than this: the SDK itself waits half a minute for a dead collector."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(seconds)


def connect() -> Tracer | None:
    """What sends spans to the collector of the environment; None where it names none, and nothing is loaded then.

    The collector itself need not be there. Loads the SDK, so not on an event loop.

    Raises:
        Error: the SDK is not installed, or refuses the environment's variables.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        return Tracer(_provider())
    except ImportError:
        raise Error("OpenTelemetry's SDK is not installed", "pip install 'trunkline[serve]'") from None
    except ValueError as error:
        raise Error(f"OpenTelemetry refuses its variables: {error}", "correct OTEL_* in the environment") from None


def _provider() -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    # At the process's end nobody waits without a limit: `close` does it with one.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return request.path if resource is None else resource.canonical


def _attributes(request: web.Request, route: str, outcome: Outcome) -> dict[str, str | int]:
    known: dict[str, str | int | None] = {
        "http.request.method": request.method,
        "http.route": route,
        "http.response.status_code": outcome.status,
        "error.type": outcome.error,
        "gen_ai.usage.input_tokens": outcome.tokens_in,
        "gen_ai.usage.output_tokens": outcome.tokens_out,
        "trunkline.prediction": outcome.prediction,
    }
    return {name: value for name, value in known.items() if value is not None}


def _answerer(release: str, arm: Arm) -> dict[str, str | int]:
    """Requests ask for a release by its name without the version."""
    return {"gen_ai.request.model": release.partition("@")[0], "trunkline.release": release, "trunkline.arm": arm}
