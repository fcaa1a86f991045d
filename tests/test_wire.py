"""OpenAI's bodies read strictly, and answers framed as the real servers frame them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.records.serving import Chunk, Completion, Failure, Request, Token
from trunkline.wire import answers, openai, tgi
from trunkline.wire.answers import Envelope
from trunkline.wire.openai import Asked

MESSAGES = [{"role": "user", "content": "hi"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = [*openai._Chat.model_fields, *openai._Plain.model_fields, "tools", "logit_bias"]
TOKENS = (Token(5, "ca", -0.5, False), Token(6, "rd", -0.25, False), Token(2, "<|im_end|>", -0.1, True))
COMPLETION = Completion(text="card", finish="eos_token", tokens_in=3, tokens_out=3, tokens=TOKENS, latency_ms=1.0)


def test_what_is_not_said_has_openais_meaning():
    asked = openai.read_chat({"messages": MESSAGES}, 32)
    assert asked == Asked(
        request=Request(prompt=tuple(MESSAGES), max_new_tokens=32, temperature=1.0),
        model=None, chat=True, stream=False, include_usage=False, logprobs=False, token_ids=False,
    )  # fmt: skip


def test_everything_that_is_said_is_understood():
    body = {
        "model": "m", "messages": [{"role": "system", "content": [{"type": "text", "text": text} for text in "ab"]}],
        "max_completion_tokens": 5, "temperature": 0, "top_p": 0.5, "top_k": 3, "stop": "x", "seed": -1,
        "repetition_penalty": 1.2, "structured_outputs": {"choice": ["a", "b"]}, "stream": True,
        "stream_options": {"include_usage": True}, "logprobs": True, "return_token_ids": True, "n": 1, "user": "u",
    }  # fmt: skip
    asked = openai.read_chat(body, 32)
    assert asked.request == Request(
        prompt=({"role": "system", "content": "ab"},), max_new_tokens=5, temperature=0, top_p=0.5, top_k=3,
        stop=("x",), seed=-1, repetition_penalty=1.2, choices=("a", "b"), details=True,
    )  # fmt: skip
    assert asked[1:] == ("m", True, True, True, True, True)


@pytest.mark.parametrize(
    ("value", "meant"), [({"top_k": -1}, None), ({"top_k": 0}, None), ({"top_p": 1}, None), ({"top_k": 9}, 9)]
)
def test_filters_at_the_value_that_filters_nothing_are_none(value, meant):
    request = openai.read_text({"prompt": "x", **value}, 32).request
    assert (request.top_k or request.top_p) == meant


def test_all_mistakes_are_named_at_once():
    body = {"messages": MESSAGES, "n": 2, "tools": [], "temperature": 9, "stream": 1}
    with pytest.raises(Failure) as caught:
        openai.read_chat(body, 32)
    assert all(name in caught.value.problem for name in ("n: ", "tools: is not supported", "temperature: ", "stream: "))


@given(body=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5) | JSON, chat=st.booleans())
def test_whatever_comes_is_a_request_or_one_invalid_failure(body, chat):
    read = openai.read_chat if chat else openai.read_text
    try:
        asked = read(body, 32)
    except Failure as failure:
        assert failure.kind == "invalid"
        assert failure.problem
    else:
        assert asked.request.max_new_tokens >= 1
        assert asked.request.temperature >= 0


def envelope(chat: bool = True, **values: Any) -> Envelope:
    body = {"messages": MESSAGES} if chat else {"prompt": "hi"}
    asked = (openai.read_chat if chat else openai.read_text)(body, 32)._replace(**values)
    return Envelope("id-1", 7, "m", "fp", asked)


def test_a_whole_answer_is_vllms_document():
    assert envelope(logprobs=True, token_ids=True).whole(COMPLETION) == {
        "id": "id-1", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0, "message": {"role": "assistant", "content": "card"}, "finish_reason": "stop",
                "stop_reason": None, "token_ids": [5, 6, 2],
                "logprobs": {
                    "content": [
                        {
                            "token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode()),
                            "top_logprobs": [], "special": token.special,
                        }
                        for token in TOKENS
                    ]
                },
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
    }  # fmt: skip
    choice = envelope(chat=False, logprobs=True).whole(COMPLETION)["choices"][0]
    assert choice["text"] == "card"
    assert choice["logprobs"]["text_offset"] == [0, 2, 4]


def test_a_stream_ends_with_its_reason_and_usage_only_where_asked():
    last = Chunk("", (), COMPLETION)
    for chat in (True, False):
        (end,) = envelope(chat).piece(last)
        assert end["choices"][0]["finish_reason"] == "stop"
        end, usage = envelope(chat, include_usage=True).piece(last)
        assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 6)
    (piece,) = envelope().piece(Chunk("ca", TOKENS[:1]))
    assert piece["choices"] == [{"index": 0, "delta": {"content": "ca"}, "logprobs": None, "finish_reason": None}]
    assert [piece["choices"][0]["delta"]["role"] for piece in envelope().opening()] == ["assistant"]
    assert envelope(chat=False).opening() == []


@given(text=st.text())
def test_an_event_is_one_line_of_json_behind_data_and_a_space(text):
    framed = answers.event({"text": text})
    assert framed.startswith(b"data: ")
    assert framed.endswith(b"\n\n")
    assert framed.count(b"\n") == 2
    assert json.loads(framed[6:]) == {"text": text}


def test_every_failure_has_a_status_and_tgis_words():
    for kind, status in answers.STATUSES.items():
        assert status >= 400
        assert answers.error(Failure(kind, "so")) == {"error": "so", "error_type": answers._TYPES[kind]}
        assert answers.stream_error(Failure(kind, "so"))["error"] == {"message": "so", "http_status_code": status}


INPUTS = {"inputs": "hi"}


def generated(**parameters: Any) -> Request:
    return tgi.read({**INPUTS, "parameters": parameters}, 32).request


def test_tgis_rule_says_when_tokens_are_drawn():
    assert [generated(**body).temperature for body in ({}, {"temperature": 1.0}, {"top_p": 1.0}, {"seed": 3})] == [
        0
    ] * 4
    assert tgi.read(INPUTS, 32).request.temperature == 0
    drawn = ({"do_sample": True}, {"top_k": 3}, {"top_p": 0.5}, {"temperature": 0.7}, {"temperature": 0.7, "top_k": 3})
    assert [generated(**body).temperature for body in drawn] == [1, 1, 1, 0.7, 0.7]


def test_everything_that_tgi_is_told_is_understood():
    body = {
        "inputs": "hi", "stream": True,
        "parameters": {
            "adapter_id": "a", "do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "max_new_tokens": 7,
            "repetition_penalty": 1.2, "seed": 5, "stop": ["x", "y"], "details": True, "best_of": 1, "watermark": False,
            "grammar": None, "truncate": None, "return_full_text": False, "decoder_input_details": False,
        },
    }  # fmt: skip
    assert tgi.read(body, 32) == tgi.Asked(
        request=Request(
            prompt="hi", max_new_tokens=7, temperature=0.5, top_p=0.9, top_k=4, stop=("x", "y"), seed=5,
            repetition_penalty=1.2, details=True,
        ),
        adapter="a", stream=True, details=True,
    )  # fmt: skip


@given(body=st.dictionaries(st.sampled_from(["inputs", "parameters", "stream"]), JSON, max_size=3) | JSON)
def test_whatever_comes_to_tgis_routes_is_a_request_or_one_invalid_failure(body):
    for read in (lambda: tgi.read(body, 32), lambda: tgi.read_text(body)):
        try:
            read()
        except Failure as failure:
            assert failure.kind == "invalid"


def told(*chunks: Chunk, **values: Any) -> list[dict[str, Any]]:
    writing = tgi.Writing(tgi.read({**INPUTS, "parameters": {"details": True}}, 32)._replace(**values))
    return [event for chunk in chunks for event in writing.piece(chunk)]


def test_tgis_last_event_has_the_last_token_and_the_whole_answer():
    chunks = [Chunk("ca", TOKENS[:1]), Chunk("rd", TOKENS[1:2]), Chunk("", TOKENS[2:]), Chunk("", (), COMPLETION)]
    first, second, last = told(*chunks)
    assert first == {
        "index": 1, "token": {"id": 5, "text": "ca", "logprob": -0.5, "special": False},
        "generated_text": None, "details": None,
    }  # fmt: skip
    assert second["token"]["text"] == "rd"
    assert last == {
        "index": 3, "generated_text": "card",
        "token": {"id": 2, "text": "<|im_end|>", "logprob": -0.1, "special": True},
        "details": {"finish_reason": "eos_token", "generated_tokens": 3, "seed": None, "input_length": 3},
    }  # fmt: skip
    assert told(*chunks, details=False)[-1]["details"] is None


def test_tgi_leaves_the_stop_text_in_the_answer():
    ended = Completion(text="ca", finish="stop_sequence", stopped_by="rd", tokens_in=3, tokens_out=2, latency_ms=1.0)
    assert tgi.Writing(tgi.read(INPUTS, 32)).whole(ended) == {"generated_text": "card"}
    events = told(Chunk("ca", TOKENS[:1]), Chunk("", TOKENS[1:2]), Chunk("", (), ended))
    assert [event["token"]["text"] for event in events] == ["ca", "rd"]
    assert events[-1]["generated_text"] == "card"


def test_an_answer_of_nothing_is_one_event():
    ended = Completion(text="", finish="eos_token", latency_ms=1.0)
    (only,) = told(Chunk("", (), ended))
    assert (only["generated_text"], only["token"]["text"], only["index"]) == ("", "", 1)


WORDS = st.builds(Token, st.none() | st.integers(0, 9), st.text(max_size=3), st.none(), st.booleans())
PIECES = st.builds(Chunk, st.text(max_size=4), st.lists(WORDS, max_size=3).map(tuple), st.none())


@given(
    chunks=st.lists(PIECES, max_size=5),
    stopped_by=st.none() | st.text(min_size=1, max_size=3),
)
def test_the_texts_of_tgis_events_are_the_answer_whatever_tokens_an_engine_tells(chunks, stopped_by):
    text = "".join(chunk.text for chunk in chunks)
    ended = Completion(text=text, finish="length", stopped_by=stopped_by, latency_ms=1.0)
    events = told(*chunks, Chunk("", (), ended))
    said = "".join(event["token"]["text"] for event in events if not event["token"]["special"])
    whole = text + (stopped_by or "")
    assert events[-1]["generated_text"] == whole
    if stopped_by is None or not events[-1]["token"]["special"]:
        assert said == whole
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
