"""Why a request gets no answer, for the client and for the prediction log."""

from trunkline.records.serving import Failure
from trunkline.wire import answers

# Where whoever refuses for now does not say when to ask again, as TGI and vLLM do not.
RETRY_S = 1.0
_FOR_NOW = (429, 503)


class Refused(Exception):
    """A request is not answered.

    Attributes:
        status: of the HTTP answer.
        kind: ``error_type`` of its document.
        problem: for the client.
        error: what the prediction log calls it.
        retry_after: seconds after which asking again can help; None where it cannot.
    """

    def __init__(self, status: int, kind: str, problem: str, error: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.status, self.kind, self.problem, self.error = status, kind, problem, error
        self.retry_after = retry_after

    @property
    def document(self) -> dict[str, str]:
        """The answer's body, in TGI's form."""
        return {"error": self.problem, "error_type": self.kind}


def from_failure(failure: Failure) -> Refused:
    """What a client is told of an engine's failure."""
    said = answers.error(failure)
    status = answers.STATUSES[failure.kind]
    retry_after = failure.retry_after
    if retry_after is None and status in _FOR_NOW:
        retry_after = RETRY_S
    return Refused(status, str(said["error_type"]), failure.problem, failure.kind, retry_after)
