"""In which form personal texts are kept: as they are, hashed with a key, or not at all."""

import hashlib
import hmac
import os

from trunkline.errors import Error
from trunkline.params import LogParams
from trunkline.records import Record
from trunkline.records.prediction import Assignment, Outcome

KEY = "TRUNKLINE_LOG_KEY"


class Kept:
    """Turns records into the form that params.yaml allows, before they are written anywhere.

    A hash is HMAC-SHA-256 (RFC 2104): without the key, nobody finds a customer by hashing all numbers.

    Raises:
        Error: something is to be hashed, and the environment has no key.
    """

    def __init__(self, params: LogParams) -> None:
        self._forms = {"customer": params.customer, "input": params.input, "output": params.output}
        self._key = os.environ.get(KEY, "").encode()
        if "hash" in self._forms.values() and not self._key:
            hashed = [f"serve.log.{name}" for name, form in self._forms.items() if form == "hash"]
            raise Error(f"{', '.join(hashed)}: hash needs a key", f"set {KEY} to a long random text, always the same")

    def record(self, record: Record) -> Record:
        """A record with its texts in their form."""
        fields = {Assignment: ("customer", "input"), Outcome: ("output",)}.get(type(record), ())
        changed = {name: self.text(name, getattr(record, name)) for name in fields if self._forms[name] != "text"}
        return record.model_copy(update=changed) if changed else record

    def text(self, name: str, text: str | None) -> str | None:
        """A customer, input or output in its form."""
        if text is None or self._forms[name] == "none":
            return None
        if self._forms[name] == "hash":
            return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        return text
