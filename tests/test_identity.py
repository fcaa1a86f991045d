"""An engine gets traffic only when it is known to serve the release."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import releases
from trunkline.clients.weights import CONFIGURATION
from trunkline.errors import Error
from trunkline.identity import Expected, digest, mismatch, of_release
from trunkline.records.release import Manifest
from trunkline.records.serving import Completion, Identity, Pin

PIN = Pin(prompt=({"role": "user", "content": "x"},), max_new_tokens=4, output="card_lost")
A, B = "a" * 64, "b" * 64
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)


def answer(text: str, tokens_out: int | None = None) -> Completion:
    return Completion(text=text, finish="length", latency_ms=1.0, tokens_out=tokens_out)


@pytest.mark.parametrize(
    ("expected", "identity", "completion", "problem"),
    [
        (Expected("v1", A, None, None), Identity(("m",), A, None), answer("x"), None),
        (Expected("v1", A, None, None), Identity(("m",), A, None), answer("", 1), None),
        (Expected("v1", A, None, None), Identity(("m",), A, None), answer(""), "it generates nothing"),
        (Expected("v1", A, None, None), Identity(("m",), A, None), answer("", 0), "it generates nothing"),
        (Expected("v1", A, None, PIN), Identity(("m",), B, None), answer("card_lost"), "m with the weights bbbbbb"),
        (Expected("v1", A, "m", PIN), Identity(("m", "n"), None, None), answer("card_lost"), None),
        (Expected("v1", A, "m", PIN), Identity(("n",), None, None), answer("card_lost"), "it serves n, not m"),
        (Expected("v1", A, "m", PIN), Identity((), None, None), answer("card_lost"), "it serves no model, not m"),
        (Expected("v1", A, "m", PIN), Identity(("m",), None, None), answer("fee"), "'fee', but v1 answers 'card_lost'"),
        (Expected("v1", A, "m", None), Identity(("m",), None, None), answer("x"), "no pinned answer to know it by"),
    ],
)
def test_what_serves_something_else_is_named(expected, identity, completion, problem):
    found = mismatch(expected, identity, completion)
    assert (found is None) if problem is None else (problem in found)


@given(weights=st.dictionaries(st.sampled_from(["a.safetensors", "b.safetensors", "adapter_config.json"]), HASHES))
def test_every_file_that_decides_the_weights_changes_the_digest_and_no_other(weights):
    found = digest(weights, A, {})
    assert digest({**weights, "README.md": B, "bundle.json": B}, A, {}) == found
    assert digest(dict(reversed(weights.items())), A, {}) == found
    assert digest(weights, B, {}) != found
    for name in weights:
        assert digest({**weights, name: "c" * 64}, A, {}) != found
        assert digest({other: value for other, value in weights.items() if other != name}, A, {}) != found


@given(configuration=st.dictionaries(st.sampled_from(CONFIGURATION), HASHES, min_size=1))
def test_every_file_that_decides_what_is_computed_from_the_weights_changes_the_digest(configuration):
    found = digest({"a.safetensors": A}, None, configuration)
    assert digest({"a.safetensors": A}, None, {}) != found
    for name in configuration:
        assert digest({"a.safetensors": A}, None, {**configuration, name: "c" * 64}) != found
        others = {other: value for other, value in configuration.items() if other != name}
        assert digest({"a.safetensors": A}, None, others) != found


def test_a_release_is_known_by_its_base_model_where_it_is_an_adapter():
    adapter = releases.manifest("v1.0.0", "c" * 40, configuration={"config.json": A})
    assert of_release(adapter) == digest(adapter.weights, "b" * 64, {"config.json": A})
    merged = adapter.model_copy(update={"kind": "merged"})
    assert of_release(merged) == digest(adapter.weights, None, {"config.json": A})


def test_a_release_from_before_the_configuration_was_recorded_keeps_text_and_digest():
    text = releases.manifest("v1.0.0", "c" * 40).text()
    assert "configuration" not in text
    old = Manifest.model_validate_json(text)
    assert old.text() == text
    lines = f"{old.weights[releases.ADAPTER]}  {releases.ADAPTER}\n{'b' * 64}  base\n"
    assert of_release(old) == hashlib.sha256(lines.encode()).hexdigest()


def test_nothing_has_no_digest():
    with pytest.raises(Error, match="no weights among"):
        digest({"config.json": A}, None, {})
