"""Whether a release can be published on the Hugging Face Hub: a token, whose it is, and what it may do."""

from trunkline.clients.hub import upload
from trunkline.errors import Error
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown

_SECRET = "gh secret set HF_TOKEN --env registry"


def check(repository: str) -> list[Diagnosis]:
    """Ask the Hub who this machine's token is and whether it may write there; nothing is written.

    Args:
        repository: ``release.hub`` of params.yaml.
    """
    try:
        if not upload.token():
            found = "none in HF_TOKEN; a job may have HF_OIDC_RESOURCE instead"
            return [unknown("token", found, f"HF_TOKEN=... trunkline doctor, and {_SECRET}")]
        name = upload.account()
    except Error as error:
        return [failed("token", error.problem, error.hint)]
    token = passed("token", f"of {name}")
    try:
        there = upload.writable(repository)
    except Error as error:
        return [token, failed("model", error.problem, error.hint)]
    if not there:
        found = f"there is no {repository} yet, or {name} may not see it; whether the token may make it is not told"
        return [token, unknown("model", found, f"hf repo create {repository} --private")]
    return [token, passed("model", f"{name} may write to {repository}")]
