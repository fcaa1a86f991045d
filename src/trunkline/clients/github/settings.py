"""How a repository on GitHub is set up: rules, environments and runners, read and never written.

Sources: docs.github.com/rest, "Repositories", "Rules", "Deployment environments", "Self-hosted runners".
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field, JsonValue

from trunkline.clients.github.answers import read_as
from trunkline.clients.github.http import Api


class Repository(BaseModel):
    """The repository itself, as this token sees it."""

    private: bool


class Rule(BaseModel):
    """One rule that is active for a branch or tag, such as ``required_status_checks``."""

    type: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Names(BaseModel):
    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)


class _Conditions(BaseModel):
    ref_name: _Names = Field(default_factory=_Names)


class Ruleset(BaseModel):
    """A set of rules, and the patterns of the refs it is for."""

    enforcement: str
    conditions: _Conditions | None = None
    rules: list[Rule] = Field(default_factory=list)


class _Policy(BaseModel):
    protected_branches: bool
    custom_branch_policies: bool


class _ProtectionRule(BaseModel):
    type: str


class Environment(BaseModel):
    """A deployment environment; without a policy every branch may use it."""

    name: str
    deployment_branch_policy: _Policy | None = None
    protection_rules: list[_ProtectionRule] = Field(default_factory=list)

    @property
    def reviewed(self) -> bool:
        """Whether a job waits there for a reviewer."""
        return any(rule.type == "required_reviewers" for rule in self.protection_rules)


class _Label(BaseModel):
    name: str


class Runner(BaseModel):
    """A self-hosted runner that is registered at this moment."""

    name: str
    status: str
    labels: list[_Label]

    def has(self, *labels: str) -> bool:
        """Whether a job that runs on all these labels may run here."""
        return {label.lower() for label in labels} <= {label.name.lower() for label in self.labels}


class _Statuses(BaseModel):
    contexts: list[str] = Field(default_factory=list)


class _Protection(BaseModel):
    required_status_checks: _Statuses = Field(default_factory=_Statuses)


class _Branch(BaseModel):
    protection: _Protection = Field(default_factory=_Protection)


class _Named(BaseModel):
    name: str


class _Variable(BaseModel):
    name: str
    value: str


class _Listed(BaseModel):
    id: int
    target: str


class Settings:
    """What the REST API tells about one repository.

    Each method raises `Refused` where the token may not read that, and Error where there is no answer.
    """

    def __init__(self, api: Api, address: str) -> None:
        self._api = api
        self._address = address

    def repository(self) -> Repository:
        """The repository."""
        return read_as(Repository, self._get(""))

    def branch_rules(self, branch: str) -> list[Rule]:
        """The rules of all rulesets that are active for a branch, the organization's included."""
        rows = self._api.pages(f"{self._address}/rules/branches/{quote(branch, safe='')}")
        return [read_as(Rule, row) for row in rows]

    def protected_contexts(self, branch: str) -> set[str]:
        """The statuses that a classic branch protection requires."""
        found = read_as(_Branch, self._get(f"/branches/{quote(branch, safe='')}"))
        return set(found.protection.required_status_checks.contexts)

    def required(self, branch: str) -> set[str]:
        """The statuses without which nothing is merged into a branch, by rulesets and by classic protection."""
        asked = [rule.parameters for rule in self.branch_rules(branch) if rule.type == "required_status_checks"]
        rows = [row for parameters in asked for row in parameters.get("required_status_checks", [])]
        return {str(row.get("context")) for row in rows} | self.protected_contexts(branch)

    def tag_rulesets(self) -> list[Ruleset]:
        """The rulesets for tags; the list has no rules, so each is asked for."""
        listed = [read_as(_Listed, row) for row in self._api.pages(f"{self._address}/rulesets")]
        return [read_as(Ruleset, self._get(f"/rulesets/{row.id}")) for row in listed if row.target == "tag"]

    def environments(self) -> dict[str, Environment]:
        """The environments by name."""
        rows = (read_as(Environment, row) for row in self._rows("/environments", "environments"))
        return {row.name: row for row in rows}

    def deploying_refs(self, environment: str) -> list[str]:
        """The patterns of the branches and tags that a custom policy lets use an environment."""
        path = f"/environments/{quote(environment, safe='')}/deployment-branch-policies"
        return [read_as(_Named, row).name for row in self._rows(path, "branch_policies")]

    def secrets(self, environment: str) -> set[str]:
        """The names of an environment's secrets; what they hold nobody is told."""
        path = f"/environments/{quote(environment, safe='')}/secrets"
        return {read_as(_Named, row).name for row in self._rows(path, "secrets")}

    def variables(self, environment: str | None = None) -> dict[str, str]:
        """The repository's own variables by name, or an environment's own."""
        path = "/actions/variables" if environment is None else f"/environments/{quote(environment, safe='')}/variables"
        return {row.name: row.value for row in (read_as(_Variable, one) for one in self._rows(path, "variables"))}

    def runners(self) -> list[Runner]:
        """The self-hosted runners that are registered with the repository itself."""
        return [read_as(Runner, row) for row in self._rows("/actions/runners", "runners")]

    def _get(self, path: str) -> JsonValue:
        return self._api.send("GET", f"{self._address}{path}")

    def _rows(self, path: str, key: str) -> Iterator[JsonValue]:
        return self._api.rows(f"{self._address}{path}", key)
