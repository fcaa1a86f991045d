"""The starter project's data: repeatable, as described in data/README.md, and not solved by single words."""

import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import pytest

from trunkline import params

ROOT = Path(__file__).parents[1]
RAW = ROOT / "data" / "raw"
PARTITIONS = ("2026-07", "2026-08", "2026-09", "2026-10")
COLUMNS = [
    "id",
    "customer",
    "conversation",
    "created_at",
    "channel",
    "language",
    "message",
    "intent",
    "urgency",
    "amount",
]
ENDINGS = (" !!", "...", ". Any news?", "\nSent from my phone")
ALLOWED = params.load(ROOT / "params.yaml").data.answer.allowed
ADDRESS = re.compile(r"[\w.-]+@(\S+\.\w+)")
AMOUNT = re.compile(r"[£€]\d[\d,.]*\d|[£€]\d|\d[\d,.]* €")
PHONE = re.compile(r"(?<![\w£€.,])(?:\+|\(|0)[\d ()-]{9,}\d")
RESERVED = re.compile(r"\+44 7700 900\d{3}|\+1 202 555 01\d\d|\(202\) 555-01\d\d|(\+49 |0)30 23125 \d{3}")


def rows_of(partition):
    return [json.loads(line) for line in (RAW / f"{partition}.jsonl").read_text(encoding="utf-8").splitlines()]


def is_valid(row):
    message = row["message"]
    labelled = row["intent"] in ALLOWED["intent"] and row["urgency"] in ALLOWED["urgency"]
    return labelled and isinstance(message, str) and 3 <= len(message) <= 1000 and is_time(row["created_at"])


def is_time(text):
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return False
    return True


def near_copy(text, texts):
    return any(text.endswith(ending) and text.removesuffix(ending) in bare(texts) for ending in ENDINGS)


def bare(texts):
    return {text.rstrip(".!") for text in texts}


ROWS = {partition: rows_of(partition) for partition in PARTITIONS}
ALL = [row for rows in ROWS.values() for row in rows]
VALID = [row for row in ALL if is_valid(row)]
MESSAGES = [row["message"] for row in VALID]


def test_the_generator_writes_exactly_the_committed_files(tmp_path):
    subprocess.run([sys.executable, "-m", "data.generator", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    for partition in PARTITIONS:
        name = f"{partition}.jsonl"
        assert (tmp_path / name).read_bytes() == (RAW / name).read_bytes(), name


@pytest.mark.parametrize("partition", PARTITIONS)
def test_a_partition_has_its_columns_in_order_and_several_hundred_rows_of_its_month(partition):
    rows = ROWS[partition]
    assert 350 <= len(rows) <= 450
    assert all(list(row) == COLUMNS for row in rows)
    assert all(row["created_at"].replace("/", "-").startswith(partition) for row in rows)


def test_ids_are_unique_and_a_conversation_belongs_to_one_customer():
    assert len({row["id"] for row in ALL}) == len(ALL)
    customers = defaultdict(set)
    for row in ALL:
        customers[row["conversation"]].add(row["customer"])
    assert all(len(found) == 1 for found in customers.values())


def test_customers_come_back_and_conversations_go_on():
    months = defaultdict(set)
    for row in ALL:
        months[row["customer"]].add(row["id"][2:9])
    assert sum(len(found) > 1 for found in months.values()) > 150
    assert sum(size > 1 for size in Counter(row["conversation"] for row in ALL).values()) > 100


@pytest.mark.parametrize("partition", PARTITIONS)
def test_the_planted_faults_are_the_ones_the_readme_lists(partition):
    rows = ROWS[partition]
    texts = [row["message"] for row in rows if isinstance(row["message"], str)]
    repeated = sum(size - 1 for size in Counter(filter(None, texts)).values())
    assert [row["intent"] for row in rows].count(None) == 1
    assert [row["urgency"] for row in rows].count("urgent") == 1
    assert sum(isinstance(row["message"], int) for row in rows) == 1
    assert texts.count("") == 1
    assert sum(len(text) > 1000 for text in texts) == 1
    assert sum(not is_time(row["created_at"]) for row in rows) == 1
    assert sum(is_valid(row) for row in rows) == len(rows) - 6
    assert repeated == (5 if partition == "2026-09" else 4)
    assert sum(near_copy(text, texts) for text in texts) == 4
    assert sum(bool(re.search("[\u00c2\u00c3]|\u00e2\u201a\u00ac", text)) for text in texts) >= 3
    assert sum(bool(re.search(r"&(#x27|amp|quot);", text)) for text in texts) >= 4
    assert sum("\u00a0" in text or "\u200b" in text or text.startswith(" \t") for text in texts) >= 5


def test_no_phrase_is_left_unfilled():
    assert not any("{" in text or "}" in text for text in MESSAGES)


def test_one_message_has_two_answers():
    answers = defaultdict(set)
    for row in VALID:
        answers[row["message"]].add((row["intent"], row["urgency"], row["amount"]))
    assert sum(len(found) > 1 for found in answers.values()) == 1


def test_personal_data_are_few_and_only_of_kinds_that_belong_to_nobody():
    domains = {domain for text in MESSAGES for domain in ADDRESS.findall(text)}
    phones = [phone for text in MESSAGES for phone in PHONE.findall(text) or [] if not re.match(r"\d", phone)]
    holding = [text for text in MESSAGES if "@" in text or RESERVED.search(text) or re.search(r"\d{4}[ -]?\d{4}", text)]
    assert {domain.rstrip(".") for domain in domains} <= {"example.com", "example.org"}
    assert all(RESERVED.search(phone) for phone in phones)
    assert 0.05 <= len(holding) / len(MESSAGES) <= 0.09


def test_every_class_is_well_filled_and_some_are_not_english():
    intents = Counter(row["intent"] for row in VALID)
    urgencies = Counter(row["urgency"] for row in VALID)
    assert set(intents) == set(ALLOWED["intent"])
    assert min(intents.values()) >= 50
    assert min(urgencies.values()) >= 250
    assert 0.01 <= sum(row["language"] != "en" for row in VALID) / len(VALID) <= 0.12


def test_the_amount_is_copied_from_the_message_or_none_so_no_list_of_classes_can_answer():
    amounts = [row["amount"] for row in VALID if row["amount"] != "none"]
    assert 0.3 <= len(amounts) / len(VALID) <= 0.5
    assert len(set(amounts)) > 0.8 * len(amounts)
    assert all(AMOUNT.fullmatch(amount) for amount in amounts)
    garbled = [row["id"] for row in VALID if row["amount"] not in ("none", *AMOUNT.findall(row["message"]))]
    assert len(garbled) <= 3 * len(PARTITIONS), "only where the currency sign is mojibake"


def test_an_amount_of_a_topic_that_is_only_mentioned_is_not_the_amount():
    elsewhere = [row for row in VALID if row["amount"] == "none" and AMOUNT.search(row["message"])]
    assert len(elsewhere) >= 3


def test_october_is_a_little_different():
    new = [sum("roam" in row["message"].lower() for row in ROWS[name] if is_valid(row)) for name in PARTITIONS]
    assert new[:3] == [0, 0, 0]
    assert 20 <= new[3] <= 80
