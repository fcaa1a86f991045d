"""Distribution shift: do new training data differ from those that production was trained on?

Every column gets an effect size between 0 and 1, which judges, and a p-value, which only tells whether
the effect could be chance; Holm's method (1979) holds all tests together to one level. Numbers: the
two-sample Kolmogorov-Smirnov statistic and its asymptotic p, conservative for ties. Categories: total
variation distance and the chi-square test of homogeneity, its p by Monte Carlo where an expected count
is below 5 (Cochran 1954).

Both tests take rows as independent. Rows of one conversation are not: pass one row a conversation.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

_RARE = 5.0  # expected count under which chi-square is no approximation
_RESAMPLES = 9_999  # smallest p is 1e-4: below a level of 0.01 shared by up to 100 columns
_SEEN, _MANY = 3, 0.2  # a word seen less often is rare, and more than this share of a message's words is many
_MOST_CATEGORIES = 200  # text with more values than this, or with few repeats, is free text


class Shift(NamedTuple):
    """How one column differs between reference and new data.

    Attributes:
        column: its name.
        measure: ``ks`` (Kolmogorov-Smirnov) or ``tv`` (total variation), the effect size's kind.
        effect: effect size between 0 and 1; None if a side has no values.
        p: p-value adjusted for all columns by Holm's method; None likewise.
        significant: p is at most the level.
        reference, new: how many values each side had.
    """

    column: str
    measure: str
    effect: float | None
    p: float | None
    significant: bool
    reference: int
    new: int


def measure(reference: pl.DataFrame, new: pl.DataFrame, alpha: float) -> tuple[Shift, ...]:
    """Test every column of two frames of the same schema, numeric ones by KS, others by their categories.

    Args:
        reference: one row a conversation of the data production was trained on.
        new: one row a conversation of the partitions it has not seen.
        alpha: level of all tests together.
    """
    results = [
        _numeric(reference[c], new[c]) if new[c].dtype.is_numeric() else _categorical(reference[c], new[c])
        for c in new.columns
    ]
    adjusted = iter(holm([p for _, p in results if p is not None]))
    shifts = []
    for column, (effect, p) in zip(new.columns, results, strict=True):
        corrected = None if p is None else next(adjusted)
        sizes = (reference[column].drop_nulls().len(), new[column].drop_nulls().len())
        kind = "ks" if new[column].dtype.is_numeric() else "tv"
        shifts.append(Shift(column, kind, effect, corrected, corrected is not None and corrected <= alpha, *sizes))
    return tuple(shifts)


def rare_words(messages: pl.Series, reference: pl.Series, among: bool) -> pl.Series:
    """Whether a message has ``many`` or ``few`` words that are rare in the reference; null where it has no words.

    New topics, products and languages show here first: it finds a few foreign messages in a hundred, which
    lengths do not.

    Args:
        messages: texts.
        reference: texts that say what is usual.
        among: the messages are the reference themselves, so a message's own words do not count.
    """
    words = _words(reference).group_by("word").agg(pl.len().alias("seen"))
    own = _words(messages).group_by("row", "word").agg(pl.len().alias("own"))
    seen = pl.col("seen").fill_null(0).cast(pl.Int64) - (pl.col("own").cast(pl.Int64) if among else 0)
    rare = own.join(words, on="word", how="left").with_columns(rare=seen < _SEEN)
    many = (pl.col("rare") * pl.col("own")).sum() > _MANY * pl.col("own").sum()
    told = rare.group_by("row").agg(told=pl.when(many).then(pl.lit("many")).otherwise(pl.lit("few")))
    rows = pl.DataFrame({"row": pl.int_range(len(messages), dtype=pl.UInt32, eager=True)})
    return rows.join(told, on="row", how="left", maintain_order="left")["told"]


def _words(texts: pl.Series) -> pl.DataFrame:
    """One row a word, ``row`` counting the texts."""
    found = texts.str.to_lowercase().str.extract_all(r"\p{L}+")
    return pl.DataFrame({"word": found}).with_row_index("row").explode("word").drop_nulls("word")


def holm(p_values: list[float]) -> list[float]:
    """P-values adjusted by Holm's step-down method (1979), in the order they came."""
    order = np.argsort(p_values, kind="stable")
    scaled = [min(1.0, (len(p_values) - rank) * p_values[position]) for rank, position in enumerate(order)]
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(scaled) if scaled else scaled
    return [float(p) for p in adjusted]


def is_categorical(values: pl.Series) -> bool:
    """Whether a text column has few enough, often enough repeated values to be compared by their shares."""
    distinct = values.n_unique()
    return distinct <= _MOST_CATEGORIES and distinct * 2 <= max(len(values), 4)


def _numeric(reference: pl.Series, new: pl.Series) -> tuple[float | None, float | None]:
    a, b = (side.drop_nulls().to_numpy() for side in (reference, new))
    if not len(a) or not len(b):
        return None, None
    from scipy import stats  # only here: it takes most of a second, and Holm's method needs nothing of it

    result = stats.ks_2samp(a, b, method="asymp")
    return float(result.statistic), float(result.pvalue)


def _categorical(reference: pl.Series, new: pl.Series) -> tuple[float | None, float | None]:
    a, b = (side.drop_nulls().cast(pl.String).alias("value") for side in (reference, new))
    if a.is_empty() or b.is_empty():
        return None, None
    counted = a.value_counts(name="a").join(b.value_counts(name="b"), on="value", how="full", coalesce=True)
    table = counted.sort("value").select("a", "b").fill_null(0).to_numpy().T.astype(np.int64)
    if table.shape[1] == 1:
        return 0.0, 1.0
    shares = table / table.sum(axis=1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).sum() / 2), _chi_square(table)


def _chi_square(table: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> float:
    from scipy import stats  # only here, as above

    expected = stats.contingency.expected_freq(table)
    method = None
    if expected.min() < _RARE:
        method = stats.MonteCarloMethod(n_resamples=_RESAMPLES, rng=np.random.default_rng(0))
    return float(stats.chi2_contingency(table, correction=False, method=method).pvalue)
