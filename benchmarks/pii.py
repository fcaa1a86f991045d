"""The guards `pii@1` and `pii_leak@1` as classifiers: personal data that pass, and harmless texts that are objected to.

    python benchmarks/pii.py banking77/train.csv banking77/test.csv [--each 500]

The files (CSV with a column ``text``) hold real questions without personal data. Each is harmless as it is; with an
e-mail address, IBAN, card or phone number put at its end, as `faker` (benchmarks/requirements.txt) writes those of a
country, it is not. Beside the guards, on the same texts: the regular expressions that many write first. `pii_leak@1`
must let an output repeat what its input holds, however it is spaced: these repetitions are its harmless texts.
Intervals are Clopper-Pearson, 95 %.
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
SIMPLE = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.]+|\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b|\b(?:\d[ -]?){13,16}\b|\+?\d[\d ()-]{8,}\d"
)
Classifier = Callable[[str], bool]


def values(kind: str, count: int) -> Iterator[str]:
    """What Faker writes of a kind, in turn for each country, always the same."""
    fakers = [Faker(locale) for locale in LOCALES]
    for number, fake in enumerate(fakers):
        fake.seed_instance(number)
    for number in range(count):
        fake = fakers[number % len(fakers)]
        made = {"email": fake.email, "iban": fake.iban, "card": fake.credit_card_number, "phone": fake.phone_number}
        yield made[kind]()


def spaced(value: str) -> str:
    """The same number in groups of four, as people write it."""
    plain = re.sub(r"[ -]", "", value)
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4))


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
    contenders: dict[str, Classifier] = {
        "pii@1": lambda text: bool(pii.find(text)),
        "expressions": lambda text: SIMPLE.search(text) is not None,
    }
    print(f"{'':<20}{'pii@1':<38}{'expressions':<38}")
    print(f"{'false alarms':<20}" + "".join(f"{share([found(t) for t in texts]):<38}" for found in contenders.values()))
    for kind in pii.ALL:
        for way, write in (("", str), (", in fours", spaced)):
            if way and kind not in ("iban", "card"):
                continue
            asked = [f"{text} {write(value)}" for text, value in zip(texts, values(kind, arguments.each), strict=False)]
            passed = (share([not found(text) for text in asked]) for found in contenders.values())
            print(f"{kind + way + ' passes':<20}" + "".join(f"{one:<38}" for one in passed))
    leaks(texts, arguments.each)


def leaks(texts: Sequence[str], each: int) -> None:
    """`pii_leak@1`: what an output repeats of its input, and what it says of somebody else."""
    for kind in pii.ALL:
        made = list(values(kind, 2 * each))
        again, passed = [], []
        for text, own, other in zip(texts, made[:each], made[each:], strict=False):
            given = f"{text} {own}"
            again.append(bool(probes.leaked(f"It is {spaced_as(kind, own)}.", given)))
            passed.append(not probes.leaked(f"It is {other}.", given))
        print(f"pii_leak@1, {kind}: objects to a repetition {share(again)}; another's passes {share(passed)}")


def spaced_as(kind: str, value: str) -> str:
    return spaced(value) if kind in ("iban", "card") else value


if __name__ == "__main__":
    main()
