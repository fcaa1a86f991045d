"""`trunkline comment`: one comment a project that is kept up to date, a status, and nobody else's words touched."""

import json
import shutil
from pathlib import Path

import pytest

import github_double
import pull_request as pr
import starter
from github_double import BOT, HEAD
from trunkline import cli, findings, params
from trunkline.clients import cml as cml_client
from trunkline.clients import dvc, files, reports
from trunkline.errors import Error
from trunkline.operations import comment
from trunkline.records import Report
from trunkline.verdict import Check, Verdict

MARKER = "<!-- trunkline:report:support-triage -->"


def judge(verdict: Verdict) -> None:
    """Write every stage's report, compare's with this verdict, and the page that `trunkline report` would."""
    for step in findings.REQUIRED:
        found = verdict if step == "compare" else Verdict.PASS
        check = Check(name=f"{step}.limit", verdict=found, value=None, limit=None, message="as measured")
        files.write_text(Path(f"reports/{step}.json"), Report.of(step, (check,), {}, {}).text())
    write_report(f"## support-triage: {verdict}\n\nwhat was found")


def write_report(text: str) -> None:
    files.write_text(Path("reports/report.md"), text + "\n")


@pytest.fixture(autouse=True)
def project(in_tmp, double, monkeypatch) -> Path:
    """A job for pull request 42 whose reports all pass, on a machine without CML."""
    github_double.job(double, in_tmp, monkeypatch)
    monkeypatch.setattr(dvc, "changed_stages", lambda: [])
    monkeypatch.setattr(reports, "unwritten", lambda steps, folder: [])
    if shutil.which(cml_client.COMMAND):
        monkeypatch.setattr(cml_client, "COMMAND", "cml-is-not-here")
    judge(Verdict.PASS)
    return in_tmp


def run(folder: Path, comment_with: str = "github") -> tuple[str, Verdict]:
    return comment.run(starter.settings(folder, report__comment_with=comment_with), wait=lambda seconds: None)


def summary(folder: Path) -> str:
    path = folder / "summary.md"
    return path.read_text() if path.exists() else ""


# The comment.


def test_the_first_report_becomes_a_comment(project, double):
    said, verdict = run(project)
    (row,) = double.threads[42]
    assert said == f"posted {row['html_url']}\ntrunkline/gate is success on {HEAD[:12]}"
    assert verdict is Verdict.PASS
    assert row["body"] == (
        f"{MARKER}\n## support-triage: pass\n\nwhat was found\n\n"
        f"trunkline/gate for {HEAD} says support-triage: pass (every check of 7 reports passed) "
        f"in [this run]({double.url}/acme/trunkline/actions/runs/777).\n"
    )
    assert summary(project) == ""


def test_the_next_report_replaces_it(project, double):
    run(project)
    judge(Verdict.FAIL)
    said, _ = run(project)
    (row,) = double.threads[42]
    assert said.startswith(f"updated {row['html_url']}")
    assert "## support-triage: fail" in row["body"]
    assert "pass" not in row["body"].replace("passed", "")


def test_the_command_says_where_and_exits_with_0_whatever_the_verdict(project, double, capsys):
    judge(Verdict.FAIL)
    starter.settings(project, report__comment_with="github")
    assert cli.main(["comment"]) == 0
    assert capsys.readouterr().out.startswith("posted http")


def test_a_comment_on_the_third_page_is_found(project, double):
    for _ in range(210):
        double.comment("talk", "ada")
    row = double.comment(f"{MARKER}\nold")
    for _ in range(30):
        double.comment("more talk", "ada")
    run(project)
    assert "what was found" in row["body"]
    assert len(double.threads[42]) == 241


def test_somebody_elses_comment_with_the_marker_is_never_edited(project, double):
    forged = [double.comment(f"{MARKER}\npass, believe me", author) for author in ("mallory", "other-app[bot]")]
    run(project)
    assert [row["body"] for row in forged] == [f"{MARKER}\npass, believe me"] * 2
    assert len(double.threads[42]) == 3
    run(project)
    assert len(double.threads[42]) == 3
    assert not {row["id"] for row in forged} & {int(r.path.rsplit("/", 1)[1]) for r in double.asked("PATCH")}


def test_a_comment_of_its_own_that_only_quotes_the_marker_is_not_the_report(project, double):
    quoting = double.comment(f"> {MARKER}\n\nas I said")
    other = double.comment("<!-- trunkline:report:support-triage-2 -->\nanother project")
    run(project)
    assert quoting["body"].startswith(">")
    assert other["body"].endswith("another project")
    assert len(double.threads[42]) == 3


def test_of_two_comments_the_newer_is_kept_and_the_other_leads_to_it(project, double):
    older, newer = double.comment(f"{MARKER}\npass"), double.comment(f"{MARKER}\npass")
    run(project)
    assert "what was found" in newer["body"]
    assert older["body"] == f"This report has moved to {newer['html_url']}."
    asked = len(double.asked("PATCH"))
    run(project)
    assert len(double.asked("PATCH")) == asked + 1, "and is left alone from then on"


def test_a_comment_that_arrived_although_its_answer_was_lost_is_not_doubled(project, double):
    double.fail(502, method="POST", path="/comments", done=True)
    said, _ = run(project)
    (row,) = double.threads[42]
    assert said.startswith(f"posted {row['html_url']}")


@pytest.mark.parametrize("failures", [{"status": 502}, {"status": 429, "headers": {"retry-after": "1"}}])
def test_what_passes_by_itself_is_waited_out(project, double, failures):
    double.fail(times=2, path="/comments", **failures)
    double.fail(times=2, path=HEAD, **failures)
    run(project)
    assert len(double.threads[42]) == len(double.statuses) == 1


def test_the_waiting_is_the_callers(project, double):
    waits: list[float] = []
    double.fail(429, headers={"retry-after": "41"})
    comment.run(starter.settings(project, report__comment_with="github"), waits.append)
    assert waits == [41]


def test_a_server_that_does_not_answer_is_an_error(project, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    with pytest.raises(Error, match="did not answer"):
        run(project)
    assert summary(project) == "", "nobody refused, so the next try may post it"


def test_a_comment_that_github_finds_wrong_is_an_error(project, double):
    double.fail(422, method="GET", message="Validation Failed")
    with pytest.raises(Error, match="422 Validation Failed"):
        run(project)


# The length.


def rows(count: int) -> str:
    return "## support-triage: pass\n\n| a | b |\n|:--|--:|\n" + "| some text | other text |\n" * count


def test_a_report_over_the_limit_is_cut_between_rows_with_a_link_to_the_run(project, double):
    write_report(rows(4000))
    run(project)
    body = double.threads[42][0]["body"]
    assert 60_000 < len(body) <= comment.MOST_CHARACTERS < github_double.MOST_BODY
    table, _, rest = body.partition("\n\nThe report is longer than GitHub allows here")
    assert table.endswith("| some text | other text |")
    assert f"[this run]({double.url}/acme/trunkline/actions/runs/777) has the whole of it." in rest
    assert rest.endswith("actions/runs/777).\n")


def test_the_limit_counts_characters_as_github_does(project, double):
    write_report("## support-triage: pass\n\n" + ("🌈" * 79 + "\n") * 1000)
    run(project)
    assert len(double.threads[42][0]["body"]) > 60_000


def test_nothing_is_cut_from_a_report_that_fits(project, double):
    write_report(rows(2000))
    run(project)
    assert rows(2000).strip() in double.threads[42][0]["body"]


# The status.


@pytest.mark.parametrize(
    ("verdict", "state", "count"),
    [
        (Verdict.PASS, "success", "every check of 7 reports passed"),
        (Verdict.FAIL, "failure", "1 failed, 0 for a human to decide"),
        (Verdict.INCONCLUSIVE, "pending", "0 failed, 1 for a human to decide"),
    ],
)
def test_the_status_on_the_branchs_commit_says_the_verdict(project, double, verdict, state, count):
    judge(verdict)
    run(project)
    assert double.statuses == [
        {
            "sha": HEAD,
            "context": "trunkline/gate",
            "state": state,
            "description": f"support-triage: {verdict} ({count})",
            "target_url": f"{double.url}/acme/trunkline/actions/runs/777",
        }
    ]


def test_only_a_pass_is_a_success():
    assert [verdict for verdict in Verdict if comment.STATES[verdict] == "success"] == [Verdict.PASS]


def test_stale_reports_are_no_success(project, double, monkeypatch):
    monkeypatch.setattr(dvc, "changed_stages", lambda: ["train"])
    write_report("## support-triage: inconclusive")
    run(project)
    assert double.statuses[0]["state"] == "pending"


def test_a_missing_stage_is_no_success(project, double):
    Path("reports/compare.json").unlink()
    write_report("## support-triage: inconclusive")
    run(project)
    assert double.statuses[0]["state"] == "pending"


def test_the_status_is_set_even_when_there_is_no_report_to_post(project, double):
    """Else an earlier success on this commit would stand."""
    judge(Verdict.FAIL)
    Path("reports/report.md").unlink()
    with pytest.raises(Error, match=r"reports/report\.md not found") as caught:
        run(project)
    assert "trunkline report" in caught.value.hint
    assert double.statuses[0]["state"] == "failure"
    assert double.threads[42] == []


def test_a_report_of_another_verdict_is_not_posted(project, double):
    judge(Verdict.FAIL)
    write_report("## support-triage: pass")
    with pytest.raises(Error, match="begins with '## support-triage: pass', but the gate says fail") as caught:
        run(project)
    assert "trunkline report" in caught.value.hint
    assert double.threads[42] == []


def test_a_report_that_is_no_text_is_an_error(project):
    Path("reports/report.md").write_bytes(b"## \xff\xfe")
    with pytest.raises(Error, match="cannot be read"):
        run(project)


# Where nothing can be posted.


def test_a_read_only_token_puts_the_report_into_the_jobs_summary(project, double, monkeypatch, caplog):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    judge(Verdict.FAIL)
    said, verdict = run(project)
    assert said == f"the report is in the job's summary\ntrunkline/gate was not set to failure on {HEAD[:12]}"
    assert verdict is Verdict.FAIL
    assert "## support-triage: fail" in summary(project)
    assert "Resource not accessible by integration" in caplog.text
    assert "pull-requests: write" in caplog.text
    assert double.threads[42] == double.statuses == []


def test_a_token_that_may_not_edit_either_does_the_same(project, double, monkeypatch):
    row = double.comment(f"{MARKER}\nold")
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    assert run(project)[0].startswith("the report is in the job's summary")
    assert row["body"].endswith("old")


def test_a_token_that_may_only_comment_comments(project, double, caplog):
    double.fail(403, method="POST", message="Resource not accessible by integration")
    said, _ = run(project)
    assert said.startswith("posted")
    assert "trunkline/gate was not set to success" in said
    assert "statuses: write" in caplog.text
    assert len(double.threads[42]) == 1
    assert summary(project) == ""


def test_without_a_pull_request_the_summary_is_all(project, double, monkeypatch):
    github_double.job(double, project, monkeypatch, event="push")
    said, _ = run(project)
    assert said == "this run has no pull request: the report is in the job's summary"
    assert "what was found" in summary(project)
    assert double.requests == []


def test_the_summary_holds_more_than_a_comment_and_has_a_limit_too(project, double, monkeypatch):
    github_double.job(double, project, monkeypatch, event="push")
    write_report("## support-triage: pass\n\n" + ("🌈" * 79 + "\n") * 6000)
    run(project)
    assert len(summary(project)) > github_double.MOST_BODY
    assert (project / "summary.md").stat().st_size <= 2**20


def test_a_wrong_token_is_an_error_and_no_reason_for_the_summary(project, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_old")
    with pytest.raises(Error, match="401"):
        run(project)
    assert summary(project) == ""


def test_outside_actions_the_missing_variables_are_named(project, double, monkeypatch, capsys):
    for name in ("GITHUB_ACTIONS", "GITHUB_API_URL", "GITHUB_EVENT_PATH", "GITHUB_TOKEN"):
        monkeypatch.delenv(name)
    starter.settings(project)
    assert cli.main(["comment"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: not set: GITHUB_API_URL, GITHUB_EVENT_PATH, GITHUB_TOKEN or GH_TOKEN\nhint: run this in a GitHub"
    )
    assert double.requests == []


def test_a_broken_event_is_an_error(project, double):
    (project / "event.json").write_text('{"pull_request": 42}')
    with pytest.raises(Error, match=r"event\.json: pull_request"):
        run(project)
    assert double.requests == []


# With CML.


@pytest.fixture
def cml(stand_in, monkeypatch) -> Path:
    monkeypatch.setattr(cml_client, "COMMAND", "cml")
    return stand_in


@pytest.mark.parametrize("how", ["cml", "auto"])
def test_cml_posts_and_updates_where_it_is_there(project, double, cml, how):
    assert run(project, how)[0].startswith(f"posted {double.url}/acme/trunkline/pull/42#issuecomment-1001 with CML\n")
    judge(Verdict.FAIL)
    assert run(project, how)[0].startswith(f"updated {double.url}/acme/trunkline/pull/42#issuecomment-1001 with CML\n")
    (row,) = double.threads[42]
    assert row["body"].startswith(f"{MARKER}\n## support-triage: fail")
    assert "cml.dev/watermark.png" in row["body"]
    assert [status["state"] for status in double.statuses] == ["success", "failure"]


def test_github_means_without_cml(project, double, cml):
    assert " with CML" not in run(project, "github")[0]


def test_auto_without_cml_needs_none(project, double):
    assert run(project, "auto")[0].startswith("posted")


def test_cml_demanded_and_missing_is_an_error(project, double, monkeypatch):
    monkeypatch.setattr(cml_client, "COMMAND", "cml-is-not-here")
    with pytest.raises(Error, match="no `cml-is-not-here` on PATH"):
        run(project, "cml")
    assert double.threads[42] == []
    assert len(double.statuses) == 1


def test_a_comment_beyond_cmls_reach_is_updated_without_it_and_not_doubled(project, double, cml):
    for _ in range(35):
        double.comment("talk", "ada")
    assert run(project, "cml")[0].endswith(f"with CML\ntrunkline/gate is success on {HEAD[:12]}")
    judge(Verdict.FAIL)
    assert " with CML" not in run(project, "cml")[0]
    assert len(double.threads[42]) == 36
    assert "## support-triage: fail" in double.threads[42][-1]["body"]


def test_a_comment_that_was_posted_without_cml_is_updated_without_it(project, double, cml):
    run(project, "github")
    run(project, "cml")
    assert len(double.threads[42]) == 1


@pytest.mark.parametrize("first", [True, False], ids=["first post", "update"])
def test_cml_is_never_led_to_somebody_elses_watermark(project, double, cml, first):
    if not first:
        run(project, "cml")
    body = f'{MARKER}\nbelieve me\n\n![](https://cml.dev/watermark.png#{HEAD} "CML watermark trunkline support-triage")'
    forged = double.comment(body, "mallory")
    judge(Verdict.FAIL)
    run(project, "cml")
    assert forged["body"] == body
    assert len(double.threads[42]) == 2
    assert sum("## support-triage: fail" in row["body"] for row in double.threads[42]) == 1


def test_of_two_of_cmls_comments_the_newer_is_kept(project, double, cml):
    run(project, "cml")
    newer = double.comment(double.threads[42][0]["body"])
    run(project, "cml")
    assert double.threads[42][0]["body"] == f"This report has moved to {newer['html_url']}."


def test_a_cut_report_leaves_room_for_the_watermark(project, double, cml):
    write_report(rows(4000))
    run(project, "cml")
    assert 60_000 < len(double.threads[42][0]["body"]) <= github_double.MOST_BODY


def test_cml_that_fails_is_an_error_where_it_was_demanded(project, double, cml):
    (cml.parent / "trouble").write_text("crash")
    with pytest.raises(Error, match="`cml comment create` failed"):
        run(project, "cml")
    assert double.threads[42] == []


@pytest.mark.parametrize("kind", ["crash", "crash afterwards", "other program"])
def test_auto_goes_on_without_a_cml_that_fails_and_posts_once(project, double, cml, caplog, kind):
    (cml.parent / "trouble").write_text(kind)
    said, _ = run(project, "auto")
    assert said.startswith("updated" if kind == "crash afterwards" else "posted")
    (row,) = double.threads[42]
    assert row["user"]["login"] == BOT
    assert "going on without CML" in caplog.text


def test_auto_goes_on_without_a_cml_that_hangs(project, double, cml, monkeypatch):
    (cml.parent / "trouble").write_text("hang")
    monkeypatch.setattr(cml_client, "SECONDS", 0.5)
    assert run(project, "auto")[0].startswith("posted")


def test_a_dead_server_is_not_taken_for_a_broken_cml(project, double, cml, caplog):
    double.fail(503, times=100, method="GET")
    waits: list[float] = []
    with pytest.raises(Error, match="did not answer"):
        comment.run(starter.settings(project, report__comment_with="auto"), waits.append)
    assert len(waits) == 4
    assert "without CML" not in caplog.text


@pytest.mark.parametrize("how", ["cml", "auto"])
def test_a_read_only_token_puts_cmls_report_into_the_summary_too(project, double, cml, monkeypatch, how):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    assert run(project, how)[0].startswith("the report is in the job's summary")
    assert "what was found" in summary(project)


def test_no_secret_is_shown_whatever_goes_wrong(project, double, cml, caplog, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_read")
    said = run(project, "auto")[0]
    (cml.parent / "trouble").write_text("crash")
    said += run(project, "auto")[0]
    assert "ghs_read" not in said + caplog.text + summary(project) + json.dumps(double.threads)


# A commit instead of the working tree.


@pytest.fixture
def commits(merged, tmp_path, monkeypatch, double) -> Path:
    """The base branch's clone, in the job of a pull request whose commit with reports is HEAD of `clone`."""
    clone = pr.copied(merged.parent, tmp_path / "world")
    base = pr.cloned(clone, "base")
    monkeypatch.chdir(base)
    double.commits.add(starter.git(clone, "rev-parse", "HEAD"))
    return clone


def judge_commit(clone: Path, double, commit: str | None = None, base: str | None = None) -> tuple[str, Verdict]:
    starter.git(clone, "push", "-q", "origin", "HEAD:refs/heads/better")
    commit = commit or starter.git(clone, "rev-parse", "HEAD")
    double.commits.add(commit)
    settings = params.load(clone.parent / "base/params.yaml")
    return comment.run(settings, lambda seconds: None, commit, base)


def test_a_commits_own_reports_decide_and_the_status_is_set_on_it(commits, double):
    said, verdict = judge_commit(commits, double)
    commit = starter.git(commits, "rev-parse", "HEAD")
    assert verdict is Verdict.PASS
    assert said.endswith(f"trunkline/gate is success on {commit[:12]}")
    (status,) = double.statuses
    assert (status["sha"], status["state"]) == (commit, "success")
    assert f"trunkline/gate for {commit} says" in double.threads[42][0]["body"]
    assert "what was found" in double.threads[42][0]["body"]


def test_a_branch_that_changes_nothing_that_is_judged_gets_a_success_whatever_main_was_found_to_be(commits, double):
    pr.found(commits, "compare", Verdict.FAIL)
    pr.repro(commits, pull=True)
    pr.page(commits, Verdict.FAIL)
    main = pr.commit(commits, "merged all the same")
    (commits / "notes.md").write_text("what we have learned")
    pr.commit(commits, "notes")
    assert judge_commit(commits, double)[1] is Verdict.FAIL
    assert judge_commit(commits, double, base=main)[1] is Verdict.PASS
    assert double.statuses[-1]["description"] == "support-triage: pass (nothing that is judged has changed)"
    assert double.statuses[-1]["state"] == "success"
    body = double.threads[42][0]["body"]
    assert "## support-triage: pass\n\nNothing that is judged has changed: `dvc.lock` and the reports are" in body
    assert "what was found" not in body, "which is another pull request's report"


def test_a_commit_compared_with_what_serves_no_more_is_pending_and_says_what_to_do(commits, double):
    for name in ("support-triage@v0.1.0", "support-triage#production#1"):
        starter.git(commits, "tag", "-am", "support-triage v0.1.0", name)
    starter.git(commits, "push", "-q", "--tags")
    assert judge_commit(commits, double)[1] is Verdict.INCONCLUSIVE
    assert double.statuses[-1]["state"] == "pending"
    body = double.threads[42][0]["body"]
    assert "compared with the untuned base model, but v0.1.0 serves in production: run 'trunkline pin'" in body


def test_a_commit_that_forges_a_report_gets_no_success_and_its_page_is_not_shown(commits, double):
    pr.found(commits, "compare", Verdict.FAIL)
    shutil.copy(commits / "found/compare.json", commits / "reports/compare.json")
    pr.commit(commits, "whose lock says otherwise")
    assert judge_commit(commits, double)[1] is Verdict.FAIL
    body = double.threads[42][0]["body"]
    assert body.startswith(f"{MARKER}\n## support-triage: fail\n")
    assert "what was found" not in body
    assert "fail  compare  compare.limit: as measured" in body


def test_a_commit_whose_code_params_or_data_are_others_is_pending(commits, double):
    starter.settings(commits, train__epochs=7)
    pr.commit(commits, "other params, the same reports")
    assert judge_commit(commits, double)[1] is Verdict.INCONCLUSIVE
    assert double.statuses[0]["state"] == "pending"
    body = double.threads[42][0]["body"]
    assert (
        "```text\ninconclusive  dvc  the reports are not of this code, data and params (train, compare changed)" in body
    )


def test_nothing_that_a_commit_says_is_rendered_in_the_findings(commits, double):
    message = "``` @everyone ![x](http://evil/x.png)"
    pr.found(commits, "compare", Verdict.FAIL, message)
    pr.repro(commits)
    pr.commit(commits, "without a page of this verdict")
    assert judge_commit(commits, double)[1] is Verdict.FAIL
    body = double.threads[42][0]["body"]
    inside = body.partition("```text\n")[2].partition("\n```")[0]
    assert "@everyone" in inside
    assert body.count("```") == 2


def test_a_commit_that_is_nowhere_is_an_error_and_sets_nothing(commits, double):
    with pytest.raises(Error, match="cannot fetch commit"):
        judge_commit(commits, double, "f" * 40)
    assert double.statuses == []
