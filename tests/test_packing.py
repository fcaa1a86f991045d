import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkline.packing import Encoded, lay_out, shared_prefix

token = st.integers(1, 9)
prompts = st.lists(st.lists(token, min_size=1, max_size=8), min_size=1, max_size=8)
answers = st.lists(token, min_size=1, max_size=5)


@st.composite
def steps(draw):
    """Examples of one step under a common prompt, which may be empty."""
    common = draw(st.lists(token, max_size=10))
    count = draw(st.integers(1, 9))
    return [
        Encoded(common + draw(st.lists(token, min_size=0 if common else 1, max_size=6)), draw(answers))
        for _ in range(count)
    ]


def bodies_of(layout):
    """(number, positions, tokens) of each body, read back from the rows."""
    found = []
    for row, bodies in enumerate(layout.bodies):
        for number in sorted(set(bodies[bodies > 0])):
            place = np.flatnonzero(bodies == number)
            assert (np.diff(place) == 1).all(), "a body lies in one piece"
            found.append((int(number), layout.positions[row, place].tolist(), layout.tokens[row, place].tolist()))
    return found


@given(prompts)
def test_the_shared_prefix_is_the_longest_that_leaves_every_prompt_a_token(prompts):
    length = shared_prefix(prompts)
    assert all(prompt[:length] == prompts[0][:length] for prompt in prompts)
    shortest = min(len(prompt) for prompt in prompts)
    assert length <= shortest - 1
    if length < shortest - 1:
        assert len({prompt[length] for prompt in prompts}) > 1


def test_a_single_prompt_shares_all_but_its_last_token():
    assert shared_prefix([[5, 6, 7]]) == 2
    assert shared_prefix([[5]]) == 0


@given(steps(), st.integers(1, 24))
def test_every_body_is_laid_out_once_at_its_own_positions(examples, pack_tokens):
    prefix = shared_prefix([example.prompt for example in examples])
    layout = lay_out(examples, prefix, pack_tokens)
    expected = []
    for number, (prompt, answer) in enumerate(examples, start=1):
        body = prompt[prefix:] + answer
        expected.append((number, list(range(prefix, prefix + len(body))), body))
    assert sorted(bodies_of(layout)) == expected


@given(steps(), st.integers(1, 24))
def test_every_answer_token_is_predicted_by_the_token_before_it(examples, pack_tokens):
    prefix = shared_prefix([example.prompt for example in examples])
    layout = lay_out(examples, prefix, pack_tokens)
    assert sorted(layout.targets.tolist()) == sorted(token for example in examples for token in example.answer)
    tokens, bodies = layout.tokens.ravel(), layout.bodies.ravel()
    assert (tokens[layout.sources + 1] == layout.targets).all()
    assert (bodies[layout.sources + 1] == bodies[layout.sources]).all()
    assert (bodies[layout.sources] > 0).all()


@given(steps(), st.integers(1, 24))
def test_rows_are_as_wide_as_allowed_and_none_is_empty(examples, pack_tokens):
    layout = lay_out(examples, 0, pack_tokens)
    longest = max(len(example.prompt) + len(example.answer) for example in examples)
    assert layout.tokens.shape[1] <= max(pack_tokens, longest)
    assert (layout.bodies.max(axis=1) > 0).all()
    fewest = -(-sum(len(prompt) + len(answer) for prompt, answer in examples) // max(pack_tokens, longest))
    assert fewest <= len(layout.tokens) <= 2 * fewest


@given(steps(), st.integers(1, 24))
def test_the_layout_is_a_function_of_its_input(examples, pack_tokens):
    first, second = (lay_out(examples, 0, pack_tokens) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_rows_are_evened_out():
    """Eight bodies of 26 tokens and rows of 192: two rows of 104, not one of 182 beside one of 26."""
    examples = [Encoded([1] * 20, [2] * 6)] * 8
    assert lay_out(examples, 0, 192).tokens.shape == (2, 104)
