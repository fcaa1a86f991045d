"""The metrics' names, and what asks for them: alert rules run by promtool, routes by amtool, the dashboard's panels."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from trunkline.metrics import ARM, METRICS, Metric

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = DEPLOY / "prometheus/rules.yaml"
ALERTMANAGER = DEPLOY / "prometheus/alertmanager.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
# What Prometheus and its scrape configuration add.
ADDED = {"job", "instance", "le"}
PARTS = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SERIES = {metric.name + part: metric for metric in METRICS for part in PARTS[metric.kind]}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool: Debian's package prometheus")
needs_amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool: package prometheus-alertmanager")


def ran(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, object]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every PromQL expression of rules and dashboard by a name, Grafana's variables put in."""
    found = {str(rule.get("alert") or rule["record"]): str(rule["expr"]) for rule in rules()}
    for panel in panels():
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    found |= {note["name"]: note["expr"] for note in DASHBOARD["annotations"]["list"]}
    return {
        name: re.sub(r"\$(job|release)\b", ".*", text).replace("$__rate_interval", "5m") for name, text in found.items()
    }


def asked(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics that an expression asks for, each with the labels that it matches."""
    selectors = re.findall(r"(?<![\w:])(trunkline_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*[=!]", labels))) for name, labels in selectors]


@pytest.mark.parametrize("metric", METRICS, ids=[metric.name for metric in METRICS])
def test_a_name_says_the_unit_and_whether_it_only_grows(metric: Metric):
    assert re.fullmatch(r"trunkline_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert metric.unit.removesuffix("s") in metric.name or "guard_hits" in metric.name
    assert bool(metric.buckets) is (metric.kind == "histogram")
    assert all(low < high for low, high in pairwise(metric.buckets))
    assert not set(metric.labels) & ADDED
    assert metric.help.endswith(".")


def test_names_are_unique_and_what_the_issue_asks_for_is_told_for_release_and_arm():
    assert len(SERIES) == sum(len(PARTS[metric.kind]) for metric in METRICS)
    told = {metric.name for metric in METRICS if metric.labels[:2] == ARM}
    for part in ("requests", "errors", "duration", "first_token", "output_token", "prompt", "generated", "cost"):
        assert any(part in name for name in told)
    assert {"trunkline_queue_requests", "trunkline_guard_hits_total"} <= told


@pytest.mark.parametrize("name", expressions())
def test_only_metrics_and_labels_that_exist_are_asked_for(name):
    expression = expressions()[name]
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    wanted = asked(expression)
    assert wanted or any(record in expression for record in recorded)
    for series, labels in wanted:
        assert series in SERIES
        assert labels <= {*SERIES[series].labels, *ADDED}
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    known = {label for series, _ in wanted for label in SERIES[series].labels} | {*ADDED, *ARM}
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known
    assert set(re.findall(r"\w+:trunkline_\w+:\w+", expression)) <= recorded


def test_the_check_of_names_would_notice():
    assert asked('rate(trunkline_request_total{arms="canary"}[5m])') == [("trunkline_request_total", {"arms"})]


def test_every_alert_says_how_loud_it_is_what_is_wrong_and_what_to_do():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert set(rule["annotations"]) == {"summary", "action"}


@needs_promtool
def test_alerts_fire_when_they_must_and_only_then():
    done = ran("promtool", "test", "rules", DEPLOY / "prometheus/rules_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("always", [False, True])
def test_the_series_would_notice_an_alert_that_never_or_always_fires(tmp_path, always):
    content = yaml.safe_load(RULES.read_text())
    alerts = [rule for group in content["groups"] for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        rule["expr"] = "vector(1)" if always else "vector(0) > 1"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "alerts", "rules": alerts}]}))
    shutil.copy(DEPLOY / "prometheus/rules_test.yaml", tmp_path)
    done = ran("promtool", "test", "rules", tmp_path / "rules_test.yaml")
    assert done.returncode != 0
    failed = set(re.findall(r"alertname: ?(\w+)", done.stdout + done.stderr))
    assert failed == {rule["alert"] for rule in alerts}


@needs_promtool
def test_every_expression_of_the_dashboard_is_promql(tmp_path):
    recorded = [{"record": f"test:{place}", "expr": text} for place, text in enumerate(expressions().values())]
    written = tmp_path / "rules.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    done = ran("promtool", "check", "rules", written)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(recorded)} rules found" in done.stdout


def test_the_dashboard_shows_every_metric_and_its_panels_do_not_overlap():
    shown = {SERIES[series].name for text in expressions().values() for series, _ in asked(text)}
    assert shown == {metric.name for metric in METRICS}
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_answers_are_shown_by_release_and_arm():
    for panel in panels():
        for target in panel["targets"]:
            if any(SERIES[series].labels[:2] == ARM for series, _ in asked(target["expr"])):
                assert "by (release, arm" in target["expr"] or panel["title"] == "Canary's share"


@needs_amtool
@pytest.mark.parametrize(("labels", "receiver"), [(("severity=page",), "pages"), (("severity=ticket",), "tickets")])
def test_pages_and_tickets_go_to_different_receivers(labels, receiver):
    done = ran("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == receiver


@needs_amtool
def test_the_alertmanager_example_is_valid_and_inhibits_alerts_that_exist():
    assert ran("amtool", "check-config", ALERTMANAGER).returncode == 0
    named = set(re.findall(r"Trunkline\w+", ALERTMANAGER.read_text()))
    assert named <= {rule["alert"] for rule in rules() if "alert" in rule}
