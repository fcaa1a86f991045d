"""Prompts for a provider's model earn their traffic on one machine: real supervisor, gateway, rollout and provider."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

import gateways
import hosted_machine
import provider as providers
import releases
import served
import starter
import supervised
from provider import Provider
from releases import MODEL
from supervised import Machine, until
from trunkline import cli, params, prompts
from trunkline.clients.dvc import objects
from trunkline.records import Base
from trunkline.records.prediction import Prediction

pytestmark = pytest.mark.slow

KEY = "sk-a-secret-that-nobody-may-see"
TEMPLATE = gateways.TEMPLATE.replace("and nothing else", "and really nothing else")
OTHER = gateways.TASK.model_copy(
    update={"template": TEMPLATE, "prompt_id": prompts.identify(TEMPLATE, gateways.ALLOWED)}
)
PLAN = {
    "method": "counts",
    "placebos": 99,
    "steps": [{"weight": 0.5, "minutes": 0.02}],
    "horizon_minutes": 30,
    "poll_seconds": 1,
    "metrics": {"latency_ms": {"kind": "amount", "quantiles": [0.75], "tolerated": 2.5, "margins": [3.8]}},
    "hard_stops": {"error": 10},
    # No false alarm.
    "alpha": {"planned": 1e-9, "reserve": 1e-9, "ratio": 1e-9},
}


class Place(Machine):
    """A machine that serves, and a desk at which is decided what."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, hosted_machine.__file__)
        self.desk = folder / "desk"
        starter.git(folder, "clone", "-q", "--branch", "main", "origin.git", "desk")
        log = {"database": f"sqlite:///{folder / 'log.sqlite'}", "spool": str(folder / "spool")}
        content = yaml.safe_load((self.folder / "params.yaml").read_text())
        content["serve"]["log"] |= log
        content["serve"]["gateway"] |= {"probe_seconds": 2.0, "repeat_seconds": 0.5}
        # Whatever stands still for a moment, nobody is refused and nothing is ended that is asked.
        content["serve"]["timeouts"] = dict(gateways.PATIENT)
        content["supervise"] |= {"silent_seconds": 60, "grace_seconds": 5}
        content["rollout"] |= PLAN
        for clone in (self.folder, self.desk):
            (clone / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        self.params = params.load(self.folder / "params.yaml")
        monkeypatch.chdir(self.desk)

    def decide_by(self, *arguments: str) -> None:
        """Decide at the desk, by a command."""
        assert cli.main([*arguments, "--by", "ada"]) == 0

    def asks(self, unit: str) -> tuple[int, str]:
        """Status, and the version that answered or failed to."""
        body = {"messages": [{"role": "user", "content": "I lost my card"}], "user": unit}
        answer = requests.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)
        return answer.status_code, answer.headers.get("x-trunkline-release", "").removeprefix(f"{MODEL}@")

    def answered(self) -> set[tuple[int, str]]:
        """What ten new units get, which are on both arms."""
        with contextlib.suppress(requests.ConnectionError):
            return {self.asks(f"{time.time_ns()}-{number}") for number in range(10)}
        return set()

    def logged(self) -> list[Prediction]:
        return gateways.rows(self.params)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """One whose `large` is what it likes, and whose `large-2026-08` is what it was."""
    monkeypatch.setenv("LLM_API_KEY", KEY)
    made = Provider()
    made.key, made.answers["large-2026-08"] = KEY, providers.right
    return made


@pytest.fixture
def place(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Releases: v1.0.0 to v1.2.0 and v3.0.0 have weights, v2.0.0 and v2.1.0 are prompts for a provider's model."""
    monkeypatch.setattr(supervised, "TASK", gateways.TASK)  # the real gateway renders its prompt
    work = supervised.build(tmp_path) / "clone-0"
    with served.answering(provider.handle) as url, contextlib.chdir(work):
        for version, model, task in (("v2.0.0", "large-2026-08", gateways.TASK), ("v2.1.0", "large", OTHER)):
            folder, commit = work / "bundle" / version, releases.commit(work, version)
            record = providers.record(url, task, model=model, key="LLM_API_KEY")
            facts = providers.bundle(folder, version, record, task, commit=commit)
            releases.release(version, commit, **facts, bundle=objects.store(folder, objects.place()))
        supervised.release(work, "v3.0.0", Base.read(work / "base/base.json"))
        starter.git(work, "push", "-q", "--tags", "origin", "HEAD:main")
        made = Place(tmp_path, monkeypatch)
        try:
            yield made
        finally:
            made.close()


def test_prompts_for_a_providers_model_earn_their_traffic_and_the_old_one_is_back_when_it_moves(place, provider):
    place.decide_by("promote", "v1.0.0", "--to", "production")
    place.start()
    until(lambda: place.answered() == {(200, "v1.0.0")}, 120)

    # Stable has weights, the canary is hosted; a human lets it through.
    place.decide_by("rollout", "start", "v2.0.0", "--reason", "no machine of ours")
    until(lambda: place.answered() == {(200, "v1.0.0"), (200, "v2.0.0")}, 120)
    place.decide_by("rollout", "hold", "--reason", "look at it")
    place.decide_by("rollout", "promote", "--reason", "it is good")
    until(lambda: place.answered() == {(200, "v2.0.0")}, 120)
    until(lambda: not place.running.engines)

    # Both are hosted, and the log decides.
    with supervised.clients(place.asks) as found:
        until(lambda: len(found) > 60, 120)
        place.decide_by("rollout", "start", "v2.1.0", "--reason", "a clearer prompt")
        assert cli.main(["rollout", "watch"]) == 0
        until(lambda: place.arms == ("v2.1.0", None, 0), 120)
        until(lambda: place.answered() == {(200, "v2.1.0")}, 120)
    assert set(found) == {(200, "v2.0.0"), (200, "v2.1.0")}

    # Stable is hosted, the canary has weights.
    place.decide_by("rollout", "start", "v3.0.0", "--reason", "a model of our own")
    until(lambda: place.answered() == {(200, "v2.1.0"), (200, "v3.0.0")}, 120)
    place.decide_by("rollout", "rollback", "--reason", "not worth a machine")
    until(lambda: place.answered() == {(200, "v2.1.0")}, 120)

    # The provider changes what `large` is, and says nothing.
    provider.answer = providers.wrong
    until(lambda: place.answered() == {(503, "v2.1.0")}, 120)
    log = place.serve / "gateway.log"
    assert f"gets no traffic as {MODEL}@v2.1.0: the provider moved: 3 of 3 pinned answers differ" in log.read_text()
    place.decide_by("rollback", "--to", "v2.0.0", "--reason", "the provider changed it")
    until(lambda: place.answered() == {(200, "v2.0.0")}, 120)

    # A supervisor that is killed leaves it serving; nothing anywhere holds the key.
    place.crash()
    place.start()
    until(lambda: "provider of v2.0.0 is ready" in place.said_now, 120)
    assert place.answered() == {(200, "v2.0.0")}
    assert place.end() == 0
    ended = [one for one in place.logged() if one.outcome is not None]
    assert {one.outcome.error for one in ended} == {None, "moved"}
    answered = [one for one in ended if one.outcome.error is None]
    by_provider = [one.outcome for one in answered if one.assignment.release.partition("@v2")[1]]
    assert {outcome.engine_model for outcome in by_provider} == {"large-2026-08"}
    assert all(outcome.usd and outcome.tokens_in for outcome in by_provider)
    kept = [path for path in place.folder.parent.rglob("*") if path.is_file()]
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
