"""Manifests of a release: valid by Kubernetes' and the custom resources' own schemas, and doing what they promise."""

import copy
import json
import re
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
import yaml
from pydantic import ValidationError

from trunkline import manifests, params
from trunkline.errors import Error
from trunkline.metrics import METRICS
from trunkline.operations.serve import CLOSE_S, FLUSH_S
from trunkline.params.deploy import KubernetesParams
from trunkline.records import Answer, Production, Task
from trunkline.records.release import HubCommit, Manifest
from trunkline.verdict import Verdict

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
PARAMS = params.load(ROOT / "params.yaml")
SETTINGS = PARAMS.deploy.kubernetes
SHARES = [step.weight for step in PARAMS.rollout.steps]
DRAIN = PARAMS.serve.gateway.drain
HUB = HubCommit(repository="acme/support-triage", commit="c" * 40)
EXAMPLE = Manifest.model_construct(
    model="support-triage",
    version="v1.2.0",
    commit="a" * 40,
    kind="merged",
    weights={"model.safetensors": "b" * 64},
    task=Task(
        prompt_id="p",
        template="{{ message }}",
        variables={},
        transforms=(),
        answer=Answer(format="text", fields=("answer",), allowed={}),
    ),
    production=Production(release=None, revision=None, weights=None, partitions=()),
    verdict=Verdict.PASS,
    hub=HUB,
)
# The Kubernetes version that is validated against.
SCHEMAS = "v1.37.0-local-strict"


def render(release: Manifest, cluster: KubernetesParams, shares: Sequence[float] = SHARES, drain: float = DRAIN) -> str:
    return manifests.render(release, cluster, shares, drain)


def rendered(**changes: object) -> list[dict[str, Any]]:
    release = EXAMPLE.model_copy(update={key: changes.pop(key) for key in ("model", "version") if key in changes})
    return list(yaml.safe_load_all(render(release, SETTINGS.model_copy(update=changes))))


@cache
def variants() -> dict[str, list[dict[str, Any]]]:
    tgi = SETTINGS.engine.model_copy(update={"kind": "tgi", "image": "ghcr.io/huggingface/tgi:3.3.7"})
    platform = list(yaml.safe_load_all((FOLDER / "platform.yaml").read_text()))
    return {"vllm": rendered(), "tgi": rendered(engine=tgi), "hub": rendered(weights=None), "platform": platform}


def of(documents: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    found = [one for one in documents if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, (kind, name)
    return found[0]


def template(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return of(documents, "Rollout")["spec"]["template"]


def containers(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    spec = template(documents)["spec"]
    return {one["name"]: one for one in (*spec["initContainers"], *spec["containers"])}


@cache
def core(file: str) -> dict[str, Any]:
    path = resources.files("kubernetes_validate") / "kubernetes-json-schema" / SCHEMAS / file
    return json.loads(path.read_text())


@cache
def core_names() -> dict[str, str]:
    """Kubernetes' types, by their names without dots in lower case."""
    return {name.replace(".", "").lower(): name for name in core("_definitions.json")["$defs"]}


@cache
def custom(kind: str) -> dict[str, Any]:
    """The schema of a custom resource, its references to Kubernetes' own types resolved."""
    text = json.dumps(json.loads((ROOT / "tests/crds.json").read_text())[kind])
    base = core("_definitions.json")["$id"]
    return json.loads(re.sub(r'"core:(\w+)"', lambda found: f'"{base}#/$defs/{core_names()[found[1].lower()]}"', text))


@cache
def validator(version: str, kind: str) -> jsonschema.Draft202012Validator:
    place = f"{version}/{kind}"
    if place in json.loads((ROOT / "tests/crds.json").read_text()):
        schema = custom(place)
    else:
        group, _, number = version.rpartition("/")
        schema = core(f"{kind.lower()}-{group.split('.')[0] + '-' if group else ''}{number}.json")
    definitions = referencing.Resource.from_contents(core("_definitions.json"))
    own = referencing.Resource.from_contents(schema, referencing.jsonschema.DRAFT202012)
    registry = referencing.Registry().with_resource(core("_definitions.json")["$id"], definitions)
    return jsonschema.Draft202012Validator(schema, registry=registry.with_resource("", own))


def mistakes(document: dict[str, Any]) -> list[str]:
    found = validator(document["apiVersion"], document["kind"]).iter_errors(document)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]


@pytest.mark.parametrize("variant", variants())
def test_every_document_satisfies_its_schema_to_the_letter(variant):
    documents = variants()[variant]
    assert {document["kind"]: mistakes(document) for document in documents if mistakes(document)} == {}
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(set(names)) == len(names)


def _rename(place: dict[str, Any], old: str, new: str) -> None:
    place[new] = place.pop(old)


TYPOS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "targetport": ("Service", lambda d: _rename(d["spec"]["ports"][0], "targetPort", "targetport")),
    "port as text": ("Service", lambda d: d["spec"]["ports"][0].update(port="eighty")),
    "stableSvc": ("Rollout", lambda d: _rename(d["spec"]["strategy"]["canary"], "stableService", "stableSvc")),
    "setWieght": ("Rollout", lambda d: _rename(d["spec"]["strategy"]["canary"]["steps"][1], "setWeight", "setWieght")),
    "weight as text": ("Rollout", lambda d: d["spec"]["strategy"]["canary"]["steps"][1].update(setWeight="5%")),
    "readyness": (
        "Rollout",
        lambda d: _rename(d["spec"]["template"]["spec"]["containers"][0], "readinessProbe", "readynessProbe"),
    ),
    "mountpath": (
        "Rollout",
        lambda d: _rename(d["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0], "mountPath", "mountpath"),
    ),
    "no selector's labels": ("Rollout", lambda d: d["spec"].update(selector={"matchlabels": {}})),
    "backendrefs": ("HTTPRoute", lambda d: _rename(d["spec"]["rules"][0], "backendRefs", "backendrefs")),
    "modifyer": (
        "HTTPRoute",
        lambda d: _rename(d["spec"]["rules"][0]["filters"][0], "requestHeaderModifier", "requestHeaderModifyer"),
    ),
    "failurelimit": ("AnalysisTemplate", lambda d: _rename(d["spec"]["metrics"][0], "failureLimit", "failurelimit")),
    "backofflimit": (
        "AnalysisTemplate",
        lambda d: _rename(d["spec"]["metrics"][0]["provider"]["job"]["spec"], "backoffLimit", "backofflimit"),
    ),
    "endpoints": ("PodMonitor", lambda d: _rename(d["spec"], "podMetricsEndpoints", "endpoints")),
    "maxUnavailble": ("PodDisruptionBudget", lambda d: _rename(d["spec"], "maxUnavailable", "maxUnavailble")),
    "minreplicas": ("HorizontalPodAutoscaler", lambda d: _rename(d["spec"], "minReplicas", "minreplicas")),
    "ingres": ("NetworkPolicy", lambda d: _rename(d["spec"], "ingress", "ingres")),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_caught(typo):
    kind, spoil = TYPOS[typo]
    document = next(one for one in rendered() if one["kind"] == kind)
    spoiled = copy.deepcopy(document)
    spoil(spoiled)
    assert not mistakes(document)
    assert mistakes(spoiled)


def test_the_committed_example_is_what_is_rendered():
    path = FOLDER / "support-triage.yaml"
    assert path.read_text() == render(EXAMPLE, SETTINGS), f"render {path} again"


def changed_lines(before: str, after: str) -> list[str]:
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [new.strip() for old, new in pairs if old != new]


def test_a_release_changes_one_line_or_two_where_the_hub_holds_the_weights():
    after = EXAMPLE.model_copy(update={"version": "v1.3.0", "hub": HUB.model_copy(update={"commit": "d" * 40})})
    one = changed_lines(render(EXAMPLE, SETTINGS), render(after, SETTINGS))
    assert one == ['app.kubernetes.io/version: &version "v1.3.0"']
    fetched = SETTINGS.model_copy(update={"weights": None})
    two = changed_lines(render(EXAMPLE, fetched), render(after, fetched))
    assert len(two) == 2
    assert "d" * 40 in two[1]


@pytest.mark.parametrize("variant", ["vllm", "tgi", "hub"])
def test_pods_may_do_as_little_as_they_need(variant):
    documents = variants()[variant]
    jobs = [
        one["spec"]["metrics"][0]["provider"]["job"]["spec"]["template"]["spec"]
        for one in documents
        if one["kind"] == "AnalysisTemplate"
    ]
    assert len(jobs) == 2
    for spec in (template(documents)["spec"], *jobs):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            secured = container["securityContext"]
            assert secured["readOnlyRootFilesystem"] is True
            assert secured["allowPrivilegeEscalation"] is False
            assert secured["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert "tmp" in {mount["name"] for mount in container["volumeMounts"]}
    assert of(documents, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("variant", ["vllm", "tgi", "hub"])
def test_an_engine_starts_slowly_has_its_gpu_and_ends_after_its_gateway(variant):
    documents = variants()[variant]
    engine, gateway = (containers(documents)[name] for name in ("engine", "gateway"))
    assert engine["restartPolicy"] == "Always"
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == 1
    start = engine["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] == 1800
    assert of(documents, "Rollout")["spec"]["progressDeadlineSeconds"] > 1800
    for container in (engine, gateway):
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    spec = template(documents)["spec"]
    paused = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= paused + DRAIN + CLOSE_S + FLUSH_S + 30
    patient = yaml.safe_load_all(render(EXAMPLE, SETTINGS, drain=DRAIN + 300.5))
    assert (
        template(list(patient))["spec"]["terminationGracePeriodSeconds"] - spec["terminationGracePeriodSeconds"] == 301
    )
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    assert next(one["mountPath"] for one in engine["volumeMounts"] if one["name"] == "shm").endswith("/shm")
    for container in containers(documents).values():
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()


def _values(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)


@pytest.mark.parametrize("variant", ["vllm", "hub"])
def test_what_refers_to_something_refers_to_what_is_there(variant):
    documents = variants()[variant]
    labels = template(documents)["metadata"]["labels"]
    ports = {port["name"] for one in containers(documents).values() for port in one.get("ports", [])}
    for document in documents:
        selectors = [*_values(document, "matchLabels"), *_values(document, "selector")]
        for selector in (one for one in selectors if isinstance(one, dict) and "matchLabels" not in one):
            foreign = set(selector) == {"kubernetes.io/metadata.name"}
            assert foreign or selector.items() <= labels.items(), document["kind"]
        assert {one for one in _values(document, "targetPort") if isinstance(one, str)} <= ports
    canary = of(documents, "Rollout")["spec"]["strategy"]["canary"]
    services = {one["metadata"]["name"] for one in documents if one["kind"] == "Service"}
    route = of(documents, "HTTPRoute")
    assert {canary["stableService"], canary["canaryService"]} == services
    assert {one["name"] for one in route["spec"]["rules"][0]["backendRefs"]} == services
    assert canary["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]["httpRoute"] == route["metadata"]["name"]
    taken = {one["metadata"]["name"]: one for one in documents if one["kind"] == "AnalysisTemplate"}
    analyses = [canary["analysis"], *(step["analysis"] for step in canary["steps"] if "analysis" in step)]
    for analysis in analyses:
        wanted = taken[analysis["templates"][0]["templateName"]]["spec"]["args"]
        assert {one["name"] for one in wanted} == {one["name"] for one in analysis["args"]}


def test_every_weight_is_followed_by_a_proof_and_harm_is_watched_from_the_first():
    canary = of(rendered(), "Rollout")["spec"]["strategy"]["canary"]
    steps = [step for step in canary["steps"] if "setCanaryScale" not in step]
    assert [step["setWeight"] for step in steps[::2]] == [5, 25, 50]
    for weight, proof in zip(steps[::2], steps[1::2], strict=True):
        assert proof["analysis"]["templates"] == [{"templateName": "support-triage-proof"}]
        assert float(proof["analysis"]["args"][1]["value"]) == weight["setWeight"] / 100
    assert "setWeight" in canary["steps"][canary["analysis"]["startingStep"] - 1]
    assert canary["analysis"]["templates"] == [{"templateName": "support-triage-harm"}]


@pytest.mark.parametrize(
    ("verdict", "harm", "proof"), [(0, True, True), (1, True, False), (3, False, False), (4, True, False)]
)
def test_pass_goes_on_inconclusive_waits_and_fail_aborts(tmp_path, verdict, harm, proof):
    """The Jobs' own commands, with a `trunkline` that exits with each of our codes."""
    stand_in = tmp_path / "trunkline"
    stand_in.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit {verdict}\n')
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    for name, succeeds in (("harm", harm), ("proof", proof)):
        metric = of(rendered(), "AnalysisTemplate", f"support-triage-{name}")["spec"]["metrics"][0]
        (container,) = metric["provider"]["job"]["spec"]["template"]["spec"]["containers"]
        command = [
            part.replace("{{args.version}}", "v1.2.0").replace("{{args.weight}}", "0.05")
            for part in container["command"]
        ]
        done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False)
        assert (done.returncode == 0) is succeeds
        assert (tmp_path / "asked").read_text().startswith("rollout analyse --canary v1.2.0")
    metrics = {
        one["metadata"]["name"]: one["spec"]["metrics"][0] for one in rendered() if one["kind"] == "AnalysisTemplate"
    }
    assert metrics["support-triage-harm"]["failureLimit"] == 0
    waiting = metrics["support-triage-proof"]
    assert (waiting["failureLimit"], waiting["consecutiveSuccessLimit"]) == (-1, 1)
    for metric in metrics.values():
        rules = metric["provider"]["job"]["spec"]["podFailurePolicy"]["rules"]
        assert rules[0]["onExitCodes"]["values"] == [1, 3, 4, 124]
    assert "count" not in waiting, "a proof that ran out of tries must not count as one"


def test_pods_are_scaled_by_a_metric_that_the_gateway_has():
    metric = of(rendered(), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric in {one.name for one in METRICS if one.kind == "gauge"}


@pytest.mark.parametrize(("variant", "dropped"), [("vllm", []), ("tgi", ["tgi_request_count"])])
def test_requests_are_counted_once_where_engine_and_gateway_both_tell_tgis_metrics(variant, dropped):
    http, engine = of(variants()[variant], "PodMonitor")["spec"]["podMetricsEndpoints"]
    rules = [rule["regex"] for rule in http.get("metricRelabelings", []) if rule["action"] == "drop"]
    for name in ("tgi_request_count", "trunkline_requests_total"):
        assert any(re.fullmatch(rule, name) for rule in rules) is (name in dropped)
    assert "metricRelabelings" not in engine


def test_scraping_does_not_overwrite_the_gateways_labels():
    labels = {label for metric in METRICS for label in metric.labels}
    assert not labels & set(of(rendered(), "PodMonitor")["spec"]["podTargetLabels"])


def test_the_alert_rules_are_the_spec_of_a_prometheus_rule():
    spec = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "a"}, "spec": spec}
    assert mistakes(rule) == []
    _rename(spec["groups"][0]["rules"][0], "expr", "exp")
    assert mistakes(rule)


def test_secrets_are_only_referred_to():
    for documents in variants().values():
        assert not [one for one in documents if one["kind"] == "Secret"]
        for variable in (one for env in _values(documents, "env") for one in env):
            if re.search("PASSWORD|TOKEN|KEY", variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"]


def test_the_longest_name_of_a_model_fits():
    assert [mistakes(document) for document in rendered(model=55 * "a") if mistakes(document)] == []
    names = [str(name) for name in _values(rendered(model=55 * "a"), "name")]
    assert max(map(len, (name for name in names if name.startswith("aaa")))) == 63


def test_a_model_with_an_underscore_gets_names_that_kubernetes_takes():
    documents = rendered(model="support_triage")
    assert [mistakes(document) for document in documents if mistakes(document)] == []
    assert of(documents, "Rollout")["metadata"]["name"] == "support-triage"
    assert {"name": "TRUNKLINE_RELEASE", "value": "support_triage@$(VERSION)"} in containers(documents)["gateway"][
        "env"
    ]


@pytest.mark.parametrize(
    ("changes", "weights", "said"),
    [
        ({"kind": "lora"}, "volume", "holds an adapter"),
        ({"kind": "hosted"}, "volume", "holds no weights, as a provider serves its model"),
        ({"version": "v1.2.0+build"}, "volume", "cannot be a Kubernetes label"),
        ({"hub": None}, None, "the Hub does not hold support-triage@v1.2.0"),
        ({"model": "support-"}, "volume", "support- cannot name things on Kubernetes"),
        ({"model": 56 * "a"}, "volume", "cannot name things on Kubernetes"),
    ],
)
def test_a_release_that_cannot_be_served_is_an_error(changes, weights, said):
    with pytest.raises(Error, match=re.escape(said)):
        render(EXAMPLE.model_copy(update=changes), SETTINGS.model_copy(update={"weights": weights}), SHARES, DRAIN)


def test_steps_that_are_no_whole_percents_are_named():
    with pytest.raises(Error, match=re.escape("rollout.steps: Argo Rollouts takes whole percents, and 0.005")):
        render(EXAMPLE, SETTINGS, [0.005, 0.05])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "registry.example.com/triage"}, "should match pattern"),
        ({"image": "registry.example.com/triage:latest"}, "names another image tomorrow"),
        ({"image": "triage:1\n  evil: true"}, "should match pattern"),
        ({"namespace": "Triage"}, "should match pattern"),
        ({"replicas": {"min": 3, "max": 2, "waiting": 4}}, "min 3 is larger than max 2"),
        ({"weights": "a: b"}, "should match pattern"),
    ],
)
def test_what_a_cluster_would_refuse_or_misread_is_refused_in_params_yaml(changes, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        KubernetesParams.model_validate(SETTINGS.model_dump() | changes)
