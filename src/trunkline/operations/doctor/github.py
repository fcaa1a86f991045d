"""Whether GitHub is set up: what the workflows need for a pull request, for a release, and to watch it."""

from collections.abc import Callable
from typing import NamedTuple

from trunkline.clients import cml
from trunkline.clients.git import clone
from trunkline.clients.github import Refused
from trunkline.clients.github.http import Api
from trunkline.clients.github.place import Place, place, token
from trunkline.clients.github.settings import Environment, Repository, Ruleset, Settings
from trunkline.errors import Error
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown
from trunkline.operations.doctor.refs import matches

MAIN = "main"  # the branch that the workflows name
REQUIRED = ("checks", "trunkline/gate")
LABELS = ("self-hosted", "gpu-pr")
# Which ref must be able to use each environment that the workflows name, and whether only it should.
ENVIRONMENTS = {
    "gpu-pr": ("refs/pull/*/merge", False),
    "registry": (MAIN, True),
    "production": (MAIN, True),
    "monitoring": (MAIN, True),
    "retraining": (MAIN, True),
    "rollout": (MAIN, True),
    "promote-reviewed": (MAIN, True),
    "rollback": (MAIN, True),
}
REVIEWED = "promote-reviewed"
# One tag of each kind that the registry writes.
TAGS = ("refs/tags/model@v1.0.0", "refs/tags/model#production#1")
KEPT = {"update", "deletion"}
# A branch that says what an environment serves: who may write it, and that nobody rewrites it.
ENVIRONMENT_BRANCH = "env/production"
WRITTEN_BY_RELEASES = {"env": {"creation", "update"}, "env-history": {"deletion", "non_fast_forward"}}
# The deploy key that workflows push those branches with: GitHub lets no rule except its own token.
RELEASE_KEY = "RELEASE_KEY"
KEYED = ("production", "rollout", "promote-reviewed", "rollback")


class Parts(NamedTuple):
    """What was found, by what it is needed for."""

    pull_requests: list[Diagnosis]
    releases: list[Diagnosis]
    watching: list[Diagnosis]


class _Question(NamedTuple):
    name: str
    ask: Callable[[Settings, Repository, Place], Diagnosis]
    needs: str


def check(comment_with: str, wait: Callable[[float], None]) -> Parts:
    """Ask for all of it, or say why nothing was asked.

    Args:
        comment_with: ``report.comment_with`` of params.yaml.
        wait: called with the seconds to wait before GitHub is asked again.
    """
    comment = _comment(comment_with)
    found = token()
    if found is None:
        missing = unknown("token", "none in GITHUB_TOKEN or GH_TOKEN", "GITHUB_TOKEN=$(gh auth token) trunkline doctor")
        return _unasked([missing, comment], "not asked: set GITHUB_TOKEN")
    try:
        where = place(clone.address("origin"))
        settings = Settings(Api(found, wait), f"{where.api}/repos/{where.repository}")
        repository = settings.repository()
    except Error as error:
        return _unasked([failed("repository", error.problem, error.hint), comment], "not asked: no such repository")
    parts = [[_asked(one, settings, repository, where) for one in questions] for questions in _QUESTIONS]
    return Parts([passed("repository", where.page), comment, *parts[0]], *parts[1:])


def _unasked(known: list[Diagnosis], why: str) -> Parts:
    parts = [[unknown(question.name, why, "") for question in questions] for questions in _QUESTIONS]
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


def _main_rules(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    rules = settings.branch_rules(MAIN)
    statuses = [rule.parameters for rule in rules if rule.type == "required_status_checks"]
    missing = sorted(set(REQUIRED) - settings.required(MAIN))
    fix = f"gh api --method POST repos/{where.repository}/rulesets --input .github/rulesets/main.json"
    if missing:
        return failed("branch rules", f"{MAIN} can be merged into without {' and '.join(missing)}", fix)
    if not statuses:
        page = f"{where.page}/settings/branches: require branches to be up to date before merging"
        return unknown("branch rules", "a classic protection does not tell whether a branch must be up to date", page)
    if not any(found.get("strict_required_status_checks_policy") for found in statuses):
        return failed("branch rules", f"a branch behind {MAIN} can be merged: what was judged is not what results", fix)
    return passed("branch rules", f"{MAIN} requires {' and '.join(REQUIRED)} of an up-to-date branch")


def _runner(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    runners = [runner for runner in settings.runners() if runner.has(*LABELS)]
    online = [runner.name for runner in runners if runner.status == "online"]
    labels = " and ".join(LABELS)
    if online:
        return passed("runner", f"online with {labels}: {', '.join(online)}")
    if runners:
        return failed("runner", f"{runners[0].name} is offline", "start it: .github/RUNNERS.md")
    found = f"none with {labels} now, as is right where runners start with a job or belong to the organization"
    return unknown("runner", found, "otherwise: .github/RUNNERS.md")


def _environment(name: str) -> Callable[[Settings, Repository, Place], Diagnosis]:
    ref, only = ENVIRONMENTS[name]

    def ask(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
        found = settings.environments().get(name)
        if found is None:
            return failed(name, "there is no such environment", _create(where, name, only))
        allowed = _allowed(settings, found)
        if only and allowed is None:
            return failed(name, "every branch may use it, and its secrets", _create(where, name, only))
        if allowed is not None and not matches(ref.replace("*", "1"), allowed):
            return failed(name, f"{ref} may not use it", f"{where.page}/settings/environments: allow {ref}")
        return passed(name, "every branch may use it" if allowed is None else f"for {', '.join(allowed)}")

    return ask


def _allowed(settings: Settings, environment: Environment) -> list[str] | None:
    """The patterns of the refs that may use an environment; None: all."""
    policy = environment.deployment_branch_policy
    if policy is None:
        return None
    return settings.deploying_refs(environment.name) if policy.custom_branch_policies else [MAIN]


def _create(where: Place, name: str, only: bool) -> str:
    address = f"repos/{where.repository}/environments/{name}"
    if not only:
        return f"gh api --method PUT {address}"
    kinds = ("protected_branches]=false", "custom_branch_policies]=true")
    policy = " ".join(f"-F 'deployment_branch_policy[{kind}'" for kind in kinds)
    return f"gh api --method PUT {address} {policy} && gh api {address}/deployment-branch-policies -f name={MAIN}"


def _tag_rules(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    active = [ruleset for ruleset in settings.tag_rulesets() if ruleset.enforcement == "active"]
    fix = f"gh api --method POST repos/{where.repository}/rulesets --input .github/rulesets/tags.json"
    for tag in TAGS:
        missing = sorted(KEPT - {rule.type for ruleset in active if _is_for(tag, ruleset) for rule in ruleset.rules})
        if missing:
            shown = tag.removeprefix("refs/tags/")
            return failed("tag rules", f"a tag such as {shown} has no rule against its {' and '.join(missing)}", fix)
    return passed("tag rules", "registry tags can be neither moved nor deleted")


def _environment_rules(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    there = {rule.type for rule in settings.branch_rules(ENVIRONMENT_BRANCH)}
    lacking = {name: sorted(rules - there) for name, rules in WRITTEN_BY_RELEASES.items() if rules - there}
    if lacking:
        names = [rule.replace("non_fast_forward", "rewriting") for rules in lacking.values() for rule in rules]
        post = f"gh api --method POST repos/{where.repository}/rulesets --input .github/rulesets"
        fix = " && ".join(f"{post}/{name}.json" for name in lacking)
        return failed("env rules", f"{ENVIRONMENT_BRANCH} has no rule against its {' and '.join(names)} by anyone", fix)
    return passed("env rules", "only a release's key and administrators write env/*, and nobody rewrites it")


def _release_key(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    there = settings.environments()
    # Whether the others are there is told in rows of their own.
    lacking = [name for name in KEYED if name in there and RELEASE_KEY not in settings.secrets(name)]
    if KEYED[0] not in there:
        return unknown("release key", f"there is no environment {KEYED[0]} that could have it", "")
    if not lacking:
        return passed("release key", f"the secret {RELEASE_KEY} is there for whatever writes env/*")
    found = f"{' and '.join(lacking)} without the secret {RELEASE_KEY}: where env rules hold, they cannot write env/*"
    make = "ssh-keygen -q -t ed25519 -N '' -f release_key && gh repo deploy-key add release_key.pub --allow-write"
    keep = " && ".join(f"gh secret set {RELEASE_KEY} --env {name} < release_key" for name in lacking)
    return failed("release key", found, f"{make} && {keep} && rm release_key release_key.pub")


def _reviewers(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    found = settings.environments().get(REVIEWED)
    if found is not None and found.reviewed:
        return passed("reviewers", f"a held rollout waits for those of {REVIEWED}")
    said = f"{REVIEWED} has none: a held rollout is decided by the workflow's actions alone"
    return unknown("reviewers", said, f"{where.page}/settings/environments: required reviewers of {REVIEWED}")


def _is_for(tag: str, ruleset: Ruleset) -> bool:
    if ruleset.conditions is None:
        return True
    names = ruleset.conditions.ref_name
    return matches(tag, names.include) and not matches(tag, names.exclude)


_PULL_REQUESTS = (
    _Question("visibility", _visibility, "the permission metadata: read"),
    _Question("branch rules", _main_rules, "the permissions metadata: read and contents: read"),
    _Question("gpu-pr", _environment("gpu-pr"), "the permission actions: read"),
    _Question("runner", _runner, "the permission administration: read"),
)
_RELEASES = (
    _Question("tag rules", _tag_rules, "the permission metadata: read"),
    _Question("registry", _environment("registry"), "the permission actions: read"),
    _Question("production", _environment("production"), "the permission actions: read"),
    _Question("env rules", _environment_rules, "the permission metadata: read"),
    _Question("release key", _release_key, "the permission environments: read"),
)
_WATCHING = (
    _Question("monitoring", _environment("monitoring"), "the permission actions: read"),
    _Question("retraining", _environment("retraining"), "the permission actions: read"),
    _Question("rollout", _environment("rollout"), "the permission actions: read"),
    _Question("promote-reviewed", _environment(REVIEWED), "the permission actions: read"),
    _Question("reviewers", _reviewers, "the permission actions: read"),
    _Question("rollback", _environment("rollback"), "the permission actions: read"),
)
_QUESTIONS = (_PULL_REQUESTS, _RELEASES, _WATCHING)
