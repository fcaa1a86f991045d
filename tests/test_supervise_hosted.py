"""A hosted release under `trunkline supervise`: what its provider must be before it gets traffic."""

import asyncio
from pathlib import Path

import pytest

import provider as providers
import releases
import served
import starter
from gateways import TASK
from provider import Provider
from trunkline.operations.supervise.keeper import Unfit
from trunkline.operations.supervise.ports import Ports
from trunkline.operations.supervise.programs import Means
from trunkline.operations.supervise.provided import ProviderProgram
from trunkline.records.traffic import Served

NAME = f"{releases.MODEL}@v2.0.0"


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def url(provider):
    with served.answering(provider.handle) as found:
        yield found


@pytest.fixture
def program(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> ProviderProgram:
    monkeypatch.setenv("LLM_API_KEY", "sk-1")
    params = starter.settings(tmp_path)
    record = providers.record(url, TASK, key="LLM_API_KEY", timeout=60.0)
    facts = providers.bundle(tmp_path / "v2.0.0", "v2.0.0", record, TASK)
    manifests = {"v2.0.0": releases.manifest("v2.0.0", "c" * 40, **facts)}
    ports = Ports(params.supervise.ports, lambda port: True)
    return ProviderProgram("v2.0.0", Means(params, tmp_path, ports, manifests, asyncio.Lock()))


def why(program: ProviderProgram) -> str:
    with pytest.raises(Unfit) as caught:
        asyncio.run(program.prove())
    assert program.served is None
    return caught.value.problem


def test_a_provider_that_repeats_the_pinned_answers_is_where_the_release_is_served(program, provider, url, tmp_path):
    before = len(provider.bodies)
    asyncio.run(program.prove())
    assert program.served == Served(release=NAME, bundle=str(tmp_path / "v2.0.0"), url=url)
    assert len(provider.bodies) == before + 3
    asyncio.run(program.check())
    assert len(provider.bodies) == before + 3, "asking whether it is there has its price"


def test_what_keeps_a_provider_from_its_traffic_is_told_apart(program, provider, tmp_path, monkeypatch):
    provider.answer = providers.wrong
    assert "provider of v2.0.0 gets no traffic: the provider moved: 3 of 3 pinned answers differ" in why(program)
    provider.answer, provider.key = providers.right, "another"
    assert "large gives no answer" in (said := why(program))
    assert "answers 401: wrong key" in said
    monkeypatch.delenv("LLM_API_KEY")
    assert "the environment variable LLM_API_KEY is not set" in why(program)
    path = tmp_path / "v2.0.0/provider.json"
    path.write_text(path.read_text().replace("large", "small"))
    assert "is not the one that was recorded" in why(program)
