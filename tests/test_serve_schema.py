"""`trunkline serve` asked whatever TGI's OpenAPI document allows and forbids: no 500, only answers in its shapes."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, Response

import gateways
import tgi_document
from gateways import MESSAGE, World

ROUTES = tgi_document.DOCUMENT["paths"]
POSTED = sorted(path for path, methods in ROUTES.items() if "post" in methods)
TOLD = sorted(path for path, methods in ROUTES.items() if "get" in methods and path != "/metrics")
# What the gateway may say to a body while its engine is well.
STATUSES = {200, 400, 413, 422}
# The document says that /v1/models answers with one model; TGI itself, OpenAI and vLLM list them.
LISTED = "/v1/models"
# Of TGI's parameters what the gateway takes; with any other it never answers, and 422 is all that would be seen.
TEXT = {"type": "string", "pattern": "^[a-z]{1,20}$"}
SOME = {"type": "integer", "minimum": 1, "maximum": 32}
TAKEN = {
    "inputs": TEXT,
    "prompt": TEXT,
    "messages": {
        "type": "array",
        "minItems": 1,
        "maxItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": {"enum": ["user"]}, "content": TEXT},
            "additionalProperties": False,
        },
    },
    "parameters": None,
    "stream": None,
    "details": None,
    "do_sample": None,
    "seed": SOME,
    "logprobs": None,
    "temperature": {"type": "number", "minimum": 0.5, "maximum": 1},
    "max_new_tokens": SOME,
    "max_tokens": SOME,
}
QUIET = settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gateways.serving(tmp_path_factory.mktemp("world"), serve__gateway__keys=None) as running:
        yield running


def readable() -> Any:
    """The document as 3.1, whose numeric ``exclusiveMinimum`` it has: under its own 3.0.3 nobody can read it."""
    return {**tgi_document.nullable(tgi_document.DOCUMENT), "openapi": "3.1.0"}


def narrowed() -> Any:
    """The document with what the gateway takes and nothing else."""
    document = readable()
    for name in ("GenerateParameters", "CompatGenerateRequest", "GenerateRequest", "ChatRequest", "CompletionRequest"):
        schema = document["components"]["schemas"][name]
        known = schema["properties"].items()
        schema["properties"] = {key: TAKEN[key] or value for key, value in known if key in TAKEN}
        schema["additionalProperties"] = False
    return document


def judge(path: str, answer: Response) -> None:
    """An answer that the document allows for its route."""
    assert answer.status_code in STATUSES, answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code != 200:
        tgi_document.check(answer.json(), "ErrorResponse")
        return
    kind = answer.headers["content-type"][0].partition(";")[0]
    said = ROUTES[path]["post"]["responses"]["200"]["content"][kind]["schema"]
    for document in documents(answer) if kind == "text/event-stream" else [answer.json()]:
        tgi_document.validate(document, said)


def documents(answer: Response) -> Iterator[Any]:
    *blocks, end = answer.content.split(b"\n\n")
    assert end == b""
    for block in blocks:
        if block != b"data: [DONE]":
            document = json.loads(block.removeprefix(b"data: "))
            yield tgi_document.chunk(document) if "choices" in document else document


def play(world: World, document: Any, path: str, mode: GenerationMode) -> Counter[int]:
    """Ask a route what schemathesis makes of the document; how often which status came."""
    operation = schemathesis.openapi.from_dict(document)[path]["POST"]
    statuses: Counter[int] = Counter()

    @QUIET
    @given(operation.as_strategy(mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=world.url, timeout=60)
        judge(path, answer)
        statuses[answer.status_code] += 1

    ask()
    return statuses


@pytest.mark.parametrize("path", POSTED)
def test_no_body_within_or_against_the_document_breaks_the_gateway(world, path):
    within = play(world, readable(), path, GenerationMode.POSITIVE)
    against = play(world, readable(), path, GenerationMode.NEGATIVE)
    assert sum(within.values()) >= 15
    assert against[422] > against[200]


@pytest.mark.parametrize("path", POSTED)
def test_what_the_gateway_takes_is_answered_in_the_documents_shape(world, path):
    assert play(world, narrowed(), path, GenerationMode.POSITIVE)[200] > 0


@pytest.mark.parametrize("path", TOLD)
def test_routes_that_only_tell_do_so_in_the_documents_shape(world, path):
    answer = world.get(path)
    assert answer.status_code == 200
    content = ROUTES[path]["get"]["responses"]["200"].get("content")
    if content is None:
        assert answer.content == b""
    for document in answer.json()["data"] if path == LISTED else [answer.json()] if content else []:
        tgi_document.validate(document, content["application/json"]["schema"])


def test_after_all_that_it_answers_as_before_and_everything_accepted_is_logged(world):
    assert world.post("/generate", inputs=MESSAGE).json() == {"generated_text": gateways.ANSWER}
    assert all(one.outcome is not None for one in world.everything())
    metrics = world.metrics()
    assert not [name for name in metrics if 'status="500"' in name]
