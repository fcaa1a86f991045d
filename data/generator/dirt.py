"""Plants the known faults that validation must catch; data/README.md lists them with their counts."""

import html
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

Row = dict[str, Any]
ENDINGS = (" !!", "...", ". Any news?", "\nSent from my phone")  # one near duplicate each a partition
COPIES = 4  # exact duplicates a partition
SURFACE = {"mojibake": 3, "html": 4, "whitespace": 5}  # messages a partition, still readable
OVER_LONG = 1000


def plant(rows: list[Row], random: Random, conflict: bool) -> tuple[list[Row], dict[str, int]]:
    """Damage some rows, add copies of others, and return them in time's order with the counts.

    Args:
        rows: a partition's rows, all valid; changed in place.
        random: draws which rows.
        conflict: whether one copy also contradicts its original's intent.
    """
    pool = random.sample(rows, len(rows))
    counts: dict[str, int] = {}
    for name, size in SURFACE.items():
        chosen = [row for row in pool if _suits(name, row)][:size]
        for row in chosen:
            pool.remove(row)
            row["message"] = _SURFACES[name](row["message"])
        counts[name] = len(chosen)
    for name, damage in _DAMAGES.items():
        damage(pool.pop(), pool)
        counts[name] = 1
    copies = [_copy(pool.pop(), random) for _ in range(COPIES)]
    long = [row for row in pool if len(row["message"]) > 160][: len(ENDINGS) + 1]
    near = [_edited(_copy(row, random), ending) for row, ending in zip(long, ENDINGS, strict=False)]
    counts |= {"exact_duplicates": len(copies), "near_duplicates": len(near)}
    if conflict:
        contradiction = _copy(long[-1], random)
        contradiction["intent"] = "fee_question" if contradiction["intent"] != "fee_question" else "refund_request"
        copies.append(contradiction)
        counts["conflicting_pairs"] = 1
    return sorted([*rows, *copies, *near], key=lambda row: str(row["created_at"]).replace("/", "-")), counts


def _suits(name: str, row: Row) -> bool:
    message = row["message"]
    if name == "mojibake":
        return any(letter in message for letter in "£€äöüßáéíóúñ") and _mojibake(message) != message
    return name != "html" or "'" in message or "&" in message


def _mojibake(text: str) -> str:
    try:
        return text.encode("utf-8").decode("cp1252")
    except UnicodeDecodeError:
        return text


def _escaped(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _spaced(text: str) -> str:
    return " \t" + text.replace(". ", ".\u00a0\u00a0 ").replace(", ", ",\u200b ") + " \r\n\r\n"


_SURFACES: dict[str, Callable[[str], str]] = {"mojibake": _mojibake, "html": _escaped, "whitespace": _spaced}


def _no_intent(row: Row, _: list[Row]) -> None:
    row["intent"] = None


def _unknown_urgency(row: Row, _: list[Row]) -> None:
    row["urgency"] = "urgent"


def _number(row: Row, _: list[Row]) -> None:
    row["message"] = 48213


def _empty(row: Row, _: list[Row]) -> None:
    row["message"] = ""


def _over_long(row: Row, others: list[Row]) -> None:
    for other in others:
        if len(row["message"]) > OVER_LONG:
            break
        row["message"] += "\n> " + other["message"]


def _bad_time(row: Row, _: list[Row]) -> None:
    row["created_at"] = row["created_at"][:10].replace("-", "/")


_DAMAGES: dict[str, Callable[[Row, list[Row]], None]] = {
    "missing_intent": _no_intent,
    "unknown_urgency": _unknown_urgency,
    "message_is_a_number": _number,
    "empty_message": _empty,
    "over_long_message": _over_long,
    "malformed_time": _bad_time,
}


def _copy(row: Row, random: Random) -> Row:
    time = datetime.fromisoformat(row["created_at"]) + timedelta(seconds=random.randrange(20, 900))
    return {**row, "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _edited(row: Row, ending: str) -> Row:
    return {**row, "message": row["message"].rstrip(".!") + ending}
