"""The links behind a release: manifest, commit, dvc.lock, training, weights, data; each verified where it is here."""

import hashlib
from collections.abc import Iterator, Mapping

import yaml
from pydantic import JsonValue

from trunkline.clients import dvc, git
from trunkline.clients.contents import Found, Places
from trunkline.clients.dvc import stored
from trunkline.clients.git import log
from trunkline.errors import Error
from trunkline.lineage import Link, compared
from trunkline.records import Bundle
from trunkline.records.release import Manifest, Tag, from_message
from trunkline.verdict import Verdict

LOCK, PARAMS, TRAIN, CANDIDATE = "dvc.lock", "params.yaml", "data/train.parquet", "models/candidate"
_IDENTITY = "bundle.json"
_UNSHALLOW = "`git fetch --unshallow --tags` may bring it"
_FETCH = "`--fetch` asks the DVC remote for it"


def behind(tag: Tag, places: Places) -> Iterator[Link]:
    """Every link behind a release's tag, in order.

    Args:
        tag: the release's.
        places: where files are looked for.
    """
    try:
        manifest = Manifest.of(tag)
    except Error as error:
        yield Link("release", tag.name, _forged(tag), error.problem)
        return
    yield Link("release", tag.name, Verdict.PASS, f"released {manifest.created} by {manifest.by}")
    lock = _show(manifest.commit, LOCK)
    yield from _code(manifest, lock)
    recorded = dict(_recorded(lock))
    trained = places.members(recorded.get(CANDIDATE))
    yield _training(manifest)
    yield from _weights(manifest, trained, places)
    yield from _trained(manifest, trained, places)
    for path in sorted(manifest.data):
        yield _data(path, manifest, recorded, places)


def _forged(tag: Tag) -> Verdict:
    """A tag without a manifest says nothing; one with another release's manifest says something wrong."""
    try:
        from_message(Manifest, tag)
    except Error:
        return Verdict.INCONCLUSIVE
    return Verdict.FAIL


def _code(manifest: Manifest, lock: bytes | None) -> Iterator[Link]:
    try:
        git.resolve(manifest.commit)
    except Error:
        yield Link("code", f"commit {_short(manifest.commit)}", Verdict.INCONCLUSIVE, _UNSHALLOW)
    else:
        yield Link("code", f"commit {_short(manifest.commit)}", Verdict.PASS, "in this clone")
    found = None if lock is None else hashlib.sha256(lock).hexdigest()
    yield compared("lock", f"{LOCK} {_short(manifest.lock)}", manifest.lock, found, _said(lock))
    params = _show(manifest.commit, PARAMS)
    yield compared("params", PARAMS, manifest.params, None if params is None else _yaml(params), _said(params))


def _training(manifest: Manifest) -> Link:
    """Who recorded the run that made the weights: whoever wrote dvc.lock last."""
    section = _object(manifest.params.get("train"))
    shown = " ".join(f"{name}={value}" for name, value in section.items())
    run = f", {manifest.run}" if manifest.run else ""
    try:
        written = log.last_written(manifest.commit, LOCK)
    except Error:
        written = None
    if written is None:
        return Link("training", shown, Verdict.INCONCLUSIVE, f"{_UNSHALLOW}{run}")
    what = f"commit {_short(written.commit)} by {written.author} at {written.time}: {shown}"
    if not written.certain:
        return Link("training", what, Verdict.INCONCLUSIVE, f"this clone is shallow: {_UNSHALLOW}{run}")
    return Link("training", what, Verdict.PASS, f"it wrote {LOCK}{run}")


def _weights(manifest: Manifest, trained: Mapping[str, str], places: Places) -> Iterator[Link]:
    """The released files: in the bundle, or those of them that training wrote."""
    members = places.members(manifest.bundle)
    identity = _bundle(trained.get(_IDENTITY), places)
    for name, expected in sorted(manifest.weights.items()):
        found = places.stored(members[name]) if name in members else None
        note = _where(found, _FETCH)
        value = found and found.sha256
        if found is None and name in trained:
            # The bundle has a bundle.json of its own: only the right bytes tell anything.
            value, note = _as_trained(name, expected, trained, places), f"as in {CANDIDATE} of that commit"
        if value is None and name == _IDENTITY and identity is not None:
            value, note = _renamed(identity, manifest), f"that of {CANDIDATE} under the release's name"
        yield compared("weights", f"{name} {_short(expected)}", expected, value, note if value else _FETCH)


def _as_trained(name: str, expected: str, trained: Mapping[str, str], places: Places) -> str | None:
    found = places.stored(trained[name])
    return expected if found is not None and found.sha256 == expected else None


def _renamed(identity: Bundle, manifest: Manifest) -> str | None:
    """The hash of the trained model's record once it bears the release's name; None where it is another."""
    text = identity.model_copy(update={"release": f"{manifest.model}@{manifest.version}"}).text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    return digest if digest == manifest.weights[_IDENTITY] else None


def _trained(manifest: Manifest, trained: Mapping[str, str], places: Places) -> Iterator[Link]:
    """What the trained model says of itself: its weights, the data it was trained on, the model it began as."""
    bundle = _bundle(trained.get(_IDENTITY), places)
    note = f"says {CANDIDATE}/{_IDENTITY}" if bundle else _FETCH
    if manifest.kind in ("lora", "hosted"):
        made = None if bundle is None else {name: manifest.weights.get(name) for name in bundle.weights}
        yield compared("trained", f"{CANDIDATE} of the released weights", bundle and bundle.weights, made, note)
    data, base = manifest.data.get(TRAIN), manifest.base.get("sha256")
    expected = data.sha256 if data else None
    if manifest.kind != "hosted":
        yield compared("trained on", f"{TRAIN} {_short(expected)}", expected, bundle and bundle.trained_on, note)
    yield compared("trained from", f"{manifest.base.get('source')} {_short(base)}", base, bundle and bundle.base, note)


def _bundle(md5: str | None, places: Places) -> Bundle | None:
    """The trained model's record, if the cache holds the very one that the commit names."""
    found = places.stored(md5) if md5 else None
    if found is None or stored.md5(found.path) != md5:
        return None
    try:
        return Bundle.read(found.path)
    except Error:
        return None


def _data(path: str, manifest: Manifest, recorded: Mapping[str, str], places: Places) -> Link:
    content = manifest.data[path]
    what = f"{path} {_short(content.sha256)}"
    known = recorded.get(path) or _added(manifest.commit, path)
    if content.md5 is not None and known not in (None, content.md5):
        return Link("data", what, Verdict.FAIL, f"the commit records it as {known}, the manifest as {content.md5}")
    found = places.find(manifest.commit, path, content)
    hint = _UNSHALLOW if content.md5 is None else _FETCH
    return compared("data", what, content.sha256, found and found.sha256, _where(found, hint))


def _recorded(lock: bytes | None) -> Iterator[tuple[str, str]]:
    """DVC's hash by path of the outputs that matter here."""
    if lock is None:
        return
    for path in (TRAIN, "data/holdout.parquet", CANDIDATE):
        try:
            yield path, dvc.recorded_hash(lock, path)
        except Error:
            continue


def _added(commit: str, path: str) -> str | None:
    """DVC's hash of a file that `dvc add` put under it."""
    pointer = _show(commit, f"{path}.dvc")
    outs = _object(_yaml(pointer)).get("outs") if pointer is not None else None
    first = outs[0] if isinstance(outs, list) and outs else None
    value = _object(first).get("md5")
    return value if isinstance(value, str) else None


def _show(commit: str, path: str) -> bytes | None:
    try:
        return git.show(commit, path)
    except Error:
        return None


def _said(content: bytes | None) -> str:
    return _UNSHALLOW if content is None else "in that commit"


def _short(value: str | None) -> str:
    """Enough of a hash to find it by; the whole of it is in the release's tag."""
    return (value or "nothing")[:12]


def _where(found: Found | None, hint: str) -> str:
    return hint if found is None else f"in {found.where}"


def _yaml(text: bytes) -> object:
    """What a YAML file says; the error's words where it says nothing."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        return str(error)


def _object(value: object) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}
