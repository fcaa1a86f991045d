"""A prompt for a provider's model, through the stages, beside a real server with OpenAI's API."""

import itertools
import shutil
from pathlib import Path

import polars as pl
import pytest

import provider as providers
import starter
from trunkline import identity, params
from trunkline.clients import model
from trunkline.errors import Error
from trunkline.records import PROVIDER_RECORD, SIDES, Answer, Base, Bundle, Report
from trunkline.records.serving import Pin
from trunkline.records.serving import Provider as Record
from trunkline.stages import base, compare, evaluate, features, production, train
from trunkline.verdict import Verdict


@pytest.fixture
def serving():
    with providers.serving() as running:
        yield running


@pytest.fixture
def provider(serving):
    return serving[0]


@pytest.fixture
def settings(in_tmp, serving):
    """Writes params.yaml with changes, and gives the params."""

    def write(**changes: object) -> params.Params:
        split = {"features__holdout": 0.4, "features__leakage": {"pass": 0.5, "fail": 0.9}}
        return starter.settings(in_tmp, **{**split, **serving[1], **changes})

    return write


@pytest.fixture
def project(in_tmp, settings):
    """A project whose stages up to train have run."""
    starter.inputs(in_tmp)
    starter.examples(in_tmp, 60)
    steps(settings())
    return in_tmp


def steps(made: params.Params) -> None:
    """Everything before evaluate."""
    for stage in (base, features, production, train):
        stage.run(made)


def record(folder: str) -> Record:
    return Record.read(Path(folder) / PROVIDER_RECORD)


def table(side: str) -> pl.DataFrame:
    return pl.read_parquet(f"data/predictions/{side}.parquet")


def judged(made: params.Params) -> Report:
    evaluate.run(made)
    return Report.read(evaluate.REPORT)


def told(report: Report, side: str) -> tuple[Verdict, str]:
    """The verdict and the words about a side's provider."""
    return next((c.verdict, c.message) for c in report.checks if c.name == f"evaluate.provider.{side}")


# ---- base and train


def test_the_base_is_the_record_of_what_the_provider_says_that_it_is(settings):
    base.run(settings())
    found = Base.read(base.FOLDER / "base.json")
    assert found.source == "hosted:large"
    assert (record("models/base").said, record("models/base").fingerprint) == ("large-2026-08", "fp_1")
    assert Report.read(base.REPORT).verdict is Verdict.PASS
    first = found.sha256
    base.run(settings())
    assert Base.read(base.FOLDER / "base.json").sha256 == first, "the same provider is the same base"
    assert {path.name for path in base.FOLDER.iterdir()} == {"base.json", PROVIDER_RECORD}


def test_a_provider_that_does_not_answer_leaves_the_base_as_it_was(settings, provider):
    provider.trouble = [(500, {})] * 9
    with pytest.raises(Error, match=r"large gives no answer: .* answers 500: not now"):
        base.run(settings())
    assert not base.FOLDER.exists()


def test_the_key_comes_from_the_environment_alone(settings, provider, monkeypatch):
    provider.key = "secret-1"
    with pytest.raises(Error, match="LLM_KEY"):
        base.run(settings(hosted__key="LLM_KEY"))
    monkeypatch.setenv("LLM_KEY", "wrong")
    with pytest.raises(Error, match="answers 401") as refused:
        base.run(settings(hosted__key="LLM_KEY"))
    assert "hosted.key" in refused.value.hint
    monkeypatch.setenv("LLM_KEY", "secret-1")
    base.run(settings(hosted__key="LLM_KEY"))
    assert "secret-1" not in (base.FOLDER / PROVIDER_RECORD).read_text()


def test_the_candidate_is_the_task_and_the_answers_that_the_provider_repeats(project, provider):
    bundle = Bundle.read(Path("models/candidate/bundle.json"))
    assert (bundle.kind, bundle.trained_on, bundle.params) == ("hosted", None, {"method": "none"})
    assert bundle.base == Base.read(Path("models/base/base.json")).sha256
    pins = record("models/candidate").pins
    assert [pin.prompt[-1]["content"] for pin in pins] == list(record("models/base").messages)
    assert {pin.output for pin in pins} == {providers.right(message) for message in record("models/base").messages}
    assert Report.read(train.REPORT).verdict is Verdict.PASS
    assert Path("reports/train/metrics.json").is_file()
    assert [*Path("reports/train/plots/metrics").iterdir()], "Git keeps no empty folder"


def test_answers_that_a_provider_does_not_repeat_are_not_pinned(project, settings, provider):
    number = itertools.count()
    steady = record("models/base").messages[0]
    provider.answer = lambda message: "same" if message == steady else f"answer {next(number)}"
    train.run(settings())
    assert [pin.output for pin in record("models/candidate").pins] == ["same"]
    provider.answer = lambda message: f"answer {next(number)}"
    train.run(settings())
    assert Report.read(train.REPORT).verdict is Verdict.PASS, "its fingerprint still tells"
    provider.fingerprint = None
    steps(settings())
    report = Report.read(train.REPORT)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "0 of 3 answers are pinned" in report.checks[0].message


# ---- evaluate


def test_a_provider_is_asked_the_holdout_and_its_tokens_are_paid(project, settings, provider):
    provider.bodies.clear()
    report = judged(settings())
    assert report.verdict is Verdict.PASS
    holdout = pl.read_parquet(evaluate.HOLDOUT)
    assert len(provider.bodies) == 2 * (holdout.height + 3), "on both sides, the holdout and the pins"
    assert {(body["model"], body["temperature"]) for body in provider.bodies} == {("large", 0)}
    frame = table("candidate")
    assert frame["id"].to_list() == holdout["id"].to_list()
    price = (2.0 * frame["tokens_in"] + 8.0 * frame["tokens_out"]) / 1e6
    assert frame["usd"].to_list() == pytest.approx(price.to_list())
    assert report.metrics["candidate"]["usd_per_1000"] == pytest.approx(1000 * price.mean())
    assert report.metrics["candidate"]["valid_json"]["value"] == 1
    assert frame["latency_ms"].min() > 0
    assert told(report, "candidate")[0] is Verdict.PASS
    assert "3 of 3 pinned answers repeat" in told(report, "candidate")[1]
    compare.run(settings())
    assert Report.read(compare.REPORT).verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)


def test_no_more_requests_run_at_once_than_params_say(project, settings, provider):
    few = settings(hosted__concurrent=2)
    steps(few)
    provider.delay, provider.most, provider.crowd = 0.02, 0, 2
    judged(few)
    assert provider.most == 2


def test_a_request_that_is_refused_for_now_is_asked_again_and_one_that_fails_ends_it(project, settings, provider):
    provider.trouble = [(429, {"Retry-After": "0"}), (503, {})]
    assert judged(settings()).verdict is Verdict.PASS
    before = table("candidate")
    provider.fingerprint = "fp_2"
    provider.trouble = [(500, {})] * 999
    with pytest.raises(Error, match="large gives no answer") as failed:
        judged(settings())
    assert "hosted.retries" in failed.value.hint
    assert table("candidate").equals(before), "nothing is written of what was not answered"
    provider.trouble, provider.delay = [], 9.0
    with pytest.raises(Error, match="does not answer in time"):
        steps(settings(hosted__timeout=0.2))


def test_tokens_that_a_provider_does_not_count_are_not_measured(project, settings, provider):
    provider.counts = False
    report = judged(settings(gate__guardrails={"usd_per_1000": 0.5}))
    assert table("candidate")["usd"].null_count() == table("candidate").height
    assert report.metrics["candidate"]["usd_per_1000"] is None
    compare.run(settings(gate__guardrails={"usd_per_1000": 0.5}))
    check = next(c for c in Report.read(compare.REPORT).checks if c.name == "gate.guardrails.usd_per_1000")
    assert check.verdict is Verdict.INCONCLUSIVE


def test_answers_are_used_again_only_while_the_provider_can_be_known_again(project, settings, provider):
    judged(settings())
    assert judged(settings()).details["reused"] == {"production": True, "candidate": True}
    provider.fingerprint = "fp_2"
    assert judged(settings()).details["reused"] == {"production": False, "candidate": False}
    provider.answer = providers.wrong
    assert judged(settings()).details["reused"]["candidate"] is False, "the pinned answers tell"
    provider.answer, provider.fingerprint = providers.right, None
    judged(settings())
    assert judged(settings()).details["reused"] == {"production": True, "candidate": True}, "pins are enough"
    base.run(settings(hosted__pins=["?"]))
    number = itertools.count()
    provider.answer = lambda message: f"answer {next(number)}"
    for stage in (production, train):
        stage.run(settings(hosted__pins=["?"]))
    for _ in range(2):
        report = judged(settings())
        assert report.details["reused"] == {"production": False, "candidate": False}, "nothing tells it from another"
        assert told(report, "candidate")[0] is Verdict.INCONCLUSIVE


def test_a_provider_that_silently_changed_its_model_is_told_by_its_answers(project, settings, provider):
    provider.answer = providers.wrong
    verdict, words = told(judged(settings()), "candidate")
    assert verdict is Verdict.INCONCLUSIVE
    assert "candidate is large: the provider moved: 3 of 3 pinned answers differ" in words
    assert "such as 'I am sorry, I cannot help with that.' instead of '{\"intent\"" in words


def test_another_fingerprint_with_the_same_answers_is_told_and_passes(project, settings, provider):
    provider.fingerprint = "fp_2"
    report = judged(settings())
    assert told(report, "candidate")[0] is Verdict.PASS
    assert "its fingerprint was fp_1 and is fp_2 now" in told(report, "candidate")[1]
    provider.model = "large-2026-09"
    assert "it was large-2026-08 and is large-2026-09 now" in told(judged(settings()), "candidate")[1]


def test_a_record_that_was_edited_is_refused(project, settings):
    path = Path("models/candidate") / PROVIDER_RECORD
    path.write_text(path.read_text().replace("fp_1", "fp_2"))
    with pytest.raises(Error, match="is not the one that was recorded"):
        judged(settings())


def test_the_labels_are_the_only_answers_where_the_server_can_hold_to_them(project, settings, provider):
    answer = Answer(format="label", fields=("intent",), allowed={"intent": starter.INTENTS})
    for side in SIDES:
        path = Path("models") / side / "bundle.json"
        bundle = Bundle.read(path)
        path.write_text(bundle.model_copy(update={"task": bundle.task.model_copy(update={"answer": answer})}).text())
    provider.bodies.clear()
    report = judged(settings())
    assert report.details["decoding"] == {"production": "labels", "candidate": "labels"}
    asked = [body for body in provider.bodies if "structured_outputs" in body]
    assert {tuple(body["structured_outputs"]["choice"]) for body in asked} == {starter.INTENTS}
    assert len(asked) == 2 * table("candidate").height


# ---- weights and providers beside each other


def test_production_may_be_weights_while_the_candidate_is_hosted(project, settings, tiny_base):
    shutil.rmtree("models/production")
    shutil.copytree(tiny_base, "models/production/base")
    weights = Base.read(Path("models/production/base/base.json"))
    candidate = Bundle.read(Path("models/candidate/bundle.json"))
    bundle = candidate.model_copy(update={"kind": "base", "base": weights.sha256, "weights": {}})
    Path("models/production/bundle.json").write_text(bundle.text())
    report = judged(settings(evaluate__max_new_tokens=4))
    assert [c.name for c in report.checks if "provider" in c.name] == ["evaluate.provider.candidate"]
    assert report.metrics["candidate"]["valid_json"]["value"] == 1
    assert report.metrics["production"]["valid_json"]["value"] == 0
    assert table("production")["usd"].min() > 0, "the machine's hours"


def test_production_may_be_hosted_while_the_candidate_is_weights(project, settings, provider, tiny_base):
    shutil.rmtree("models/production")
    shutil.copytree("models/candidate", "models/production")
    shutil.move("models/base", "models/production/base")
    shutil.copytree(tiny_base, "models/base")
    shutil.rmtree("models/candidate")
    bundle = Bundle.read(Path("models/production/bundle.json"))
    weights = Base.read(Path("models/base/base.json")).sha256
    Path("models/candidate").mkdir()
    candidate = bundle.model_copy(update={"kind": "base", "base": weights, "weights": {}})
    Path("models/candidate/bundle.json").write_text(candidate.text())
    provider.answer = providers.wrong
    report = judged(settings(evaluate__max_new_tokens=4))
    assert [c.name for c in report.checks if "provider" in c.name] == ["evaluate.provider.production"]
    assert "production is large: the provider moved" in told(report, "production")[1]
    assert set(table("production")["output"]) == {providers.wrong("")}


def test_weights_are_not_looked_for_where_there_are_none(project):
    with pytest.raises(Error, match="models/base holds no weights: hosted:large is a provider's model"):
        model.load(Path("models/base"), None, "fp32", "auto")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train__method": "lora"}, "method none goes with base.model hosted:"),
        ({"base": {"model": "path:x", "sha256": None}}, "method none goes with base.model hosted:"),
        ({"base": {"model": "hosted:large", "sha256": "a" * 64}}, "base.sha256 names weights"),
        ({"features__canaries": 4}, "features.canaries are planted for training"),
        ({"evaluate__scorers": ["exact_match", "valid_json", "nll"]}, "a provider does not tell nll"),
        ({"hosted__pins": []}, "hosted.pins"),
        ({"hosted__url": "http://127.0.0.1:1/v1"}, "leave out the /v1"),
    ],
)
def test_params_that_do_not_go_together_are_told(settings, changes, problem):
    with pytest.raises(Error, match=problem):
        settings(**changes)


# ---- what identity makes of it


RECORDED = Record(
    model="large",
    url="http://127.0.0.1",
    key=None,
    usd_input=0,
    usd_output=0,
    retries=0,
    timeout=1,
    concurrent=1,
    messages=("x",),
    pinned_tokens=4,
    said="large-1",
    fingerprint="fp_1",
    pins=(Pin(prompt=({"role": "user", "content": "x"},), max_new_tokens=4, output="card_lost"),),
)
UNPINNED = RECORDED.model_copy(update={"pins": ()})
NAMELESS = UNPINNED.model_copy(update={"fingerprint": None})


@pytest.mark.parametrize(
    ("recorded", "repeated", "said", "verdict", "words"),
    [
        (RECORDED, ["card_lost"], {("large-1", "fp_1")}, Verdict.PASS, "1 of 1 pinned answers repeat"),
        (RECORDED, ["fee"], {("large-1", "fp_1")}, Verdict.INCONCLUSIVE, "'fee' instead of 'card_lost'"),
        (RECORDED, ["fee"], {("large-1", "fp_2")}, Verdict.INCONCLUSIVE, "its fingerprint was fp_1 and is fp_2"),
        (RECORDED, ["card_lost"], {("large-1", "fp_2")}, Verdict.PASS, "its fingerprint was fp_1 and is fp_2"),
        (RECORDED, ["card_lost"], {("large-2", "fp_1")}, Verdict.INCONCLUSIVE, "it was large-1 and is large-2"),
        (UNPINNED, [], {("large-1", "fp_1")}, Verdict.PASS, "its fingerprint is fp_1"),
        (UNPINNED, [], {("large-1", "fp_1"), ("large-1", "fp_2")}, Verdict.INCONCLUSIVE, "may have moved"),
        (NAMELESS, [], {("large-1", None)}, Verdict.INCONCLUSIVE, "could not be measured"),
    ],
)
def test_whether_a_provider_moved(recorded, repeated, said, verdict, words):
    found = identity.same(recorded, repeated, said)
    assert found.verdict is verdict
    assert words in found.sentence
