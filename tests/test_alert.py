"""`trunkline alert`: one issue an alarm, true at any time, and nobody else's touched."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import github_double
import github_work
import pull_request as pr
import starter
from github_double import BOT
from trunkline import cli
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.operations import alert
from trunkline.records.monitoring import Monitoring, Signal
from trunkline.verdict import Verdict

EXAMPLE = "01a223e6-19e2-7083-bc66-c3a50c494076"


def signal(key: str = "drift/rare_tokens", verdict: Verdict = Verdict.FAIL, **changes: object) -> Signal:
    """A signal, by default an alarm."""
    content = {
        "key": key,
        "kind": key.partition("/")[0],
        "verdict": verdict,
        "value": 0.31,
        "reference": 0.04,
        "effect": 0.27,
        "p": 0.0003,
        "direction": "up",
        "n": 1200,
        "sentence": "31 % of the words are rare, 4 % were.",
        "examples": (EXAMPLE,),
        "since": "2026-11-20T00:00:00Z" if verdict is Verdict.FAIL else None,
    }
    return Signal(**(content | changes))


def monitored(*signals: Signal, **changes: object) -> None:
    """What `trunkline monitor` would have left."""
    content = {
        "model": "support-triage",
        "environment": "production",
        "release": "support-triage@v1.2.0",
        "since": "2026-11-27T00:00:00Z",
        "until": "2026-11-28T00:00:00Z",
        "predictions": 1200,
        "labels": 90,
        "verdict": Verdict.FAIL,
        "signals": signals,
    }
    files.write_text(Path("reports/monitor.json"), Monitoring(**(content | changes)).text())


@pytest.fixture
def work(in_tmp, double, monkeypatch) -> github_work.Work:
    """The issues of a job's repository."""
    github_double.job(double, in_tmp, monkeypatch, event="push")
    return github_work.attach(double)


def run(folder: Path) -> str:
    return alert.run(starter.settings(folder), wait=lambda seconds: None)


def test_an_alarm_becomes_one_issue_with_its_evidence(in_tmp, work):
    monitored(signal(), signal("serving/errors", Verdict.PASS))
    said = run(in_tmp)
    (issue,) = work.issues
    assert issue["title"] == "support-triage in production: drift/rare_tokens"
    for part in (
        "31 % of the words are rare",
        "0.31, 0.04",
        "0.27, up",
        "1,200",
        f"`trunkline predictions show` <code>{EXAMPLE}",
    ):
        assert part in issue["body"]
    assert [label["name"] for label in issue["labels"]] == ["alert"]
    assert said.splitlines() == [
        f"opened    {issue['html_url']}  support-triage in production: drift/rare_tokens",
        "support-triage: 1 alarms, 0 signals not measured, 1 issues changed",
    ]


def test_the_same_report_again_writes_nothing(in_tmp, work, double):
    monitored(signal(), signal("quality/agent", Verdict.PASS), signal("cost/usd", Verdict.INCONCLUSIVE))
    run(in_tmp)
    written = [len(double.asked(method, "")) for method in ("POST", "PATCH")]
    run(in_tmp)
    assert len(double.asked("PATCH")) == written[1]
    assert len(double.asked("POST", "/issues")) == 1


def test_news_are_written_into_it_and_a_pass_closes_it(in_tmp, work):
    monitored(signal())
    run(in_tmp)
    monitored(signal(sentence="44 % of the words are rare."))
    run(in_tmp)
    (issue,) = work.issues
    assert "44 %" in issue["body"]
    monitored(signal(verdict=Verdict.PASS, sentence="5 % of the words are rare."), verdict=Verdict.PASS)
    assert run(in_tmp).startswith("closed ")
    assert issue["state"] == "closed"
    assert "**Cleared.** 5 % of the words" in issue["body"]


def test_what_was_not_measured_leaves_its_issue_as_it_is(in_tmp, work):
    monitored(signal())
    run(in_tmp)
    body = work.issues[0]["body"]
    monitored(signal(verdict=Verdict.INCONCLUSIVE, value=None, sentence="no traffic"))
    run(in_tmp)
    monitored()
    run(in_tmp)
    assert (work.issues[0]["state"], work.issues[0]["body"]) == ("open", body)


def test_an_alarm_that_comes_back_reopens_its_issue_and_one_that_a_human_closed_stays_closed(in_tmp, work):
    monitored(signal())
    run(in_tmp)
    (issue,) = work.issues
    issue["state"] = "closed"
    run(in_tmp)
    assert issue["state"] == "closed"
    monitored(signal(since="2026-12-01T00:00:00Z"))
    run(in_tmp)
    assert (issue["state"], len(work.issues)) == ("open", 1)


def test_issues_of_others_and_pull_requests_are_never_taken_for_its_own(in_tmp, work):
    monitored(signal())
    run(in_tmp)
    own = work.issues[0]
    forged = work.add("mallory", own["title"], own["body"], ["alert"])
    pull = work.add_pull(BOT, "topic", own["title"], body=own["body"])
    before = [dict(forged), dict(pull)]
    own["state"], own["body"] = "closed", "gone"
    own["labels"] = []
    run(in_tmp)
    assert [forged, pull] == before
    assert len(work.issues) == 3, "without its own, a new one"


def test_untrusted_text_is_shown_and_not_rendered(in_tmp, work):
    monitored(signal(sentence="<img src=x> @ada see #1 `code` | cell\n# head", examples=("</code><b>x",)))
    run(in_tmp)
    body = work.issues[0]["body"]
    for part in ("<img", "@ada", "#1 ", "`code`", "\n# head", "</code><b>"):
        assert part not in body


def test_of_two_runs_at_once_one_issue_is_left(in_tmp, work):
    """Both have read the list before either has opened an issue."""
    monitored(signal())
    settings = starter.settings(in_tmp)
    work.meeting = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: alert.run(settings, lambda seconds: None), range(2)))
    assert [text.splitlines()[0].split()[0] for text in said] == ["opened", "opened"]
    older, younger = sorted(work.issues, key=lambda row: row["number"])
    assert (older["state"], younger["state"]) == ("open", "closed")
    assert f"#{older['number']}" in younger["body"]
    work.meeting = None
    assert run(in_tmp).endswith("0 issues changed")


def test_an_issue_that_the_list_does_not_hold_yet_is_not_opened_twice_by_one_run(in_tmp, work):
    monitored(signal())
    work.late = 1
    run(in_tmp)
    assert len(work.issues) == 1


def test_an_issue_that_arrived_although_its_answer_was_lost_is_not_doubled(in_tmp, work, double):
    monitored(signal())
    double.fail(502, method="POST", path="/issues", done=True)
    run(in_tmp)
    assert len(work.issues) == 1


def test_retraining_is_asked_for_by_what_newer_data_may_mend(in_tmp, work, output):
    for kind, asked in (("drift/words", "true"), ("quality/agent", "true"), ("serving/errors", "false")):
        output.write_text("")
        monitored(signal(kind))
        run(in_tmp)
        assert pr.outputs(output) == {"retrain": asked}
    output.write_text("")
    monitored(signal(verdict=Verdict.INCONCLUSIVE))
    run(in_tmp)
    assert pr.outputs(output) == {"retrain": "false"}


def test_the_command_exits_with_0_as_the_issue_tells_the_alarm(in_tmp, work, capsys):
    starter.settings(in_tmp)
    monitored(signal())
    assert cli.main(["alert"]) == 0
    assert "1 alarms" in capsys.readouterr().out


def test_without_a_report_of_this_project_it_says_what_to_run(in_tmp, work):
    with pytest.raises(Error, match="monitor.json not found") as caught:
        run(in_tmp)
    assert "trunkline monitor" in caught.value.hint
    monitored(model="other")
    with pytest.raises(Error, match="is about other"):
        run(in_tmp)


def test_a_token_that_may_not_write_issues_is_told_what_it_needs(in_tmp, work, monkeypatch):
    monitored(signal())
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    with pytest.raises(Error, match="GitHub refused POST") as caught:
        run(in_tmp)
    assert "issues: write" in caught.value.hint


def test_many_issues_are_read_page_by_page(in_tmp, work, double):
    monitored(signal())
    run(in_tmp)
    for number in range(230):
        work.add("ada", f"issue {number}", "", [])
    run(in_tmp)
    assert sum(1 for row in work.issues if row["user"]["login"] == BOT) == 1
    assert json.dumps(work.issues).count("trunkline:alert") == 1
