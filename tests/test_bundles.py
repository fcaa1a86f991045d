"""A bundle comes back by the hash in its tag, and only as a whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

import releases
import starter
from test_signing import key_pair
from trunkline.clients import bundles, files, signing
from trunkline.clients.dvc import objects
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records.release import Manifest

WEIGHTS = {"adapter_model.safetensors": "weights", "adapter_config.json": "{}"}


@pytest.fixture
def params(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Params]:
    """An empty DVC project whose releases are signed."""
    private, _ = key_pair(in_tmp, "release")
    monkeypatch.setenv(signing.KEY, str(private))
    Repo.init(no_scm=True).close()
    yield starter.settings(in_tmp, release__sign="key", release__public_key="release.pub")


def kept(params: Params, **changes: object) -> Manifest:
    """Store a bundle whose manifest.json is changed, and return the manifest that its tag would carry."""
    folder = Path("bundle")
    folder.mkdir()
    for name, content in WEIGHTS.items():
        (folder / name).write_text(content)
    manifest = releases.manifest("v0.1.0", "c" * 40, weights=bundles.hashes(folder))
    files.write_text(folder / bundles.MANIFEST, manifest.model_copy(update=changes).text())
    signing.sign(folder, params.release)
    return manifest.model_copy(update={"bundle": objects.store(folder, objects.place())})


def fetch(manifest: Manifest, params: Params) -> Path:
    bundles.fetch(manifest, Path("fetched/here"), params.release)
    return Path("fetched/here")


def test_it_comes_back_as_it_was_stored(params):
    folder = fetch(kept(params), params)
    names = {*WEIGHTS, bundles.MANIFEST, signing.SIGNATURE}
    assert {path.name for path in folder.iterdir()} == names
    assert all((folder / name).read_bytes() == (Path("bundle") / name).read_bytes() for name in names)


def test_the_hash_is_the_one_that_dvc_gives_the_same_folder(params):
    manifest = kept(params)
    with Repo() as repo:
        (stage,) = repo.add("bundle")
    assert manifest.bundle == stage.outs[0].hash_info.value


def test_what_the_cache_lacks_or_holds_otherwise_never_appears(params):
    manifest = kept(params)
    (held,) = [path for path in Path(".dvc/cache").rglob("*") if path.is_file() and path.read_text() == "weights"]
    held.chmod(0o644)
    held.write_text("other ones")
    with pytest.raises(Error, match="adapter_model.safetensors is damaged in the local DVC cache"):
        fetch(manifest, params)
    held.unlink()
    with pytest.raises(objects.Missing, match="does not hold bundle/adapter_model.safetensors"):
        fetch(manifest, params)
    assert list(Path("fetched").iterdir()) == []


def test_a_bundle_of_another_release_is_refused(params):
    with pytest.raises(Error, match=r"manifest.json in the bundle of support-triage@v0.1.0 is not the one of its tag"):
        fetch(kept(params, version="v0.0.9"), params)


def test_weights_that_the_tag_does_not_name_are_refused(params):
    manifest = kept(params)
    wrong = manifest.model_copy(update={"weights": {**manifest.weights, "adapter_config.json": "0" * 64}})
    with pytest.raises(Error, match="is not the one of its tag"):
        fetch(wrong, params)
    Path("bundle/model.bin").write_text("a pickle")
    more = manifest.model_copy(update={"bundle": objects.store(Path("bundle"), objects.place())})
    with pytest.raises(Error, match="does not hold what its tag says: model.bin"):
        fetch(more, params)


def test_a_bundle_that_nobody_signed_is_refused_where_a_signature_is_expected(params):
    unsigned = params.release.model_copy(update={"sign": "none"})
    manifest = kept(params.model_copy(update={"release": unsigned}))
    with pytest.raises(Error, match="is not signed"):
        fetch(manifest, params)
    bundles.fetch(manifest, Path("fetched"), unsigned)


def test_a_manifest_that_does_not_say_where_is_refused(params):
    with pytest.raises(Error, match="does not say where its bundle is kept"):
        fetch(kept(params).model_copy(update={"bundle": None}), params)
