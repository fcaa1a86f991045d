"""Spans of `trunkline serve`: what an OTLP receiver on a socket gets of each prediction, and when nothing is sent."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

import gateways
import served
from gateways import MESSAGE, World, rows, wait
from trunkline.clients import tracing
from trunkline.errors import Error
from trunkline.operations import serve

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
ANSWERED = {"http.request.method": "POST", "gen_ai.request.model": gateways.MODEL, "trunkline.arm": "stable"}


class Collector:
    """Takes OTLP over HTTP as a collector does.

    Attributes:
        bodies: what came, as it came.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.resources: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        self.bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    @property
    def spans(self) -> list[Span]:
        sent = [one for body in self.bodies for one in ExportTraceServiceRequest.FromString(body).resource_spans]
        self.resources = [read(one.resource.attributes) for one in sent]
        return [span for one in sent for scope in one.scope_spans for span in scope.spans]

    def span_of(self, answer: requests.Response) -> Span:
        """The one span of a prediction, once it has come."""
        prediction = answer.headers["x-trunkline-prediction"]

        def found() -> list[Span]:
            return [span for span in self.spans if read(span.attributes)["trunkline.prediction"] == prediction]

        wait(found)
        (span,) = found()
        return span


def read(attributes: Any) -> dict[str, Any]:
    """Attributes by their names."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No collector unless a test names it; spans go out at once, and not through anybody's proxy."""
    for name in (*tracing.ENDPOINTS, "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    taking = Collector()
    with served.answering(taking) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        yield taking


@pytest.fixture
def world(collector, tmp_path) -> Iterator[World]:
    with gateways.serving(tmp_path) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_a_prediction_is_one_span_below_the_one_that_asked(world, collector, stream):
    before = time.time_ns()
    answer = world.post(headers={"traceparent": SAMPLED}, stream=stream)
    outcome = world.logged(answer).outcome
    span = collector.span_of(answer)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert (span.name, span.kind, span.status.code) == (
        "/v1/chat/completions",
        Span.SPAN_KIND_SERVER,
        Status.STATUS_CODE_UNSET,
    )
    assert read(span.attributes) == ANSWERED | {
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 90,
        "gen_ai.usage.output_tokens": 3,
        "trunkline.prediction": answer.headers["x-trunkline-prediction"],
        "trunkline.release": f"{gateways.MODEL}@v1.0.0",
    }
    assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns()
    took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    assert took == pytest.approx(outcome.latency_ms, abs=0.01)
    assert collector.resources[0]["service.name"] == "trunkline"


@pytest.mark.parametrize("header", [None, "", "nonsense", f"00-{'0' * 32}-{PARENT}-01"])
def test_a_request_without_a_trace_begins_one(world, collector, header):
    span = collector.span_of(world.post(headers={} if header is None else {"traceparent": header}))
    assert (len(span.trace_id), span.parent_span_id) == (16, b"")
    assert span.trace_id.hex() not in (TRACE, "0" * 32)


def test_what_the_asker_does_not_sample_is_not_sent(world, collector):
    world.post(headers={"traceparent": UNSAMPLED})
    collector.span_of(world.post(headers={"traceparent": SAMPLED}))
    assert len(collector.spans) == 1


@pytest.mark.parametrize(
    ("fails", "status", "error", "code"),
    [
        ("garbage", 502, "garbage", Status.STATUS_CODE_ERROR),
        (429, 429, "overloaded", Status.STATUS_CODE_UNSET),
    ],
)
def test_an_engines_failure_is_told_and_is_an_error_where_it_is_no_status_of_the_client(
    world, collector, fails, status, error, code
):
    world.stable.fails = fails
    span = collector.span_of(world.post("/generate", inputs=MESSAGE, headers={"traceparent": SAMPLED}))
    told = read(span.attributes)
    assert (span.name, span.trace_id.hex(), span.status.code) == ("/generate", TRACE, code)
    assert (told["http.response.status_code"], told["error.type"]) == (status, error)
    assert not {"gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"} & set(told)


def test_a_stream_that_breaks_is_an_error_although_its_status_was_200(world, collector):
    world.stable.fails = "cut"
    span = collector.span_of(world.post("/generate_stream", inputs=MESSAGE))
    told = read(span.attributes)
    assert (told["http.response.status_code"], told["error.type"]) == (200, "disconnected")
    assert span.status.code == Status.STATUS_CODE_ERROR


def test_what_was_not_logged_has_no_span(world, collector):
    assert world.post("/generate", inputs=3).status_code == 422
    world.get("/health")
    collector.span_of(world.post())
    assert len(collector.spans) == 1


def test_no_text_of_a_customer_and_no_name_leaves(world, collector):
    world.stable.says = ["a very ", "private", " answer"]
    messages = [{"role": "user", "content": MESSAGE}]
    headers = {"x-customer-id": "somebody"}
    path = "/v1/chat/completions?q=written"
    answer = world.post(path, headers=headers, messages=messages, user="unit-of-theirs")
    collector.span_of(answer)
    logged = world.logged(answer)
    assert (logged.assignment.customer, logged.assignment.unit) == ("somebody", "unit-of-theirs")
    for text in ("card", "gone", "please", "block", "private", "somebody", "theirs", "written"):
        assert not any(text.encode() in body for body in collector.bodies), text


def test_the_environment_names_the_service(monkeypatch, collector, tmp_path):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "triage")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=production")
    with gateways.serving(tmp_path) as world:
        collector.span_of(world.post())
    assert (
        collector.resources[0].items()
        >= {
            "service.name": "triage",
            "deployment.environment.name": "production",
        }.items()
    )


def test_what_is_left_is_sent_when_the_gateway_ends(monkeypatch, collector, tmp_path):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    with gateways.serving(tmp_path) as world:
        answers = [world.post() for _ in range(3)]
        assert collector.spans == []
    sent = [read(span.attributes)["trunkline.prediction"] for span in collector.spans]
    assert sorted(sent) == sorted(answer.headers["x-trunkline-prediction"] for answer in answers)


@pytest.mark.parametrize("answers", [False, True], ids=["hangs", "refuses"])
def test_a_dead_collector_delays_and_fails_nothing(monkeypatch, tmp_path, answers):
    monkeypatch.setattr(serve, "FLUSH_S", 0.5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        if answers:
            silent.close()
        with gateways.serving(tmp_path) as world:
            for _ in range(20):
                answer = world.post()
                assert answer.status_code == 200
                # The SDK alone would take its two minutes for each batch, and half a one at the end.
                assert world.logged(answer).outcome.latency_ms < 20_000
            ended = time.monotonic()
        assert time.monotonic() - ended < 20
    assert [one.outcome.status for one in rows(world.params)] == [200] * 20


def test_without_an_endpoint_the_sdk_is_not_even_loaded(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    code = """
import os, sys
from trunkline.clients import tracing
from trunkline.operations import serve
told = [tracing.connect() is None, "opentelemetry" in sys.modules]
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
print(*told, tracing.connect() is None, "opentelemetry" in sys.modules, flush=True)
os._exit(0)  # its spans' thread goes on
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert said.stdout.split() == ["True", "False", "False", "True"]


def test_the_endpoint_of_traces_alone_is_enough(monkeypatch, collector, tmp_path):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    with gateways.serving(tmp_path) as world:
        collector.span_of(world.post())


def test_variables_that_the_sdk_refuses_are_an_error(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1")
    with pytest.raises(Error, match="OpenTelemetry refuses its variables: max_export_batch_size"):
        tracing.connect()


def test_a_missing_sdk_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(Error, match="not installed"):
        tracing.connect()
