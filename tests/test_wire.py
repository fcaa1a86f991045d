"""OpenAI's bodies read strictly, and answers framed as the real servers frame them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.records.serving import Chunk, Completion, Failure, Request, Token
from trunkline.wire import answers, openai
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
