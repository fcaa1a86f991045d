"""OpenSSF model signatures: what was signed holds, and nothing else does."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from trunkline.clients import signing
from trunkline.errors import Error
from trunkline.params import ReleaseParams


def params(public_key: Path | None = None, sign: str = "key", identity: str | None = None) -> ReleaseParams:
    return ReleaseParams(
        weights="lora",
        sign=sign,
        public_key=None if public_key is None else str(public_key),
        identity=identity,
        issuer="https://token.actions.githubusercontent.com",
        hub=None,
    )


def key_pair(folder: Path, name: str, encryption: KeySerializationEncryption | None = None) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(1000))
    (folder / "manifest.json").write_text("{}")
    (folder / "inner/config.json").write_text("{}")
    return folder


@pytest.fixture
def signed(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReleaseParams:
    """The bundle is signed; these are the params by which it verifies."""
    private, public = key_pair(tmp_path, "release")
    monkeypatch.setenv(signing.KEY, str(private))
    signing.sign(bundle, params(public))
    return params(public)


def test_a_signed_bundle_verifies_wherever_it_lies(bundle, signed, tmp_path):
    signing.verify(bundle, signed)
    signing.verify(bundle.rename(tmp_path / "elsewhere"), signed)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(bytes(999) + b"\x01"),
        lambda folder: (folder / "inner/config.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "model.bin").write_bytes(b"a pickle"),
        lambda folder: (folder / ".gitattributes").write_text("unsigned too"),
        lambda folder: (folder / "manifest.json").rename(folder / "manifest.jsn"),
        lambda folder: (folder / signing.SIGNATURE).write_text("{}"),
        lambda folder: (folder / signing.SIGNATURE).write_text("not JSON"),
    ],
    ids=[
        "a bit",
        "a folder's file",
        "a file less",
        "a file more",
        "Git's own",
        "a name",
        "no signature in it",
        "no JSON",
    ],
)
def test_whatever_was_changed_does_not_verify(bundle, signed, change):
    change(bundle)
    with pytest.raises(Error, match="signature does not hold") as caught:
        signing.verify(bundle, signed)
    assert "do not serve it" in caught.value.hint


def test_the_key_pair_that_the_documentation_makes_signs_and_verifies(bundle, tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs/registry.md").read_text()
    making = re.findall(r"`(openssl [^`]+)`", page)
    assert len(making) == 2
    for command in making:
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv(signing.KEY, str(tmp_path / "release.pem"))
    signing.sign(bundle, params(tmp_path / "release.pub"))
    (bundle / "manifest.json").write_text('{"version": "v9.0.0"}')
    with pytest.raises(Error, match="does not hold"):
        signing.verify(bundle, params(tmp_path / "release.pub"))


def test_a_signature_of_somebody_else_does_not_verify(bundle, signed, tmp_path, monkeypatch):
    private, public = key_pair(tmp_path, "stranger")
    monkeypatch.setenv(signing.KEY, str(private))
    signing.sign(bundle, params(public))
    with pytest.raises(Error, match="signature does not hold: Key mismatch"):
        signing.verify(bundle, signed)


def test_a_bundle_without_a_signature_is_refused_where_one_is_expected(bundle, signed):
    (bundle / signing.SIGNATURE).unlink()
    with pytest.raises(Error, match="is not signed, but params.yaml release.sign is key"):
        signing.verify(bundle, signed)


def test_signing_with_another_key_than_deployers_verify_by_is_refused_at_once(bundle, signed, tmp_path, monkeypatch):
    private, _ = key_pair(tmp_path, "old")
    monkeypatch.setenv(signing.KEY, str(private))
    with pytest.raises(Error, match="Key mismatch"):
        signing.sign(bundle, signed)


def test_a_key_that_is_missing_locked_or_none_is_told(bundle, tmp_path, monkeypatch):
    private, public = key_pair(tmp_path, "locked", BestAvailableEncryption(b"secret"))
    monkeypatch.delenv(signing.KEY, raising=False)
    with pytest.raises(Error, match="TRUNKLINE_SIGNING_KEY is not set"):
        signing.sign(bundle, params(public))
    monkeypatch.setenv(signing.KEY, str(tmp_path / "nowhere.pem"))
    with pytest.raises(Error, match="names a file that is not there"):
        signing.sign(bundle, params(public))
    monkeypatch.setenv(signing.KEY, str(private))
    with pytest.raises(Error, match=r"cannot sign the release \(key\)"):
        signing.sign(bundle, params(public))
    monkeypatch.setenv(signing.KEY, str(public))
    with pytest.raises(Error, match=r"cannot sign the release \(key\)"):
        signing.sign(bundle, params(public))


def test_a_public_key_that_is_missing_is_named(bundle, signed, tmp_path):
    with pytest.raises(Error, match="release.pub not found") as caught:
        signing.verify(bundle, params(tmp_path / "nowhere/release.pub"))
    assert "release.public_key" in caught.value.hint


def test_none_signs_nothing_and_checks_nothing(bundle):
    signing.sign(bundle, params(sign="none"))
    signing.verify(bundle, params(sign="none"))
    assert not (bundle / signing.SIGNATURE).exists()


def test_sigstore_without_an_identity_of_the_job_is_refused_and_opens_no_browser(bundle, monkeypatch):
    for name in ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Error, match="no identity that could sign") as caught:
        signing.sign(bundle, params(sign="sigstore", identity="https://github.com/acme/triage"))
    assert "id-token: write" in caught.value.hint
