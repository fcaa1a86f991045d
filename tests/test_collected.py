"""New labelled rows: whose label counts, what is new, what is masked, and the same bytes for the same rows."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import collected
from trunkline.clients import tables
from trunkline.collected import Layout
from trunkline.records import KIND_SUFFIX, Answer
from trunkline.schema import Columns

CLOSED = {"intent": ("lost", "fee")}
JSON = Answer(format="json", fields=("intent", "amount"), allowed=CLOSED)
COLUMNS = Columns(id="id", message="text", customer="who", conversation="talk", time="at", slices=("channel",))
LAYOUT = Layout(COLUMNS, JSON, ("email",))
NAMES = ("id", "who", "talk", "at", "channel", "text", "intent", "amount")
TIME = datetime(2026, 11, 2, 8, tzinfo=UTC)


def said(*labels: tuple[str, str, str]) -> pl.DataFrame:
    """Labels as the log gives them: prediction, source, label; in order of time."""
    made = [
        {
            "prediction": prediction,
            "time": TIME,
            "unit": f"talk of {prediction}",
            "customer": "c-1",
            "input": f"asked in {prediction}",
            "said": f"{number:03d}",
            "source": source,
            "label": label,
        }
        for number, (prediction, source, label) in enumerate(labels)
    ]
    return pl.DataFrame(made)


def rows(*cells: dict[str, object], layout: Layout = LAYOUT) -> pl.DataFrame:
    """Raw rows; a value's kind is its type's, and a column that is not named is not there."""
    data: dict[str, list[str | None]] = {"partition": ["new.jsonl"] * len(cells)}
    for name in layout.names:
        values = [cell.get(name) for cell in cells]
        kinds = {str: "text", int: "integer", float: "number", bool: "boolean", type(None): None}
        data[name] = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        data[name + KIND_SUFFIX] = [kinds.get(type(value), "other") for value in values]
    return pl.DataFrame(data, schema=dict.fromkeys(data, pl.String))


def row(number: int, **changes: object) -> dict[str, object]:
    """A row that differs from others in id and message."""
    return {"id": f"m-{number}", "text": f"message {number}", "intent": "lost", "amount": 3} | changes


def test_the_columns_of_a_partition_are_named_once_and_in_order():
    assert LAYOUT.names == NAMES
    bare = Layout(Columns(None, "text", None, None, None, ()), Answer(format="text", fields=("reply",), allowed={}), ())
    assert bare.names == ("text", "reply")


# Labels.


def test_the_most_trusted_source_counts_and_of_that_its_last_label():
    labels = said(
        ("p1", "customer", '{"intent": "fee", "amount": 1}'),
        ("p1", "agent", '{"intent": "lost", "amount": 2}'),
        ("p1", "agent", '{"intent": "lost", "amount": 3}'),
        ("p1", "model", '{"intent": "fee", "amount": 4}'),
        ("p2", "customer", '{"intent": "fee", "amount": 5}'),
    )
    found = collected.of_log(labels, LAYOUT, ["agent", "customer"])
    assert {source: [row["amount"] for row in made] for source, made in found.items()} == {
        "agent": [3],
        "customer": [5],
    }
    assert found["agent"][0] == {
        "id": "p1",
        "who": "c-1",
        "talk": "talk of p1",
        "at": "2026-11-02T08:00:00+00:00",
        "channel": None,
        "text": "asked in p1",
        "intent": "lost",
        "amount": 3,
    }


@pytest.mark.parametrize("label", ["wrong", "[1]", '"lost"', "{", '{"intent": NaN, "amount": 1}', ""])
def test_a_label_that_is_no_answer_leaves_the_answer_empty_for_the_checks_to_find(label):
    (made,) = collected.of_log(said(("p1", "agent", label)), LAYOUT, ["agent"])["agent"]
    assert (made["intent"], made["amount"]) == (None, None)
    assert made["text"] == "asked in p1"


@pytest.mark.parametrize("form", ["label", "text"])
def test_a_label_is_the_answer_itself_where_answers_are_labels_or_texts(form):
    layout = LAYOUT._replace(answer=Answer(format=form, fields=("intent",), allowed={}))
    (made,) = collected.of_log(said(("p1", "agent", "lost")), layout, ["agent"])["agent"]
    assert made["intent"] == "lost"


# What is new.


def test_what_repeats_an_id_or_a_message_with_its_answer_is_not_new():
    known = rows(row(1), row(2))
    came = rows(
        row(1, text="another text"),
        row(3, text="  MESSAGE 2 "),
        row(4),
        row(4, text="the id again"),
        row(5, text="message 4"),
        row(6, text="message 1", intent="fee"),
    )
    found = collected.new(came, known, LAYOUT)
    assert found.rows["id"].to_list() == ["m-4", "m-6"]
    assert (found.repeats, found.contradictions) == (4, 1)


def test_rows_without_id_or_message_are_kept_for_the_checks_to_reject():
    came = rows(row(1, id=None, text=None), row(2, id=None, text=None), row(3, id=None), row(4, id=None))
    assert collected.new(came, rows(row(9)), LAYOUT).rows.height == 4


def test_without_an_id_column_messages_alone_tell():
    layout = LAYOUT._replace(columns=COLUMNS._replace(id=None))
    came = rows(row(1), row(1), row(2), layout=layout)
    assert collected.new(came, rows(row(2), layout=layout), layout).rows["text"].to_list() == ["message 1"]


NUMBERS = st.lists(st.integers(0, 6), max_size=12)


@given(NUMBERS, NUMBERS)
def test_adding_what_is_new_leaves_nothing_new_and_no_repeat(before, after):
    known = collected.new(rows(*map(row, before)), rows(), LAYOUT).rows
    found = collected.new(rows(*map(row, after)), known, LAYOUT).rows
    assert found.height == len(set(after) - set(before))
    assert collected.new(rows(*map(row, after)), pl.concat([known, found]), LAYOUT).rows.is_empty()


def test_only_those_customers_rows_are_left_out():
    came = rows(row(1, who="c-1"), row(2, who=" c-2 "), row(3, who=None), row(4, who="c-11"))
    assert collected.without(came, ["c-1", "c-2"], LAYOUT)["id"].to_list() == ["m-3", "m-4"]
    assert collected.without(came, [], LAYOUT).height == 4


# What is written.


def test_personal_data_are_masked_in_messages_and_free_answers_and_not_in_closed_ones():
    layout = LAYOUT._replace(answer=Answer(format="json", fields=("intent", "note"), allowed=CLOSED))
    came = rows(row(1, text="mail ann@example.com", intent="ann@example.com", note="to ann@example.com"), layout=layout)
    (made,) = [json.loads(line) for line in collected.text(collected.masked(came, layout), layout).splitlines()]
    assert (made["text"], made["note"]) == ("mail <EMAIL>", "to <EMAIL>")
    assert made["intent"] == "ann@example.com", "which the checks reject, as it is not allowed"


@given(st.permutations(range(5)))
def test_the_same_rows_are_the_same_bytes_in_whatever_order_they_came(order):
    made = [row(number, at=f"2026-11-0{9 - number}T00:00:00Z") for number in range(5)]
    text = collected.text(rows(*(made[number] for number in order)), LAYOUT)
    assert text == collected.text(rows(*made), LAYOUT)
    assert [json.loads(line)["id"] for line in text.splitlines()] == ["m-4", "m-3", "m-2", "m-1", "m-0"]


VALUES = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.just([1]),
    st.just({"a": 1}),
)


@given(values=st.lists(VALUES, min_size=1, max_size=5))
def test_a_partition_reads_as_what_was_written(tmp_path_factory, values):
    layout = LAYOUT._replace(pii=())
    came = rows(*(row(number, amount=value) for number, value in enumerate(values)))
    folder = tmp_path_factory.mktemp("raw")
    (folder / "2026-11.jsonl").write_text(collected.text(came, layout), encoding="utf-8")
    read = tables.read(folder, layout.names).rows.sort("id")
    kinds = came.sort("id")["amount" + KIND_SUFFIX].to_list()
    assert read["amount" + KIND_SUFFIX].cast(pl.String).to_list() == kinds
    plain = [value for value, kind in zip(came.sort("id")["amount"], kinds, strict=True) if kind != "other"]
    assert [value for value, kind in zip(read["amount"], kinds, strict=True) if kind != "other"] == plain


def test_every_allowed_value_is_counted_also_one_that_is_nowhere():
    assert collected.mix(rows(row(1), row(2), row(3, intent="odd")), LAYOUT) == {
        "intent": {"lost": 2, "fee": 0, "odd": 1}
    }
