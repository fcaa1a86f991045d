"""The embedded engine's model side: exact, many at once, and nothing left behind by whoever leaves."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from trunkline.clients import generation, model
from trunkline.clients.embedded import Embedded, Limits
from trunkline.clients.embedded.sampling import sample
from trunkline.clients.embedded.text import Text
from trunkline.clients.model import LoadedModel
from trunkline.records.serving import Chunk, Completion, Failure, Identity, Request

WHO = Identity(("tiny",), "0" * 64, None)
LIMITS = Limits(requests=8, batch_tokens=64, cache_tokens=1024)
CHATS = [[{"role": "user", "content": f"my card {'is lost ' * n}"}] for n in range(12)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    yield model.load(tiny.build_lively(tmp_path_factory.mktemp("lively") / "base"), None, "fp32", "eager")
    gc.unfreeze()


@pytest.fixture(autouse=True)
def little_garbage(loaded: LoadedModel) -> None:
    """The manager collects garbage whenever it stops, which takes a second among all that torch has made."""
    gc.freeze()


def asking(chat: list[dict[str, str]], **values: Any) -> Request:
    return Request(prompt=tuple(chat), **{"max_new_tokens": 24, "temperature": 0.0, **values})


def serve(loaded: LoadedModel, story: Any, limits: Limits = LIMITS) -> Any:
    """Play an async story with an engine of its own."""

    async def play() -> Any:
        engine = Embedded(loaded, limits, WHO)
        try:
            return await story(engine)
        finally:
            await engine.close()

    return asyncio.run(play())


def answers(loaded: LoadedModel, requests: list[Request], limits: Limits = LIMITS) -> list[Completion]:
    async def story(engine: Embedded) -> list[Completion]:
        return list(await asyncio.gather(*(engine.complete(request) for request in requests)))

    return list(serve(loaded, story, limits))


def evaluated(
    loaded: LoadedModel, chats: list[list[dict[str, str]]], tokens: int = 24, labels: Any = None
) -> list[Any]:
    show = lambda *_: None  # noqa: E731
    return generation.LocalGenerator(loaded, 64, tokens, labels, show).generate(chats, ["x"] * len(chats))


async def read(engine: Embedded, request: Request) -> list[Chunk]:
    async with aclosing(engine.stream(request)) as chunks:
        return [chunk async for chunk in chunks]


def test_concurrent_answers_are_those_that_were_evaluated(loaded):
    expected = evaluated(loaded, CHATS)
    found = answers(loaded, [asking(chat) for chat in CHATS], LIMITS._replace(requests=12))
    assert [(c.text, c.tokens_in, c.tokens_out) for c in found] == [
        (g.output, g.tokens_in, g.tokens_out) for g in expected
    ]
    assert {c.finish for c in found} <= {"length", "eos_token"}


def test_answers_stay_exact_when_the_cache_is_too_small_for_all(loaded):
    expected = evaluated(loaded, CHATS, 40)
    requests = [asking(chat, max_new_tokens=40) for chat in CHATS]
    found = answers(loaded, requests, Limits(requests=12, batch_tokens=64, cache_tokens=256))
    assert [c.text for c in found] == [g.output for g in expected]


def test_a_closed_set_of_answers_is_held_as_in_evaluation(loaded):
    labels = ["card lost", "card", "the fee", "refund"]
    expected = evaluated(loaded, CHATS, labels=labels)
    found = answers(loaded, [asking(chat, choices=tuple(labels)) for chat in CHATS[:8]])
    assert [c.text for c in found] == [g.output for g in expected[:8]]
    assert {c.finish for c in found} == {"eos_token"}
    drawn = answers(loaded, [asking(CHATS[0], choices=tuple(labels), temperature=2.0, seed=n) for n in range(8)])
    assert {c.text for c in drawn} <= set(labels)
    assert len({c.text for c in drawn}) > 1


@pytest.mark.parametrize("labels", [None, ["card lost", "card", "the fee", "refund"]])
def test_it_is_as_sure_of_an_answer_as_evaluation_was(loaded, labels):
    expected = evaluated(loaded, CHATS[:8], labels=labels)
    choices = None if labels is None else tuple(labels)
    found = answers(loaded, [asking(chat, choices=choices, details=True) for chat in CHATS[:8]])
    assert [c.text for c in found] == [g.output for g in expected]
    assert [c.confidence for c in found] == pytest.approx([g.confidence for g in expected], rel=1e-4)
    assert max(c.confidence for c in found) < 0
    assert answers(loaded, [asking(CHATS[0])])[0].confidence is None, "nobody asked for its tokens"


def test_a_stream_is_the_whole_answer_in_pieces(loaded):
    request = asking(CHATS[1], details=True)

    async def story(engine: Embedded) -> Any:
        return await read(engine, request), await engine.complete(request)

    chunks, whole = serve(loaded, story)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.end is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(chunks) > 10
    end = chunks[-1].end
    assert (end.text, end.finish, end.tokens) == (whole.text, whole.finish, whole.tokens)
    assert [token for chunk in chunks for token in chunk.tokens] == list(end.tokens)
    assert 0 < end.ttft_ms <= end.latency_ms


def test_logprobs_are_those_of_the_model(loaded):
    completion = answers(loaded, [asking(CHATS[2], details=True)])[0]
    prompt = model.encode_prompt(loaded.tokenizer, CHATS[2])
    ids = [token.id for token in completion.tokens]
    with torch.inference_mode():
        scores = loaded.model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = scores[range(len(ids)), ids].tolist()
    assert [token.logprob for token in completion.tokens] == pytest.approx(expected, abs=1e-4)
    assert scores.argmax(-1).tolist() == ids


def test_a_seed_gives_the_same_answer_whatever_else_is_in_the_batch(loaded):
    request = asking(CHATS[3], temperature=1.5, top_p=0.95, top_k=100, seed=7)
    alone = answers(loaded, [request])[0]
    others = [asking(chat, temperature=1.0) for chat in CHATS[4:9]]
    beside = answers(loaded, [*others, request])[-1]
    another = answers(loaded, [asking(CHATS[3], temperature=1.5, top_p=0.95, top_k=100, seed=8)])[0]
    assert alone.text == beside.text != another.text


def test_without_a_seed_answers_differ(loaded):
    assert len({c.text for c in answers(loaded, [asking(CHATS[3], temperature=1.5)] * 4)}) == 4


def test_the_likeliest_of_one_is_greedy(loaded):
    greedy, top = answers(loaded, [asking(CHATS[4]), asking(CHATS[4], temperature=1.0, top_k=1)])
    assert greedy.text == top.text


def test_a_repetition_penalty_is_that_of_generate(loaded):
    prompt = torch.tensor([model.encode_prompt(loaded.tokenizer, CHATS[5])])
    ids = loaded.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, repetition_penalty=1.3
    )
    text = loaded.tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True)
    plain, penalised = answers(loaded, [asking(CHATS[5]), asking(CHATS[5], repetition_penalty=1.3)])
    assert penalised.text == text != plain.text


def test_a_stop_text_ends_the_answer_and_frees_its_place(loaded):
    whole = answers(loaded, [asking(CHATS[6])])[0]
    stop = whole.text[5:9]
    place = whole.text.find(stop)

    async def story(engine: Embedded) -> Any:
        chunks = await read(engine, asking(CHATS[6], stop=("never there", stop)))
        return chunks, engine.running

    chunks, running = serve(loaded, story)
    end = chunks[-1].end
    assert (end.text, end.finish, end.stopped_by) == (whole.text[:place], "stop_sequence", stop)
    assert "".join(chunk.text for chunk in chunks) == end.text
    assert end.tokens_out < whole.tokens_out
    assert running == 0


def test_more_requests_than_places_are_refused_and_the_others_answered(loaded):
    async def story(engine: Embedded) -> Any:
        tasks = (engine.complete(asking(chat)) for chat in CHATS)
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = serve(loaded, story, LIMITS._replace(requests=3))
    refused = [answer for answer in found if isinstance(answer, Failure)]
    assert len(refused) == len(CHATS) - 3
    assert {failure.kind for failure in refused} == {"overloaded"}
    assert all(failure.retry_after for failure in refused)


def test_who_leaves_early_frees_place_and_cache(loaded):
    async def story(engine: Embedded) -> Any:
        for chat in CHATS[:6]:
            chunks = engine.stream(asking(chat, max_new_tokens=100))
            await anext(chunks)
            await chunks.aclose()
        running = engine.running
        return running, engine.waiting, await engine.complete(asking(CHATS[0], max_new_tokens=100))

    limits = Limits(requests=1, batch_tokens=64, cache_tokens=256)
    running, waiting, completion = serve(loaded, story, limits)
    assert (running, waiting) == (0, 0)
    assert completion.text == evaluated(loaded, CHATS[:1], 100)[0].output


def test_a_request_as_long_as_the_cache_is_answered_and_a_longer_one_refused(loaded):
    limits = Limits(requests=4, batch_tokens=64, cache_tokens=128)
    prompt = len(model.encode_prompt(loaded.tokenizer, CHATS[0]))
    longest = asking(CHATS[0], max_new_tokens=128 - prompt)
    assert answers(loaded, [longest], limits)[0].tokens_out == 128 - prompt
    with pytest.raises(Failure, match=f"the prompt has {prompt} tokens .* at most 128"):
        answers(loaded, [asking(CHATS[0], max_new_tokens=129 - prompt)], limits)


def test_a_closed_engine_says_so(loaded):
    async def story() -> None:
        engine = Embedded(loaded, LIMITS, WHO)
        await engine.health()
        await engine.close()
        for ask in (engine.health(), engine.complete(asking(CHATS[0]))):
            with pytest.raises(Failure, match="has stopped generating: it was closed"):
                await ask

    asyncio.run(story())


def test_requests_fail_with_the_reason_when_generation_breaks_down(loaded, monkeypatch):
    def explode(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    async def story(engine: Embedded) -> Any:
        monkeypatch.setattr(engine._manager.logit_processor.__class__, "__call__", explode)
        found = await asyncio.gather(*(engine.complete(asking(c)) for c in CHATS[:3]), return_exceptions=True)
        later = await asyncio.gather(engine.complete(asking(CHATS[0])), return_exceptions=True)
        return found + later

    found = serve(loaded, story)
    assert {failure.kind for failure in found} == {"failed"}
    assert all("out of memory" in failure.problem for failure in found[:3])


def test_sampling_follows_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0])
    draws = 4000
    counts = Counter(sample(logits, 0.7, None, None, (n + 0.5) / draws) for n in range(draws))
    shares = [counts[n] / draws for n in range(5)]
    assert shares == pytest.approx((logits / 0.7).softmax(-1).tolist(), abs=1e-3)


@given(
    logits=st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=2, max_size=30, unique=True),
    temperature=st.floats(0.01, 2),
    top_k=st.integers(1, 40) | st.none(),
    top_p=st.floats(0.01, 1) | st.none(),
    uniform=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=100, deadline=None)
def test_what_is_sampled_is_what_the_filters_of_transformers_leave(logits, temperature, top_k, top_p, uniform):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = TemperatureLogitsWarper(temperature)(None, torch.tensor([logits]))
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(None, scores)
    kept = scores if top_p is None else TopPLogitsWarper(min(1.0, top_p + 1e-6))(None, scores)
    token = sample(torch.tensor(logits), temperature, top_k, top_p, uniform)
    assert kept[0, token] > -torch.inf


def test_rounding_in_another_batch_changes_no_token_that_a_seed_draws():
    logits = torch.tensor([2.0, 1.0, 1.0, 0.0])
    rounded = torch.tensor([2.0, 1.0, 1.0 + 2**-22, 0.0])
    draws = [(n + 0.5) / 100 for n in range(100)]
    for top_p in (None, 0.95):
        first, second = ([sample(one, 1.0, None, top_p, draw) for draw in draws] for one in (logits, rounded))
        assert first == second


@pytest.mark.parametrize("coldest", [1e-320, 5e-324, 1e-40])
def test_next_to_no_temperature_leaves_the_likeliest_token(coldest):
    for uniform in (0.0, 0.5, 1 - 2**-53):
        for top_k, top_p in ((None, None), (2, None), (None, 5e-324)):
            assert sample(torch.tensor([0.5, 3.0, -2.0]), coldest, top_k, top_p, uniform) == 1


@given(text=st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_pieces_of_text_are_the_text(text, loaded):
    decode = lambda ids: str(loaded.tokenizer.decode(ids, clean_up_tokenization_spaces=False))  # noqa: E731
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    written = Text(decode)
    pieces = [written.add(token) for token in ids] + [written.rest()]
    assert "".join(pieces) == decode(ids) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text
