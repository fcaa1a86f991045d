"""Kubernetes manifests of a release: Argo Rollouts and the Gateway API, rendered from nothing but Git's content.

The canary's ReplicaSet becomes the stable one, so weights are loaded once. A pod is an engine and its gateway;
the engine is a native sidecar: it is ready before the gateway starts, and ends after the gateway has drained.

A Job of Argo's can only succeed or fail, so three verdicts take two analyses. `harm` runs all the while and
fails, which aborts the rollout, on exit code 3 alone. `proof` holds the rollout at its step until our analysis
exits with 0: inconclusive (4) and errors (1) leave the weight as it is, for as long as no human decides.
"""

import math
from collections.abc import Sequence

from trunkline import templating
from trunkline.errors import Error
from trunkline.params.deploy import KubernetesParams
from trunkline.records.release import HubCommit, Manifest

# What a Job runs; its exit code is the verdict.
ANALYSE = "trunkline rollout analyse"
TEMPLATE = "kubernetes/release.yaml.j2"
# A name has at most 63 characters, and the longest that is made of a model's appends `-gateway`.
_LONGEST_NAME = 63 - len("-gateway")
# Until no proxy sends requests to a pod any more (its preStop), and for the ends of its log and its engine.
_AROUND_DRAIN_S = 90


def render(release: Manifest, params: KubernetesParams, shares: Sequence[float], drain: float) -> str:
    """All manifests of a release as one YAML file; another release of the model changes one line of it, or two
    where the weights come from the Hub.

    Args:
        release: served.
        params: the cluster.
        shares: of the requests that the canary gets, step by step.
        drain: seconds that a gateway takes to answer what it has accepted; nothing kills it before.

    Raises:
        Error: the release cannot be served on Kubernetes as it is, or a share is no whole percent.
    """
    if release.kind == "hosted":
        problem = f"{release.model}@{release.version} holds no weights, as a provider serves its model"
        raise Error(problem, "serve it by `trunkline supervise` or `trunkline serve --bundle`: it needs no engine")
    if release.kind != "merged":
        problem = f"{release.model}@{release.version} holds an adapter, not whole weights"
        raise Error(problem, "set release.weights: merged in params.yaml, and release again")
    if "+" in release.version:
        raise Error(f"{release.version} cannot be a Kubernetes label", "release a version without `+`")
    if len(release.model) > _LONGEST_NAME or not release.model[-1].isalnum():
        hint = f"end project.name in a letter or digit, within {_LONGEST_NAME} characters, and release again"
        raise Error(f"{release.model} cannot name things on Kubernetes", hint)
    return templating.fill(
        TEMPLATE,
        release=release,
        hub=_hub(release, params),
        params=params,
        analyse=ANALYSE,
        percents=[_percent(share) for share in shares],
        grace=math.ceil(drain) + _AROUND_DRAIN_S,
    )


def _percent(share: float) -> int:
    percent = round(100 * share)
    if abs(100 * share - percent) > 1e-9:
        problem = f"rollout.steps: Argo Rollouts takes whole percents, and {share:g} of the requests are none"
        raise Error(problem, "round the weights in params.yaml")
    return percent


def _hub(release: Manifest, params: KubernetesParams) -> HubCommit | None:
    """Where pods fetch the weights; None where a volume holds them."""
    if params.weights is not None:
        return None
    if release.hub is None:
        problem = f"the Hub does not hold {release.model}@{release.version}"
        raise Error(problem, "name a volume in deploy.kubernetes.weights, or set release.hub and release again")
    return release.hub
