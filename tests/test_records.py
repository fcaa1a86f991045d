"""Records: read at the edge, checked once, then trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.sampled_from(Verdict)))
def test_a_report_is_as_bad_as_its_worst_check_and_inconclusive_without_one(verdicts):
    checks = tuple(Check(name="c", verdict=v, value=None, limit=None, message="") for v in verdicts)
    report = Report.of("data", checks, {}, {})
    assert report.verdict == (max(verdicts, key=list(Verdict).index) if verdicts else Verdict.INCONCLUSIVE)


def test_nan_is_refused_when_written():
    with pytest.raises(ValueError, match="finite"):
        Check(name="c", verdict=Verdict.PASS, value=float("nan"), limit=None, message="")
