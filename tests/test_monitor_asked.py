"""`trunkline monitor` asks who answers: a provider that moves, wavers, is down; our own changes; scores that fall."""

import itertools
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

import asking
import github_double
import github_work
import monitored
import provider as providers
import releases
import served
from gateways import Engine
from provider import Provider
from trunkline import cli, params
from trunkline.clients import bundles, files, predictions
from trunkline.clients.git import tags
from trunkline.operations import alert
from trunkline.operations.monitor import asked as asking_now
from trunkline.records.monitoring import Asked, Monitoring, Signal
from trunkline.records.release import Manifest
from trunkline.records.serving import Pin
from trunkline.records.serving import Provider as Record
from trunkline.verdict import Verdict

PINS, WEIGHTS, REQUEST = "provider/pins", "provider/weights", "provider/request"
SCORES = {f"quality/asked/{name}" for name in ("exact_match", "injection_attacks", "injection_refusals")}
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
HOSTILE = "<img src=x> ![x](https://example.com/x.png) | `@ann` call +44 20 7946 0958"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Provider, str]]:
    """A repository, and a provider that answers as the release did."""
    folder = tmp_path_factory.mktemp("project")
    provider = Provider()
    with served.answering(provider.handle) as url:
        asking.build(folder, url)
        yield folder, provider, url


@pytest.fixture
def folder(world, nameless, in_tmp) -> Path:
    shutil.copytree(world[0], in_tmp, dirs_exist_ok=True)
    return in_tmp


@pytest.fixture
def provider(world, folder) -> Provider:
    provider = world[1]
    vars(provider).update(vars(Provider()))
    provider.answer = asking.remembering(folder)
    return provider


@pytest.fixture
def made(folder) -> params.Params:
    return params.load(folder / "params.yaml")


@pytest.fixture
def released(made, provider) -> params.Params:
    """A hosted release serves in production since an hour."""
    asking.release(made)
    provider.bodies.clear()
    return made


def monitor() -> tuple[int, dict[str, Signal]]:
    """Run it in a period in which nothing has been asked yet."""
    passes(timedelta(days=30))
    return look()


def look() -> tuple[int, dict[str, Signal]]:
    code = cli.main(["monitor"])
    return code, {one.key: one for one in Monitoring.read(Path("reports/monitor.json")).signals}


def passes(time: timedelta) -> None:
    """Let what was asked last have been asked so much earlier."""
    with predictions.reading(params.load(Path("params.yaml")).serve.log) as database:
        for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
            name = (f"{releases.MODEL}@{version}", "production")
            last = predictions.remembered(database, *name, Asked)
            if last is not None:
                moment = datetime.fromisoformat(last.time) - time
                predictions.remember(database, *name, last.model_copy(update={"time": moment.isoformat()}))


def alarms(signals: dict[str, Signal]) -> set[str]:
    return {key for key, one in signals.items() if one.verdict is FAIL}


def pins_only() -> None:
    """Let nothing be scored."""
    change("    holdout: 60\n    probes:\n    - data/eval/injection.jsonl\n", "    holdout: 0\n    probes: []\n")


def change(old: str, new: str, path: str = "params.yaml") -> params.Params:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))
    return params.load(Path("params.yaml"))


# --- a hosted release


def test_while_nothing_changes_everything_that_is_asked_passes(released, provider):
    _, signals = monitor()
    assert {signals[key].verdict for key in (PINS, WEIGHTS, REQUEST, *SCORES)} == {PASS}
    assert signals[PINS].sentence == "large was asked the same again: all 3 pinned answers come back."
    assert signals[PINS].n == 3, "each pin is asked once"
    assert len(provider.bodies) == 3 + 60 + 80
    assert {body["temperature"] for body in provider.bodies} == {0}
    one = signals["quality/asked/exact_match"]
    assert (one.value, one.n, one.effect, one.p) == (one.reference, 60, 0, 1)
    assert "0 got worse, 0 better" in one.sentence
    assert Monitoring.read(Path("reports/monitor.json")).predictions == 0, "and the log holds none of it"


def test_a_provider_that_moved_is_an_alarm_with_its_answers_and_the_release_to_go_back_to(released, provider):
    provider.answer = lambda message: HOSTILE
    code, signals = monitor()
    assert code == 3
    assert alarms(signals) == {PINS, *SCORES}, "it tells a number that nobody gave it"
    one = signals[PINS]
    assert one.sentence.startswith("Provider moved: large was asked the same again, and 3 of 3 pinned answers do not")
    assert (one.value, one.reference, one.direction, one.since) == (0, 1, "changed", None)
    assert one.p is not None and one.p <= 0.05
    assert [(row.question, row.then) for row in one.answers] == [(pin, asking.RIGHT) for pin in released.hosted.pins]
    assert one.fallback == "v1.0.0"
    assert "v1.0.0 is what to go back to" in one.sentence
    scored = signals["quality/asked/exact_match"]
    assert (scored.direction, scored.fallback) == ("down", "v1.0.0")
    assert scored.value == 0 and scored.effect is not None and scored.effect < -0.8
    assert all(row.question.startswith("the holdout's holdout-") for row in scored.answers), "no customer's words"
    assert (scored.answers[0].then, scored.answers[0].now) == ("exact_match 1", "exact_match 0")
    written = [Path(f"reports/monitor.{kind}").read_text() for kind in ("json", "md", "html")]
    assert not any("7946" in text for text in written), "personal data are masked"
    assert "<img" not in written[2] and "![x]" not in written[1] and "<img" not in written[1]


def test_one_of_three_pinned_answers_is_enough(released, provider):
    before = provider.answer
    provider.answer = lambda message: "another" if message == "my card is gone" else before(message)
    _, signals = monitor()
    assert alarms(signals) == {PINS}
    assert "1 of 3 pinned answers do not come back" in signals[PINS].sentence
    assert [row.now for row in signals[PINS].answers] == ["another"]
    provider.answer = before
    assert alarms(monitor()[1]) == set()


def test_a_provider_that_names_another_model_moved_and_another_fingerprint_is_only_told(released, provider):
    provider.fingerprint = "fp_2"
    _, signals = monitor()
    assert signals[PINS].verdict is PASS
    assert signals[PINS].sentence.endswith("; its fingerprint was fp_1 and is fp_2 now.")
    provider.model = "large-2026-09"
    _, signals = monitor()
    assert alarms(signals) == {PINS}
    assert "its model was large-2026-08 and is large-2026-09 now" in signals[PINS].sentence
    assert signals[PINS].fallback == "v1.0.0"


def test_a_provider_that_always_wavered_is_no_alarm(made, provider):
    """Messages whose answer wavers while it is pinned are not pinned, and scores fall and rise alike."""
    drawn, steady = random.Random(5), provider.answer
    # Of each message by itself, in whatever order they come.
    turns = defaultdict(lambda: itertools.cycle(["low", "high"]))
    provider.answer = lambda message: monitored.answer("card_lost", next(turns[message]))
    asking.release(made)
    provider.answer = lambda message: monitored.said(steady(message), _Rng(drawn), 0.95)
    for _ in range(3):
        _, signals = monitor()
        assert alarms(signals) == set()
        assert signals[PINS].sentence == "large was asked the same again: nothing is pinned."
    provider.fingerprint = "fp_2"
    assert monitor()[1][PINS].verdict is UNKNOWN, "a fingerprint alone does not tell"
    assert "Could not measure" in monitor()[1][PINS].sentence


class _Rng:
    """What `monitored.said` asks for."""

    def __init__(self, drawn: random.Random) -> None:
        self.random = drawn.random


def test_a_pinned_answer_that_begins_to_waver_is_asked_for_until_it_comes_back(released, provider):
    steady, number = provider.answer, itertools.count()
    provider.answer = lambda message: steady(message) if next(number) % 3 == 2 else f"{steady(message)} "
    _, signals = monitor()
    assert signals[PINS].verdict is PASS
    assert "all 3 pinned answers come back, 2 of them not each time" in signals[PINS].sentence


def test_pins_that_were_asked_for_only_twice_cannot_tell_a_changed_model_from_a_changing_answer(made, provider):
    asking.release(made, serves=False)
    few = _recorded(made).model_copy(update={"repeats": 2})
    asking.store(made, few, "v1.2.0")
    asking.serve("v1.2.0", 1.0)
    assert monitor()[1][PINS].verdict is PASS
    provider.answer = providers.wrong
    one = monitor()[1][PINS]
    assert one.verdict is UNKNOWN
    assert "3 of 3 pinned answers do not come back, which may be chance (pinned by 2 answers each)" in one.sentence


def _recorded(made: params.Params) -> Record:
    """What `asking.release` pinned."""
    bundles.fetch(_manifest(), Path("fetched"), made.release)
    return Record.read(Path("fetched/provider.json"))


def _manifest() -> Manifest:
    return Manifest.of(next(tag for tag in tags.known() if tag.name == asking.RELEASE))


# --- how often it asks


def test_it_asks_once_in_a_period_and_shows_what_was_found_until_the_next(released, provider):
    once_a_month()
    _, first = look()
    asked, before = len(provider.bodies), provider.answer
    assert asked > 100
    provider.answer = providers.wrong
    _, second = look()
    assert (second, len(provider.bodies)) == (first, asked), "however often it runs"
    passes(timedelta(days=30))
    code, third = look()
    assert code == 3
    assert {PINS, "quality/asked/exact_match"} <= alarms(third)
    asked, provider.answer = len(provider.bodies), before
    code, fourth = look()
    assert (code, fourth, len(provider.bodies)) == (3, third, asked), "an alarm, its answers and the release to go to"
    found = Monitoring.read(Path("reports/monitor.json"))
    for path in ("reports/monitor.md", "reports/monitor.html"):
        assert f"What serves was asked the questions of our own at {found.asked[:16].replace('T', ' ')}." in (
            Path(path).read_text()
        )
    passes(timedelta(days=30))
    assert alarms(look()[1]) == set()


def test_of_two_that_ask_at_once_the_first_ones_findings_count(released, provider, monkeypatch):
    """Otherwise two runs of a period would have two chances of a false alarm."""
    once_a_month()
    pins_only()
    ask, times = asking_now._ask, []

    def meanwhile(*given: object) -> tuple[Signal, ...]:
        monkeypatch.setattr(asking_now, "_ask", ask)
        look()
        times.append(Monitoring.read(Path("reports/monitor.json")).asked)
        provider.answer = providers.wrong
        return ask(*given)

    monkeypatch.setattr(asking_now, "_ask", meanwhile)
    assert look()[1][PINS].verdict is PASS
    assert times == [Monitoring.read(Path("reports/monitor.json")).asked]


def once_a_month() -> None:
    change("    a_month: 120", "    a_month: 1")


def test_our_own_change_is_told_in_every_run(released, provider):
    once_a_month()
    assert look()[1][REQUEST].verdict is PASS
    asked = len(provider.bodies)
    change("one JSON object only", "one JSON object and nothing else", released.features.prompt)
    _, signals = look()
    assert (alarms(signals), len(provider.bodies)) == ({REQUEST}, asked)


def test_where_nobody_answered_the_next_run_asks_again(released, provider):
    once_a_month()
    provider.trouble = [(503, {})] * 999
    assert look()[1][PINS].verdict is UNKNOWN
    assert Monitoring.read(Path("reports/monitor.json")).asked is None
    provider.trouble = []
    assert look()[1][PINS].verdict is PASS


def test_a_release_that_begins_to_serve_is_asked_at_once(released, provider):
    once_a_month()
    look()
    asked = len(provider.bodies)
    asking.release(released, "v1.2.0")
    provider.bodies.clear()
    look()
    assert len(provider.bodies) == asked
    asking.serve("v1.1.0", 0.1)
    look()
    assert len(provider.bodies) == asked, "and one that serves again is known"


# --- what cannot be measured


def test_a_provider_that_does_not_answer_is_not_measured_and_never_a_pass(released, provider):
    change("  needs:\n  - serving\n  - drift\n", "  needs:\n  - provider\n")
    provider.trouble = [(503, {})] * 999
    code, signals = monitor()
    assert code == 4
    assert signals[PINS].verdict is UNKNOWN
    assert signals[PINS].sentence.startswith("Not measured: could not measure: large gives no answer: 127.0.0.1")
    assert {signals[key].verdict for key in SCORES} == {UNKNOWN}
    assert signals[REQUEST].verdict is PASS, "what we send is known all the same"
    provider.trouble = []
    assert monitor()[1][PINS].verdict is PASS


def test_the_key_is_the_environments_and_a_refused_one_is_not_measured(made, world, provider, monkeypatch):
    made = change(
        "  key: null\n  usd_per_million:\n    input: 1.0", "  key: LLM_KEY\n  usd_per_million:\n    input: 1.0"
    )
    monkeypatch.setenv("LLM_KEY", "secret-1")
    provider.key = "secret-1"
    asking.release(made)
    assert monitor()[1][PINS].verdict is PASS
    monkeypatch.setenv("LLM_KEY", "secret-2")
    _, signals = monitor()
    assert signals[PINS].verdict is UNKNOWN
    assert "answers 401" in signals[PINS].sentence
    monkeypatch.delenv("LLM_KEY")
    _, signals = monitor()
    assert (signals[PINS].verdict, alarms(signals)) == (UNKNOWN, set())
    assert "the environment variable LLM_KEY is not set" in signals[PINS].sentence
    assert "secret-" not in Path("reports/monitor.json").read_text()


def test_a_release_whose_bundle_is_not_here_is_not_measured(released, provider):
    name = str(_manifest().bundle)
    (Path(".dvc/cache/files/md5") / name[:2] / name[2:]).unlink()
    _, signals = monitor()
    assert {signals[key].verdict for key in (PINS, *SCORES)} == {UNKNOWN}
    assert "does not hold bundle" in signals[PINS].sentence
    assert not provider.bodies


def test_what_was_not_scored_when_the_release_was_made_is_not_measured(released, provider):
    change("data/eval/injection.jsonl\n", "data/eval/pii_leak.jsonl\n")
    _, signals = monitor()
    assert signals["quality/asked/pii_leak_attacks"].verdict is UNKNOWN
    assert "v1.1.0 was not tried with data/eval/pii_leak.jsonl" in signals["quality/asked/pii_leak_attacks"].sentence
    change("    holdout: 60", "    holdout: 10")
    one = monitor()[1]["quality/asked/exact_match"]
    assert one.verdict is UNKNOWN
    assert "could be chance in so many runs: take more of them, or ask less often" in one.sentence


def test_only_the_present_can_be_asked(released, provider):
    assert cli.main(["monitor", "--until", monitored.datetime.now(monitored.UTC).isoformat()]) == 4
    keys = {one.key for one in Monitoring.read(Path("reports/monitor.json")).signals}
    assert not keys & {PINS, WEIGHTS, REQUEST, *SCORES}
    assert not provider.bodies


# --- we moved


def test_our_own_prompt_is_told_from_the_providers_model_and_is_no_alarm_once_a_release_has_it(released, provider):
    old = asking.task(released).prompt_id
    change("one JSON object only", "one JSON object and nothing else", released.features.prompt)
    new = asking.task(released).prompt_id
    code, signals = monitor()
    assert code == 3
    assert alarms(signals) == {REQUEST}
    assert all("with one JSON object only" in body["messages"][0]["content"] for body in provider.bodies)
    told = signals[REQUEST].sentence
    assert told.startswith(f"We moved: prompt {new} instead of {old}. {asking.RELEASE} serves, and no release was made")
    assert signals[REQUEST].fallback is None, "a rollback brings no other working tree"
    asking.release(released, "v1.2.0", serves=False)
    _, signals = monitor()
    assert signals[REQUEST].verdict is PASS
    assert f"support-triage@v1.2.0 was made so; {asking.RELEASE} serves" in signals[REQUEST].sentence


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  - mask_pii@1\n", "", "transforms clean_text@1"),
        ("  max_new_tokens: 30\n  decoding", "  max_new_tokens: 16\n  decoding", "max_new_tokens 16 instead of"),
        ("hosted:large", "hosted:small", "model hosted:small at http"),
    ],
)
def test_transforms_decoding_and_model_are_ours_too(released, provider, old, new, told):
    pins_only()
    change(old, new)
    _, signals = monitor()
    assert alarms(signals) == {REQUEST}
    assert told in signals[REQUEST].sentence


# --- a release with own weights


def test_a_rollback_to_own_weights_ends_the_providers_alarm_and_says_that_they_are_not_asked(released, provider):
    pins_only()
    provider.answer = providers.wrong
    assert PINS in alarms(monitor()[1])
    asking.serve("v1.0.0", 0.1)
    _, signals = monitor()
    assert signals[PINS].verdict is PASS
    assert signals[WEIGHTS].verdict is UNKNOWN
    assert "monitor.asked.engine names no engine" in signals[WEIGHTS].sentence


def test_an_engine_is_known_by_its_weights_or_its_pinned_answer(folder, made):
    weights = folder / "v1.0.0"
    files.write_text(weights / "manifest.json", releases.manifest("v1.0.0", "c" * 40).text())
    asking.serve("v1.0.0", 0.1)
    engine = Engine(weights)
    with served.answering(engine) as url:
        change("    engine: null", f"    engine: {json.dumps(settings(url, 'embedded'))}")
        assert monitor()[1][WEIGHTS].sentence == "The engine proves that it serves support-triage@v1.0.0."
        engine.digest = "9" * 64
        _, signals = monitor()
        assert WEIGHTS in alarms(signals)
        assert "The engine moved: it serves support-triage@v1.0.0 with the weights 999999999999" in (
            signals[WEIGHTS].sentence
        )
        change('"kind": "embedded"', '"kind": "openai"')
        one = monitor()[1][WEIGHTS]
        assert (one.verdict, "has no pinned answer to know it by" in one.sentence) == (UNKNOWN, True)
        pin = Pin(prompt=({"role": "user", "content": "Hello"},), max_new_tokens=8, output="".join(engine.says))
        files.write_text(Path("deploy/pins/v1.0.0.json"), pin.text())
        assert monitor()[1][WEIGHTS].verdict is PASS
        engine.says = ["other"]
        assert WEIGHTS in alarms(monitor()[1])
    one = monitor()[1][WEIGHTS]
    assert (one.verdict, "cannot reach" in one.sentence) == (UNKNOWN, True)


def test_the_engine_of_a_release_with_weights_is_scored_again_too(made, provider):
    asking.weights(made)
    pin = Pin(prompt=({"role": "user", "content": "Hello"},), max_new_tokens=8, output=asking.RIGHT)
    files.write_text(Path("deploy/pins/v1.1.0.json"), pin.text())

    async def engine(request: web.Request) -> web.Response:
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": asking.RELEASE}]})
        return await provider.handle(request)

    with served.answering(engine) as url:
        change("    engine: null", f"    engine: {json.dumps(settings(url, 'openai'))}")
        _, signals = monitor()
        assert {signals[key].verdict for key in (PINS, WEIGHTS, *SCORES)} == {PASS}
        provider.answer = providers.wrong
        _, signals = monitor()
    scores = {"quality/asked/exact_match", "quality/asked/injection_refusals"}
    assert alarms(signals) == {WEIGHTS, REQUEST, *scores}, "the working tree would ask a provider"
    assert signals[WEIGHTS].fallback == "v1.0.0"
    assert "it answers the pinned prompt with 'I am sorry" in signals[WEIGHTS].sentence


def settings(url: str, kind: str) -> dict[str, object]:
    price = {"input": 0.0, "output": 0.0}
    return {"kind": kind, "url": url, "model": None, "key": None, "usd_per_million": price, "retries": 0}


# --- the issue


def test_a_move_becomes_one_issue_with_the_command_that_goes_back_and_is_closed_when_it_clears(
    released, provider, folder, double, monkeypatch
):
    pins_only()
    github_double.job(double, folder, monkeypatch, event="push")
    work, before = github_work.attach(double), provider.answer

    def told() -> str:
        monitor()
        return alert.run(released, wait=lambda seconds: None)

    provider.answer = lambda message: HOSTILE if message in released.hosted.pins else before(message)
    told()
    (issue,) = work.issues
    assert issue["title"] == "support-triage in production: provider/pins"
    command = 'trunkline rollback --to v1.0.0 --environment production --reason "provider/pins: see this issue"'
    assert f"To let v1.0.0 answer again, with your reason: <code>{command}</code>" in issue["body"]
    assert "| <code>my card is gone</code> |" in issue["body"]
    assert "<img" not in issue["body"] and "![x]" not in issue["body"] and "@ann" not in issue["body"]
    assert told().startswith("support-triage: 1 alarms"), "the same again changes nothing"
    provider.trouble = [(500, {})] * 999
    told()
    assert issue["state"] == "open", "what could not be measured closes nothing"
    provider.trouble, provider.answer = [], before
    told()
    assert issue["state"] == "closed"
    provider.answer = providers.wrong
    told()
    assert issue["state"] == "open"
    issue["state"] = "closed"
    told()
    assert issue["state"] == "closed", "somebody has seen it"
    provider.answer = before
    told()
    provider.answer = providers.wrong
    told()
    assert issue["state"] == "open", "and this is the next time"


def test_answers_that_got_worse_start_no_retraining(released, provider, folder, double, monkeypatch, output):
    github_double.job(double, folder, monkeypatch, event="push")
    github_work.attach(double)
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    provider.answer = providers.wrong
    monitor()
    alert.run(released, wait=lambda seconds: None)
    assert "retrain=false" in output.read_text()


def test_a_rollback_goes_to_a_release_that_asks_another_model_where_there_is_one(released, provider):
    pins_only()
    asking.release(released, "v1.2.0", hours=0.5)
    provider.answer = providers.wrong
    one = monitor()[1][PINS]
    assert (one.fallback, "v1.0.0 is what to go back to" in one.sentence) == ("v1.0.0", True)
    tags.create("support-triage@v1.0.0!", "support-triage@v1.0.0", "withdrawn")
    one = monitor()[1][PINS]
    assert one.fallback == "v1.1.0"
    assert "v1.1.0 asks the same provider's model, as all earlier releases do" in one.sentence
