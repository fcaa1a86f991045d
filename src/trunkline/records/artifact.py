"""What the training job hands over to the job that may write to the pull request."""

from pydantic import Field

from trunkline.records import Record


class Artifact(Record):
    """``artifact.json`` in the artifact's folder: which commit the run was of, and what it left.

    Attributes:
        head: the 40-hex commit whose code, params and data were run.
        files: SHA-256 by path of dvc.lock and of every file in reports/.
    """

    head: str = Field(pattern=r"^[0-9a-f]{40}$")
    files: dict[str, str]
