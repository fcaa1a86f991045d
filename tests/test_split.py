"""The split: by customer, for ever."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline.split import in_holdout

shares = st.floats(0.01, 0.99)


@given(st.text(), st.text(), shares)
def test_a_customer_is_always_on_the_same_side(customer, salt, share):
    assert in_holdout(customer, salt, share) == in_holdout(customer, salt, share)


@given(st.text(), st.text(), shares, shares)
def test_who_is_held_out_stays_held_out_when_the_share_grows(customer, salt, one, other):
    small, large = sorted((one, other))
    assert in_holdout(customer, salt, large) or not in_holdout(customer, salt, small)


def test_the_share_is_what_was_asked_for_and_salts_are_independent():
    customers = [f"c-{number}" for number in range(20_000)]
    one = {customer for customer in customers if in_holdout(customer, "one", 0.25)}
    other = {customer for customer in customers if in_holdout(customer, "other", 0.25)}
    assert abs(len(one) / 20_000 - 0.25) < 0.02
    assert abs(len(one & other) / 20_000 - 0.0625) < 0.01
