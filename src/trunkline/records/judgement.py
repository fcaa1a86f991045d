"""Who a judge is. Its verdicts are feedback in the prediction log, under a source that is never people's.

The score is 1 where it calls an answer right, 0 where wrong, and missing where its verdict could not be read; the
comment is the `Judge` as JSON.
"""

import hashlib

from trunkline.records import Record

# Begins the source of every judge's feedback.
JUDGES = "judge:"


class Judge(Record):
    """An LLM that reads what was asked and answered, by all that its verdicts depend on.

    Attributes:
        model: the name that it is asked by.
        said: what it says that it is.
        fingerprint: its ``system_fingerprint``.
        prompt: hash of the prompt template and of what fills it besides message and answer.
    """

    model: str
    said: str | None
    fingerprint: str | None
    prompt: str

    @property
    def id(self) -> str:
        """A hash of all of it: another model, fingerprint or prompt is another judge."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def source(self) -> str:
        """The source of its feedback."""
        return JUDGES + self.id
