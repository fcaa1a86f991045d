"""What an assignment requires, and what it changes: a tag, and a file on the environment's branch."""

from trunkline.errors import Error
from trunkline.records.release import Change, Decision, Manifest, Serving, Tag, message
from trunkline.registry.grammar import Assignment, is_name, name, parse
from trunkline.registry.state import Model
from trunkline.registry.versions import Version

PRODUCTION = "production"


def pinned_by(state: Model, environment: str) -> Version | None:
    """The version away from which an environment was rolled back; None when nothing pins it.

    It is the newest that the environment ever served: only a newer one may be promoted there.
    """
    newest = max(state.served(environment), default=None)
    serves = state.environments.get(environment)
    return newest if serves is not None and serves.named is not None and serves.named != newest else None


def promote(state: Model, decision: Decision) -> Change:
    """What makes a promotion true. It goes forward: to a version that stands and is newer than all served before.

    So after a rollback nothing but a newer release is promoted, and going back always takes a rollback. Where the
    version serves already, it is what made it so, so that promoting twice changes nothing.

    Raises:
        Error: one of this does not hold, or the release's tag carries no manifest.
    """
    environment, version = _check_name(decision.environment), Version(decision.version)
    if state.deprecated:
        raise Error(f"{decision.model} is deprecated: nothing more is promoted", "a rollback is still possible")
    _check_stands(state, version)
    if not _serves(state, environment, version):
        _check_newer(state, environment, version)
        return _change(state, decision, state.next_number)
    # An assignment that another tool made has no reason, and no file on the branch: this one has both.
    return standing(state, environment) or _change(state, decision, state.next_number)


def rollback(state: Model, decision: Decision) -> Change:
    """What makes a rollback true: to another version that stands and that the environment has served.

    Raises:
        Error: one of this does not hold, there is no reason, or the release's tag carries no manifest.
    """
    environment, version = _check_name(decision.environment), Version(decision.version)
    _check_stands(state, version)
    if _serves(state, environment, version):
        raise Error(f"{environment} already serves {version}", "see `trunkline history` for what it served before")
    served = state.served(environment)
    if version not in served:
        known = dict.fromkeys(str(one) for one in served if one in state.versions)
        raise Error(
            f"{environment} never served {version}",
            f"roll back to one that it has served: {', '.join(known) or 'there is none'}",
        )
    return _change(state, decision, state.next_number)


def _serves(state: Model, environment: str, version: Version) -> bool:
    serves = state.environments.get(environment)
    return serves is not None and serves.named == version


def _check_newer(state: Model, environment: str, version: Version) -> None:
    served = state.served(environment)
    newest = max(served, default=None)
    if newest is None or version > newest:
        return
    pin = pinned_by(state, environment)
    why = f"{environment} was rolled back from {pin}" if pin else f"{environment} has served {newest}"
    newer = [str(candidate) for candidate in state.versions if candidate > newest]
    allowed = f"only a newer release may be promoted: {', '.join(newer) if newer else 'there is none yet'}"
    back = f"; to go back: `trunkline rollback --to {version} --reason TEXT`" if version in served else ""
    raise Error(f"{version} cannot be promoted to {environment}: {why}", allowed + back)


def standing(state: Model, environment: str) -> Change | None:
    """What made true what an environment serves, for a branch that lacks it; None where no decision says it.

    Raises:
        Error: the release's tag carries no manifest.
    """
    serves = state.environments[environment]
    decision = decision_of(serves.tag)
    if decision is None or decision.version != str(serves.version):
        return None
    return _change(state, decision, serves.number)


def decision_of(tag: Tag) -> Decision | None:
    """The decision that an assignment's tag records; None where it records none, or one of another assignment."""
    event = parse(tag.name)
    try:
        decision = Decision.of(tag)
    except Error:
        return None
    if not isinstance(event, Assignment) or event.withdrawn:
        return None
    return decision if (decision.model, decision.environment) == (event.model, event.environment) else None


def _change(state: Model, decision: Decision, number: int) -> Change:
    release = state.versions[Version(decision.version)]
    if number == state.next_number:
        serves = state.environments.get(decision.environment)
        previous = str(serves.named) if serves is not None and serves.named is not None else None
        decision = decision.model_copy(update={"previous": previous})
    manifest = Manifest.of(release)
    tag = name(Assignment(decision.model, decision.environment, number))
    serving = Serving(
        model=decision.model,
        environment=decision.environment,
        version=decision.version,
        commit=release.commit,
        weights=dict(sorted(manifest.weights.items())),
        action=decision.action,
        reason=decision.reason,
        by=decision.by,
        since=decision.created,
        tag=tag,
    )
    return Change(
        tag=Tag(tag, release.commit, 0, message(_line(decision), decision)),
        branch=branch(decision.environment),
        files={path(decision.model): serving.yaml().encode()},
    )


def branch(environment: str) -> str:
    """The branch that holds what an environment shall serve."""
    return f"env/{environment}"


def path(model: str) -> str:
    """The file of an environment's branch that holds a model's `Serving`."""
    return f"{model}.yaml"


def rollout_path(model: str) -> str:
    """The file of an environment's branch that holds a model's last `Rollout`."""
    return f"{model}.rollout.yaml"


def _line(decision: Decision) -> str:
    # The resolver reads the first version in this line as the one that is meant.
    after = f" after {decision.previous}" if decision.previous else ""
    return f"{decision.model} {decision.version} serves in {decision.environment}{after}: {decision.action}"


def _check_name(environment: str) -> str:
    if not is_name(environment):
        raise Error(f"{environment!r} cannot name an environment", "use a-z, 0-9, - and _, such as production")
    return environment


def _check_stands(state: Model, version: Version) -> None:
    if version in state.withdrawn:
        raise Error(f"{version} was withdrawn", _known(state))
    if version not in state.versions:
        raise Error(f"there is no release {version}", _known(state))


def _known(state: Model) -> str:
    newest = [str(version) for version in list(state.versions)[-5:]]
    return f"the newest releases are {', '.join(newest)}" if newest else "merge a pull request and release it first"


def told(decision: Decision, change: Change, remote: str | None) -> str:
    """What was done, in words.

    Args:
        decision: what was wanted.
        change: what was published.
        remote: where; None where only this clone knows it.
    """
    made = Decision.of(change.tag)
    serves = f"{made.environment} serves {made.model} {made.version}"
    where = f"{change.tag.name} and {change.branch}"
    if made.model_copy(update={"previous": None}) != decision:
        return f"{serves} already, since {made.created} by {made.by} ({where})"
    after = f" after {made.previous}" if made.previous else ""
    place = f"on {remote}" if remote else "only in this clone, which has no remote `origin`"
    pin = "\nnext: `trunkline pin` on the branches that are to be compared with it"
    return f"{serves}{after} ({where}, {place}){pin if made.environment == PRODUCTION else ''}"
