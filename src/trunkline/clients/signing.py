"""OpenSSF model signatures: one over every file of a bundle, in the bundle, as ``model-signing`` makes and reads it.

Source: OpenSSF Model Signing 1.0 (a Sigstore bundle with an in-toto statement of every file's SHA-256).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.errors import Error
from trunkline.params import ReleaseParams

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE = "model.sig"
KEY = "TRUNKLINE_SIGNING_KEY"


def sign(folder: Path, params: ReleaseParams) -> None:
    """Sign a folder's files as params.yaml says, and verify the signature as a deployer will.

    Raises:
        Error: there is no key or identity to sign with, or it is not the one that params.yaml lets sign.
    """
    if params.sign == "none":
        return
    from model_signing import signing  # only here: it costs a second, which unsigned releases need not pay

    config = signing.Config().set_hashing_config(_hashing())
    try:
        if params.sign == "key":
            config.use_elliptic_key_signer(private_key=_key())
        else:
            config.use_sigstore_signer(identity_token=_identity())
        config.sign(folder, folder / SIGNATURE)
    except Error:
        raise
    except Exception as error:  # of cryptography, sigstore, or whatever the network raises
        hint = "check the key's file" if params.sign == "key" else "check the network and the job's rights"
        raise Error(f"cannot sign the release ({params.sign}): {_words(error)}", hint) from error
    verify(folder, params)


def verify(folder: Path, params: ReleaseParams) -> None:
    """Check that the files of a bundle are those, all of them and no more, that the right signer signed.

    With ``sign: none`` nothing vouches for them, and nothing is checked.

    Raises:
        Error: there is no signature, it is not of the expected signer, or a file was changed, added or removed.
    """
    if params.sign == "none":
        return
    signature = folder / SIGNATURE
    if not signature.is_file():
        problem = f"the release is not signed, but params.yaml release.sign is {params.sign}"
        raise Error(problem, "do not serve it; release that commit anew with signing, or find out who removed it")
    from model_signing import verifying

    config = verifying.Config().set_hashing_config(_hashing())
    try:
        if params.sign == "key":
            config.use_elliptic_key_verifier(public_key=Path(str(params.public_key)))
        else:
            config.use_sigstore_verifier(identity=str(params.identity), oidc_issuer=params.issuer)
        config.verify(folder, signature)
    except FileNotFoundError as error:
        raise Error(f"{error.filename} not found", "correct release.public_key in params.yaml") from None
    except Exception as error:  # a forged signature fails in as many ways as there are bytes
        problem = f"the release's signature does not hold: {_words(error)}"
        hint = "do not serve it: fetch it anew; if it stays so, it was changed, or somebody else signed it"
        raise Error(problem, hint) from error


def _hashing() -> "hashing.Config":
    from model_signing import hashing

    # Nothing is left out but the signature itself: an unsigned file beside the weights could be loaded too.
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _key() -> Path:
    path = os.environ.get(KEY, "")
    if not path:
        raise Error(f"release.sign is key, and {KEY} is not set", f"let {KEY} name the private key's PEM file")
    if not Path(path).is_file():
        raise Error(f"{KEY} names a file that is not there", "write the secret to that file before this step")
    return Path(path)


def _identity() -> str:
    """The token of this CI job's identity; never a browser that nobody sees."""
    from sigstore.oidc import detect_credential

    token = detect_credential("sigstore")
    if token is None:
        problem = "release.sign is sigstore, and this process has no identity that could sign"
        raise Error(problem, "run it in a job with `permissions: {id-token: write}`, or set release.sign to key")
    return str(token)


def _words(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
