"""A text as its readers take it: what people see, and what a model makes of what is hidden in it."""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import unquote

# Decoded, and what comes out once more.
_DEPTH = 2
_LAID_OUT = "\t\n\v\f\r\x85"
# Letters and marks that nothing is drawn for; what else is invisible, the categories Cf and Cc tell.
_BLANK = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0}
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
# Unicode's tags: ASCII that nobody sees, and that models read.
_TAGS = {0xE0000 + code: code for code in range(0x20, 0x7F)}
# Of other alphabets, what looks like a small Latin letter (after Unicode's confusables.txt).
_LOOKS_LIKE = str.maketrans(
    "авеԁһіјкӏмнопԛрѕтѵԝхуьαβεηικνορτυχωօոսհᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡıłøđ",
    "abedhijklmhonqpstvwxybabenikvoptuxwonuhabcdefghijklmnoprstuvwyzagilod",
)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{16,4000}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[ :]?){12,4000}")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}){4}")
_ESCAPE = re.compile(r"\\(?:u\{?([0-9A-Fa-f]{4})\}?|x([0-9A-Fa-f]{2}))")
_WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]+){2,}")
_LETTER = re.compile(r"(?<![^\W_])([^\W_])[ ._*|/-](?=[^\W_](?![^\W_]))")
_PARTS = dict.fromkeys(map(ord, "._*|/-"), " ")


class _Shown(dict[int, int | str | None]):
    """What is shown of a character: `str.translate` asks it."""

    def __missing__(self, code: int) -> int | str | None:
        """Not kept for ever: a client could fill the memory with what it sends."""
        return _shown(code)


@lru_cache(maxsize=4096)
def _shown(code: int) -> int | str | None:
    character, category = chr(code), unicodedata.category(chr(code))
    if code in _BLANK or any(code in selectors for selectors in _SELECTORS):
        return None
    if category in ("Cf", "Cs") or (category == "Cc" and character not in _LAID_OUT):
        return None
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return {"Pd": "-", "Zs": " ", "Zl": "\n", "Zp": "\n"}.get(category, code)


_SHOWN = _Shown({code: _shown(code) for code in range(0x250)})


def visible(text: str) -> str:
    """A text without what nobody sees, and each letter, digit, dash and blank written in one way (NFKC)."""
    return unicodedata.normalize("NFKC", text.translate(_SHOWN)).translate(_SHOWN)


def unmasked(text: str) -> str:
    """A text in small letters without marks on them, and with Latin ones for those that only look like them."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.category(c).startswith("M"))
    return bare.translate(_LOOKS_LIKE)


def spelled(text: str) -> str:
    """A text whose letters stand apart, or whose words are not parted by blanks, as it is meant."""
    together, count = _LETTER.subn(r"\1", text)
    if count >= len(text) // 4:
        return together.translate(_PARTS)
    parts = [part for part in "_\n" if text.count(part) > text.count(" ")]
    return text.translate({ord(part): " " for part in parts})


def decoded(text: str, visibly: str) -> Iterator[str]:
    """What a text says to a reader who decodes it.

    Args:
        text: as it came.
        visibly: as it is shown.
    """
    tagged = "".join(chr(_TAGS[ord(c)]) for c in text if ord(c) in _TAGS)
    if tagged:
        yield tagged
    layers = [visibly]
    for _ in range(_DEPTH):
        layers = [said for layer in layers for decode in _DECODERS if (said := decode(layer)) not in ("", layer)]
        yield from map(visible, layers)


def _entities(text: str) -> str:
    return html.unescape(text)


def _escapes(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def _percents(text: str) -> str:
    return unquote(text) if _PERCENT.search(text) else text


def _base64(text: str) -> str:
    """All of it that is text: also broken into lines or groups, or with something before it."""
    plain = text.translate({ord("-"): "+", ord("_"): "/"})
    blobs = [*_BASE64.findall(plain), *_BASE64.findall(re.sub(r"\s+", "", plain))]
    return "\n".join(_words(_unpacked(blob[shift:])) for blob in blobs for shift in range(4)).strip()


def _unpacked(blob: str) -> bytes:
    try:
        return base64.b64decode(blob[: len(blob) // 4 * 4] + _ending(blob))
    except binascii.Error:
        return b""


def _ending(blob: str) -> str:
    rest = blob[len(blob) // 4 * 4 :]
    return rest + "=" * (-len(rest) % 4) if len(rest) > 1 else ""


def _hexadecimal(text: str) -> str:
    blobs = (re.sub(r"[ :]", "", blob) for blob in _HEX.findall(text))
    return "\n".join(_words(bytes.fromhex(blob)) for blob in blobs).strip()


def _words(content: bytes) -> str:
    """What is text of several words, or packed once more; else nothing."""
    try:
        said = visible(content.decode())
    except UnicodeDecodeError:
        return ""
    return said if _WORDS.search(said) or _BASE64.fullmatch(said.rstrip("=")) else ""


_DECODERS: tuple[Callable[[str], str], ...] = (_entities, _escapes, _percents, _base64, _hexadecimal)
