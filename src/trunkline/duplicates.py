"""Repeated messages: exact duplicates, conflicting answers, and near-duplicates.

Near-duplicates are pairs whose sets of character 5-grams have a Jaccard similarity of at least a limit.
Candidates come from MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, §3.4); each is then verified by its exact similarity, so that none reported is false.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

GRAM = 5
_HASHES = 70  # words in a signature; its estimate of a similarity has a standard error of at most 0.06
_SLACK = 0.2  # estimates this far below the limit are not verified
_RECALL = 0.999  # the chance that a pair at the limit becomes a candidate
_VERIFIED = 2  # how many of a message's candidates are verified, the most alike first
_CHUNK = 20_000  # messages hashed, or pairs estimated, at once
_BASE = np.uint64(0x9E3779B97F4A7C15)

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Words = np.ndarray[tuple[int, ...], np.dtype[np.uint32]]


class Repeats(NamedTuple):
    """Which rows repeat a message, as boolean columns as long as the frame.

    Attributes:
        duplicate: repeats an earlier row's message, with the same answer everywhere.
        conflict: the same message has another answer elsewhere.
    """

    duplicate: pl.Series
    conflict: pl.Series


class NearDuplicates(NamedTuple):
    """Messages that nearly repeat each other.

    Attributes:
        rows: positions of the rows that nearly repeat an earlier one.
        clusters: positions of connected messages, the largest cluster first.
    """

    rows: tuple[int, ...]
    clusters: tuple[tuple[int, ...], ...]


def normalised(messages: pl.Series) -> pl.Series:
    """Messages without differences of case and white space."""
    return messages.str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()


def repeats(messages: pl.Series, answers: pl.Series) -> Repeats:
    """Exact repeats of normalised messages, told apart by whether their answers agree."""
    same = pl.col("message")
    frame = pl.DataFrame({"message": normalised(messages), "answer": answers}).select(
        conflict=pl.col("answer").n_unique().over(same) > 1, first=same.is_first_distinct()
    )
    return Repeats(frame.select(~pl.col("first") & ~pl.col("conflict")).to_series(), frame["conflict"])


def near_duplicates(messages: pl.Series, limit: float) -> NearDuplicates:
    """Find messages with a 5-gram Jaccard similarity of at least ``limit`` to an earlier one.

    A message is compared with few others, those in its buckets whose estimated similarity is the highest,
    so that time grows with the number of messages even when thousands are alike: the count is a lower bound.
    """
    texts = normalised(messages)
    listed = texts.to_list()
    found: dict[int, int] = {}
    for later, earlier in _promising(_signatures(texts), limit):
        if later not in found and jaccard(listed[earlier], listed[later]) >= limit:
            found[later] = earlier
    return NearDuplicates(tuple(sorted(found)), _clusters([(earlier, later) for later, earlier in found.items()]))


def jaccard(first: str, second: str) -> float:
    """Shared 5-grams / all 5-grams of two texts; a shorter text is its own gram."""
    a, b = _grams(first), _grams(second)
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _grams(text: str) -> set[str]:
    return {text[i : i + GRAM] for i in range(max(1, len(text) - GRAM + 1))}


def _signatures(texts: pl.Series) -> Words:
    """MinHash signatures, one row of ``_HASHES`` words a text."""
    random = np.random.default_rng(0)
    factors = random.integers(1, 2**31, _HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    masks = random.integers(0, 2**32, _HASHES, dtype=np.uint32)
    out = np.empty((len(texts), _HASHES), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK):
        hashes, offsets = _gram_hashes(texts[start : start + _CHUNK].to_list())
        for column, (factor, mask) in enumerate(zip(factors, masks, strict=True)):
            permuted = (hashes ^ mask) * factor
            out[start : start + _CHUNK, column] = np.minimum.reduceat(permuted, offsets)
    return out


def _gram_hashes(texts: list[str]) -> tuple[Words, Ints]:
    """Hashes of every 5-gram of every text, and where each text's begin.

    A text is padded with zeros to a whole gram, so each has at least one.
    """
    padded = [text.ljust(GRAM, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    hashes = np.zeros(len(points) - GRAM + 1, dtype=np.uint64)
    for shift in range(GRAM):
        hashes = (hashes ^ points[shift : len(points) - GRAM + 1 + shift]) * _BASE
        hashes ^= hashes >> np.uint64(29)
    inside = np.ones(len(points), dtype=bool)
    for tail in range(1, GRAM):
        inside[ends - tail] = False
    counts = lengths - GRAM + 1
    offsets = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.int64)
    return (hashes[inside[: len(hashes)]] >> np.uint64(32)).astype(np.uint32), offsets


def _band_rows(limit: float) -> int:
    """The widest band that still finds a pair at the limit: its chance is 1 - (1 - limit^rows)^bands."""
    wide = (rows for rows in range(8, 1, -1) if 1 - (1 - limit**rows) ** (_HASHES // rows) >= _RECALL)
    return next(wide, 1)


def _promising(signatures: Words, limit: float) -> list[tuple[int, int]]:
    """For each later message the few earlier ones that are most alike by their signatures, the best first."""
    pairs = _candidates(signatures, _band_rows(limit))
    chunks = (pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK))
    alike = [(signatures[chunk[:, 0]] == signatures[chunk[:, 1]]).mean(axis=1) for chunk in chunks]
    frame = pl.DataFrame(
        {"earlier": pairs[:, 0], "later": pairs[:, 1], "alike": np.concatenate([np.empty(0), *alike])},
        schema={"earlier": pl.Int64, "later": pl.Int64, "alike": pl.Float64},
    )
    near = frame.filter(pl.col("alike") >= limit - _SLACK).sort(
        "later", "alike", "earlier", descending=[False, True, False]
    )
    return near.group_by("later", maintain_order=True).head(_VERIFIED).select("later", "earlier").rows()


def _candidates(signatures: Words, rows: int) -> Ints:
    """Pairs (earlier, later) that share a band: neighbours in a bucket, and each with its first."""
    count = len(signatures)
    found = [np.empty(0, dtype=np.int64)]
    for start in range(0, _HASHES - rows + 1, rows):
        key = np.zeros(count, dtype=np.uint64)
        for column in range(start, start + rows):
            key = (key ^ signatures[:, column]) * _BASE
            key ^= key >> np.uint64(32)
        order = np.argsort(key, kind="stable")
        same = np.concatenate(([False], key[order][1:] == key[order][:-1]))[:count]
        positions = np.arange(count)
        first = np.maximum.accumulate(np.where(same, 0, positions))
        later = positions[same]
        found += [order[later - 1] * count + order[later], order[first[later]] * count + order[later]]
    # One number a pair sorts much faster than rows of two.
    codes = np.sort(np.concatenate(found))
    codes = codes[np.diff(codes, prepend=-1) > 0]
    return np.stack(np.divmod(codes, max(count, 1)), axis=1)


def _clusters(pairs: list[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Connected groups by union-find, the largest first, then by position."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for node in sorted(parent):
        groups.setdefault(root(node), []).append(node)
    return tuple(sorted(map(tuple, groups.values()), key=lambda group: (-len(group), group)))
