"""Where the models of the two sides are, and the one that is loaded."""

from pathlib import Path

from trunkline.clients import model
from trunkline.clients.model import LoadedModel
from trunkline.params import EvaluateParams

BASE = Path("models/base")
MODELS = Path("models")


def folders(side: str) -> tuple[Path, Path]:
    """The base model and the adapter of a side."""
    # A release that was trained on another base model brings that one along.
    own = MODELS / side / "base"
    return own if own.is_dir() else BASE, MODELS / side


class Models:
    """Keeps the last side's model for whatever that side is asked next."""

    def __init__(self, settings: EvaluateParams) -> None:
        self._settings = settings
        self._last: tuple[str, LoadedModel] | None = None

    def load(self, side: str) -> LoadedModel:
        """A side's model.

        Raises:
            Error: it is missing or damaged.
        """
        if self._last is None or self._last[0] != side:
            self._last = None  # before the next one takes memory
            loaded = model.load(*folders(side), self._settings.precision, self._settings.attention)
            self._last = side, loaded
        return self._last[1]
