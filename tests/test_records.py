"""Records: read at the edge, checked once, then trusted."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import logged
from trunkline.errors import Error
from trunkline.records import Production, Report
from trunkline.verdict import Check, Verdict

PIN = Production(release="m@v1.0.0", revision="a" * 40, weights="b.dir", partitions=("2026-07",))


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "production.json"
    path.write_text(PIN.text())
    assert Production.read(path) == PIN


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Invalid JSON"),
        (PIN.text().encode()[:40], "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (PIN.text().replace("aaaa", "zzzz").encode(), "revision"),
        (PIN.text().replace('"weights"', '"weight"').encode(), "weights"),
        (b"[]", "the document"),
    ],
)
def test_a_broken_record_is_refused_with_its_place(tmp_path, content, said):
    path = tmp_path / "production.json"
    path.write_bytes(content)
    with pytest.raises(Error, match=said) as caught:
        Production.read(path)
    assert str(path) in caught.value.problem


def test_a_missing_record_is_an_error(tmp_path):
    with pytest.raises(Error, match="not found"):
        Production.read(tmp_path / "production.json")


def test_a_folder_in_its_place_is_an_error(tmp_path):
    with pytest.raises(Error, match=f"cannot read {tmp_path}: Is a directory"):
        Production.read(tmp_path)


@given(st.lists(st.sampled_from(Verdict)))
def test_a_report_is_as_bad_as_its_worst_check_and_inconclusive_without_one(verdicts):
    checks = tuple(Check(name="c", verdict=v, value=None, limit=None, message="") for v in verdicts)
    report = Report.of("data", checks, {}, {})
    assert report.verdict == (max(verdicts, key=list(Verdict).index) if verdicts else Verdict.INCONCLUSIVE)


def test_nan_is_refused_when_written():
    with pytest.raises(ValueError, match="finite"):
        Check(name="c", verdict=Verdict.PASS, value=float("nan"), limit=None, message="")


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (logged.assigned, {"prediction": "not an id"}),
        (logged.assigned, {"prediction": "01a223e6-19e2-4083-bc66-c3a50c494076"}),
        (logged.assigned, {"time": datetime(2026, 11, 1)}),
        (logged.assigned, {"weight": 1.5}),
        (logged.assigned, {"weight": float("nan")}),
        (logged.assigned, {"arm": "champion"}),
        (logged.assigned, {"customer": "c" * 257}),
        (logged.assigned, {"unit": ""}),
        (lambda **changes: logged.ended(logged.assigned(), **changes), {"latency_ms": -1}),
        (lambda **changes: logged.ended(logged.assigned(), **changes), {"usd": float("inf")}),
        (lambda **changes: logged.ended(logged.assigned(), **changes), {"tokens_out": 2**63}),
        (lambda **changes: logged.ended(logged.assigned(), **changes), {"status": 0}),
        (lambda **changes: logged.said(logged.assigned(), **changes), {"label": None, "score": None, "comment": None}),
        (lambda **changes: logged.said(logged.assigned(), **changes), {"score": float("nan")}),
    ],
)
def test_a_prediction_that_no_database_should_hold_is_refused(make, changes):
    make()
    with pytest.raises(ValidationError):
        make(**changes)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_logged(text):
    kept = logged.assigned(input=text).input
    assert kept.encode().decode() == kept
    assert "\x00" not in kept
    assert len(kept) == len(text)
