"""The monitor through the command line: a release, its data in DVC, and days of a real prediction log."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from xml.etree import ElementTree

import pytest

import logged
import monitored
import starter
from browser import Browser
from monitored import Traffic
from trunkline import cli, params
from trunkline.clients import predictions
from trunkline.records.monitoring import Begun, Counted, Monitoring, Signal
from trunkline.verdict import Verdict

RECORD, TEXT, PAGE, FIGURE = (Path(f"reports/monitor.{kind}") for kind in ("json", "md", "html", "svg"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DAYS = 6


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which a release serves, and six quiet days of its log."""
    folder = tmp_path_factory.mktemp("project")
    settings = monitored.build(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        traffic = Traffic(settings, seed=3)
        for day in range(DAYS):
            traffic.day(day, labels=0.2)
    return folder


@pytest.fixture
def folder(built, nameless, in_tmp) -> Path:
    shutil.copytree(built, in_tmp, dirs_exist_ok=True)
    return in_tmp


@pytest.fixture
def traffic(folder) -> Traffic:
    return Traffic(params.load(folder / "params.yaml"), seed=11)


def monitor(days: float = DAYS) -> tuple[int, dict[str, Signal], Monitoring]:
    code = cli.main(["monitor", "--until", monitored.after(days)])
    found = Monitoring.read(RECORD)
    return code, {one.key: one for one in found.signals}, found


def alarms(signals: dict[str, Signal]) -> set[str]:
    return {key for key, one in signals.items() if one.verdict is Verdict.FAIL}


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "params.yaml").read_text()
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, new))


# --- what it finds


def test_traffic_like_the_training_data_passes(folder, capsys):
    code, signals, found = monitor()
    assert code == 0
    assert (found.verdict, alarms(signals)) == (Verdict.PASS, set())
    assert (found.model, found.environment, found.release) == ("support-triage", "production", monitored.RELEASE)
    assert (found.since, found.until) == ("2026-10-06T00:00:00+00:00", "2026-10-07T00:00:00+00:00")
    assert found.predictions == 200
    assert found.labels == signals["quality/labels"].n > 20
    unmeasured = {key for key, one in signals.items() if one.verdict is Verdict.INCONCLUSIVE}
    assert unmeasured == {"quality/feedback"}
    shown = capsys.readouterr().out
    assert "support-triage: pass" in shown
    assert "no alarm; 22 of 23 signals were measured on 200 predictions" in shown


def test_messages_of_a_new_kind_are_an_alarm_with_the_messages_that_drive_it(folder, traffic):
    traffic.day(6, foreign=0.15)
    code, signals, found = monitor(7)
    assert code == 3
    assert alarms(signals) == {"drift/unknown_words"}
    one = signals["drift/unknown_words"]
    assert (one.direction, one.since, one.n) == ("up", "2026-10-07T00:00:00+00:00", 200)
    assert one.value is not None and one.reference is not None and one.effect is not None
    assert one.effect == pytest.approx(one.value - one.reference) and one.effect > 0.05
    assert found.signals[0] == one, "alarms come first"
    page = PAGE.read_text()
    for example in one.examples:
        row = next(line for line in page.splitlines() if example in line)
        assert len(set(re.findall(r"\w+", row)) & set(monitored.FOREIGN)) >= 3
    told = set(re.findall(r"\w+", RECORD.read_text() + FIGURE.read_text()))
    assert not told & set(monitored.FOREIGN), "the workflow keeps both, and they hold no message"
    drawn = ElementTree.fromstring(FIGURE.read_text())  # noqa: S314 - our own
    captions = [text.text for text in drawn.iterfind("{*}text")]
    assert captions == ["drift/unknown_words"], "only what is an alarm"
    (placed,) = drawn.iterfind("{*}svg")
    assert len(placed.findall(".//{*}circle")) == 7, "a dot a window"


def test_answers_of_which_the_model_is_less_sure_are_an_alarm_and_foreign_messages_alone_are_none(folder, traffic):
    traffic.day(6, foreign=0.15)
    assert monitor(7)[1]["drift/low_confidence"].verdict is Verdict.PASS
    traffic.day(7, foreign=0.15, doubt=1.0)
    _, signals, _ = monitor(8)
    one = signals["drift/low_confidence"]
    assert (one.verdict, one.direction, one.since) == (Verdict.FAIL, "up", "2026-10-08T00:00:00+00:00")
    assert one.effect is not None and one.effect > 0.05
    assert "an answer whose tokens have a mean log-probability below -0." in one.sentence
    found = [traffic.find(id) for id in one.examples]
    sure = [prediction.outcome.confidence for prediction in found]
    assert sure == sorted(sure) and sure[-1] < -1, "the least sure first"
    assert all(set(monitored.FOREIGN) & set(prediction.assignment.input.split()) for prediction in found)


def test_how_sure_the_model_was_needs_no_texts_but_engines_that_tell_it(folder):
    change(folder, "    output: text", "    output: none")
    _, signals, _ = monitor()
    assert signals["drift/low_confidence"].verdict is Verdict.PASS
    with contextlib.closing(sqlite3.connect("log.sqlite")) as log, log:
        log.execute("UPDATE outcome SET confidence = NULL")
    _, signals, _ = monitor()
    assert "the log holds it of 0 conversations" in signals["drift/low_confidence"].sentence
    change(folder, "    confidence: true", "    confidence: false")
    _, signals, _ = monitor()
    assert "serve.log.confidence is false" in signals["drift/low_confidence"].sentence
    assert signals["drift/low_confidence"].verdict is Verdict.INCONCLUSIVE


def test_of_a_release_that_was_evaluated_before_confidence_was_kept_it_is_not_measured(nameless, in_tmp, monkeypatch):
    answered = monitored._answers
    monkeypatch.setattr(monitored, "_answers", lambda *given: answered(*given).drop("confidence"))
    traffic = Traffic(monitored.build(in_tmp, train=300, holdout=120), seed=3)
    traffic.day(0, doubt=1.0)
    _, signals, _ = monitor(1)
    assert signals["drift/low_confidence"].verdict is Verdict.INCONCLUSIVE
    assert "its holdout hold fewer than 100 conversations with it" in signals["drift/low_confidence"].sentence
    assert signals["drift/labels/intent"].verdict is Verdict.PASS


def test_an_alarm_keeps_the_start_of_its_first_window_and_clears(folder, traffic):
    for day in (6, 7):
        traffic.day(day, foreign=0.2)
    assert monitor(8)[1]["drift/unknown_words"].since == "2026-10-07T00:00:00+00:00"
    traffic.day(8)
    code, signals, _ = monitor(9)
    assert (code, signals["drift/unknown_words"].since) == (0, None)
    assert not FIGURE.exists()


def test_wrong_answers_to_messages_that_look_as_always_are_found_by_labels_alone(folder, traffic):
    # Wrong as often in either direction: the mix of answers stays as it was.
    for day in (6, 7):
        ids = traffic.day(day, count=200)
        with_labels(traffic, ids, right=0.45)
    code, signals, _ = monitor(8)
    assert code == 3
    assert alarms(signals) == {"quality/labels"}
    one = signals["quality/labels"]
    assert (one.direction, one.value is not None and one.value < 0.6) == ("down", True)
    assert one.examples


def with_labels(traffic: Traffic, ids: list[str], right: float, days: float = 0) -> None:
    """Say of a share of answers that they are right, of the others that something else was; so many days later."""
    from trunkline.clients import predictions

    for place, id in enumerate(ids[:120]):
        found = traffic.find(id)
        said = found.outcome.output
        label = said if place < right * 120 else monitored.answer("card_lost", "low" if "low" not in said else "high")
        time = found.assignment.time + timedelta(days=days)
        feedback = logged.said(found.assignment, label=label, score=None, id=predictions.new_id(), time=time)
        traffic.add(feedback)


def test_feedback_that_got_worse_is_found_where_nobody_tells_the_right_answer(folder, traffic):
    for day in range(3):
        with_feedback(traffic, traffic.known(day), liked=0.9)
    with_feedback(traffic, traffic.day(6), liked=0.5)
    code, signals, _ = monitor(7)
    assert (code, alarms(signals)) == (3, {"quality/feedback"})
    one = signals["quality/feedback"]
    assert (one.direction, one.n) == ("up", 120)
    assert (one.value, one.reference) == (pytest.approx(0.5), pytest.approx(0.1))
    assert len(one.examples) == 5


def with_feedback(traffic: Traffic, ids: list[str], liked: float) -> None:
    """Say of some answers what customers think of them."""
    found = [traffic.find(id).assignment for id in ids[:120]]
    thought = [float(place % 10 < 10 * liked) for place in range(120)]
    pairs = zip(found, thought, strict=True)
    traffic.add(*(logged.said(one, source="customer", label=None, score=score, time=one.time) for one, score in pairs))


def test_neither_a_word_about_an_answer_nor_who_is_trusted_less_takes_the_right_one_away(folder, traffic):
    ids = traffic.day(6, count=200)
    with_labels(traffic, ids, right=0.3)
    for place, id in enumerate(ids[:120]):
        found = traffic.find(id)
        later = found.assignment.time + timedelta(minutes=1)
        label = found.outcome.output if place % 2 else "wrong"
        traffic.add(logged.said(found.assignment, source="customer", label=label, score=None, time=later))
    _, signals, _ = monitor(7)
    assert "quality/labels" in alarms(signals)
    assert (signals["quality/labels"].n, signals["quality/labels"].value) == (120, pytest.approx(0.3))


def test_labels_of_others_than_the_named_sources_do_not_count(folder, traffic):
    first = traffic.find(traffic.day(6)[0])
    traffic.add(logged.said(first.assignment, source="judge", label=monitored.answer("card_lost")))
    traffic.add(logged.said(first.assignment, source="agent", label="wrong"))
    _, signals, found = monitor(7)
    assert found.labels == 0
    assert signals["quality/labels"].sentence.endswith("than of 2026-10-07 00:00 UTC have no label yet.")


def test_errors_and_latency_are_compared_with_the_releases_first_days(folder, traffic):
    traffic.day(6, failing=0.12, slow=2.5)
    code, signals, _ = monitor(7)
    assert code == 3
    assert {"serving/errors", "serving/latency"} <= alarms(signals)
    assert "answer slower than" in signals["serving/latency"].sentence
    assert signals["serving/errors"].reference == 0.0


def test_another_mix_of_answers_names_the_label(folder, traffic):
    traffic.day(6, intent="card_lost")
    _, signals, _ = monitor(7)
    assert "drift/labels/intent" in alarms(signals)
    assert "intent" in signals["drift/labels/intent"].sentence
    assert signals["drift/labels/intent"].examples


def test_refusals_and_broken_answers_are_told(folder, traffic):
    traffic.day(6, output="I'm sorry, I cannot help with that.")
    _, signals, _ = monitor(7)
    assert {"drift/refusals", "drift/no_format"} <= alarms(signals)


def test_a_provider_that_moved_is_told_from_a_release_that_did(folder, traffic):
    traffic.day(6, engine_model="m-2026-10")
    _, signals, _ = monitor(7)
    assert alarms(signals) == {"provider/engine"}
    assert "Provider moved" in signals["provider/engine"].sentence
    monitored.release("v1.1.0")
    monitored.assign("v1.1.0", monitored.START + timedelta(days=7), 2)
    traffic.day(7, release="support-triage@v1.1.0", engine_model="m-2026-10")
    _, signals, found = monitor(8)
    assert found.release == "support-triage@v1.1.0"
    assert signals["provider/engine"].verdict is Verdict.PASS
    assert "We moved: support-triage@v1.1.0 serves after v1.0.0" in signals["provider/engine"].sentence


def test_a_hosted_release_is_answered_by_the_model_that_it_was_made_with_and_its_tokens_have_their_price(
    folder, traffic
):
    hosted = {"source": "hosted:large", "sha256": "5" * 64, "model": "large-2026-08", "fingerprint": "fp_1"}
    monitored.release("v1.1.0", kind="hosted", base=hosted)
    monitored.assign("v1.1.0", monitored.START + timedelta(days=6), 2)
    answered = {"engine_model": "large-2026-08", "tokens_in": 200, "tokens_out": 20, "usd": 0.00056}
    traffic.day(6, release="support-triage@v1.1.0", **answered)
    _, signals, found = monitor(7)
    assert found.release == "support-triage@v1.1.0"
    assert signals["provider/engine"].verdict is Verdict.PASS
    assert signals["cost/usd_per_1000"].value == pytest.approx(0.56)
    assert re.search(r"usd per million tokens\D+2\.55", TEXT.read_text())
    traffic.day(7, release="support-triage@v1.1.0", **(answered | {"engine_model": "large-2026-11"}))
    code, signals, _ = monitor(8)
    assert code == cli.EXIT_CODES[Verdict.FAIL]
    assert "provider/engine" in alarms(signals)
    assert "large-2026-11" in signals["provider/engine"].sentence
    assert "it was made with large-2026-08" in signals["provider/engine"].sentence


def test_more_than_the_budget_is_an_alarm(folder, traffic):
    traffic.day(6, usd=0.004)
    _, signals, _ = monitor(7)
    assert alarms(signals) == {"cost/usd_per_1000"}
    assert signals["cost/usd_per_1000"].examples
    assert signals["cost/usd_per_1000"].value == pytest.approx(4.0)


# --- what it does not know


def test_no_traffic_is_not_measured_and_no_pass(folder):
    code, signals, found = monitor(9)
    assert code == 4
    assert (found.verdict, found.predictions) == (Verdict.INCONCLUSIVE, 0)
    assert {one.verdict for one in signals.values()} == {Verdict.INCONCLUSIVE}
    assert signals["drift/pii"].sentence == "Not measured: no conversation came."


def test_who_answers_is_not_measured_where_nothing_is_left_of_the_first_windows(folder, traffic):
    """As the log keeps them only so long, or no traffic came in them."""
    forget(3)
    traffic.day(6, engine_model="another")
    _, signals, _ = monitor(7)
    one = signals["provider/engine"]
    assert one.verdict is Verdict.INCONCLUSIVE
    assert "the log holds nothing of the release's first windows (3), so whether another is new" in one.sentence
    assert "hold fewer than 100 conversations" in signals["serving/errors"].sentence


def test_the_first_windows_are_compared_with_for_longer_than_the_log_keeps_them(folder, traffic, monkeypatch):
    """Also where a part of them was deleted; a later run does not forget what it cannot read any more."""

    class Clock(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> datetime:
            return datetime.fromisoformat(monitored.after(DAYS))

    monkeypatch.setattr("trunkline.operations.monitor.datetime", Clock)
    cli.main(["monitor"])
    traffic.day(6, slow=3.0, failing=0.2, engine_model="another")
    _, there, _ = monitor(7)
    forget(2)
    cli.main(["monitor"])
    assert len(kept()) == 3
    forget(3)
    _, signals, _ = monitor(7)
    for key in ("serving/errors", "serving/latency", "provider/engine"):
        assert signals[key] == there[key]
        assert there[key].verdict is Verdict.FAIL
    assert not re.search(r"\bc-\d+\b", json.dumps([one.text() for one in kept()])), "nobody is named"
    change(folder, "  hours: 24\n", "  hours: 12\n")
    assert monitor(7)[1]["serving/latency"].verdict is Verdict.INCONCLUSIVE, "other windows than were kept"


def forget(days: int) -> None:
    """Let the log hold nothing of the first days any more."""
    with contextlib.closing(sqlite3.connect("log.sqlite")) as log, log:
        until = (monitored.START + timedelta(days=days)).timestamp() * 1e6
        log.execute("DELETE FROM assignment WHERE time < ?", (until,))


def kept() -> tuple[Counted, ...]:
    """What is kept of the first windows."""
    with predictions.reading(params.load(Path("params.yaml")).serve.log) as database:
        found = predictions.remembered(database, monitored.RELEASE, "production", Begun)
    return () if found is None else found.windows


def test_before_the_first_window_has_ended_nothing_is_judged(folder):
    code, signals, found = monitor(0.5)
    assert code == 4
    assert {one.verdict for one in signals.values()} == {Verdict.INCONCLUSIVE}
    assert "the first window of support-triage@v1.0.0 ends at 2026-10-02T00:00+00:00" in found.signals[0].sentence


def test_the_first_windows_are_what_serving_is_compared_with(folder):
    code, signals, _ = monitor(2)
    assert code == 4
    assert "the release's first windows (3)" in signals["serving/errors"].sentence
    assert signals["drift/unknown_words"].verdict is Verdict.PASS


def test_the_releases_own_guards_are_watched_whatever_the_working_tree_says(folder, traffic):
    traffic.day(6)
    monitored.release("v1.1.0", params={"serve": {"guard": {"pii@1": "flag"}}})
    monitored.assign("v1.1.0", monitored.START, 2)
    keys = monitor(7)[1]
    assert [key for key in keys if key.startswith("serving/guard/")] == ["serving/guard/pii@1"]


def test_a_pass_needs_what_params_says_that_it_needs(folder, traffic):
    traffic.day(6)
    assert monitor(7)[0] == 0
    change(folder, "  needs:\n  - serving\n  - drift\n", "  needs:\n  - serving\n  - quality\n")
    assert monitor(7)[0] == 0, "labels may come late: there are some of the last windows"
    change(folder, "  together: 7\n", "  together: 1\n")
    assert monitor(7)[0] == 4


def test_a_log_without_texts_says_so(folder):
    change(folder, "    input: text", "    input: none")
    change(folder, "    output: text", "    output: hash")
    _, signals, _ = monitor()
    assert "serve.log.input is none" in signals["drift/unknown_words"].sentence
    assert "serve.log.output is hash" in signals["drift/labels/intent"].sentence
    assert signals["quality/labels"].verdict is Verdict.INCONCLUSIVE
    assert signals["serving/errors"].verdict is Verdict.PASS


def test_a_reference_that_is_not_here_is_told_and_the_rest_is_measured(folder):
    shutil.rmtree(folder / ".dvc/cache")
    shutil.rmtree(folder / "data")
    code, signals, _ = monitor()
    assert code == 4
    assert "data/train.parquet of v1.0.0 is neither" in signals["drift/unknown_words"].sentence
    assert "not measured" in signals["quality/labels"].sentence.lower()
    assert signals["serving/errors"].verdict is Verdict.PASS


def test_a_damaged_reference_is_not_used(folder):
    lock = (folder / "dvc.lock").read_text()
    for md5 in re.findall(r"path: data/(?:train|holdout).parquet\n\s+hash: md5\n\s+md5: ([0-9a-f]{32})", lock):
        path = folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    shutil.rmtree(folder / "data")
    _, signals, _ = monitor()
    assert "is damaged" in signals["drift/unknown_words"].sentence
    assert signals["drift/unknown_words"].verdict is Verdict.INCONCLUSIVE


def test_the_reference_comes_back_from_the_dvc_remote(folder, tmp_path_factory):
    remote = tmp_path_factory.mktemp("remote")
    for command in (["remote", "add", "-d", "store", str(remote)], ["push", "-q"]):
        subprocess.run([cli.sys.executable, "-m", "dvc", *command], check=True, capture_output=True)
    shutil.rmtree(folder / ".dvc/cache")
    shutil.rmtree(folder / "data")
    code, signals, _ = monitor()
    assert (code, signals["drift/unknown_words"].verdict) == (0, Verdict.PASS)
    assert signals["drift/labels/intent"].verdict is Verdict.PASS


# --- how it behaves


def test_the_same_log_and_moment_give_the_same_bytes_whatever_came_later(folder, traffic):
    monitor(6)
    before = [path.read_bytes() for path in (RECORD, TEXT, PAGE)]
    traffic.day(6, foreign=0.5)
    monitor(7)
    with_labels(traffic, traffic.known(5), right=0.0, days=8)
    monitored.release("v1.1.0")
    monitored.assign("v1.1.0", monitored.START + timedelta(days=8), 2)
    monitor(6.9)
    assert [path.read_bytes() for path in (RECORD, TEXT, PAGE)] == before


def test_an_earlier_moment_is_about_the_release_that_served_then(folder):
    monitored.release("v1.1.0")
    monitored.assign("v1.1.0", monitored.START + timedelta(days=6), 2)
    assert monitor(6)[2].release == "support-triage@v1.1.0"
    code = cli.main(["monitor", "--until", (monitored.START + timedelta(days=5.9)).isoformat()])
    assert (code, Monitoring.read(RECORD).release) == (0, monitored.RELEASE)


@pytest.mark.parametrize(
    ("days", "remove", "said"),
    [(-1, None, "no release of support-triage serves in production"), (6, "log.sqlite", "there is no prediction log")],
)
def test_what_cannot_be_monitored_is_an_error_with_the_next_step(folder, capsys, days, remove, said):
    if remove:
        (folder / remove).unlink()
    assert cli.main(["monitor", "--until", monitored.after(days)]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "hint:" in shown
    assert not RECORD.exists()


def test_a_moment_that_is_none_is_an_error(folder, capsys):
    assert cli.main(["monitor", "--until", "yesterday"]) == 1
    assert "'yesterday' is no ISO 8601 date or time" in capsys.readouterr().err


def test_what_it_writes_is_not_committed():
    for path in (RECORD, TEXT, PAGE, FIGURE):
        done = subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=starter.ROOT, check=False)
        assert done.returncode == 0, path


def test_what_customers_and_models_write_stays_text(folder, traffic):
    hostile = "<script>alert(1)</script> ![x](https://example.com/x.png) | `call` me on +44 20 7946 0958"
    ids = traffic.day(6, output=hostile)
    assert ids
    monitor(7)
    page, text = PAGE.read_text(), TEXT.read_text()
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert "![x]" not in text and "<script>" not in text
    assert "7946" not in page + text, "personal data are masked"
    assert "<b>by far" not in page + text
    assert json.loads(RECORD.read_text())["verdict"] == "fail"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as running:
        yield running


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: `.ci/packages` installs it")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_fits_the_window_says_nothing_and_asks_for_nothing(folder, traffic, browser, width, scheme):
    """Set TRUNKLINE_PICTURES to a folder to look at what was tested."""
    import os

    traffic.day(6, foreign=0.15, output="<img src='https://example.com/y.png'>" + "long" * 90, labels=0.3)
    monitor(7)
    browser.visit(folder / PAGE, width, scheme)
    if os.environ.get("TRUNKLINE_PICTURES"):
        browser.picture(Path(os.environ["TRUNKLINE_PICTURES"]) / f"monitor-{width}-{scheme}.png", width, 3600)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("document.querySelectorAll('.multiples svg').length") > 10
    assert browser.said == []
    assert browser.asked == [(folder / PAGE).resolve().as_uri()]
