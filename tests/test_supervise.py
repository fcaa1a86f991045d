"""`trunkline supervise`: a real process, real Git and DVC remotes, real kills; what it starts is tests/stand_in.py."""

import asyncio
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import rollout_logs
import starter
import supervised
from releases import MODEL
from supervised import Machine, until
from trunkline import cli, params
from trunkline.assignment import arm_of
from trunkline.clients import files
from trunkline.clients.weights import identify
from trunkline.errors import Error
from trunkline.operations import supervise
from trunkline.operations.supervise import desired, keeper, routing, supply
from trunkline.operations.supervise.desired import Canary, Desired
from trunkline.operations.supervise.ports import Ports
from trunkline.operations.supervise.routing import Place
from trunkline.params.supervise import PortsParams, SuperviseParams
from trunkline.records.serving import Failure
from trunkline.records.traffic import Mirror, Served, Traffic

PLACE = Place(MODEL, "production")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return supervised.build(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def machine(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One that all tests share: each lets come true first what it begins with."""
    with supervised.machine(world, tmp_path_factory.mktemp("machine")) as made:
        yield made


def tried(weight: float, state: str = "running") -> dict:
    return supervised.rollout("v1.0.0", "v1.1.0", weight, state)


def shadowed() -> dict:
    """A rollout in its shadow."""
    plan = {"share": 0.25, "minutes": 3, "pairs": 100, "margin": 0.05, "at_once": 2}
    return tried(0) | {"plan": tried(0)["plan"] | {"shadow": plan}}


# ---- a release's life


def test_a_canary_comes_ramps_and_becomes_stable_without_a_failed_request_or_a_second_start(machine):
    machine.start()
    until(lambda: "nothing was promoted to production yet" in machine.said)
    machine.settle("v1.0.0")
    with supervised.clients(machine.came) as found:
        machine.decide("v1.0.0", rollout=shadowed())
        until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0))
        assert machine.traffic.shadow == Mirror(share=0.25, at_once=2)
        assert {version for _, version in found} <= {"v1.0.0"}
        machine.decide("v1.0.0", rollout=tried(0.25))
        until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.25))
        engines = machine.running.engines
        assert engines.keys() == {"v1.0.0", "v1.1.0"}
        machine.decide("v1.0.0", rollout=tried(0.5, "held"))
        until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.5))
        until(lambda: (200, "v1.1.0") in found)
        machine.decide("v1.1.0", rollout=tried(1, "promoted"))
        until(lambda: machine.arms == ("v1.1.0", None, 0))
        until(lambda: machine.running.engines == {"v1.1.0": engines["v1.1.0"]})
        until(lambda: not (machine.serve / "v1.0.0").exists())
    assert {status for status, _ in found} == {200}
    assert {version for _, version in found} == {"v1.0.0", "v1.1.0"}
    assert found[-1] == (200, "v1.1.0")
    assert len(machine.running.gateway) == 1


def test_a_canary_that_is_rolled_back_gets_nothing_at_once_and_ends_later(machine):
    machine.settle("v1.0.0", "v1.1.0")
    machine.decide("v1.0.0", rollout=tried(0, "rolled_back"))
    until(lambda: machine.arms == ("v1.0.0", None, 0))
    decided = (machine.serve / "traffic.json").stat().st_mtime
    until(lambda: machine.running.engines.keys() == {"v1.0.0"})
    told = float(re.search(r"told to end at (\S+)", machine.log("v1.1.0"))[1])
    assert told - decided > 0.9 * supervised.GRACE_S


def test_a_rollback_of_stable_ends_the_comparison_and_serves_the_old_one_when_it_is_proved(machine):
    machine.settle("v1.1.0", "v1.2.0")
    slow = machine.fault("slow-v1.0.0")
    machine.decide("v1.0.0", rollout=supervised.rollout("v1.1.0", "v1.2.0", 0.5))
    until(lambda: machine.arms == ("v1.1.0", None, 0))
    slow.unlink()
    until(lambda: machine.arms == ("v1.0.0", None, 0))
    until(lambda: machine.running.engines.keys() == {"v1.0.0"})


# ---- kills


def test_a_killed_supervisor_leaves_all_serving_and_the_next_takes_over_without_a_restart(machine):
    machine.settle("v1.0.0", "v1.1.0")
    before = machine.running
    with supervised.clients(machine.came) as found:
        machine.crash()
        machine.decide("v1.0.0", rollout=tried(0.25))
        time.sleep(0.5)
        assert machine.running == before
        machine.start()
        until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.25))
    assert {status for status, _ in found} == {200}
    assert machine.running == before
    os.kill(before.engines["v1.1.0"], signal.SIGKILL)
    until(lambda: machine.running.engines.get("v1.1.0") not in (None, before.engines["v1.1.0"]))


def test_an_engine_that_dies_is_started_again_and_keeps_its_arm_meanwhile(machine):
    machine.settle("v1.0.0", "v1.1.0")
    before, traffic = machine.running, machine.traffic
    slow = machine.fault("slow-v1.1.0")
    os.kill(before.engines["v1.1.0"], signal.SIGKILL)
    until(lambda: before.engines["v1.1.0"] not in machine.running.engines.values())
    answers = [machine.ask(f"unit-{n}") for n in range(20)]
    assert {(answer.status_code, answer.json()["release"]) for answer in answers} == {
        (200, f"{MODEL}@v1.0.0"),
        (503, f"{MODEL}@v1.1.0"),
    }
    slow.unlink()
    comes_back(machine, before, traffic)
    until(lambda: "engine v1.1.0 has ended (killed by signal 9)" in machine.said)


def comes_back(machine: Machine, before: supervised.Running, traffic: Traffic) -> None:
    """Wait until the canary's engine is another one; all else is as it was."""
    until(lambda: machine.running.engines.get("v1.1.0") not in (None, before.engines["v1.1.0"]))
    until(machine.answers)
    assert machine.traffic == traffic
    assert machine.running.engines["v1.0.0"] == before.engines["v1.0.0"]


@contextmanager
def supervised_by(machine: Machine, name: str, seconds: float) -> Iterator[None]:
    """A supervisor with another setting; before and after it the next one goes on with what it finds."""
    usual = yaml.safe_load((machine.folder / "params.yaml").read_text())["supervise"][name]

    def become(seconds: float) -> None:
        machine.configure("supervise", **{name: seconds})
        if machine.runs:
            machine.crash()

    become(seconds)
    try:
        yield
    finally:
        become(usual)


def test_an_engine_that_hangs_is_started_again_and_keeps_its_arm_meanwhile(machine):
    with supervised_by(machine, "silent_seconds", 2):
        machine.settle("v1.0.0", "v1.1.0")
        before, traffic = machine.running, machine.traffic
        os.kill(before.engines["v1.1.0"], signal.SIGSTOP)
        comes_back(machine, before, traffic)
        until(lambda: "engine v1.1.0 hangs" in machine.said)


def test_one_that_is_down_gets_no_other_rollouts_units_before_it_is_proved_again(machine):
    with supervised_by(machine, "grace_seconds", 60):
        machine.settle("v1.0.0", "v1.1.0")
        slow = machine.fault("slow-v1.1.0")
        os.kill(machine.running.engines["v1.1.0"], signal.SIGKILL)
        until(lambda: "engine v1.1.0 has ended (" in machine.said)
        machine.decide("v1.0.0", rollout=tried(0, "rolled_back"))
        until(lambda: machine.arms == ("v1.0.0", None, 0))
        machine.decide("v1.0.0", rollout=tried(0.5))
        time.sleep(2)
        assert machine.arms == ("v1.0.0", None, 0)
        slow.unlink()
        until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.5))
        assert machine.ask(next(unit for unit in map(str, range(99)) if on_canary(unit))).status_code == 200


def on_canary(unit: str) -> bool:
    return arm_of(rollout_logs.SALT, unit, 0.5) == "canary"


class Moody:
    """A program that runs elsewhere, and is silent when it is asked at these times in turn."""

    name, log = "engine", Path("engine.log")

    def __init__(self, *silent: int) -> None:
        self.proved = self.checked = 0
        self._silent = silent

    async def start(self) -> None:
        pass

    async def prove(self) -> None:
        self.proved += 1

    async def check(self) -> None:
        self.checked += 1
        if self.checked in self._silent:
            raise Failure("timeout", "no answer in time")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("silent", "proved"), [((2, 4, 6), 1), ((2, 3, 6), 2)])
def test_one_question_without_an_answer_is_no_silence_however_long_it_took(monkeypatch, silent, proved):
    monkeypatch.setattr(keeper, "_LOOK_S", 0.01)
    brief = {"silent_seconds": 0.001, "restart_seconds": {"first": 0.01, "most": 0.01}}
    settings = params.load(starter.ROOT / "params.yaml").supervise.model_dump() | brief
    program = Moody(*silent)

    async def keep() -> None:
        kept = keeper.Keeper(program, SuperviseParams.model_validate(settings), None)
        while program.checked < 8:
            await asyncio.sleep(0.01)
        await kept.end()

    asyncio.run(keep())
    assert program.proved == proved


def test_a_gateway_that_dies_is_started_again(machine):
    machine.settle("v1.0.0")
    (before,) = machine.running.gateway
    os.kill(before, signal.SIGKILL)
    until(lambda: machine.running.gateway not in ([], [before]) and machine.answers())


def test_a_second_supervisor_in_the_folder_refuses(machine):
    machine.settle("v1.0.0")
    assert machine.launch().wait(120) == cli.EXIT_ERROR
    until(lambda: f"supervise is already running here (process {machine.supervisor.pid})" in machine.said)


def test_sigterm_ends_the_gateway_first_and_everything_accepted_is_answered(machine):
    machine.settle("v1.0.0")
    found = []
    thread = threading.Thread(target=lambda: found.append(machine.ask("unit", seconds=2)))
    thread.start()
    until(lambda: "somebody waits" in machine.log("v1.0.0"))
    assert machine.end() == 0
    thread.join()
    assert [answer.status_code for answer in found] == [200]
    assert machine.running == ([], {})
    until(lambda: machine.said.endswith(f"{MODEL} in production: gateway and engines have ended\n"))
    assert machine.said.index("gateway has ended") < machine.said.index("engine v1.0.0 has ended")


# ---- what does not come right


def test_an_unreachable_remote_is_told_once_and_all_goes_on_also_in_a_new_supervisor(machine):
    machine.settle("v1.0.0", "v1.1.0")
    away = machine.origin.rename(machine.origin.with_name("away"))
    try:
        until(lambda: "git fetch" in machine.said)
        machine.crash()
        os.kill(machine.running.engines["v1.1.0"], signal.SIGKILL)
        machine.start()
        until(lambda: machine.running.engines.keys() == {"v1.0.0", "v1.1.0"} and machine.answers())
        until(lambda: "git fetch" in machine.said_now)
        time.sleep(1)
        assert machine.arms == ("v1.0.0", "v1.1.0", 0.5)
        assert machine.said_now.count("git fetch") == 1
    finally:
        away.rename(machine.origin)
    machine.decide("v1.0.0", rollout=tried(0.25))
    until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.25))
    until(lambda: "the remote is well again" in machine.said)


def test_what_cannot_be_served_changes_nothing_until_it_can(machine):
    machine.settle("v1.0.0")
    until(lambda: not (machine.serve / "v1.1.0").exists())
    machine.write({f"{MODEL}.rollout.yaml": b"name: ["})
    until(lambda: f"{MODEL}.rollout.yaml is not valid YAML" in machine.said)
    away = machine.remote.rename(machine.remote.with_name("away"))
    machine.decide("v1.0.0", rollout=tried(0.5))
    until(lambda: "engine v1.1.0 does not start: the DVC remote storage does not hold bundle" in machine.said)
    assert machine.arms == ("v1.0.0", None, 0)
    broken = machine.fault("broken-v1.1.0")
    away.rename(machine.remote)
    until(lambda: "engine v1.1.0 has ended (exit code 1: the model does not generate)" in machine.said)
    wrong = machine.fault("wrong-v1.1.0")
    broken.unlink()
    until(lambda: "engine v1.1.0 gets no traffic: it serves" in machine.said)
    assert machine.arms == ("v1.0.0", None, 0)
    wrong.unlink()
    until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.5))
    assert machine.said.count("the model does not generate") == 1


def test_what_somebody_makes_of_a_rollout_that_runs_moves_no_unit(machine):
    machine.settle("v1.0.0", "v1.1.0", 0.25)
    before = machine.traffic
    asked = tried(0.25)
    by_hand = {"canary": "v1.2.0", "weight": 0.4, "plan": asked["plan"] | {"salt": "f" * 32, "beta": 0.9}}
    machine.write({f"{MODEL}.rollout.yaml": yaml.safe_dump(asked | by_hand).encode()})
    until(lambda: "canary, plan, weight of the rollout on env/production was changed after the start" in machine.said)
    assert machine.traffic == before
    machine.write({f"{MODEL}.rollout.yaml": yaml.safe_dump(asked | by_hand | {"weight": 0.5}).encode()})
    until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.5))
    assert machine.traffic.salt == before.salt


def test_weights_that_the_branch_does_not_name_are_not_served(machine):
    machine.settle("v1.0.0")
    machine.decide("v1.1.0", weights={"adapter_model.safetensors": "0" * 64})
    until(lambda: f"{MODEL}@v1.1.0 has other weights than the environment's branch names" in machine.said)
    assert machine.arms == ("v1.0.0", None, 0)
    assert machine.running.engines.keys() == {"v1.0.0"}


def test_a_release_of_other_code_is_not_served(machine):
    machine.settle("v1.0.0")
    machine.decide(supervised.OTHER_CODE)
    until(lambda: "was trained with other transforms than those registered here: clean_text@1" in machine.said)
    assert machine.arms == ("v1.0.0", None, 0)
    assert machine.running.engines.keys() == {"v1.0.0"}


def test_an_engine_stays_for_as_long_as_the_gateway_asks_it(machine):
    machine.settle("v1.0.0")
    deaf = machine.fault("deaf")
    machine.decide("v1.1.0")
    until(lambda: f"the gateway answers with {MODEL}@v1.0.0, not yet with {MODEL}@v1.1.0" in machine.said)
    time.sleep(1)
    assert machine.arms == ("v1.1.0", None, 0)
    assert machine.running.engines.keys() == {"v1.0.0", "v1.1.0"}
    assert machine.answers()
    deaf.unlink()
    until(lambda: machine.running.engines.keys() == {"v1.1.0"})
    assert machine.said.count("not yet with") == 1


def test_a_bundle_that_was_damaged_here_is_fetched_anew(machine):
    machine.settle("v1.0.0")
    machine.crash()  # the next one goes on with what it finds
    machine.settle("v1.0.0")
    before = machine.running.engines["v1.0.0"]
    (machine.serve / "v1.0.0/adapter_model.safetensors").write_text("damaged")
    os.kill(before, signal.SIGKILL)
    until(lambda: machine.running.engines.get("v1.0.0") not in (None, before) and machine.answers())
    assert (machine.serve / "v1.0.0/adapter_model.safetensors").read_text() == "weights of v1.0.0"


def test_a_base_model_that_computes_otherwise_than_the_releases_is_fetched_as_it_was(world, tmp_path, monkeypatch):
    here, turned = Path("models/base"), '{"rope_theta": 20000.0}'
    with supervised.machine(world, tmp_path) as machine:
        monkeypatch.chdir(machine.folder)
        shutil.copytree(world / "clone-0/base", here)
        (here / "config.json").write_text(turned)
        files.write_text(here / "base.json", identify("path:somewhere", here).text())
        settings = params.load(Path("params.yaml"))
        before, after = (
            supply.supply(supply.manifest(MODEL, version, None), machine.serve, settings).base
            for version in ("v1.0.0", "v1.1.0")
        )
        assert before == here, "a release that does not say how it computes takes what has its weights"
        assert (after / "config.json").read_text() == '{"rope_theta": 10000.0}'
        supply.tidy(machine.serve, ["v1.1.0"])
        assert after.is_dir()
        supply.tidy(machine.serve, ["v1.0.0"])
        assert not after.exists()


def test_a_full_disk_changes_nothing_and_is_told(machine):
    machine.settle("v1.0.0")
    pid, unlimited = machine.supervisor.pid, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    machine.decide("v1.0.0", rollout=tried(0.5))
    until(lambda: "all goes on as it was" in machine.said)
    assert machine.arms == ("v1.0.0", None, 0)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    until(lambda: machine.arms == ("v1.0.0", "v1.1.0", 0.5))


def test_a_release_without_the_signature_that_it_must_have_is_not_served(world, tmp_path):
    with supervised.machine(world, tmp_path) as machine:
        machine.configure("release", sign="key", public_key="release.pub")
        machine.decide("v1.0.0")
        machine.start()
        until(lambda: "engine v1.0.0 does not start: the release is not signed" in machine.said)
        assert machine.traffic is None
        assert machine.running == ([], {})


# ---- the decision who answers what


def served(version: str, port: int = 8081) -> Served:
    return Served(release=f"{MODEL}@{version}", bundle=f"/{version}", url=f"http://127.0.0.1:{port}")


versions = st.sampled_from(["v1", "v2", "v3"])
mirror = Mirror(share=0.5, at_once=2)
canaries = st.builds(
    lambda version, place: Canary(version, place[0], "a salt of 8", "rollout", place[1]),
    versions,
    st.tuples(st.floats(0, 1), st.none()) | st.just((0.0, mirror)),
)
wishes = st.builds(Desired, versions, st.none(), st.none() | canaries).filter(
    lambda wish: wish.canary is None or wish.canary.version != wish.stable
)
proofs = st.dictionaries(versions, st.integers(8081, 8084), max_size=3).map(
    lambda ports: {version: served(version, port) for version, port in ports.items()}
)


@given(st.lists(st.tuples(wishes, proofs), min_size=1, max_size=6))
def test_whatever_is_asked_only_proved_engines_get_units_and_a_canary_only_what_it_may(steps):
    before: Traffic | None = None
    proved: set[str] = set()
    for wish, proof in steps:
        traffic = routing.route(PLACE, wish, proof, before)
        proved |= {engine.release for engine in proof.values()}
        if traffic is None:
            assert before is None and wish.stable not in proof
            continue
        assert {arm.release for arm in (traffic.stable, traffic.canary) if arm} <= proved
        if before is not None and wish.stable not in proof and wish.stable not in routing.versions(PLACE, before):
            assert traffic.stable == before.stable
            assert traffic.canary is None
        if traffic.canary is not None:
            assert wish.canary is not None
            assert traffic.canary.release == f"{MODEL}@{wish.canary.version}"
            assert traffic.stable.release == f"{MODEL}@{wish.stable}"
            assert (traffic.weight, traffic.salt) == (wish.canary.weight, wish.canary.salt)
            assert traffic.shadow == wish.canary.shadow
        else:
            assert (traffic.weight, traffic.shadow) == (0, None)
        assert routing.route(PLACE, wish, proof, traffic) == traffic
        before = traffic


@given(wishes, proofs)
def test_when_all_is_proved_traffic_is_what_was_asked_for_and_can_be_gone_on_with(wish, proof):
    proof |= {version: served(version) for version in wish.versions if version not in proof}
    traffic = routing.route(PLACE, wish, proof, None)
    assert traffic is not None
    assert routing.versions(PLACE, traffic) == [*wish.versions]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=20), st.sets(st.integers(1, 5)))
def test_no_two_versions_share_a_port_and_none_gets_one_that_is_taken(steps, taken):
    ports = Ports(PortsParams(first=1, last=5), lambda port: port not in taken)
    held: dict[str, int] = {}
    for version, takes in steps:
        if not takes:
            ports.give_back(version)
            held.pop(version, None)
            continue
        try:
            held[version] = ports.take(version)
        except Error:
            assert set(held.values()) - {held.get(version)} | taken >= set(range(1, 6))
            continue
        assert held[version] not in taken
        assert len(set(held.values())) == len(held)
        assert ports.take(version) == held[version] == ports.of(version)


def test_a_branch_that_says_nonsense_is_named():
    rollout = supervised.rollout("v1.0.0", "v1.1.0", 0.5)
    serving = {
        "model": MODEL,
        "environment": "production",
        "version": "v1.0.0",
        "commit": "c" * 40,
        "weights": {},
        "action": "promote",
        "reason": "better",
        "by": "ann",
        "since": "now",
        "tag": rollout["assigned"],
    }

    def read(serving: dict, rollout: dict | None) -> Desired:
        found = {f"{MODEL}.yaml": serving} | ({f"{MODEL}.rollout.yaml": rollout} if rollout else {})
        return desired.read({path: yaml.safe_dump(text).encode() for path, text in found.items()}, (), *PLACE)

    assert read(serving, rollout).canary == Canary("v1.1.0", 0.5, rollout_logs.SALT, f"{MODEL}#production#v1.1.0#1")
    asked = read(serving, shadowed()).canary
    assert asked is not None
    assert (asked.weight, asked.shadow) == (0, Mirror(share=0.25, at_once=2))
    beyond = shadowed() | {"weight": 0.05}
    assert read(serving, beyond).canary == Canary("v1.1.0", 0.05, rollout_logs.SALT, f"{MODEL}#production#v1.1.0#1")
    assert read(serving, None) == Desired("v1.0.0", {}, None)
    assert read(serving | {"tag": f"{MODEL}#production#2"}, rollout).canary is None
    assert read(serving | {"tag": f"{MODEL}#production#2", "version": "v1.1.0"}, rollout).versions == ("v1.1.0",)
    for changed, said in (
        ({"weight": 2}, "rollout.yaml: weight"),
        ({"model": "other"}, "is of other in production"),
        ({"environment": "canary"}, f"is of {MODEL} in canary"),
        ({"plan": rollout["plan"] | {"salt": None}}, "plan.salt"),
    ):
        with pytest.raises(Error, match=said):
            read(serving, rollout | changed)
    with pytest.raises(Error, match="nothing was promoted"):
        desired.read({}, (), *PLACE)


# ---- small print


def test_what_is_started_reads_the_params_that_the_supervisor_read_for_engines_that_it_starts(in_tmp):
    settings = starter.settings(in_tmp, supervise__threads=3, serve__engines__stable__kind="tgi")
    path = in_tmp / "copy.yaml"
    path.write_text(supervise._for_programs(settings))
    assert params.load(path) == starter.settings(in_tmp, supervise__threads=3)


def test_an_environment_that_cannot_be_one_and_a_port_that_nobody_knows_are_refused(in_tmp):
    with pytest.raises(Error, match="cannot name an environment"):
        supervise.run(starter.settings(in_tmp), "../x")
    with pytest.raises(Error, match="leaves the port open"):
        supervise.run(starter.settings(in_tmp, serve__gateway__listen="127.0.0.1:0"), "production")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"supervise__ports": {"first": 8081, "last": 8082}}, "at least 3 ports"),
        ({"supervise__restart_seconds": {"first": 5, "most": 1}}, "longer than most"),
        ({"supervise__drain_seconds": 90}, "supervise.drain_seconds 90 kills"),
        ({"supervise__grace_seconds": 10}, "supervise.grace_seconds 10 ends"),
    ],
)
def test_settings_that_cannot_work_are_refused(in_tmp, changes, said):
    with pytest.raises(Error, match=said):
        starter.settings(in_tmp, **changes)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_example_of_a_systemd_unit_is_one(tmp_path):
    text = (starter.ROOT / "deploy/systemd/trunkline.service").read_text()
    unit = tmp_path / "trunkline.service"
    unit.write_text(re.sub("ExecStart=\\S+", f"ExecStart={sys.executable}", text))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    settings = params.load(starter.ROOT / "params.yaml").supervise
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > 2 * settings.drain_seconds
