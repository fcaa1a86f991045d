"""Registered, versioned transformations of a message: the same functions in training and in serving.

A transform is named ``name@version`` and identified by ``name@version:hash`` of its source, so a model
folder says exactly what was done to its inputs. To change a transform, register the next version.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from types import ModuleType

from trunkline import pii
from trunkline.errors import Error
from trunkline.registration import Registration

TransformFunction = Callable[[str], str]

_TRANSFORMS: Registration[TransformFunction] = Registration("transform", "features.transforms")


def transform(
    name: str, version: int, uses: tuple[ModuleType, ...] = ()
) -> Callable[[TransformFunction], TransformFunction]:
    """Register a pure function ``message -> message`` as ``name@version``.

    Args:
        name: what params.yaml calls it.
        version: raised whenever what the function does changes.
        uses: modules whose source decides what the function does; their text is part of its id.

    Raises:
        Error: another function is registered under that name and version.
    """

    def register(function: TransformFunction) -> TransformFunction:
        _TRANSFORMS.add(f"{name}@{version}", function, function, uses)
        return function

    return register


def identify(names: tuple[str, ...]) -> tuple[str, ...]:
    """The ids of registered transforms named ``name@version``.

    Raises:
        Error: one is not registered.
    """
    return _TRANSFORMS.identify(names)


def changed(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a model's transforms whose source is another now than when the model was trained."""
    return tuple(wanted for wanted in ids if _TRANSFORMS.find(wanted).id != wanted)


def apply(ids: tuple[str, ...], message: str) -> str:
    """Apply transforms in order; ids may be given with or without their hash.

    Raises:
        Error: one is not registered, fails, or returns anything but text.
    """
    for wanted in ids:
        message = _applied(wanted, message)
    return message


def _applied(wanted: str, message: str) -> str:
    function = _TRANSFORMS.find(wanted).value
    hint = "correct it in the module that project.module names in params.yaml"
    try:
        found = function(message)
    except Exception as error:  # a user's transform may raise anything, and say a customer's words in it
        raise Error(f"transform {wanted} fails on a message: {type(error).__name__}", hint) from error
    if not isinstance(found, str):
        raise Error(f"transform {wanted} returns {type(found).__name__} and not text", hint)
    return found


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_SPACE = re.compile(r"\s+")


@transform("clean_text", 1)
def clean_text(message: str) -> str:
    """One line of NFC text without HTML entities, control characters or chat-template tokens.

    A customer who writes ``<|im_end|>`` must not be able to end their own turn.
    """
    text = unicodedata.normalize("NFC", html.unescape(message))
    text = _CONTROL.sub(" ", text).replace("<|", "< |").replace("|>", "| >")
    return _SPACE.sub(" ", text).strip()


@transform("mask_pii", 1, uses=(pii,))
def mask_pii(message: str) -> str:
    """Replace personal data by its kind, as the data stage does before anything is stored."""
    return pii.mask(message)
