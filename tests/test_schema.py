"""What a valid example is, rule by rule."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline import schema
from trunkline.records import CELL_KINDS, EXAMPLE_COLUMNS, Answer
from trunkline.schema import Chars, Columns

COLUMNS = Columns("id", "message", "customer", "conversation", "at", ("channel",))
JSON = Answer(format="json", fields=("intent", "urgency"), allowed={"urgency": ("low", "high")})
GOOD = {
    "id": "m1",
    "message": "my card is gone",
    "customer": "c1",
    "conversation": "v1",
    "at": "2026-07-01T10:00:00Z",
    "channel": "app",
    "intent": "card_lost",
    "urgency": "high",
}
KINDS = {str: "text", int: "integer", float: "number", bool: "boolean", list: "other", type(None): None}


def raw(*rows):
    """Raw rows as clients.tables reads them."""
    frame = {"partition": ["a.jsonl"] * len(rows), "line": list(range(1, len(rows) + 1))}
    for name in GOOD:
        values = [row[name] for row in rows]
        frame[name] = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        frame[name + ":kind"] = pl.Series([KINDS[type(v)] for v in values], dtype=pl.Enum(CELL_KINDS))
    return pl.DataFrame(frame, schema_overrides={name: pl.String for name in GOOD} | {"line": pl.UInt32})


def check(*rows, columns=COLUMNS, answer=JSON, longest=60):
    return schema.filter_rows(raw(*rows), columns, answer, Chars(3, 40), Chars(1, longest))


def changed(**values):
    return GOOD | values


def test_a_good_row_passes_with_its_canonical_answer():
    found = check(GOOD)
    assert found.counts == {}
    assert found.rejected.is_empty()
    row = found.valid.row(0, named=True)
    assert [row[name] for name in EXAMPLE_COLUMNS] == [
        "m1",
        "a.jsonl",
        "c1",
        "v1",
        datetime(2026, 7, 1, 10, tzinfo=UTC),
        "my card is gone",
        '{"intent":"card_lost","urgency":"high"}',
    ]
    assert row["channel"] == "app"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"message": None}, "message: missing"),
        ({"message": ""}, "message: missing"),
        ({"message": " \n"}, "message: missing"),
        ({"message": 5}, "message: not text"),
        ({"message": ["x"]}, "message: not text"),
        ({"message": " ab "}, "message: shorter than 3 characters"),
        ({"message": "x" * 41}, "message: longer than 40 characters"),
        ({"id": None}, "id: missing"),
        ({"id": 1.5}, "id: not text or integer"),
        ({"customer": None}, "customer: missing"),
        ({"conversation": True}, "conversation: not text or integer"),
        ({"at": None}, "at: missing"),
        ({"at": 20260701}, "at: not text or time"),
        ({"at": "yesterday"}, "at: not an ISO-8601 time"),
        ({"at": "2026-02-30T10:00:00Z"}, "at: not an ISO-8601 time"),
        ({"at": "01/07/2026"}, "at: not an ISO-8601 time"),
        ({"intent": None}, "intent: missing"),
        ({"intent": ["x"]}, "intent: not text or integer or number or boolean"),
        ({"intent": "x" * 40}, "answer: longer than 60 characters"),
        ({"urgency": "HIGH"}, "urgency: not an allowed value"),
        ({"urgency": 1}, "urgency: not text"),
        ({"channel": ["app"]}, "channel: not text or integer or number or boolean"),
    ],
)
def test_each_rule_rejects_what_breaks_it_and_only_that_rule(change, rule):
    found = check(GOOD, changed(id="m2") | change)
    assert found.counts == {rule: 1}
    assert found.valid["id"].to_list() == ["m1"]
    assert found.rejected.select("line", "reasons").rows() == [(2, [rule])]


def test_a_row_carries_all_of_its_reasons_and_every_failure_is_counted():
    bad = changed(message=None, urgency="soon", at="never")
    found = check(GOOD, bad | {"id": "m2"}, bad | {"id": "m3"})
    assert found.counts == {"message: missing": 2, "urgency: not an allowed value": 2, "at: not an ISO-8601 time": 2}
    assert [len(reasons) for reasons in found.rejected["reasons"]] == [3, 3]


def test_a_repeated_id_keeps_the_first_row():
    found = check(changed(message="first"), changed(message="second"), changed(id=" m1 ", message="third"))
    assert found.valid["message"].to_list() == ["first"]
    assert found.counts == {"id: repeats an earlier one": 2}


def test_integer_identifiers_are_text():
    row = check(changed(id=7, customer=8, conversation=9)).valid.row(0, named=True)
    assert (row["id"], row["customer"], row["conversation"]) == ("7", "8", "9")


def test_missing_columns_have_their_stand_ins():
    rows = (GOOD, changed(message="another text"))
    nothing = check(*rows, columns=COLUMNS._replace(id=None, customer=None, conversation=None, time=None)).valid
    assert nothing["id"].to_list() == ["a.jsonl:1", "a.jsonl:2"]
    assert nothing["id"].to_list() == nothing["customer"].to_list() == nothing["conversation"].to_list()
    assert nothing["time"].to_list() == [None, None]
    assert nothing["time"].dtype == pl.Datetime("us", "UTC")
    customer = check(*rows, columns=COLUMNS._replace(id=None, conversation=None)).valid
    assert customer["customer"].to_list() == ["c1", "c1"]
    assert customer["conversation"].to_list() == ["a.jsonl:1", "a.jsonl:2"]
    conversation = check(*rows, columns=COLUMNS._replace(id=None, customer=None)).valid
    assert conversation["customer"].to_list() == ["v1", "v1"], "a conversation must not cross the split"


def test_slices_may_be_empty_and_are_text():
    valid = check(changed(channel=None), changed(id="m2", channel=3), changed(id="m3", channel=True)).valid
    assert valid["channel"].to_list() == [None, "3", "true"]


def test_no_valid_row_is_an_empty_frame_with_all_columns():
    found = check(changed(message=None))
    assert found.valid.is_empty()
    assert set(EXAMPLE_COLUMNS) <= set(found.valid.columns)


@pytest.mark.parametrize("form", ["label", "text"])
def test_label_and_text_answers_are_the_stripped_text(form):
    answer = Answer(format=form, fields=("intent",), allowed={})
    assert check(changed(intent="  card lost\n"), answer=answer).valid["answer"].to_list() == ["card lost"]
    assert check(changed(intent=5), answer=answer).valid["answer"].to_list() == ["5"], "as a CSV file would hold it"
    assert check(changed(intent=True), answer=answer).valid["answer"].to_list() == ["true"]
    assert check(changed(intent=5.5), answer=answer).counts == {"intent: not text or integer or boolean": 1}


SCALARS = st.one_of(
    st.text(min_size=1, max_size=20).map(str.strip).filter(bool),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=8))
def test_the_json_answer_is_what_json_dumps_writes_without_spaces(values):
    answer = Answer(format="json", fields=("intent", "urgency"), allowed={})
    rows = [changed(id=f"m{n}", intent=a, urgency=b) for n, (a, b) in enumerate(values)]
    found = check(*rows, answer=answer, longest=1000)
    assert found.counts == {}
    written = [json.dumps({"intent": a, "urgency": b}, ensure_ascii=False, separators=(",", ":")) for a, b in values]
    assert found.valid["answer"].to_list() == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01T10:00:00Z", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01t10:00:00z", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01 10:00:00", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01T10:00", "2026-07-01T10:00:00+00:00"),
        ("2026-07-01", "2026-07-01T00:00:00+00:00"),
        ("2026-07-01T10:00:00.25+02:00", "2026-07-01T08:00:00.250000+00:00"),
        ("2026-07-01T10:00:00,123456789-0530", "2026-07-01T15:30:00.123456+00:00"),
        ("2026-07-01 10:00:00 +02", "2026-07-01T08:00:00+00:00"),
        (" 2026-07-01T10:00:00Z ", "2026-07-01T10:00:00+00:00"),
        ("2026-13-01", None),
        ("2026-07-01T25:00:00Z", None),
        ("2026-7-1", None),
        ("2026-7-1T1:00:00.000Z", None),
        ("1751364000", None),
        ("", None),
    ],
)
def test_times_in_mixed_formats_are_utc(text, expected):
    found = schema.parse_time(pl.Series([text])).item()
    assert (found.isoformat() if found else None) == expected


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.timezones())
def test_every_time_that_python_writes_is_read_back(moment, zone):
    moment = moment.replace(tzinfo=zone)
    if moment.utcoffset().seconds % 60 == 0:
        assert schema.parse_time(pl.Series([moment.isoformat()])).item() == moment
