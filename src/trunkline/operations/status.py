"""What each environment serves, since when and by whom; and what waits for somebody to do something."""

from pathlib import Path

from trunkline import registry, terminal
from trunkline.clients import reports
from trunkline.clients.git import branches, tags
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Production
from trunkline.records.release import Manifest
from trunkline.records.rollout import Rollout
from trunkline.registry import PRODUCTION, Assigned, Model
from trunkline.rollout import shadow
from trunkline.rollout import state as rollouts
from trunkline.words import plain

_HEAD = ("environment", "serves", "since", "by", "why")


def run(params: Params) -> str:
    """The state that the tags say, and where the environment branches or data/production.json say another.

    Raises:
        Error: this is no Git repository.
    """
    remote = tags.origin()
    state = registry.of(tags.known(), params.project.name)
    last = {entry.environment: entry for entry in registry.history(state)}
    rows = [
        (name, str(assigned.named or "?"), last[name].time, last[name].by, _why(name, state, last[name].reason))
        for name, assigned in sorted(state.environments.items())
    ]
    lines = [f"{params.project.name}: {_latest(state)}"]
    lines += ["", *terminal.table([_HEAD, *rows])] if rows else ["no environment serves a release yet"]
    branched = _branches(remote, state, params.project.name)
    tried, broken = _rollouts(remote, params.project.name)
    notes = [
        *(note for name, assigned in sorted(state.environments.items()) for note in _odd(name, assigned)),
        *branched,
        *broken,
        *(_tried(history[-1]) for history in tried.values()),
        *_waiting(state, tried.get(PRODUCTION, [])),
        _pinned(Path(params.production.pinned), state),
    ]
    return "\n".join([*lines, "", *(f"- {plain(note)}" for note in notes)])


def _latest(state: Model) -> str:
    if state.latest is None:
        return "no release yet"
    retired = "; the model is deprecated" if state.deprecated else ""
    try:
        manifest = Manifest.of(state.versions[state.latest])
    except Error:
        return f"the latest release is {state.latest}, which carries no manifest{retired}"
    return f"the latest release is {state.latest}, of {manifest.created} by {manifest.by}{retired}"


def _why(environment: str, state: Model, reason: str | None) -> str:
    pin = registry.pinned_by(state, environment)
    pinned = f"; pinned: only a release newer than {pin} is promoted" if pin else ""
    return f"{reason or 'no decision is recorded'}{pinned}"


def _odd(environment: str, assigned: Assigned) -> list[str]:
    if assigned.named is None:
        return [f"{environment} serves commit {assigned.tag.commit[:12]}, which is no release"]
    if assigned.version is None:
        return [f"{environment} serves {assigned.named}, which was withdrawn: promote a newer one, or roll back"]
    return []


def _branches(remote: str | None, state: Model, model: str) -> list[str]:
    """Where an environment's branch does not say what its last tag says."""
    if remote is not None:
        try:
            branches.refresh(remote, registry.branch(""))
        except Error as error:
            return [f"the branches {registry.branch('*')} were not compared: {error.problem}"]
    notes = []
    for name, assigned in sorted(state.environments.items()):
        if assigned.version is None:
            continue
        again = f"`trunkline promote {assigned.version} --to {name}` writes it"
        try:
            wanted = registry.standing(state, name)
        except Error as error:
            notes.append(error.problem)
            continue
        path = registry.path(model)
        if wanted is None:
            notes.append(f"{assigned.tag.name} was made by another tool and records no decision: {again}")
        elif branches.read(remote, wanted.branch, path) != wanted.files[path]:
            notes.append(f"{wanted.branch} does not say what {assigned.tag.name} says: {again}")
    return notes


def _rollouts(remote: str | None, model: str) -> tuple[dict[str, list[Rollout]], list[str]]:
    """By environment what it tried, the oldest first, as this clone knows its branch; and what could not be read."""
    found, broken = {}, []
    path = registry.rollout_path(model)
    for name, contents in branches.histories(remote, registry.branch(""), path).items():
        try:
            tried = rollouts.past(contents, f"{path} of {name}")
        except Error as error:
            broken.append(error.problem)
            continue
        if tried:
            found[tried[-1].environment] = tried
    return found, broken


def _tried(last: Rollout) -> str:
    share = "as a shadow" if shadow.runs(last) else f"at {last.weight:.0%}"
    what = "tried" if last.over else f"is being tried {share}"
    done = f"{last.action} by {last.by} at {last.since} ({last.because}): {last.reason}"
    return f"{last.canary} {what} in {last.environment}: {done}; see `trunkline rollout status`"


def _waiting(state: Model, tried: list[Rollout]) -> list[str]:
    """The latest release where it is to be promoted: not while anything is tried, nor once it was rolled back."""
    served = max(state.served(PRODUCTION), default=None)
    if state.latest is None or state.deprecated or (served is not None and state.latest <= served):
        return []
    bad, runs = rollouts.rejected(tried), rollouts.trial(state, PRODUCTION, tried)
    if bad is not None and state.latest <= bad:
        return []
    if runs is not None:
        waits = f"{state.latest} waits until the rollout of {runs.canary} is over"
        return [] if str(state.latest) == runs.canary else [waits]
    return [f"{state.latest} was not promoted yet: `trunkline promote {state.latest} --to {PRODUCTION}`"]


def _pinned(path: Path, state: Model) -> str:
    """Whether the pull request's comparison is with what production serves."""
    pinned = reports.pinned(path)
    name = pinned.release if isinstance(pinned, Production) else None
    current = f"{path} pins what production serves: {name or f'{registry.UNTUNED}, as yet'}"
    return registry.outdated(pinned, state) or current
