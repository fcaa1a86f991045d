"""Composes one message from hand-written phrases so that its intent and urgency hold for a careful reader."""

import re
from random import Random
from typing import NamedTuple

from data.generator.wording import INTENTS, load

# Which everyday emergencies can hang on an intent; `any` fits all of them.
EMERGENCIES = {
    "card_lost": ("pay",),
    "card_declined": ("pay",),
    "login_problem": ("pay", "money"),
    "limit_change": ("pay",),
    "transfer_missing": ("money",),
    "refund_request": ("money",),
    "close_account": ("papers",),
}
FIXED = {"high": 0.15, "normal": 0.15, "low": 0.1}  # share whose urgency is in the request itself, not beside it
TURNED = 0.01  # share of urgency cues whose meaning hangs on the order of their words
PLAIN = 1.0  # share of urgent and of patient messages that say so in so many words
CONTRAST, ASIDE_BEFORE, ASIDE_AFTER = 0.02, 0.01, 0.01  # share of messages that mention a second topic
AMOUNTS = {"amount": ((8, 99), (100, 3000)), "small": ((2, 40),), "large": ((600, 2000), (2000, 9000))}
AMOUNT = re.compile(r"\{(amount|small|large)\}")
NAMES_AMOUNT = 3  # how much likelier a request that names an amount is than one that does not
NO_AMOUNT = "none"
MONTHS = ("June", "July", "August", "September", "October")


class Message(NamedTuple):
    """What a customer writes, and the amount it is about, as written there, or ``none``."""

    text: str
    amount: str


class Composer:
    """Draws messages of one language and never the same combination of phrases twice."""

    def __init__(self, language: str, random: Random) -> None:
        self._language, self._random = language, random
        self._phrases = load(language)
        self._used: set[tuple[str, ...]] = set()
        self._sum = NO_AMOUNT

    def message(self, intent: str, urgency: str, channel: str, month: int, extras: list[str]) -> Message:
        """A message asking for ``intent`` with ``urgency``, in the manner of ``channel``.

        Args:
            intent: what the customer asks for.
            urgency: how soon it must be solved.
            channel: decides greeting, sign-off, spelling and hesitations.
            month: of the year; a month that is named in the text lies before it.
            extras: sections of which one phrase each is added, such as ``contact``.
        """
        while True:
            body, cue = self._body(intent, urgency)
            if (*body, cue) not in self._used:
                break
        self._used.add((*body, cue))
        sentences = list(body)
        if cue:
            sentences.insert(self._cue_place(cue, len(sentences)), cue)
        if urgency != "normal" and self._random.random() < PLAIN:
            sentences.insert(self._random.choice((0, len(sentences))), self._pick(f"{urgency}.plain"))
        sentences += [self._pick(extra) for extra in extras if extra != "followup_open"]
        if "followup_open" in extras and "first" not in cue:
            sentences.insert(0, self._pick("followup_open"))
        self._sum = NO_AMOUNT
        text = self._manner([self._fill(sentence, month) for sentence in sentences], channel)
        return Message(_capitalised(text) if channel != "chat" else text, self._sum)

    def _cue_place(self, cue: str, size: int) -> int:
        # A cue that points back ("it", "that") stands after the request, any other may also open the message.
        points_back = self._language != "en" or re.search(r"\b([Ii]t|that|this|its|it's)\b", cue)
        return size if points_back else self._random.choice((0, size))

    def _body(self, intent: str, urgency: str) -> tuple[tuple[str, ...], str]:
        fixed = self._phrases.get(f"{intent}.{urgency}")
        if fixed and self._random.random() < FIXED[urgency]:
            mild = self._phrases["normal.mild"] if urgency == "normal" else self._phrases[f"{urgency}.any"]
            cues = [cue for cue in mild if "{" not in cue]
            return self._asides(intent, self._random.choice(fixed)), self._maybe(cues, 0.4)
        cue = self._cue(intent, urgency)
        if self._random.random() < CONTRAST:
            return (self._contrast(intent),), cue
        requests = self._phrases[f"{intent}.any"]
        weights = [NAMES_AMOUNT if AMOUNT.search(request) else 1 for request in requests]
        return self._asides(intent, self._random.choices(requests, weights)[0]), cue

    def _cue(self, intent: str, urgency: str) -> str:
        turned = self._phrases.get(f"{urgency}.contrast")
        if turned and self._random.random() < TURNED:
            return self._random.choice(turned)
        if urgency == "normal":
            return self._maybe(self._phrases["normal.any"], 0.2)
        cues = list(self._phrases[f"{urgency}.any"])
        if urgency == "high":
            for group in EMERGENCIES.get(intent, ()):
                cues += self._phrases.get(f"high.{group}", [])
        return self._random.choice(cues)

    def _contrast(self, intent: str) -> str:
        frame = self._pick("contrast")
        return _put(frame, a=_elsewhere(self._pick(f"{self._other(intent)}.topics")), b=self._pick(f"{intent}.topics"))

    def _asides(self, intent: str, core: str) -> tuple[str, ...]:
        draw = self._random.random()
        if self._language != "en" or draw > ASIDE_BEFORE + ASIDE_AFTER:
            return (core,)
        frame = self._pick("aside_before" if draw < ASIDE_BEFORE else "aside_after")
        other = self._other(intent)
        aside = _put(frame, a=self._pick(f"{other}.topics"), r=self._pick(f"{other}.resolved"))
        aside = _elsewhere(aside)
        return (aside, core) if draw < ASIDE_BEFORE else (core, aside)

    def _other(self, intent: str) -> str:
        return self._random.choice([name for name in INTENTS if name != intent])

    def _manner(self, sentences: list[str], channel: str) -> str:
        opening, closing = {
            "email": ("email_open", "email_close"),
            "phone_transcript": ("phone_open", "phone_close"),
            "chat": ("chat_open", "chat_close"),
            "app": ("", "app_close"),
        }[channel]
        if self._language != "en":
            opening, closing = "open", "close"
        often = 0.4 if channel in ("email", "phone_transcript") else 0.25
        if opening:
            sentences = [self._fill(self._maybe(self._phrases[opening], often), 0), *sentences]
        sentences = [*sentences, self._fill(self._maybe(self._phrases[closing], often / 1.5), 0)]
        breaks = "\n" if channel == "email" else " "
        head, *middle, tail = sentences if opening else ["", *sentences]
        text = breaks.join(part for part in (head, " ".join(filter(None, middle)), tail) if part)
        if channel == "phone_transcript":
            text = self._hesitate(text)
        return self._hasty(text) if channel == "chat" else text

    def _hesitate(self, text: str) -> str:
        if self._language != "en":
            return text
        words = []
        for word in text.split(" "):
            words.append(word)
            if word.endswith((",", ".", "?")) and self._random.random() < 0.25:
                words.append(self._pick("phone_filler"))
        return re.sub(r", I(?=[tnsf] )|, (?=[TW])", lambda match: match[0].lower(), " ".join(words)).removesuffix(",")

    def _hasty(self, text: str) -> str:
        if self._random.random() < 0.6:
            text = re.sub(r"\b[A-Z](?=[a-z' ])", lambda match: match[0].lower(), text).rstrip(".")
        if self._random.random() < 0.3:
            words = list(re.finditer(r"(?<= )[a-z]{5,}(?= )", text))  # whole words, so never an address
            if words:
                word = self._random.choice(words)
                text = text[: word.start() + 2] + word[0][3] + word[0][2] + text[word.start() + 4 :]
        return text

    def _fill(self, text: str, month: int) -> str:
        while "{" in text:  # a phrase in a slot may have a slot of its own
            text = re.sub(r"\{(\w+)\}", lambda match: self._slot(match[1], month), text)
        return text

    def _slot(self, name: str, month: int) -> str:
        if name in AMOUNTS:
            amount = self._amount(name)
            self._sum = amount if self._sum == NO_AMOUNT else self._sum
            return amount
        if name.removeprefix("other_") in AMOUNTS:
            return self._amount(name.removeprefix("other_"))
        if name == "month":
            return MONTHS[self._random.randint(max(0, month - 8), month - 7)]
        if name == "ref":
            return f"{self._random.choice('ABKRT')}{self._random.randint(10000, 99999)}"
        if name == "phone" and "phone" not in self._phrases:
            return self._random.choice(("+44 7700 900{:03d}", "+1 202 555 01{:02d}", "(202) 555-01{:02d}")).format(
                self._random.randint(0, 99)
            )
        return self._pick(name)

    def _amount(self, name: str) -> str:
        low, high = self._random.choice(AMOUNTS[name])
        whole = self._random.randint(low, high)
        cents = self._random.choice(("", f"{self._random.randint(10, 99)}")) if whole < 1000 else ""
        if self._language != "en":
            return f"{whole},{cents} €" if cents else f"{whole} €"
        return f"{self._random.choice('£££€')}{whole:,}" + (f".{cents}" if cents else "")

    def _pick(self, section: str) -> str:
        return self._random.choice(self._phrases[section])

    def _maybe(self, phrases: list[str], share: float) -> str:
        return self._random.choice(phrases) if self._random.random() < share else ""


def _elsewhere(phrase: str) -> str:
    """A phrase about what is not asked for: its amounts are not the one at issue."""
    return AMOUNT.sub(r"{other_\1}", phrase)


def _put(frame: str, **topics: str) -> str:
    for name, topic in topics.items():
        frame = frame.replace(f"{{{name}}}", topic)
    return _capitalised(frame)


def _capitalised(text: str) -> str:
    return re.sub(r"(^|[.!?] |\n)([a-z])", lambda match: match[1] + match[2].upper(), text)
