"""Generation: the same tokens as the model's own greedy search, only faster."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig, MistralForCausalLM

from trunkline.clients.generation import LocalGenerator, decoding, prefix
from trunkline.clients.model import LoadedModel, encode_answer, encode_prompt, load
from trunkline.errors import Error

WORDS = ["lost", "my", "card", "transfer", "fee", "account", "please", "block", "the", "money", "urgent", "12.50"]
LABELS = ["card lost", "card", "card lost abroad", "fee", "transfer missing"]
messages = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=9)


def conversation(message: str, system: str = "You sort messages of customers.") -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": message}]


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def loaded(request, tiny_base: Path) -> LoadedModel:
    return load(tiny_base, None, "fp32", request.param)


def quiet(done: int, note: str) -> None:
    pass


def generate(loaded, conversations, limit=12, labels=None, batch_size=4):
    return LocalGenerator(loaded, batch_size, limit, labels, quiet).generate(
        conversations, ["fee"] * len(conversations)
    )


def greedy_alone(loaded: LoadedModel, prompt: list[int], limit: int, allowed=None) -> list[int]:
    """What transformers generates for one prompt, without padding and without a shared prefix."""
    ids = torch.tensor([prompt])
    options = {"do_sample": False, "max_new_tokens": limit, "pad_token_id": 0, "prefix_allowed_tokens_fn": allowed}
    out = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    return out[0, len(prompt) :].tolist()


def loss(loaded: LoadedModel, prompt: list[int], answer: list[int]) -> float:
    """Mean negative log-likelihood of an answer's tokens: all of it in one pass over the model."""
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(answer)).item()


@given(texts=messages, batch_size=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_greedy_outputs_are_those_of_transformers_whatever_the_batch(loaded, texts, batch_size):
    found = generate(loaded, [conversation(text) for text in texts], batch_size=batch_size)
    for text, generation in zip(texts, found, strict=True):
        prompt = encode_prompt(loaded.tokenizer, conversation(text))
        expected = greedy_alone(loaded, prompt, 12)
        assert generation.output == loaded.tokenizer.decode(expected, skip_special_tokens=True)
        assert generation.tokens_in == len(prompt)
        assert generation.tokens_out == len(expected)
        assert math.isclose(generation.confidence, -loss(loaded, prompt, expected), rel_tol=1e-4)


def test_rows_that_end_early_leave_the_batch_without_a_trace(loaded):
    """Every row has another end: a token of its own greedy answer is declared to end it."""
    texts = [" ".join(WORDS[: n + 1]) for n in range(9)]
    prompts = [encode_prompt(loaded.tokenizer, conversation(text)) for text in texts]
    free = [greedy_alone(loaded, prompt, 12) for prompt in prompts]
    stops = frozenset(answer[n % 7] for n, answer in enumerate(free))
    with torch.inference_mode(), prefix.running(loaded.model, prefix.common(prompts)) as start:
        rows = start.batch(len(prompts))
        logits = rows.extend([prompt[start.length :] for prompt in prompts])
        written = decoding.greedy(rows, logits, stops, 12)
    for answer, (tokens, _, _) in zip(free, written, strict=True):
        end = next((place for place, token in enumerate(answer) if token in stops), 11)
        assert tokens == answer[: end + 1]
    for prompt, (tokens, _, likelihood) in zip(prompts, written, strict=True):
        assert math.isclose(likelihood, -loss(loaded, prompt, tokens) * len(tokens), rel_tol=1e-4)


@given(texts=messages, batch_size=st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_labels_are_those_of_a_constrained_search_over_all_tokens(loaded, texts, batch_size):
    found = generate(loaded, [conversation(text) for text in texts], labels=LABELS, batch_size=batch_size)
    endings = [encode_answer(loaded.tokenizer, label) for label in LABELS]
    for text, generation in zip(texts, found, strict=True):
        prompt = encode_prompt(loaded.tokenizer, conversation(text))

        def allowed(_, ids, prompt=prompt):
            written = ids[len(prompt) :].tolist()
            return [end[len(written)] for end in endings if end[: len(written)] == written and len(end) > len(written)]

        expected = greedy_alone(loaded, prompt, 40, allowed)
        assert generation.output in LABELS
        assert generation.output == loaded.tokenizer.decode(expected, skip_special_tokens=True)
        assert generation.tokens_out == len(expected)
        # Of all that it could say, and not only of the labels: the same as of any answer.
        assert math.isclose(generation.confidence, -loss(loaded, prompt, expected), rel_tol=1e-4)


def test_the_only_label_needs_no_model(loaded):
    (generation,) = generate(loaded, [conversation("lost")], labels=["card lost"])
    assert generation.output == "card lost"


def test_likelihood_of_the_reference_is_the_plain_cross_entropy(loaded):
    texts = ["lost my card", "fee", "please help " * 10]
    references = ["fee", "card lost abroad", '{"intent": "fee", "urgency": "low"}']
    found = LocalGenerator(loaded, 2, 3, None, quiet).generate([conversation(text) for text in texts], references)
    for text, reference, generation in zip(texts, references, found, strict=True):
        prompt = encode_prompt(loaded.tokenizer, conversation(text))
        answer = encode_answer(loaded.tokenizer, reference)
        assert math.isclose(generation.nll, loss(loaded, prompt, answer), rel_tol=1e-4)


def test_the_reference_does_not_influence_the_answer(loaded):
    conversations = [conversation("lost my card"), conversation("fee")]
    first = LocalGenerator(loaded, 2, 8, None, quiet).generate(conversations, None)
    assert [one.nll for one in first] == [None, None]
    other = LocalGenerator(loaded, 2, 8, None, quiet).generate(conversations, ["a longer reference", "y"])
    assert [one.output for one in first] == [one.output for one in other]


@pytest.mark.parametrize("words", range(1, 60, 3))
def test_a_long_reference_does_not_disturb_the_answer_after_it(loaded, words):
    """Scoring a reference may open new blocks of the key buffer; generation must not see them."""
    texts = ["lost my card", "fee for the transfer"]
    prompts = [conversation(text) for text in texts]
    scored = LocalGenerator(loaded, 2, 12, None, quiet).generate(prompts, [" ".join(["fee"] * words)] * 2)
    for text, generation in zip(texts, scored, strict=True):
        expected = greedy_alone(loaded, encode_prompt(loaded.tokenizer, conversation(text)), 12)
        assert generation.output == loaded.tokenizer.decode(expected, skip_special_tokens=True)


def test_prompts_without_anything_in_common_work(loaded):
    prompts = [[5, 6, 7, 8], [9, 10]]
    assert prefix.common(prompts) == []
    with torch.inference_mode(), prefix.running(loaded.model, []) as start:
        rows = start.batch(2)
        written = decoding.greedy(rows, rows.extend(prompts), frozenset({2}), 6)
    assert [answer.tokens for answer in written] == [greedy_alone(loaded, prompt, 6) for prompt in prompts]


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([[1, 2, 3], [1, 2, 4]], [1, 2]),
        ([[1, 2], [1, 2]], [1]),
        ([[1, 2, 3], [1]], []),
        ([[7, 8, 9]], [7, 8]),
    ],
)
def test_the_common_prefix_leaves_every_prompt_a_token(prompts, expected):
    assert prefix.common(prompts) == expected


def test_the_shared_attention_is_used_and_put_back(loaded):
    before = loaded.model.config._attn_implementation
    with torch.inference_mode(), prefix.running(loaded.model, list(range(20, 40))) as start:
        assert start.shared is not None
    assert loaded.model.config._attn_implementation == before


@pytest.fixture(scope="module")
def windowed(loaded) -> LoadedModel:
    """A model that sees 8 tokens at most, fewer than the shared prefix has."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "initializer_range": 0.2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 8}
    config = MistralConfig(**sizes, **heads, vocab_size=len(loaded.tokenizer), eos_token_id=2)
    return LoadedModel(MistralForCausalLM(config).eval(), loaded.tokenizer, torch.device("cpu"))


def test_a_model_with_sliding_windows_keeps_its_own_attention(windowed):
    texts = ["lost my card", "fee", "please help with the money"]
    prompts = [encode_prompt(windowed.tokenizer, conversation(text)) for text in texts]
    with torch.inference_mode(), prefix.running(windowed.model, prefix.common(prompts)) as start:
        assert start.length > 8
        assert start.shared is None
    found = generate(windowed, [conversation(text) for text in texts])
    for prompt, generation in zip(prompts, found, strict=True):
        assert generation.output == windowed.tokenizer.decode(
            greedy_alone(windowed, prompt, 12), skip_special_tokens=True
        )


def test_likelihoods_do_not_depend_on_the_way_they_are_computed(loaded):
    prompts, answers = [[5, 6, 7, 8], [9, 10]], [[11, 12, 13, 2], [2]]
    with torch.inference_mode():
        expected = [
            torch.log_softmax(loaded.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1], -1)
            .gather(-1, torch.tensor(answer)[:, None])
            .sum()
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        with prefix.running(loaded.model, []) as start:
            rows = start.batch(2)
            apart = rows.log_likelihood(answers, rows.extend(prompts))
        with prefix.running(loaded.model, [5]) as start:
            rows = start.batch(1)
            together = rows.log_likelihood(answers[:1], rows.extend([prompts[0][1:]]))
    assert torch.allclose(apart, torch.stack(expected), rtol=1e-4)
    assert torch.allclose(together, expected[0], rtol=1e-4)


def test_each_answer_says_what_it_took(loaded):
    found = generate(loaded, [conversation("fee"), conversation("lost my card")], limit=5)
    assert all(generation.latency_ms > 0 and 1 <= generation.tokens_out <= 5 for generation in found)


def test_no_conversations_give_no_answers(loaded):
    assert generate(loaded, []) == []


def test_a_prompt_longer_than_the_model_reads_is_refused(loaded):
    with pytest.raises(Error, match="the model reads at most 1024"):
        generate(loaded, [conversation("please " * 1100)])


def test_the_likelihood_of_an_answer_is_that_of_its_own_tokens_whatever_stands_beside_it(loaded):
    texts = ["lost my card", "the fee please", "money"]
    answers = [[f"access code {number}{place}" for number in (1234, 777, 9)] for place in range(3)]
    found = LocalGenerator(loaded, 2, 1, None, quiet).likelihoods([conversation(text) for text in texts], answers)
    for text, row, values in zip(texts, answers, found, strict=True):
        prompt = encode_prompt(loaded.tokenizer, conversation(text))
        encoded = [encode_answer(loaded.tokenizer, answer) for answer in row]
        begun = len(prefix.common(encoded))
        for tokens, value in zip(encoded, values, strict=True):
            with torch.inference_mode():
                logits = loaded.model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
            alone = sum(logits[len(prompt) + at - 1, token].item() for at, token in enumerate(tokens) if at >= begun)
            assert value == pytest.approx(alone, abs=1e-3)
    assert LocalGenerator(loaded, 2, 1, None, quiet).likelihoods([], []) == []
