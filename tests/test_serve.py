"""`trunkline serve`: what a request gets, is logged as and is counted as, over real sockets."""

import contextlib
import gzip
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
import requests
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

import finished
import gateways
import starter
from gateways import ANSWER, MESSAGE, World
from trunkline import prompts
from trunkline.clients import predictions
from trunkline.errors import Error
from trunkline.metrics import METRICS
from trunkline.operations.serve import release
from trunkline.records import Answer, Task
from trunkline.stages import features
from trunkline.stages.evaluate import answers

CHAT, TEXT, GENERATE, STREAM = "/v1/chat/completions", "/v1/completions", "/generate", "/generate_stream"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {},
    TEXT: {"prompt": MESSAGE},
    "/": {"inputs": MESSAGE},
    GENERATE: {"inputs": MESSAGE},
    STREAM: {"inputs": MESSAGE},
}
REFUSED = [
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]}, "alone"),
    (CHAT, {"messages": [{"role": "user", "content": "y"}] * 2}, "alone"),
    (CHAT, {"messages": [{"role": "assistant", "content": "y"}]}, "role user"),
    (CHAT, {"messages": [{"role": "user", "content": " "}]}, "empty"),
    (CHAT, {"messages": [{"role": "user", "content": "x" * 8001}]}, "8001 characters"),
    (CHAT, {"n": 2}, "n: "),
    (CHAT, {"n": True}, "n: "),
    (CHAT, {"": "x"}, ": is not supported"),
    (CHAT, {"repetition_penalty": 5e-324}, "repetition_penalty: "),
    (CHAT, {"tools": []}, "tools: is not supported"),
    (CHAT, {"model": "support-triage@v1.0.0"}, "no release by its version"),
    (CHAT, {"max_tokens": 257}, "257 tokens are asked for, at most 256"),
    (TEXT, {"prompt": ["a", "b"]}, "prompt"),
    ("/", {"inputs": 3}, "inputs"),
    ("/", {}, "inputs"),
    (GENERATE, {"inputs": "x", "stream": True}, "stream: is not supported"),
    (GENERATE, {"inputs": "x", "parameters": {"adapter_id": "other"}}, "adapter_id: 'other' is not served"),
    (GENERATE, {"inputs": "x", "parameters": {"best_of": 2}}, "best_of"),
    (GENERATE, {"inputs": "x", "parameters": {"watermark": True}}, "watermark"),
    (GENERATE, {"inputs": "x", "parameters": {"watermark": 0}}, "watermark"),
    (GENERATE, {"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": "a"}}}, "grammar"),
    (GENERATE, {"inputs": "x", "parameters": {"truncate": 5}}, "truncate"),
    (GENERATE, {"inputs": "x", "parameters": {"typical_p": 0.5}}, "typical_p"),
    (GENERATE, {"inputs": "x", "parameters": {"return_full_text": True}}, "return_full_text"),
    (GENERATE, {"inputs": "x", "parameters": {"temperature": 0}}, "temperature"),
    (GENERATE, {"inputs": "x", "parameters": {"stop": list("abcde")}}, "stop"),
    (GENERATE, {"inputs": "x", "parameters": {"unheard_of": 1}}, "unheard_of: is not supported"),
    (GENERATE, {"inputs": "x", "parameters": {"max_new_tokens": 10**6}}, "at most 256"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with gateways.serving(tmp_path_factory.mktemp("world"), serve__engines__stable__usd_per_million=PRICE) as running:
        yield running


PRICE = {"input": 2.0, "output": 8.0}
# A module's world serves all examples, however busy this machine is.
UNHURRIED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)


def text_of(answer: requests.Response) -> str:
    """What was generated, whatever route answered."""
    document = answer.json()
    if isinstance(document, list):
        (document,) = document
    if "generated_text" in document:
        return document["generated_text"]
    choice = document["choices"][0]
    return choice["message"]["content"] if "message" in choice else choice["text"]


def events(answer: requests.Response, done: bool) -> list[Any]:
    """The documents of a stream, framed as TGI and vLLM frame them; on OpenAI's routes it says that it is over."""
    assert answer.headers["Content-Type"] == "text/event-stream"
    *blocks, end = answer.content.split(b"\n\n")
    assert end == b""
    if done:
        assert blocks.pop() == b"data: [DONE]"
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    return [json.loads(block[6:]) for block in blocks]


@pytest.mark.parametrize("path", [CHAT, TEXT, "/", GENERATE])
def test_every_route_puts_the_message_as_the_release_does_and_gives_its_answer(world, path):
    answer = world.post(path, **BODIES[path])
    assert (answer.status_code, text_of(answer)) == (200, ANSWER)
    assert world.stable.asked[-1]["messages"] == prompts.render(gateways.TASK, MESSAGE)
    assert isinstance(answer.json(), list) is (path == "/")


def test_what_is_not_said_is_as_it_was_evaluated(world):
    for path in (CHAT, TEXT, "/", GENERATE):
        world.post(path, **BODIES[path])
        asked = world.stable.asked[-1]
        assert (asked["temperature"], asked["max_tokens"]) == (0, 32)
    world.post(CHAT, temperature=0.5, max_tokens=7, top_p=0.5, seed=3, stop=["x"])
    asked = world.stable.asked[-1]
    assert [asked[name] for name in ("temperature", "max_tokens", "top_p", "seed", "stop")] == [0.5, 7, 0.5, 3, ["x"]]
    world.post("/", inputs="x", parameters={"do_sample": True, "top_k": 4, "max_new_tokens": 9, "seed": 1})
    asked = world.stable.asked[-1]
    assert [asked[name] for name in ("temperature", "top_k", "max_tokens", "seed")] == [1, 4, 9, 1]


@pytest.mark.parametrize(("path", "body", "said"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_understood_is_refused_by_name_and_never_ignored(world, path, body, said):
    before = len(world.stable.asked)
    answer = world.post(path, **body)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
    assert said in answer.json()["error"]
    assert len(world.stable.asked) == before
    assert "x-trunkline-prediction" not in answer.headers


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"messages": "\\ud800"}', b"[" * 100_000])
@pytest.mark.parametrize("path", [*BODIES, "/v1/feedback", "/tokenize"])
def test_a_body_that_is_no_request_is_refused(world, path, content):
    answer = requests.post(world.url + path, data=content, timeout=60)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")


@pytest.mark.parametrize("path", [*BODIES, "/v1/feedback", "/tokenize"])
def test_a_body_that_is_not_encoded_as_it_says_is_refused_and_no_fault_of_ours(world, caplog, path):
    content = json.dumps({"prompt": MESSAGE} if path == TEXT else {"inputs": MESSAGE}).encode()
    packed, said = gzip.compress(content), {"Content-Encoding": "gzip"}
    for body in (b"no " + packed, packed[:12], content):
        answer = requests.post(world.url + path, data=body, headers=said, timeout=60)
        assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
    assert caplog.records == []
    if path in (GENERATE, TEXT):
        assert text_of(requests.post(world.url + path, data=packed, headers=said, timeout=60)) == ANSWER


@effort(max_examples=60, deadline=None, suppress_health_check=UNHURRIED)
@given(
    path=st.sampled_from([*BODIES, "/v1/feedback", "/tokenize"]),
    body=st.dictionaries(
        st.sampled_from(
            ["messages", "prompt", "inputs", "parameters", "stream", "model", "stop", "user", "prediction"]
        ),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["role", "seed"]), inner),
            max_leaves=4,
        ),
    ),
)
def test_no_body_is_the_gateways_own_failure(world, path, body):
    answer = requests.post(world.url + path, json=body, timeout=60)
    assert answer.status_code in (200, 422)


def test_nulls_and_names_that_mean_none_are_as_if_they_were_not_there(world):
    nulls = dict.fromkeys(("n", "tools", "seed", "stop", "top_p", "stream_options", "logit_bias"))
    for name in (None, "tgi", "dummy", "support-triage"):
        assert world.post(CHAT, model=name, **nulls).status_code == 200
        assert world.post("/", inputs=MESSAGE, parameters={"adapter_id": name, "grammar": None}).status_code == 200


def test_a_stream_is_framed_as_the_real_servers_frame_it(world):
    opening, *pieces, last, usage = events(world.post(CHAT, stream=True, stream_options={"include_usage": True}), True)
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [piece["choices"][0]["delta"]["content"] for piece in pieces] == world.stable.says
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 93)
    pieces = events(world.post(TEXT, prompt=MESSAGE, stream=True), True)
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == ANSWER
    for path, body in (("/", {"stream": True}), (STREAM, {})):
        *rest, end = events(world.post(path, inputs=MESSAGE, parameters={"details": True}, **body), False)
        assert [event["token"]["text"] for event in (*rest, end)] == world.stable.says
        assert [event["index"] for event in (*rest, end)] == [1, 2, 3]
        assert all(event["generated_text"] is event["details"] is None for event in rest)
        assert end["generated_text"] == ANSWER
        assert end["details"] == {"finish_reason": "eos_token", "generated_tokens": 3, "seed": None, "input_length": 90}
    assert events(world.post(STREAM, inputs=MESSAGE), False)[-1]["details"] is None


def test_every_answer_tells_prediction_release_and_request(world):
    for path, body in BODIES.items():
        for answer in (world.post(path, **body), world.post(path, headers={"x-request-id": "mine"}, **body)):
            assert answer.headers["x-trunkline-release"] == "support-triage@v1.0.0"
            found = world.logged(answer)
            assert found.assignment.release == "support-triage@v1.0.0"
        assert answer.headers["x-request-id"] == "mine"
    ids = {world.get("/info").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert world.post(GENERATE, headers={"x-request-id": "x" * 500}, inputs="y").headers["x-request-id"] not in ids


def test_tgis_headers_tell_tokens_and_times(world):
    headers = world.post(GENERATE, inputs=MESSAGE).headers
    assert (headers["x-prompt-tokens"], headers["x-generated-tokens"]) == ("90", "3")
    assert headers["x-compute-characters"] == str(len(MESSAGE))
    told = [float(headers[f"x-{name}-time"]) for name in ("validation", "queue", "inference", "total")]
    assert told[-1] == pytest.approx(sum(told[:-1]), abs=2)
    assert float(headers["x-compute-time"]) * 1000 == pytest.approx(told[-1], abs=1)
    assert float(headers["x-compute-time"]) > 0


def test_an_answer_is_logged_with_all_that_is_known_of_it(world):
    headers = {"x-conversation-id": "conversation-7", "x-customer-id": "c-7"}
    found = world.logged(world.post(headers=headers))
    given = found.assignment
    assert (given.unit, given.customer, given.arm, given.weight, given.rollout) == (
        "conversation-7",
        "c-7",
        "stable",
        0,
        None,
    )
    assert (given.environment, given.input) == ("production", MESSAGE)
    known = found.outcome
    assert (known.status, known.error, known.output, known.format_ok) == (200, None, ANSWER, True)
    assert (known.tokens_in, known.tokens_out, known.usd) == (90, 3, pytest.approx((90 * 2 + 3 * 8) / 1e6))
    assert (known.engine_model, known.engine_fingerprint) == ("support-triage@v1.0.0", world.stable.digest[:12])
    assert (known.finish_reason, known.ttft_ms) == ("eos_token", None)
    assert known.latency_ms > 0
    streamed = world.logged(world.post(stream=True)).outcome
    assert 0 < streamed.ttft_ms <= streamed.latency_ms
    assert (streamed.output, streamed.tokens_out) == (ANSWER, 3)


def plain(document: Any) -> Any:
    """A document of an answer without what differs from request to request."""
    if isinstance(document, list):
        return [plain(one) for one in document]
    return {name: value for name, value in document.items() if name not in ("id", "created")}


def test_how_sure_the_model_was_is_logged_and_clients_are_answered_as_without(world, tmp_path):
    with gateways.serving(tmp_path, serve__log__confidence=False) as silent:
        for path, body in BODIES.items():
            for stream in (False, True):
                asked = {**body, **({} if path in (GENERATE, STREAM) else {"stream": stream})}
                found, expected = (one.post(path, **asked) for one in (world, silent))
                read = events if "event-stream" in found.headers["Content-Type"] else lambda answer, _: answer.json()
                done = path in (CHAT, TEXT)
                assert plain(read(found, done)) == plain(read(expected, done))
                assert world.logged(found).outcome.confidence == -0.5
                assert world.stable.asked[-1]["logprobs"]
                assert silent.logged(expected).outcome.confidence is None
                if path in (CHAT, TEXT, GENERATE):
                    assert "logprobs" not in silent.stable.asked[-1]


def test_how_sure_the_model_was_is_not_logged_of_answers_that_others_cannot_be_compared_with(world):
    for changes in ({"temperature": 0.5}, {"repetition_penalty": 1.2}, {"temperature": 0.5, "logprobs": True}):
        answer = world.post(CHAT, **changes)
        assert world.logged(answer).outcome.confidence is None
        assert (answer.json()["choices"][0]["logprobs"] is not None) == ("logprobs" in changes)
    told = world.post(CHAT, logprobs=True)
    assert [one["logprob"] for one in told.json()["choices"][0]["logprobs"]["content"]] == [-0.5] * 3
    assert world.logged(told).outcome.confidence == -0.5


def test_an_engine_that_does_not_tell_of_every_token_tells_nothing(world, monkeypatch):
    details = world.stable._details
    monkeypatch.setattr(world.stable, "_details", lambda body, numbers: details(body, numbers[:-1]))
    answer = world.post()
    assert (text_of(answer), world.logged(answer).outcome.confidence) == (ANSWER, None)


def test_a_unit_comes_from_the_header_or_else_from_the_body_or_is_the_prediction(world):
    units = [
        world.logged(world.post(headers=headers, **body)).assignment.unit
        for headers, body in (
            ({"x-conversation-id": "h"}, {"user": "b"}),
            ({"x-conversation-id": ""}, {"user": "b"}),
            ({}, {"path": "/", "inputs": MESSAGE, "user": "b"}),
        )
    ]
    assert units == ["h", "b", "b"]
    answer = world.post()
    assert world.logged(answer).assignment.unit == answer.headers["x-trunkline-prediction"]
    for bad in ("u" * 257, "a\x00b", 7, "\u200b"):
        assert world.post(user=bad).status_code == 422


def test_an_answer_in_another_format_is_logged_as_such(world):
    world.stable.says = ["I do", " not know"]
    try:
        found = world.logged(world.post()).outcome
    finally:
        world.stable.says = [ANSWER[:10], ANSWER[10:20], ANSWER[20:]]
    assert found.format_ok is False
    assert [one.partition(":")[0] for one in found.findings] == ["format@1"]


def test_what_tells_about_the_server_is_tgis(world):
    for path in ("/", "/health", "/ping"):
        assert (world.get(path).status_code, world.get(path).content) == (200, b"")
    info = world.get("/info").json()
    assert (info["model_id"], info["model_sha"]) == ("support-triage@v1.0.0", world.stable.digest)
    assert [entry["id"] for entry in world.get("/v1/models").json()["data"]] == ["support-triage"]
    spans = world.post("/tokenize", inputs="card").json()
    assert [(span["text"], span["start"], span["stop"]) for span in spans] == [
        ("c", 0, 1),
        ("a", 1, 2),
        ("r", 2, 3),
        ("d", 3, 4),
    ]
    assert world.get("/nowhere").json() == {"error": "Not Found", "error_type": "validation"}
    assert (world.get(CHAT).status_code, world.get(CHAT).headers["Allow"]) == (405, "POST")


def test_feedback_meets_its_prediction(world):
    answer = world.post()
    prediction = answer.headers["x-trunkline-prediction"]
    said = world.post("/v1/feedback", prediction=prediction, source="agent", label="card_lost", score=0.5)
    assert (said.status_code, said.json()["prediction"]) == (200, prediction)
    world.logged(answer)
    gateways.wait(lambda: predictions.find(world.params.serve.log, prediction).feedback)
    (found,) = predictions.find(world.params.serve.log, prediction).feedback
    assert (found.id, found.source, found.label, found.score, found.comment) == (
        said.json()["id"],
        "agent",
        "card_lost",
        0.5,
        None,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"prediction": "7"},
        {"prediction": None},
        {"source": ""},
        {"source": "judge:0123456789ab"},
        {"label": None},
        {"score": "high"},
        {"extra": 1},
    ],
    ids=str,
)
def test_feedback_that_says_nothing_or_of_nothing_or_for_the_judge_is_refused(world, change):
    known = {"prediction": predictions.new_id(), "source": "agent", "label": "x"}
    answer = world.post("/v1/feedback", **(known | change))
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")


def test_everything_is_counted_by_release_and_arm(world):
    before = world.metrics()
    world.post()
    world.post(stream=True)
    world.post(n=2)
    after = world.metrics()
    arm = '{release="support-triage@v1.0.0",arm="stable"'

    def more(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert more(f'trunkline_requests_total{arm},status="200"}}') == 2
    assert more(f"trunkline_generated_tokens_total{arm}}}") == 6
    assert more(f"trunkline_prompt_tokens_total{arm}}}") == 180
    assert more(f"trunkline_cost_usd_total{arm}}}") == pytest.approx(2 * (90 * 2 + 3 * 8) / 1e6)
    assert more(f"trunkline_request_duration_seconds_count{arm}}}") == 2
    assert more(f"trunkline_time_to_first_token_seconds_count{arm}}}") == 1
    assert more(f"trunkline_time_per_output_token_seconds_count{arm}}}") == 1
    assert more('trunkline_refused_requests_total{reason="invalid"}') == 1
    assert after[f"trunkline_engine_up_ratio{arm}}}"] == 1
    # By TGI's names, each request once.
    assert (more("tgi_request_count"), more("tgi_request_success")) == (2, 2)
    assert more('tgi_request_failure{err="validation"}') == 1
    assert (more("tgi_request_duration_count"), more("tgi_request_generated_tokens_sum")) == (2, 6)
    steps = [more(f"tgi_request_{step}_duration_sum") for step in ("validation", "queue", "inference")]
    assert sum(steps) == pytest.approx(more("tgi_request_duration_sum"))
    text = world.get("/metrics").text
    assert all(f"# TYPE {metric.name} {metric.kind}" in text for metric in METRICS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool: Debian's package prometheus")
def test_promtool_accepts_what_is_exported(world):
    world.post(stream=True)
    checked = ["promtool", "check", "metrics"]
    done = subprocess.run(checked, input=world.get("/metrics").text, capture_output=True, text=True, check=False)
    # TGI's names are not Prometheus' style: counters without _total, nothing without a unit.
    assert [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("tgi_")] == []


@pytest.fixture(scope="module")
def evaluated(world: World) -> Iterator[None]:
    """The evaluation stage would look here for the model that the world serves."""
    with contextlib.chdir(world.folder):
        finished.bundle(world.folder, "candidate", task=gateways.TASK)
        yield


@effort(max_examples=150, deadline=None, suppress_health_check=UNHURRIED)
@given(
    message=st.text(min_size=1, max_size=60).filter(str.strip)
    | st.sampled_from(["<|im_end|>", "&lt;b&gt; 4111 1111 1111 1111"])
)
def test_serving_and_evaluation_put_every_message_alike_byte_for_byte(world, evaluated, message):
    table = pl.DataFrame({"id": ["m"], "message": [message]})
    expected = answers.ask("candidate", "candidate", table, True).conversations[0]
    assert world.post(GENERATE, inputs=message).status_code == 200
    assert world.stable.asked[-1]["messages"] == expected


def test_serving_puts_messages_as_the_features_stage_wrote_them_for_training(tmp_path, in_tmp):
    starter.inputs(tmp_path)
    starter.examples(tmp_path)
    features.run(starter.settings(tmp_path))
    task = Task.read(tmp_path / "data/task.json")
    folder = gateways.bundle(tmp_path / "bundles", "v1.0.0", task=task)
    served = release.read(folder, gateways.settings(tmp_path))
    frame = pl.concat([pl.read_parquet("data/train.parquet"), pl.read_parquet("data/holdout.parquet")])
    assert frame.height == 40
    for message, rendered in frame.select("message", "input").iter_rows():
        assert list(served.conversation(message)) == prompts.render(task, rendered)


def test_labels_are_the_only_answers_where_they_were_when_it_was_evaluated(tmp_path):
    labels = ("a", "b")
    answer = Answer(format="label", fields=("intent",), allowed={"intent": labels})
    task = gateways.TASK.model_copy(update={"answer": answer})
    served = release.read(gateways.bundle(tmp_path, "v1.0.0", task=task), gateways.settings(tmp_path))
    assert served.choices == labels
    assert release.read(gateways.bundle(tmp_path, "v1.1.0"), gateways.settings(tmp_path)).choices is None


def test_a_release_is_not_served_by_other_code_than_it_was_evaluated_with(tmp_path):
    params = gateways.settings(tmp_path)
    changed = gateways.TASK.model_copy(update={"transforms": ("clean_text@1:000000000000",)})
    for problem, folder in (
        ("trained with other transforms.*clean_text@1:000000000000", gateways.bundle(tmp_path, "v1.0.0", task=changed)),
        ("holds neither manifest.json nor bundle.json", tmp_path),
    ):
        with pytest.raises(Error, match=problem):
            release.read(folder, params)
    folder = gateways.bundle(tmp_path, "v1.1.0")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format@1": "flag"', '"format@1": "block"'))
    with pytest.raises(Error, match="released with other guards"):
        release.read(folder, params)


def test_a_model_of_the_working_copy_is_served_by_its_params(tmp_path):
    finished.bundle(tmp_path, "candidate", task=gateways.TASK)
    params = gateways.settings(tmp_path, evaluate__max_new_tokens=9, serve__guard={"pii@1": "block"})
    served = release.read(tmp_path / "models/candidate", params)
    assert (served.name, served.max_new_tokens, served.guard) == ("support-triage@working-copy", 9, {"pii@1": "block"})
    assert served.model == "support-triage"
