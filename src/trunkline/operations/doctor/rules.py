"""Whether GitHub keeps what it must: main, the registry's tags, and the branches that say what serves."""

from collections.abc import Iterable, Mapping, Sequence

from trunkline.clients.github.place import Place
from trunkline.clients.github.settings import Repository, Ruleset, Settings
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown
from trunkline.operations.doctor.refs import matches

MAIN = "main"  # the branch that the workflows name
REQUIRED = ("checks", "trunkline/gate")
# One tag of each kind that the registry writes.
TAGS = ("refs/tags/model@v1.0.0", "refs/tags/model#production#1")
# By the file of .github/rulesets that holds them: who may make one, and that nobody moves or removes it.
TAG_RULES = {"tags": {"creation"}, "tags-history": {"update", "deletion"}}
# A branch that says what an environment serves: who may write it, and that nobody rewrites it.
ENVIRONMENT_BRANCH = "env/production"
WRITTEN_BY_RELEASES = {"env": {"creation", "update"}, "env-history": {"deletion", "non_fast_forward"}}


def main(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """Nothing is merged that was not judged as it is merged."""
    rules = settings.branch_rules(MAIN)
    statuses = [rule.parameters for rule in rules if rule.type == "required_status_checks"]
    missing = sorted(set(REQUIRED) - settings.required(MAIN))
    fix = _post(where, ["main"])
    if missing:
        return failed("branch rules", f"{MAIN} can be merged into without {' and '.join(missing)}", fix)
    if not statuses:
        page = f"{where.page}/settings/branches: require branches to be up to date before merging"
        return unknown("branch rules", "a classic protection does not tell whether a branch must be up to date", page)
    if not any(found.get("strict_required_status_checks_policy") for found in statuses):
        return failed("branch rules", f"a branch behind {MAIN} can be merged: what was judged is not what results", fix)
    reviews = [rule.parameters for rule in rules if rule.type == "pull_request"]
    if any(found.get("required_approving_review_count") for found in reviews) and not _last(reviews):
        return failed("branch rules", f"what is pushed after an approval can be merged into {MAIN} unseen", fix)
    return passed("branch rules", f"{MAIN} requires {' and '.join(REQUIRED)} of an up-to-date branch")


def _last(reviews: Iterable[Mapping[str, object]]) -> bool:
    """Whether a review is one of the last push."""
    kept = ("dismiss_stale_reviews_on_push", "require_last_push_approval")
    return any(found.get(name) for found in reviews for name in kept)


def tags(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """Registry tags are made by a release alone, and stay as they are."""
    active = [ruleset for ruleset in settings.tag_rulesets() if ruleset.enforcement == "active"]
    for tag in TAGS:
        there = {rule.type for ruleset in active if _is_for(tag, ruleset) for rule in ruleset.rules}
        lacking = _lacking(TAG_RULES, there)
        if lacking:
            shown = tag.removeprefix("refs/tags/")
            found = f"a tag such as {shown} has no rule against its {_kinds(lacking)} by anyone"
            return failed("tag rules", found, _post(where, lacking))
    return passed("tag rules", "only a release's key and administrators make registry tags, and nobody moves one")


def environments(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """What serves is written by a release alone, and what has served by nobody."""
    there = {rule.type for rule in settings.branch_rules(ENVIRONMENT_BRANCH)}
    lacking = _lacking(WRITTEN_BY_RELEASES, there)
    if lacking:
        found = f"{ENVIRONMENT_BRANCH} has no rule against its {_kinds(lacking)} by anyone"
        return failed("env rules", found, _post(where, lacking))
    return passed("env rules", "only a release's key and administrators write env/*, and nobody rewrites it")


def _lacking(wanted: Mapping[str, set[str]], there: set[str]) -> dict[str, list[str]]:
    """By ruleset: the rules that are not there."""
    return {name: sorted(rules - there) for name, rules in wanted.items() if rules - there}


def _kinds(lacking: Mapping[str, Sequence[str]]) -> str:
    """The rules that are missing, in words."""
    return " and ".join(rule.replace("non_fast_forward", "rewriting") for rules in lacking.values() for rule in rules)


def _post(where: Place, names: Iterable[str]) -> str:
    """The commands that make rulesets of our files."""
    post = f"gh api --method POST repos/{where.repository}/rulesets --input .github/rulesets"
    return " && ".join(f"{post}/{name}.json" for name in names)


def _is_for(tag: str, ruleset: Ruleset) -> bool:
    if ruleset.conditions is None:
        return True
    names = ruleset.conditions.ref_name
    return matches(tag, names.include) and not matches(tag, names.exclude)
