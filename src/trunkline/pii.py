"""Personal data in text: found precisely enough to mask without hurting amounts, dates and order numbers.

Every kind has a cheap pattern for candidates and a check that decides: IBAN by ISO 7064 mod 97-10 and its
country's structure (ISO 13616), card by issuer prefix (ISO/IEC 7812) and Luhn, phone by the numbering plans
of the `phonenumbers` library. A number without a country code counts as a phone only when it is written
like one, because any ten digits are valid somewhere.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import phonenumbers
import polars as pl
from stdnum import iban, luhn

Kind = Literal["email", "phone", "iban", "card"]
ALL: tuple[Kind, ...] = ("email", "iban", "card", "phone")  # in order of precision: the first to match wins

# Rust regular expressions: what cannot hold the kind is never looked at in Python.
_CANDIDATE: dict[Kind, str] = {
    "email": r"[^\s@]@[^\s@]+\.",
    "iban": r"[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11}",
    "card": r"[0-9](?:[ -]?[0-9]){11}",
    "phone": r"[0-9](?:[ .\-/()]{0,3}[0-9]){6}",
}
# Lengths are bounded (RFC 5321 for email) so that no text takes quadratic time.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}))", re.ASCII)
_CARD = re.compile(r"(?<![\w.,-])(?=(\d(?:[ -]?\d){11,24}))", re.ASCII)
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|35(?:2[89]|[3-8]\d))\d{12,15}"  # Discover, UnionPay, JCB
    r"|(?:50|5[6-9]|6[0-9])\d{10,17}"  # Maestro
)
_DIGITS = r"\d(?:[ .\-/()]{0,3}\d){6,17}"
_GLOBAL_PHONE = re.compile(rf"(?<![\w+])\+ ?\(?{_DIGITS}(?!\w)", re.ASCII)
_TRUNK_PHONE = re.compile(rf"(?<![\w.,/+-])\(?0{_DIGITS}(?!\w)", re.ASCII)
_NANP_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?![\w-])", re.ASCII
)
_DATE = re.compile(r"\b\d{1,2}([./-])\d{1,2}\1(?:19|20)\d\d\b")
# Plans in which national numbers begin with 0; a number need only be valid in one.
_TRUNK_REGIONS = ("DE", "GB", "FR", "IT", "NL")
_PHONE_WORD = re.compile(r"(?i)(?:phone|tel|call|mobile|cell|whatsapp|sms|ring|reach|handy|telefon|anruf)\D{0,20}$")
_ORDER_WORD = re.compile(r"(?i)(?:\b(?:order|ref|reference|invoice|ticket|case|transaction|tracking|id)|#)[\s.:#-]*$")


class Match(NamedTuple):
    """One piece of personal data: ``text[start:end]``."""

    kind: Kind
    start: int
    end: int


class Masked(NamedTuple):
    """A column after masking.

    Attributes:
        texts: the column with every match replaced.
        held: for each row, whether it held personal data.
        counts: matches by kind; each kind that was looked for is there.
    """

    texts: pl.Series
    held: pl.Series
    counts: dict[str, int]


def find(text: str, kinds: Sequence[Kind] = ALL) -> tuple[Match, ...]:
    """Personal data of the given kinds, in order of position and without overlap."""
    found: list[Match] = []
    rest = text
    for kind in ALL:
        if kind not in kinds:
            continue
        for start, end in _FINDERS[kind](rest):
            found.append(Match(kind, start, end))
            # A bar joins nothing: no number goes on across what is already taken.
            rest = rest[:start] + "|" * (end - start) + rest[end:]
    return tuple(sorted(found, key=lambda match: match.start))


def mask(text: str, kinds: Sequence[Kind] = ALL) -> str:
    """The text with every match replaced by ``<EMAIL>``, ``<PHONE>``, ``<IBAN>`` or ``<CARD>``.

    Masking again changes nothing.
    """
    return _masked(text, kinds)[0]


def mask_column(texts: pl.Series, kinds: Sequence[Kind] = ALL) -> Masked:
    """Mask a text column; only rows that a vectorised pattern lets through are looked at one by one."""
    counts: dict[str, int] = dict.fromkeys(kinds, 0)
    if not kinds:
        return Masked(texts, pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True), counts)
    pattern = "|".join(f"(?:{_CANDIDATE[kind]})" for kind in kinds)
    rows = texts.str.contains(pattern).fill_null(False).arg_true()
    positions, values = [], []
    for position, text in zip(rows, texts.gather(rows), strict=True):
        masked, matches = _masked(text, kinds)
        if matches:
            positions.append(position)
            values.append(masked)
        for match in matches:
            counts[match.kind] += 1
    held = pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    if not positions:
        return Masked(texts, held, counts)
    return Masked(texts.clone().scatter(positions, values), held.scatter(positions, True), counts)


def masked_before(texts: pl.Series, kinds: Sequence[Kind] = ALL) -> pl.Series:
    """For each row, whether it holds what `mask` writes: personal data were there, wherever they were masked."""
    if not kinds:
        return pl.repeat(False, len(texts), dtype=pl.Boolean, eager=True)
    return texts.str.contains("|".join(f"<{kind.upper()}>" for kind in kinds)).fill_null(False)


def _masked(text: str, kinds: Sequence[Kind]) -> tuple[str, list[Match]]:
    """Mask until nothing is found: a mask may free a neighbour. Each round removes a digit or an @."""
    every: list[Match] = []
    while matches := find(text, kinds):
        every += matches
        for kind, start, end in reversed(matches):
            text = f"{text[:start]}<{kind.upper()}>{text[end:]}"
    return text, every


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    return _longest(_IBAN, text, _is_iban)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    return _longest(_CARD, text, _is_card)


def _longest(pattern: re.Pattern[str], text: str, valid: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    """For each candidate, the longest valid part from its start that ends at a word's end."""
    taken = 0
    for match in pattern.finditer(text):
        if match.start() < taken:
            continue
        for end in range(match.end(1), match.start(), -1):
            if _ends_word(text, end) and valid(text[match.start() : end]):
                yield match.start(), end
                taken = end
                break


def _ends_word(text: str, end: int) -> bool:
    amount = text[end : end + 1] in {".", ","} and text[end + 1 : end + 2].isdigit()
    return text[end - 1].isalnum() and not text[end : end + 1].isalnum() and not amount


def _is_iban(text: str) -> bool:
    # National check digits are left out: a typo in them is personal data all the same.
    return bool(iban.is_valid(text, check_country=False))


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    return _ISSUER.fullmatch(digits) is not None and bool(luhn.is_valid(digits))


def _phones(text: str) -> Iterator[tuple[int, int]]:
    dates = [match.span() for match in _DATE.finditer(text)]
    taken: list[tuple[int, int]] = list(dates)
    for pattern, regions in ((_GLOBAL_PHONE, (None,)), (_TRUNK_PHONE, _TRUNK_REGIONS), (_NANP_PHONE, ("US",))):
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            if pattern is not _GLOBAL_PHONE and not _reads_like_phone(text, start, end):
                continue
            whole = next((e for e in _word_ends(text, start, end) if _is_phone(text[start:e], regions)), None)
            if whole is not None:
                taken.append((start, whole))
                yield start, whole


def _word_ends(text: str, start: int, end: int) -> Iterator[int]:
    return (e for e in range(end, start + 6, -1) if _ends_word(text, e))


def _reads_like_phone(text: str, start: int, end: int) -> bool:
    """Whether a number without a country code is written or announced as a phone number."""
    before = text[max(0, start - 30) : start]
    if _ORDER_WORD.search(before):
        return False
    return not text[start:end].isdigit() or _PHONE_WORD.search(before) is not None


def _is_phone(text: str, regions: Sequence[str | None]) -> bool:
    for region in regions:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return True
        # Numbers reserved for examples are in no plan; with a country code the right length is enough.
        reason = phonenumbers.is_possible_number_with_reason(number)
        if region is None and reason == phonenumbers.ValidationResult.IS_POSSIBLE:
            return True
    return False


_FINDERS = {"email": _emails, "iban": _ibans, "card": _cards, "phone": _phones}
