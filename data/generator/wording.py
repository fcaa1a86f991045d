"""Reads the hand-written wording: text files of ``[section]`` headings with one phrase a line."""

from pathlib import Path

WORDING = Path(__file__).parent / "wording"
INTENTS = (
    "card_lost",
    "card_declined",
    "transfer_missing",
    "refund_request",
    "login_problem",
    "limit_change",
    "fee_question",
    "close_account",
)
URGENCIES = ("low", "normal", "high")


def load(language: str) -> dict[str, list[str]]:
    """Phrases by section; an English intent file's sections are prefixed with the intent's name."""
    phrases = _sections(WORDING / "en" / "slots.txt")
    if language != "en":
        return phrases | _sections(WORDING / f"{language}.txt")
    for path in sorted((WORDING / "en").glob("*.txt")):
        prefix = f"{path.stem}." if path.stem in INTENTS else ""
        phrases |= {prefix + name: lines for name, lines in _sections(path).items()}
    return phrases


def _sections(path: Path) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif line:
            lines.append(line)
    return sections
