"""The injection guard as a classifier: attacks that pass it and harmless messages that it objects to.

    python benchmarks/guard.py data/eval/injection.jsonl other.parquet:text:label

A file is JSON lines or Parquet, with its columns after it: the text's, and the label's (1, true or "attack" is an
attack). Without them they are ``message`` and ``kind``. Beside it, on the same messages: a list of keywords such as
many write first, two open scanners that work by rules (`pip install -r benchmarks/requirements.txt`), and with
``--train FILE`` a bag of words with logistic regression that was trained on it.
Intervals are Clopper-Pearson, 95 %.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from trunkline import estimates, params
from trunkline.guard import injection

KEYWORDS = (
    "ignore previous",
    "ignore all",
    "ignore the above",
    "disregard",
    "forget everything",
    "system prompt",
    "you are now",
    "act as",
    "pretend",
    "jailbreak",
    "developer mode",
    "override",
    "new instructions",
)
Classifier = Callable[[str], bool]


def read(named: str) -> pl.DataFrame:
    """Rows of ``text`` and ``attack``."""
    path, text, label, *_ = [*named.split(":"), "", ""]
    frame = pl.read_parquet(path) if path.endswith(".parquet") else pl.read_ndjson(path)
    frame = frame.select(
        pl.col(text or "message").alias("text"), pl.col(label or "kind").cast(pl.String).alias("label")
    )
    frame = frame.drop_nulls().with_columns(attack=pl.col("label").str.to_lowercase().is_in(["1", "true", "attack"]))
    assert frame["attack"].n_unique() == 2, f"{named} needs attacks and harmless messages"
    return frame


def trunkline() -> Classifier:
    answer = params.load(Path("params.yaml")).data.answer
    return lambda text: injection.score(text, answer).value >= injection.LIMIT


def keywords() -> Classifier:
    return lambda text: any(word in text.lower() for word in KEYWORDS)


def ai_injection_guard() -> Classifier:
    """At its default limit."""
    from prompt_shield import PromptScanner

    scanner = PromptScanner(threshold="MEDIUM")
    return lambda text: scanner.scan(text).severity in ("MEDIUM", "HIGH", "CRITICAL")


def picket() -> Classifier:
    """The local rules of aicordon; its other detector is a service."""
    from aicordon import picket as rules

    detector = rules.load()
    return lambda text: bool(detector.check(text).flagged)


def bag_of_words(train: pl.DataFrame) -> Classifier:
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30))
    model.fit(train["text"].to_list(), train["attack"].to_list())
    return lambda text: bool(model.predict([text])[0])


def share(hits: Sequence[bool]) -> str:
    low, high = estimates.clopper_pearson(sum(hits), len(hits), 0.95)
    return f"{sum(hits) / len(hits):6.1%} ({low:.1%} to {high:.1%}) of {len(hits)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE[:TEXT:LABEL]")
    parser.add_argument("--train", metavar="FILE[:TEXT:LABEL]")
    parser.add_argument("--missed", action="store_true", help="print what Trunkline gets wrong")
    arguments = parser.parse_args()
    contenders = {"trunkline": trunkline(), "keywords": keywords()}
    contenders |= {"ai-injection-guard": ai_injection_guard(), "aicordon picket": picket()}
    if arguments.train:
        contenders["bag of words"] = bag_of_words(read(arguments.train))
    for named in arguments.files:
        frame = read(named)
        print(f"\n{named}\n{'':<20}{'attacks that pass':<38}{'false positives':<38}ms a message")
        for name, classify in contenders.items():
            start = time.perf_counter()
            caught = [classify(text) for text in frame["text"]]
            took = 1_000 * (time.perf_counter() - start) / frame.height
            passed = [not hit for hit, attack in zip(caught, frame["attack"], strict=True) if attack]
            false = [hit for hit, attack in zip(caught, frame["attack"], strict=True) if not attack]
            print(f"{name:<20}{share(passed):<38}{share(false):<38}{took:.2f}")
            if name == "trunkline" and arguments.missed:
                wrong = frame.filter(pl.Series(caught) != pl.col("attack"))
                for text, attack in wrong.select("text", "attack").iter_rows():
                    print(f"    {'passed' if attack else 'false '} {text[:200]!r}")


if __name__ == "__main__":
    main()
