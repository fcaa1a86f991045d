"""The guards `pii@1` and `pii_leak@1` as classifiers: personal data that pass, and harmless texts that are objected to.

    python benchmarks/pii.py banking77/train.csv banking77/test.csv [--each 500]

The files (CSV with a column ``text``) hold real questions without personal data. Each is harmless as it is, and with a
date, an amount, an order number or a barcode at its end; with an e-mail address, IBAN, card or phone number, as `faker`
(benchmarks/requirements.txt) writes those of seven countries, it is not. Beside the guard, on the same texts: the
regular expressions that many write first. `pii_leak@1` must let an output repeat what its input holds, however it is
spaced: these repetitions are its harmless texts. Intervals are Clopper-Pearson, 95 %.
"""

import argparse
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import polars as pl
from faker import Faker

from trunkline import estimates, pii, probes

LOCALES = ("en_GB", "en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL")
HARMLESS = ("date", "amount", "order number", "barcode")
SPACED = ("iban", "card")
SIMPLE = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.]+|\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b|\b(?:\d[ -]?){13,16}\b|\+?\d[\d ()-]{8,}\d"
)
CLASSIFIERS: dict[str, Callable[[str], bool]] = {
    "pii@1": lambda text: bool(pii.find(text)),
    "expressions": lambda text: SIMPLE.search(text) is not None,
}


def values(kind: str, count: int) -> Iterator[str]:
    """What Faker writes of a kind, in turn for each country, always the same."""
    fakers = [Faker(locale) for locale in LOCALES]
    for number, fake in enumerate(fakers):
        fake.seed_instance(number)
    for number in range(count):
        yield made(fakers[number % len(fakers)], kind)


def made(fake: Faker, kind: str) -> str:
    if kind == "amount":
        return f"{fake.random_int(10**6, 10**9) / 100:,.2f} EUR"
    if kind == "order number":
        return fake.bothify("order ####-###-####")
    names = {"card": "credit_card_number", "phone": "phone_number", "barcode": "ean13"}
    return str(getattr(fake, names.get(kind, kind))())


def spaced(kind: str, value: str) -> str:
    """The same number in groups of four, as people write it; what is no such number stays."""
    if kind not in SPACED:
        return value
    plain = re.sub(r"[ -]", "", value)
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


def ended(texts: Sequence[str], kind: str, count: int, fours: bool = False) -> list[str]:
    """Texts, each with a value at its end."""
    made = (spaced(kind, value) if fours else value for value in values(kind, count))
    return [f"{text} {value}" for text, value in zip(texts, made, strict=False)]


def share(hits: Sequence[bool]) -> str:
    low, high = estimates.clopper_pearson(sum(hits), len(hits), 0.95)
    return f"{sum(hits) / len(hits):6.1%} ({low:.1%} to {high:.1%}) of {len(hits)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=500, help="values of each kind")
    arguments = parser.parse_args()
    texts = list(chain.from_iterable(pl.read_csv(path)["text"].to_list() for path in arguments.files))
    random.Random(0).shuffle(texts)
    print(f"{'':<26}" + "".join(f"{name:<38}" for name in CLASSIFIERS))
    harmless = {"as they are": texts} | {kind: ended(texts, kind, arguments.each) for kind in HARMLESS}
    for kind, asked in harmless.items():
        row(f"objects, {kind}", [[found(text) for text in asked] for found in CLASSIFIERS.values()])
    for kind in pii.ALL:
        for fours in (False, True) if kind in SPACED else (False,):
            asked = ended(texts, kind, arguments.each, fours)
            name = f"passes, {kind}{' in fours' if fours else ''}"
            row(name, [[not found(text) for text in asked] for found in CLASSIFIERS.values()])
    print(f"\n{'pii_leak@1':<26}{'objects to a repetition':<38}{'lets another one pass':<38}")
    for kind in pii.ALL:
        row(kind, leaks(texts, kind, arguments.each))


def row(name: str, columns: Sequence[Sequence[bool]]) -> None:
    print(f"{name:<26}" + "".join(f"{share(hits):<38}" for hits in columns))


def leaks(texts: Sequence[str], kind: str, each: int) -> list[list[bool]]:
    """What an output repeats of its input, and what it says of somebody else."""
    found = list(values(kind, 2 * each))
    again, passed = [], []
    for text, own, other in zip(texts, found[:each], found[each:], strict=False):
        given = f"{text} {own}"
        again.append(bool(probes.leaked(f"It is {spaced(kind, own)}.", given)))
        passed.append(not probes.leaked(f"It is {other}.", given))
    return [again, passed]


if __name__ == "__main__":
    main()
