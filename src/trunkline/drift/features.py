"""What is looked at in a prediction: the same functions for the log and for the release's own data.

Which ones: of the usual detectors of drift in text, the share of words that training did not see and the mix of
labels find a few foreign messages in a hundred or a moved label, where lengths, embeddings and classifiers of
domains do not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from trunkline import pii, probes, scoring
from trunkline.records import Answer, Task

# A word is known that so many training messages hold.
_KNOWN = 3
# The most frequent words that make so much of all that is written are common: in any language mostly those that belong
# to no topic, such as articles and pronouns, so that messages about something new hold them too.
_COMMON = 0.5
_MASKED = r"<(?:EMAIL|PHONE|IBAN|CARD)>"
_WORDS = pl.col("text").str.to_lowercase().str.extract_all(r"\p{L}+")
# Where scripts leave no space between words, a character stands for one.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_UNITS = pl.col("text").str.to_lowercase().str.extract_all(rf"{_UNSPACED}|[\p{{L}}--{_UNSPACED}]+")
OTHER = "(another)"
LABEL = "label:"
DOUBT = "low_confidence"


class Vocabulary(NamedTuple):
    """Words of training messages, in lower case.

    Attributes:
        known: those that at least three messages hold.
        common: the most frequent ones, which make half of all that is written.
    """

    known: pl.Series
    common: pl.Series


def vocabulary(texts: pl.Series) -> Vocabulary:
    """The words of training messages."""
    frame = pl.LazyFrame({"text": texts})
    known = _counted(frame.select(word=_WORDS.list.unique())).filter(pl.col("len") >= _KNOWN)
    ordered = _counted(frame.select(word=_UNITS)).sort("len", "word", descending=[True, False])
    before = pl.col("len").cum_sum() - pl.col("len")
    common = ordered.filter(before < _COMMON * pl.col("len").sum())
    found, frequent = pl.collect_all([frame.select(pl.col("word").sort()) for frame in (known, common)])
    return Vocabulary(found["word"], frequent["word"])


def _counted(words: pl.LazyFrame) -> pl.LazyFrame:
    return words.explode("word").drop_nulls().group_by("word").len()


def of_inputs(texts: pl.Series, words: Vocabulary) -> pl.DataFrame:
    """One row a text, null where there is none.

    Args:
        texts: inputs after the release's transforms.
        words: the `vocabulary` of training.

    Returns:
        ``unknown_words`` (share of its words, null without words), ``language`` (the most words in a row of which none
        is common), ``long_inputs`` (characters), ``short_inputs`` (the negative of that), ``symbols`` (share of its
        characters that are no letters and no blanks) and ``pii``.
    """
    length = pl.col("text").str.len_chars().cast(pl.Float64)
    symbols = pl.col("text").str.count_matches(r"[^\p{L}\s]")
    unknown = _WORDS.list.eval(~pl.element().is_in(words.known.implode()))
    # One query, as each of its own takes longer than what it computes.
    found = pl.LazyFrame({"text": texts}).select(
        unknown.list.mean().alias("unknown_words"),
        length.alias("long_inputs"),
        (-length).alias("short_inputs"),
        (symbols / pl.when(length > 0).then(length)).alias("symbols"),
        (pl.col("text").str.contains(_MASKED) | pl.lit(pii.mask_column(texts).held)).alias("pii"),
    )
    return found.collect().with_columns(_longest(texts, words.common).alias("language"))


def _longest(texts: pl.Series, common: pl.Series) -> pl.Series:
    """The most words in a row of which none is common; null without words."""
    rows = pl.LazyFrame({"text": texts}).with_row_index("row").select("row", word=_UNITS)
    words = rows.explode("word").drop_nulls().with_columns(common=pl.col("word").is_in(common.implode()))
    # A common word begins a stretch, of which it is no part itself.
    stretches = words.group_by("row", pl.col("common").cum_sum().alias("stretch")).agg((~pl.col("common")).sum())
    longest = stretches.group_by("row").agg(pl.col("common").max().cast(pl.Float64).alias("longest"))
    return rows.select("row").join(longest, on="row", how="left", maintain_order="left").collect()["longest"]


def of_outputs(outputs: Sequence[str | None], task: Task) -> pl.DataFrame:
    """One row an output, null where there is none.

    Returns:
        ``long_outputs`` (characters), ``no_format``, ``refusals``, and ``label:<field>`` a closed field: its value, or
        `OTHER` for one that it must not have.
    """
    columns = {
        "long_outputs": pl.Series([None if text is None else float(len(text)) for text in outputs], dtype=pl.Float64),
        "no_format": _flags(outputs, [text is not None and not probes.usable(text, task) for text in outputs]),
        "refusals": _flags(outputs, [text is not None and refuses(text, task.answer) for text in outputs]),
    }
    if task.answer.format == "text":
        # Of free text, what is not usable is what declines.
        del columns["no_format"]
    said = [None if text is None else scoring.classes(text, task.answer) for text in outputs]
    for field, allowed in task.answer.allowed.items():
        values = [None if found is None else _value(found.get(field), allowed) for found in said]
        columns[LABEL + field] = pl.Series(values, dtype=pl.String)
    return pl.DataFrame(columns)


def of_confidence(frame: pl.DataFrame) -> pl.DataFrame:
    """``low_confidence``, the negative of a table's ``confidence`` (mean log-probability of a token).

    Without that column, as in answers that were made before it was kept, it is null.
    """
    known = -pl.col("confidence") if "confidence" in frame.columns else pl.lit(None, pl.Float64)
    return frame.with_columns(known.cast(pl.Float64).alias(DOUBT)).select(DOUBT)


def refuses(output: str, answer: Answer) -> bool:
    """Whether an output declines or evades, by the rule of the scorer ``refusal``."""
    if answer.format == "json" and scoring.parse(output) is not None:
        return False
    return scoring.declines(output)


def _flags(outputs: Sequence[str | None], flags: list[bool]) -> pl.Series:
    return pl.Series(
        [None if text is None else flag for text, flag in zip(outputs, flags, strict=True)], dtype=pl.Boolean
    )


def _value(found: str | None, allowed: Sequence[str]) -> str:
    return found if found is not None and found in allowed else OTHER
