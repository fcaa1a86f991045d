"""The GitHub client against a double over a socket: pages, patience, refusals, and a token nobody sees."""

import logging
import time
from dataclasses import replace

import pytest

import github_double
import github_work
import starter
from github_double import BOT, HEAD, MERGE, GitHubDouble
from trunkline.clients.github import Comment, GitHub, Refused, workflow
from trunkline.clients.github.http import PATIENCE, TRIES, Api
from trunkline.errors import Error


@pytest.fixture
def job(double, tmp_path, monkeypatch) -> workflow.Workflow:
    github_double.job(double, tmp_path, monkeypatch)
    return workflow.here()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def github(job, waits) -> GitHub:
    return GitHub(job, waits.append)


# What the job says about itself.


def test_the_job_names_its_servers_repository_run_and_pull_request(double, job):
    assert job.repository == "acme/trunkline"
    assert job.run == f"{double.url}/acme/trunkline/actions/runs/777"
    pull = workflow.PullRequest(42, HEAD, "better", "2026-11-01T08:00:00Z")
    assert job.pull == pull, "the branch's commit, and not the merge commit of GITHUB_SHA"


def test_a_push_has_no_pull_request(double, tmp_path, monkeypatch):
    github_double.job(double, tmp_path, monkeypatch, event="push")
    assert workflow.here().pull is None


def test_outside_actions_every_missing_variable_is_named(job, monkeypatch):
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    monkeypatch.setenv("GITHUB_REPOSITORY", "")
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(Error) as caught:
        workflow.here()
    assert caught.value.problem == "not set: GITHUB_REPOSITORY, GITHUB_EVENT_PATH, GITHUB_TOKEN or GH_TOKEN"
    assert "GITHUB_TOKEN: ${{ github.token }}" in caught.value.hint


def test_the_token_may_be_the_one_that_gh_uses(job, monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("GH_TOKEN", "ghs_other")
    assert workflow.here().token == "ghs_other"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Invalid JSON"),
        ("[]", "the document"),
        ('{"pull_request": {"number": 42}}', "pull_request.head"),
        ('{"pull_request": {"number": 42, "head": {"sha": "HEAD"}}}', "pull_request.head.sha"),
        (f'{{"pull_request": {{"number": "../7", "head": {{"sha": "{HEAD}"}}}}}}', "pull_request.number"),
        ("{}", "names none"),
    ],
)
def test_a_broken_event_is_an_error_and_not_a_job_without_pull_request(job, tmp_path, content, said):
    (tmp_path / "event.json").write_text(content)
    with pytest.raises(Error, match=said):
        workflow.here()


def test_a_missing_event_file_is_an_error(job, tmp_path):
    (tmp_path / "event.json").unlink()
    with pytest.raises(Error, match="No such file"):
        workflow.here()


def test_a_summary_is_added_to_what_the_step_has_written(job, tmp_path):
    (tmp_path / "summary.md").write_text("before\n")
    workflow.add_summary("## after\n\n")
    assert (tmp_path / "summary.md").read_text() == "before\n## after\n"


def test_without_a_place_for_the_summary_the_variable_is_named(job, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    with pytest.raises(Error, match="GITHUB_STEP_SUMMARY"):
        workflow.add_summary("text")


# Reading and writing.


def test_the_token_is_a_bot_whose_name_only_graphql_tells(double, github):
    assert github.login() == BOT
    assert [request.path for request in double.requests] == ["/api/graphql"]


@pytest.mark.parametrize("links", [True, False], ids=["link header", "short page"])
@pytest.mark.parametrize(("count", "pages"), [(0, 1), (99, 1), (250, 3)])
def test_comments_are_read_to_the_last_page(double, github, count, pages, links):
    double.links = links
    for number in range(count):
        double.comment(f"comment {number}")
    assert [comment.body for comment in github.comments(42)] == [f"comment {number}" for number in range(count)]
    assert [request.query["page"] for request in double.requests] == [str(page + 1) for page in range(pages)]
    assert {request.query["per_page"] for request in double.requests} == {"100"}


def test_a_full_last_page_is_known_by_its_link_header_and_without_one_by_an_empty_page(double, github):
    for number in range(200):
        double.comment(f"comment {number}")
    assert len(github.comments(42)) == 200
    assert len(double.requests) == 2
    double.links = False
    assert len(github.comments(42)) == 200
    assert len(double.requests) == 5


def test_pages_without_end_are_an_error(double, github, monkeypatch):
    rows = [double.comment("again and again")] * 100
    monkeypatch.setattr(GitHubDouble, "answer", lambda *_: github_double.Answer(200, rows))
    with pytest.raises(Error, match="more than 10,000 rows"):
        github.comments(42)


def test_a_comment_of_a_deleted_account_and_one_without_text_are_read(double, github):
    double.comment("old")["user"] = None
    double.comment("")["body"] = None
    assert [(comment.author, comment.body) for comment in github.comments(42)] == [("", "old"), (BOT, "")]


def test_a_comment_is_written_and_edited(double, github):
    written = github.add_comment(42, "first")
    assert written == Comment(
        id=1001, author=BOT, body="first", url=f"{double.url}/acme/trunkline/pull/42#issuecomment-1001"
    )
    assert github.edit_comment(written.id, "second").id == written.id
    assert [row["body"] for row in double.threads[42]] == ["second"]


def test_requests_carry_what_github_asks_for(double, github):
    github.add_comment(42, "text")
    headers = double.requests[0].headers
    assert headers["authorization"] == "Bearer ghs_write"
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert headers["user-agent"].startswith("trunkline/")


def test_an_entry_in_netrc_does_not_replace_the_token(double, github, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    github.add_comment(42, "text")
    assert double.requests[0].headers["authorization"] == "Bearer ghs_write"


def test_a_status_is_set_on_the_commit_with_a_description_of_one_short_line(double, github):
    github.set_status(HEAD, "trunkline/gate", "failure", "support-triage: fail\n" + "x" * 200, "https://run")
    (status,) = double.statuses
    assert (status["sha"], status["context"], status["state"]) == (HEAD, "trunkline/gate", "failure")
    assert status["target_url"] == "https://run"
    assert status["description"].startswith("support-triage: fail xxx")
    assert len(status["description"]) == 140
    assert status["description"].endswith("x…")


# Refusals: told at once, with the next step.


def test_a_read_only_token_reads_and_is_refused_when_it_writes(double, job, waits):
    github = GitHub(replace(job, token="ghs_read"), waits.append)
    assert github.comments(42) == []
    with pytest.raises(Refused, match="Resource not accessible by integration") as caught:
        github.add_comment(42, "text")
    assert "pull-requests: write" in caught.value.hint
    assert waits == []


def test_a_wrong_token_is_an_error_that_says_how_to_give_one(double, job, waits):
    with pytest.raises(Error, match="401 Bad credentials") as caught:
        GitHub(replace(job, token="ghs_old"), waits.append).comments(42)
    assert "github.token" in caught.value.hint
    assert not isinstance(caught.value, Refused)
    assert waits == []


def test_a_pull_request_that_is_not_there_is_an_error(github, waits):
    with pytest.raises(Error, match="404 Not Found"):
        github.comments(43)
    assert waits == []


def test_what_github_finds_wrong_is_told_in_its_words_and_not_tried_again(double, github, waits):
    with pytest.raises(Error, match=r"422 Validation Failed; Body is too long \(maximum is 65536 characters\)"):
        github.add_comment(42, "x" * 65_537)
    with pytest.raises(Error, match="No commit found for SHA: 0000"):
        github.set_status("0" * 40, "trunkline/gate", "success", "fine", "https://run")
    assert waits == []
    assert len(double.requests) == 2


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed_as_it_would_make_a_read_of_a_write(double, github, status):
    double.fail(status, message="Moved Permanently", headers={"location": f"{double.url}/elsewhere"})
    with pytest.raises(Error, match=f"{status} Moved Permanently"):
        github.add_comment(42, "text")
    assert len(double.requests) == 1


@pytest.mark.parametrize("content", [{"rows": []}, "text", None, [{"id": "x"}], [7]])
def test_an_answer_of_another_shape_is_an_error_and_not_an_empty_list(github, monkeypatch, content):
    monkeypatch.setattr(GitHubDouble, "answer", lambda *_: github_double.Answer(200, content))
    with pytest.raises(Error, match="without a list|not what its API promises"):
        github.comments(42)


# Patience: what may pass by itself is tried again, a bounded number of times.


def test_two_server_errors_are_waited_out_longer_each_time(double, github, waits):
    double.fail(502, times=2)
    github.set_status(HEAD, "trunkline/gate", "success", "fine", "https://run")
    assert len(double.statuses) == 1
    assert waits == [2, 4]


@pytest.mark.parametrize("fault", [{"drop": True}, {"text": "<html>"}], ids=["no answer", "no JSON"])
def test_a_lost_answer_is_asked_for_again(double, github, waits, fault):
    double.comment("text")
    double.fail(200, **fault)
    assert len(github.comments(42)) == 1
    assert waits == [2]


def test_a_server_that_stays_broken_is_an_error_after_some_tries(double, github, waits):
    double.fail(503, times=100, message="Service Unavailable")
    with pytest.raises(Error, match=rf"\(tried {TRIES} times\): 503 Service Unavailable") as caught:
        github.comments(42)
    assert "githubstatus" in caught.value.hint
    assert waits == [2, 4, 8, 16]


def test_a_dead_server_is_an_error_after_some_tries(job, waits):
    github = GitHub(replace(job, api="http://127.0.0.1:1/api/v3"), waits.append)
    with pytest.raises(Error, match="did not answer GET http://127.0.0.1:1/api/v3/repos/acme/trunkline"):
        github.comments(42)
    assert len(waits) == TRIES - 1


@pytest.mark.parametrize("lost", [{}, {"drop": True}], ids=["502", "no answer"])
def test_a_comment_that_arrived_although_its_answer_was_lost_is_not_written_twice(double, github, lost):
    double.fail(502, method="POST", done=True, **lost)
    written = github.add_comment(42, "text")
    assert [row["id"] for row in double.threads[42]] == [written.id]
    assert len(double.asked("POST")) == 1


def test_a_comment_that_did_not_arrive_is_written_at_the_second_try(double, github):
    double.fail(502, method="POST")
    github.add_comment(42, "text")
    assert [row["body"] for row in double.threads[42]] == ["text"]


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_waited_out_for_as_long_as_github_says(double, github, waits, status):
    double.fail(status, message="You have exceeded a secondary rate limit.", headers={"retry-after": "37"})
    github.add_comment(42, "text")
    assert waits == [37]


def test_a_used_up_hourly_limit_is_waited_out_until_its_reset(double, github, waits):
    before, reset = time.time(), int(time.time()) + 90
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
    double.fail(403, message="API rate limit exceeded for installation.", headers=limit)
    github.add_comment(42, "text")
    assert reset - time.time() <= waits[0] <= reset - before


def test_a_secondary_limit_that_names_no_time_is_given_a_minute_and_then_more(double, github, waits):
    double.fail(403, times=2, message="You have exceeded a secondary rate limit.")
    github.add_comment(42, "text")
    assert waits == [60, 120]


def test_a_limit_that_lasts_too_long_is_not_waited_for(double, github, waits):
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 3000)}
    double.fail(403, message="API rate limit exceeded for installation.", headers=reset)
    with pytest.raises(Error, match=r"\(tried 1 time\): 403 API rate limit exceeded") as caught:
        github.add_comment(42, "text")
    assert "s: run the job again later" in caught.value.hint
    assert not isinstance(caught.value, Refused), "a limit passes; a refusal would hide the report in the summary"
    assert waits == []


def test_all_waiting_for_one_request_is_bounded(double, github, waits):
    double.fail(429, times=100, message="Too many requests", headers={"retry-after": "110"})
    with pytest.raises(Error, match="tried 3 times"):
        github.add_comment(42, "text")
    assert waits == [110, 110]
    assert sum(waits) <= PATIENCE


# The token.


def test_the_token_is_in_no_message_log_or_representation(double, job, waits, caplog):
    caplog.set_level(logging.DEBUG)
    github = GitHub(job, waits.append)
    double.fail(502, message="proxy: authorization was Bearer ghs_write, next ghp_another1")
    double.fail(422, message="cannot parse 'Bearer ghs_write'")
    with pytest.raises(Error) as caught:
        github.comments(42)
    said = str(caught.value) + caplog.text + repr(job) + repr(github)
    assert "Bearer ***" in caught.value.problem
    assert "Bearer ***, next ***" in caplog.text
    assert "ghs_write" not in said
    assert "ghp_another1" not in said


def test_a_token_that_does_not_look_like_githubs_is_hidden_too(double, job, waits):
    token = "5f" * 20
    double.fail(422, message=f"cannot parse 'Bearer {token}'")
    with pytest.raises(Error, match=r"cannot parse 'Bearer \*\*\*'"):
        GitHub(replace(job, token=token), waits.append).comments(42)


@pytest.mark.parametrize("token", ["ghs_a\nb", "two words", "", "ghs_ü"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(token):
    with pytest.raises(Error) as caught:
        Api(token)
    assert caught.value.problem.startswith("the token holds")
    assert not token or token not in str(caught.value)


def test_a_line_end_that_a_secret_often_has_is_no_part_of_the_token(job, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_write\n")
    assert workflow.here().token == "ghs_write"


def test_the_double_itself_refuses_what_github_refuses(double, job, waits):
    """Otherwise the tests above and those of `comment` would prove nothing."""
    github = GitHub(job, waits.append)
    with pytest.raises(Error, match="Body can't be blank"):
        github.add_comment(42, " ")
    with pytest.raises(Error, match="description is too long"):
        Api("ghs_write", waits.append).send(
            "POST", f"{job.api}/repos/acme/trunkline/statuses/{MERGE}", {"state": "success", "description": "x" * 141}
        )
    with pytest.raises(Refused):
        Api("ghs_write", waits.append).send("GET", f"{job.api}/user")
    assert double.statuses == []


# Pull requests.


@pytest.fixture
def work(double, tmp_path) -> github_work.Work:
    """A repository whose branch `topic` is a commit ahead of main."""
    origin = tmp_path / "origin"
    starter.git(tmp_path, "init", "-q", "-b", "main", "origin")
    starter.git(origin, "commit", "-q", "--allow-empty", "-m", "first")
    starter.git(origin, "checkout", "-qb", "topic")
    starter.git(origin, "commit", "-q", "--allow-empty", "-m", "second")
    return github_work.attach(double, origin)


def test_a_pull_request_that_arrived_although_its_answer_was_lost_is_not_doubled(double, github, work):
    fork = work.add_pull("mallory", "topic", owner="mallory/trunkline")
    double.fail(502, method="POST", path="/pulls", done=True)
    made = github.pulls.add("topic", "main", "A change", "for the better")
    assert (len(work.pulls), made.number) == (2, work.pulls[1]["number"])
    assert made.number != fork["number"]


def test_only_open_pull_requests_of_this_repository_and_prefix_are_found_the_oldest_first(github, work):
    wanted = [work.add_pull(BOT, f"retrain/{number}")["number"] for number in range(3)]
    work.add_pull("mallory", "retrain/9", owner="mallory/trunkline")
    work.add_pull(BOT, "retrain/8", state="closed")
    work.add_pull(BOT, "topic")
    assert [pull.number for pull in github.pulls.open("retrain/")] == wanted


def test_the_last_pull_request_with_a_label_counts_whatever_became_of_it(github, work):
    assert github.pulls.last("retrain") is None
    work.add(BOT, "an issue", "", ["retrain"])
    work.add_pull(BOT, "retrain/1", labels=["retrain"], created_at="2026-10-01T10:00:00Z")
    work.add_pull(BOT, "retrain/2", labels=["retrain"], created_at="2026-10-20T10:00:00Z", state="closed")
    work.add_pull(BOT, "topic", created_at="2026-10-30T10:00:00Z")
    assert github.pulls.last("retrain").isoformat() == "2026-10-20T10:00:00+00:00"


def test_users_and_teams_are_asked_for_reviews_and_who_cannot_be_is_told(github, work):
    number = work.add_pull(BOT, "topic")["number"]
    github.pulls.ask(number, ["ada", "acme/support"])
    assert work.pulls[0]["requested_reviewers"] == [{"login": "ada"}]
    assert work.pulls[0]["requested_teams"] == [{"slug": "support"}]
    with pytest.raises(Error, match="collaborators"):
        github.pulls.ask(number, ["nobody"])


def test_auto_merge_is_turned_on_and_off_and_a_refusal_says_why(github, work):
    row = work.add_pull(BOT, "topic")
    github.pulls.merge_when_ready(row["node_id"])
    assert row["auto_merge"]
    github.pulls.hold(row["node_id"])
    assert row["auto_merge"] is None
    work.allows_auto_merge = False
    with pytest.raises(Error, match="Auto merge is not allowed for this repository"):
        github.pulls.merge_when_ready(row["node_id"])
