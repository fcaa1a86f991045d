"""Whether the workflows have what they need besides rights: keys to push and sign with, a way to the data, a token."""

from collections.abc import Callable

from trunkline.clients.github.place import Place
from trunkline.clients.github.settings import Repository, Settings
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown

# The deploy key that workflows push tags and env/* with: GitHub lets no rule except its own token.
RELEASE_KEY = "RELEASE_KEY"
KEYED = ("registry", "production", "rollout", "promote-reviewed", "rollback")
REGISTRY, SIGNING_KEY, DVC_CONFIG, ROLE = "registry", "SIGNING_KEY", "DVC_CONFIG", "AWS_ROLE_ARN"
HF_TOKEN, HF_IDENTITY = "HF_TOKEN", "HF_OIDC_RESOURCE"
RETRAINING, RETRAIN_TOKEN = "retraining", "RETRAIN_TOKEN"
SERVING = "SERVING"


def release_key(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """The key is in every environment whose jobs push what only a release may."""
    there = settings.environments()
    # Whether the others are there is told in rows of their own.
    lacking = [name for name in KEYED if name in there and RELEASE_KEY not in settings.secrets(name)]
    if REGISTRY not in there:
        return _nowhere("release key")
    if not lacking:
        return passed("release key", f"the secret {RELEASE_KEY} is there for whatever makes tags or writes env/*")
    found = f"{' and '.join(lacking)} without the secret {RELEASE_KEY}: where tag and env rules hold, they cannot push"
    make = "ssh-keygen -q -t ed25519 -N '' -f release_key && gh repo deploy-key add release_key.pub --allow-write"
    keep = " && ".join(f"gh secret set {RELEASE_KEY} --env {name} < release_key" for name in lacking)
    return failed("release key", found, f"{make} && {keep} && rm release_key release_key.pub")


def signing(sign: str) -> Callable[[Settings, Repository, Place], Diagnosis]:
    """Whether a release can be signed as ``release.sign`` says."""

    def ask(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
        if sign != "key":
            signer = "the job's own identity signs" if sign == "sigstore" else "nobody signs"
            return passed("signing", f"release.sign is {sign}: {signer}")
        if REGISTRY not in settings.environments():
            return _nowhere("signing")
        if SIGNING_KEY in settings.secrets(REGISTRY):
            return passed("signing", f"the secret {SIGNING_KEY} is there")
        found = f"release.sign is key, and {REGISTRY} has no secret {SIGNING_KEY}"
        return failed("signing", found, f"gh secret set {SIGNING_KEY} --env {REGISTRY} < release.pem")

    return ask


def storage(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """A release fetches from the DVC remote on a machine of GitHub's, which knows nothing of this clone's settings."""
    if REGISTRY not in settings.environments():
        return _nowhere("storage")
    if DVC_CONFIG in settings.secrets(REGISTRY):
        return passed("storage", f"the secret {DVC_CONFIG} says how a release reaches the DVC remote")
    if ROLE in settings.variables(REGISTRY) | settings.variables():
        return passed("storage", f"a release reaches the DVC remote by the role of {ROLE}")
    found = f"{REGISTRY} has neither the secret {DVC_CONFIG} nor the variable {ROLE}: a release may not reach the data"
    role, config = f"gh variable set {ROLE} --env {REGISTRY}", f"gh secret set {DVC_CONFIG} --env {REGISTRY}"
    return unknown("storage", found, f"{role}, or {config} < .dvc/config.local")


def hub_token(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """Where ``release.hub`` names a model, the job that releases may write to it."""
    if REGISTRY not in settings.environments():
        return _nowhere("hub token")
    if HF_TOKEN in settings.secrets(REGISTRY):
        return passed("hub token", f"the secret {HF_TOKEN} is there")
    if HF_IDENTITY in settings.variables(REGISTRY) | settings.variables():
        return passed("hub token", f"the Hub gives the job one, for {HF_IDENTITY}")
    found = f"release.hub is set, and {REGISTRY} has neither the secret {HF_TOKEN} nor the variable {HF_IDENTITY}"
    return failed("hub token", found, f"gh secret set {HF_TOKEN} --env {REGISTRY}")


def retrain_token(settings: Settings, repository: Repository, where: Place) -> Diagnosis:
    """What a retraining pushes starts workflows only where another token than the job's own pushed it."""
    if not serves(settings):
        return unserved("retrain token")
    if RETRAINING not in settings.environments():
        return unknown("retrain token", f"there is no environment {RETRAINING} that could have it", "")
    if RETRAIN_TOKEN in settings.secrets(RETRAINING):
        return passed("retrain token", f"the secret {RETRAIN_TOKEN} is there")
    found = f"{RETRAINING} has no secret {RETRAIN_TOKEN}: its pull requests train once somebody closes and reopens them"
    return unknown("retrain token", found, f"gh secret set {RETRAIN_TOKEN} --env {RETRAINING}")


def serves(settings: Settings) -> bool:
    """Whether releases are tried and watched, as the repository's variable says."""
    return settings.variables().get(SERVING) == "true"


def unserved(name: str) -> Diagnosis:
    """That nothing is asked for, as nothing is watched."""
    return passed(name, f"not needed: the variable {SERVING} is not true, so a release is promoted at once")


def _nowhere(name: str) -> Diagnosis:
    return unknown(name, f"there is no environment {REGISTRY} that could have it", "")
