"""The runs of workflows and their jobs, as GitHub Actions has recorded them; the token needs ``actions: read``.

Sources: docs.github.com/rest, "Workflow runs" and "Workflow jobs".
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel

from trunkline.clients.github.answers import read_as
from trunkline.clients.github.http import Api


class _Run(BaseModel):
    id: int


class Job(BaseModel):
    """One try of one job of a run.

    Attributes:
        head_sha: the commit that it ran for.
        conclusion: such as ``success``, ``failure`` or ``cancelled``; None while it runs.
        runner_id: of the machine; None or 0 where it never got one, and only waited or was skipped.
    """

    name: str
    head_sha: str
    conclusion: str | None
    started_at: AwareDatetime
    completed_at: AwareDatetime | None
    runner_id: int | None

    @property
    def hours(self) -> float:
        """How long it has held its machine, until now where it still does."""
        if not self.runner_id:
            return 0.0
        end = self.completed_at or datetime.now(UTC)
        return max(0.0, (end - self.started_at).total_seconds() / 3600)


class Runs:
    """What the REST API tells about one repository's runs."""

    def __init__(self, api: Api, address: str) -> None:
        self._api = api
        self._address = f"{address}/actions"

    def jobs(self, workflow: str, branch: str, since: str) -> Iterator[Job]:
        """The jobs of a workflow's runs for pull requests from a branch, every try of each.

        Args:
            workflow: name of its file.
            since: ISO 8601; earlier runs are left out.

        Raises:
            Refused: the token may not read them.
            Error: GitHub does not answer.
        """
        asked = f"event=pull_request&branch={quote(branch, safe='')}&created={quote(f'>={since}', safe='')}"
        for row in self._api.rows(f"{self._address}/workflows/{workflow}/runs?{asked}", "workflow_runs"):
            run = read_as(_Run, row).id
            for job in self._api.rows(f"{self._address}/runs/{run}/jobs?filter=all", "jobs"):
                yield read_as(Job, job)
