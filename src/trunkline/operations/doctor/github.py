"""Whether GitHub is set up: what the workflows need for a pull request, for a release, and to watch it."""

from collections.abc import Callable
from typing import NamedTuple

from trunkline.clients import cml
from trunkline.clients.git import clone
from trunkline.clients.github import Refused
from trunkline.clients.github.http import Api
from trunkline.clients.github.place import Place, place, token
from trunkline.clients.github.settings import Environment, Repository, Settings
from trunkline.errors import Error
from trunkline.operations.doctor import rules, secrets
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown
from trunkline.operations.doctor.refs import matches
from trunkline.params import ReleaseParams

SELF_HOSTED, GPU, SERVING = "self-hosted", "gpu-pr", "serving"
# Which ref must be able to use each environment that the workflows name, and whether only it should.
ENVIRONMENTS = {
    "gpu-pr": ("refs/pull/*/merge", False),
    "registry": (rules.MAIN, True),
    "production": (rules.MAIN, True),
    "monitoring": (rules.MAIN, True),
    "retraining": (rules.MAIN, True),
    "rollout": (rules.MAIN, True),
    "promote-reviewed": (rules.MAIN, True),
    "rollback": (rules.MAIN, True),
}
REVIEWED = "promote-reviewed"


class Parts(NamedTuple):
    """What was found, by what it is needed for."""

    pull_requests: list[Diagnosis]
    releases: list[Diagnosis]
    watching: list[Diagnosis]


class _Question(NamedTuple):
    name: str
    ask: Callable[[Settings, Repository, Place], Diagnosis]
    needs: str


def check(comment_with: str, release: ReleaseParams, wait: Callable[[float], None]) -> Parts:
    """Ask for all of it, or say why nothing was asked.

    Args:
        comment_with: ``report.comment_with`` of params.yaml.
        release: the section of params.yaml.
        wait: called with the seconds to wait before GitHub is asked again.
    """
    comment, asked = _comment(comment_with), _questions(release)
    found = token()
    if found is None:
        missing = unknown("token", "none in GITHUB_TOKEN or GH_TOKEN", "GITHUB_TOKEN=$(gh auth token) trunkline doctor")
        return _unasked(asked, [missing, comment], "not asked: set GITHUB_TOKEN")
    try:
        where = place(clone.address("origin"))
        settings = Settings(Api(found, wait), f"{where.api}/repos/{where.repository}")
        repository = settings.repository()
    except Error as error:
        known = [failed("repository", error.problem, error.hint), comment]
        return _unasked(asked, known, "not asked: no such repository")
    parts = [[_asked(one, settings, repository, where) for one in questions] for questions in asked]
    return Parts([passed("repository", where.page), comment, *parts[0]], *parts[1:])


def _unasked(asked: "_Questions", known: list[Diagnosis], why: str) -> Parts:
    parts = [[unknown(question.name, why, "") for question in questions] for questions in asked]
    return Parts([*known, *parts[0]], *parts[1:])


def _asked(question: _Question, settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    try:
        return question.ask(settings, repository, where)
    except Refused as refused:
        return unknown(
            question.name, refused.problem, f"use a token with {question.needs}, or look at {where.page}/settings"
        )
    except Error as error:
        return unknown(question.name, error.problem, error.hint)


def _comment(wanted: str) -> Diagnosis:
    if cml.found():
        return passed("comment", f"CML is on PATH (report.comment_with: {wanted})")
    if wanted == "cml":
        return failed(
            "comment", "report.comment_with is cml, and there is no `cml` on PATH", "write `comment_with: auto`"
        )
    return passed("comment", "without CML, through GitHub's REST API")


def _visibility(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    if repository.private:
        return passed("visibility", "private: nobody else can propose code for your GPU")
    page = f"{where.page}/settings/actions: require approval for all outside contributors"
    return unknown("visibility", "public: GitHub advises against self-hosted runners here", page)


def _runner(name: str, label: str) -> Callable[[Settings, Repository, Place], Diagnosis]:
    def ask(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
        if label == SERVING and not secrets.serves(settings):
            return secrets.unserved(name)
        runners = [runner for runner in settings.runners() if runner.has(SELF_HOSTED, label)]
        online = [runner.name for runner in runners if runner.status == "online"]
        labels = f"{SELF_HOSTED} and {label}"
        if online:
            return passed(name, f"online with {labels}: {', '.join(online)}")
        if runners:
            return failed(name, f"{runners[0].name} is offline", "start it: .github/RUNNERS.md")
        found = f"none with {labels} now, as is right where runners start with a job or belong to the organization"
        return unknown(name, found, "otherwise: .github/RUNNERS.md")

    return ask


def _environment(name: str) -> Callable[[Settings, Repository, Place], Diagnosis]:
    ref, only = ENVIRONMENTS[name]

    def ask(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
        found = settings.environments().get(name)
        if found is None:
            return failed(name, "there is no such environment", _create(where, name, only))
        allowed = _allowed(settings, found)
        if only and allowed is None:
            return failed(name, "every branch may use it, and its secrets", _create(where, name, only))
        page = f"{where.page}/settings/environments"
        if allowed is not None and not matches(ref.replace("*", "1"), allowed):
            return failed(name, f"{ref} may not use it", f"{page}: allow {ref}")
        others = [pattern for pattern in allowed or [] if pattern != ref]
        if only and others:
            return failed(name, f"{', '.join(others)} may use it too, and its secrets", f"{page}: allow {ref} alone")
        return passed(name, "every branch may use it" if allowed is None else f"for {', '.join(allowed)}")

    return ask


def _allowed(settings: Settings, environment: Environment) -> list[str] | None:
    """The patterns of the refs that may use an environment; None: all."""
    policy = environment.deployment_branch_policy
    if policy is None:
        return None
    return settings.deploying_refs(environment.name) if policy.custom_branch_policies else [rules.MAIN]


def _create(where: Place, name: str, only: bool) -> str:
    address = f"repos/{where.repository}/environments/{name}"
    if not only:
        return f"gh api --method PUT {address}"
    kinds = ("protected_branches]=false", "custom_branch_policies]=true")
    policy = " ".join(f"-F 'deployment_branch_policy[{kind}'" for kind in kinds)
    return f"gh api --method PUT {address} {policy} && gh api {address}/deployment-branch-policies -f name={rules.MAIN}"


def _reviewers(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    found = settings.environments().get(REVIEWED)
    if found is not None and found.reviewed:
        return passed("reviewers", f"a held rollout waits for those of {REVIEWED}")
    said = f"{REVIEWED} has none: a held rollout is decided by the workflow's actions alone"
    return unknown("reviewers", said, f"{where.page}/settings/environments: required reviewers of {REVIEWED}")


_PULL_REQUESTS = (
    _Question("visibility", _visibility, "the permission metadata: read"),
    _Question("branch rules", rules.main, "the permissions metadata: read and contents: read"),
    _Question("gpu-pr", _environment("gpu-pr"), "the permission actions: read"),
    _Question("runner", _runner("runner", GPU), "the permission administration: read"),
)
_RELEASES = (
    _Question("tag rules", rules.tags, "the permission metadata: read"),
    _Question("registry", _environment("registry"), "the permission actions: read"),
    _Question("production", _environment("production"), "the permission actions: read"),
    _Question("env rules", rules.environments, "the permission metadata: read"),
    _Question("release key", secrets.release_key, "the permission environments: read"),
    _Question("storage", secrets.storage, "the permissions environments: read and variables: read"),
)
_WATCHING = (
    _Question("monitoring", _environment("monitoring"), "the permission actions: read"),
    _Question("retraining", _environment("retraining"), "the permission actions: read"),
    _Question("rollout", _environment("rollout"), "the permission actions: read"),
    _Question("promote-reviewed", _environment(REVIEWED), "the permission actions: read"),
    _Question("reviewers", _reviewers, "the permission actions: read"),
    _Question("rollback", _environment("rollback"), "the permission actions: read"),
    _Question("serving", _runner("serving", SERVING), "the permissions administration: read and variables: read"),
    _Question("retrain token", secrets.retrain_token, "the permissions environments: read and variables: read"),
)
_Questions = tuple[tuple[_Question, ...], ...]


def _questions(release: ReleaseParams) -> _Questions:
    asked = [_Question("signing", secrets.signing(release.sign), "the permission environments: read")]
    if release.hub is not None:
        needs = "the permissions environments: read and variables: read"
        asked.append(_Question("hub token", secrets.hub_token, needs))
    return _PULL_REQUESTS, (*_RELEASES, *asked), _WATCHING
