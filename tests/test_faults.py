"""Whose fault a failed answer is: monitors and rollouts say the same."""

import polars as pl
import pytest

from trunkline import faults

ASKED = {"engine_model": "m", "tokens_out": None, "ttft_ms": None}
UNASKED = dict.fromkeys(ASKED)


def judged(error: str | None, asked: dict[str, object]) -> tuple[object, object]:
    kinds = {"error": pl.String, "engine_model": pl.String, "tokens_out": pl.Int64, "ttft_ms": pl.Float64}
    row = pl.DataFrame([{"error": error, **asked}], schema=kinds)
    return row.select(failed=faults.failed(), blocked=faults.blocked()).row(0)


@pytest.mark.parametrize("asked", [ASKED, UNASKED], ids=["the engine was asked", "it was not"])
@pytest.mark.parametrize("error", ["timeout", "shutdown", "unproven", "whatever a gateway may call it"])
def test_a_failure_of_any_kind_is_a_fault(error, asked):
    assert judged(error, asked) == (True, False)


def test_without_an_error_there_is_none():
    assert judged(None, ASKED) == (False, None)


@pytest.mark.parametrize("asked", [ASKED, UNASKED], ids=["while it was answered", "before"])
def test_a_client_that_left_is_nobodys(asked):
    assert judged("client_left", asked) == (False, False)


def test_a_guard_that_refuses_what_was_asked_did_its_work():
    assert judged("guard", UNASKED) == (False, False)


@pytest.mark.parametrize("known", [{"tokens_out": 3}, {"ttft_ms": 4.0}, {"engine_model": "m"}])
def test_what_a_guard_refuses_of_an_answer_the_release_has_said(known):
    assert judged("guard", UNASKED | known) == (True, True)
