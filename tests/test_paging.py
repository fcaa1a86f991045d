"""From a gateway's metrics to whoever is woken: the real Prometheus and Alertmanager with this project's rules.

Only times are shortened: how often is looked and how long is waited. promtool fires each alert at its real times.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests
import yaml

import ports

DEPLOY = Path(__file__).parent.parent / "deploy/prometheus"
PROMETHEUS = shutil.which("prometheus")
# Debian's name, and everybody else's.
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
SECONDS = 120.0
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None or ALERTMANAGER is None, reason="Debian's packages prometheus and prometheus-alertmanager"
)


class Gateway:
    """What a gateway's /metrics says, and the webhooks that came, by path.

    Attributes:
        failing: arms of which every second answer fails.
        down: arms whose engine does not prove that it serves.
        spool: share of the log's spool that is used.
        queue: requests that wait.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.down: set[str] = set()
        self.spool, self.queue = 0.1, 2.0
        self.came: list[tuple[str, dict[str, Any]]] = []
        self._counts = {arm: [0.0, 0.0] for arm in ("stable", "canary")}
        self._last = time.monotonic()

    def metrics(self) -> str:
        now = time.monotonic()
        passed, self._last = now - self._last, now
        lines = [f'trunkline_spool_used_ratio{{instance="a"}} {self.spool}', "trunkline_canary_weight_ratio 0.25"]
        for arm, counts in self._counts.items():
            counts[0] += 100 * passed
            counts[1] += 50 * passed if arm in self.failing else 0
            labels = f'release="triage@v1.{int(arm == "canary")}.0",arm="{arm}"'
            lines += [
                f'trunkline_requests_total{{{labels},status="200"}} {counts[0]}',
                f'trunkline_request_errors_total{{{labels},error="failed"}} {counts[1]}',
                f"trunkline_engine_up_ratio{{{labels}}} {int(arm not in self.down)}",
                f"trunkline_queue_requests{{{labels}}} {self.queue}",
            ]
        # Of numbers with their time, one scrape that takes too long is not the end, as real ones are taken less often.
        return "".join(f"{line} {time.time_ns() // 10**6}\n" for line in lines)

    def told(self, path: str, status: str = "firing") -> dict[tuple[str, str], dict[str, Any]]:
        """The alerts that a receiver was told with this status, by name and arm."""
        told = (alert for where, content in self.came if where == path for alert in content["alerts"])
        return {
            (alert["labels"]["alertname"], alert["labels"].get("arm", "")): alert
            for alert in told
            if alert["status"] == status
        }


@contextmanager
def listening(gateway: Gateway) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(gateway.metrics().encode(), "text/plain; version=0.0.4")

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["content-length"])))
            gateway.came.append((self.path, content))
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def until(what: Callable[[], object], why: Callable[[], str]) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, why()
        time.sleep(0.1)


def rules() -> dict[str, Any]:
    content = yaml.safe_load((DEPLOY / "rules.yaml").read_text())
    for group in content["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule |= {"for": "1s"} if "alert" in rule else {}
    return content


def routes(receivers: int) -> dict[str, Any]:
    content = yaml.safe_load((DEPLOY / "alertmanager.yaml").read_text())
    for route in (content["route"], *content["route"]["routes"]):
        route |= {"group_wait": "2s", "group_interval": "1s"}
    for receiver in content["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = f"http://127.0.0.1:{receivers}/{receiver['name']}"
    return content


@pytest.fixture
def watched(tmp_path) -> Iterator[tuple[Gateway, str]]:
    """A healthy gateway that Prometheus scrapes, and Prometheus' address."""
    gateway = Gateway()
    with listening(gateway) as port, ports.kept() as alertmanager, ports.kept() as prometheus:
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "triage", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
        }
        for name, content in (("prometheus", configuration), ("rules", rules()), ("alertmanager", routes(port))):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        routing = [str(ALERTMANAGER), "--config.file=alertmanager.yaml", "--storage.path=routed"]
        routing += [f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="]
        looking = [str(PROMETHEUS), "--config.file=prometheus.yaml", "--storage.tsdb.path=series"]
        looking += [f"--web.listen-address=127.0.0.1:{prometheus}"]
        with running(tmp_path, *routing), running(tmp_path, *looking):
            # What is told before it listens is told again after a minute only.
            until(lambda: ready(f"http://127.0.0.1:{alertmanager}"), lambda: "Alertmanager does not get ready")
            yield gateway, f"http://127.0.0.1:{prometheus}"


def ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/-/ready", timeout=60).ok
    except requests.RequestException:
        return False


def asked(address: str, path: str) -> Any:
    try:
        return requests.get(f"{address}/api/v1/{path}", timeout=60).json()["data"]
    except requests.RequestException:
        return None


def evaluated(address: str) -> list[dict[str, Any]]:
    found = asked(address, "rules") or {"groups": []}
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_what_goes_bad_wakes_the_right_people_and_is_taken_back(watched):
    gateway, address = watched

    def state() -> str:
        return f"{asked(address, 'alerts')}\n{gateway.came}"

    # Healthy: every rule is evaluated on scraped numbers, and nobody is told anything.
    up = "query?query=sum(rate(trunkline_requests_total[5m]))"
    until(lambda: (asked(address, up) or {"result": []})["result"], state)
    until(lambda: {rule["health"] for rule in evaluated(address)} == {"ok"}, state)
    assert len(evaluated(address)) == sum(len(group["rules"]) for group in rules()["groups"])
    assert asked(address, "alerts")["alerts"] == []
    assert gateway.came == []

    # Both arms fail, the stable engine is down, the log is full, requests wait.
    gateway.failing, gateway.down = {"stable", "canary"}, {"stable"}
    gateway.spool, gateway.queue = 0.95, 4000.0
    pages = {("TrunklineErrors", "canary"), ("TrunklineEngineDown", "stable"), ("TrunklineLogFull", "")}
    tickets = {("TrunklineQueue", "canary")}
    until(lambda: pages <= gateway.told("/pages").keys(), state)
    until(lambda: tickets <= gateway.told("/tickets").keys(), state)
    fires = {alert["labels"]["alertname"] for alert in asked(address, "alerts")["alerts"] if alert["state"] == "firing"}
    assert {"TrunklineErrors", "TrunklineLogBehind", "TrunklineQueue"} <= fires
    # What explains the rest is told alone: an engine that is down, a log that is full.
    assert gateway.told("/pages").keys() == pages
    assert gateway.told("/tickets").keys() == tickets
    page = gateway.told("/pages")["TrunklineErrors", "canary"]
    assert page["annotations"]["summary"].startswith("triage@v1.1.0 (canary): ")
    assert page["annotations"]["action"].startswith("trunkline rollback")

    # Mended: the receiver is told that too.
    gateway.down, gateway.spool = set(), 0.1
    mended = {("TrunklineEngineDown", "stable"), ("TrunklineLogFull", "")}
    until(lambda: mended <= gateway.told("/pages", "resolved").keys(), state)
