"""The workflows in act: which event runs which commands in which job, and how each job ends."""

import pytest

from act import ScratchRepository, recording

PLAN = ["plan: trunkline plan --base origin/main"]
TRAIN = [
    "train: trunkline reap",
    "train: dvc repro --pull",
    "train: trunkline report",
    "train: trunkline push",
    "train: trunkline drill",
    "train: trunkline reap",
]
BOT = "b07" + "0" * 37
CHANGED = {
    "trunkline plan": {"outputs": {"changed": "true"}},
    "trunkline push": {"files": {"artifact/dvc.lock": "stages: {}"}},
    "trunkline adopt": {"outputs": {"commit": BOT}},
}
UNCHANGED = {"trunkline plan": {"outputs": {"changed": "false"}}}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> ScratchRepository:
    folder = tmp_path_factory.mktemp("act")
    return ScratchRepository(folder, recording(folder / "commands", "trunkline", "dvc", "gh", "ci-run"))


@pytest.fixture(scope="module")
def passed(repository):
    """What most is asserted of: a pull request that changes the model, and whose gate passes."""
    return repository.run("model-pr", "pull_request", repository.pull_request(), CHANGED)


def report(repository: ScratchRepository) -> list[str]:
    adopt = f"trunkline adopt artifact --commit {repository.heads['topic']} --branch topic"
    return [
        f"report: {adopt}",
        commented(repository, BOT),
        "report: gh workflow run checks.yml --ref topic",
    ]


def judged(repository: ScratchRepository, commit: str = "") -> list[str]:
    return [f"report: trunkline gate --commit {commit or BOT} --base {repository.heads['main']}"]


def commented(repository: ScratchRepository, commit: str) -> str:
    return f"report: trunkline comment --commit {commit} --base {repository.heads['main']}"


# A pull request of this repository.


def test_a_change_is_trained_once_committed_commented_and_judged(repository, passed):
    assert passed.lines() == PLAN + TRAIN + report(repository) + judged(repository)
    assert (passed.code, passed.jobs) == (0, dict.fromkeys(("plan", "train", "report"), "succeeded"))


def test_the_branchs_commit_is_planned_and_trained_and_the_base_branchs_code_reports(repository, passed):
    heads = {call.job: call.head for call in passed.calls}
    topic, main = repository.heads["topic"], repository.heads["main"]
    assert heads == {"plan": topic, "train": topic, "report": main}


def test_no_secret_is_seen_but_by_the_steps_that_speak_to_github(passed):
    seen = {call.call.split(" --")[0]: call.secrets for call in passed.calls if call.secrets}
    token = ["GITHUB_TOKEN"]
    assert seen == {"trunkline plan": token, "trunkline comment": token, "gh workflow run checks.yml": ["GH_TOKEN"]}


def test_only_the_reporting_job_has_credentials_to_push_with(passed):
    assert {(call.job, call.may_push) for call in passed.calls} == {("plan", False), ("train", False), ("report", True)}


def test_the_handed_over_folder_arrives_in_the_reporting_job(repository, passed):
    assert (repository.folder / "home/artifacts/candidate/dvc.lock").read_text() == "stages: {}"


def test_nothing_changed_needs_no_gpu_and_is_still_judged(repository):
    run = repository.run("model-pr", "pull_request", repository.pull_request(), UNCHANGED)
    head = repository.heads["topic"]
    assert run.lines() == [*PLAN, commented(repository, head), *judged(repository, head)]
    assert (run.code, run.jobs) == (0, {"plan": "succeeded", "report": "succeeded"})


@pytest.mark.parametrize("step", ["trunkline push", "trunkline drill"])
def test_a_training_that_fails_is_commented_and_leaves_nothing_running(repository, step):
    run = repository.run("model-pr", "pull_request", repository.pull_request(), CHANGED | {step: {"exit": 255}})
    done = [line for line in TRAIN if step not in line][: next(i for i, line in enumerate(TRAIN) if step in line)]
    failed = next(line for line in TRAIN if step in line)
    head = repository.heads["topic"]
    assert run.lines() == [
        *PLAN,
        *done,
        failed,
        "train: trunkline reap",
        commented(repository, head),
        *judged(repository, head),
    ]
    assert (run.code, run.jobs["train"]) == (1, "failed")


@pytest.mark.parametrize(("code", "end"), [(3, "failed"), (4, "succeeded"), (1, "failed")])
def test_a_failed_gate_is_red_and_an_inconclusive_one_not_as_its_pending_status_blocks_the_merge(repository, code, end):
    orders = UNCHANGED | {"trunkline gate": {"exit": code}}
    run = repository.run("model-pr", "pull_request", repository.pull_request(), orders)
    head = repository.heads["topic"]
    assert run.lines() == [*PLAN, commented(repository, head), *judged(repository, head)]
    assert (run.code, run.jobs["report"]) == (int(end == "failed"), end)


def test_a_refused_hand_over_is_commented_and_starts_no_checks(repository):
    orders = CHANGED | {"trunkline adopt": {"exit": 1}}
    run = repository.run("model-pr", "pull_request", repository.pull_request(), orders)
    adopt, *_ = report(repository)
    assert run.lines()[-2:] == [adopt, commented(repository, repository.heads["topic"])]
    assert (run.code, run.jobs["report"]) == (1, "failed")


def test_a_run_that_was_overtaken_says_nothing_as_the_next_one_does(repository):
    orders = CHANGED | {"trunkline adopt": {"outputs": {"outcome": "superseded", "commit": ""}}}
    orders |= {"trunkline drill": {"exit": 4}}  # a holdout too small to tell, which stops nothing
    run = repository.run("model-pr", "pull_request", repository.pull_request(), orders)
    assert (run.lines()[-1:], run.code) == (report(repository)[:1], 0)


def test_a_hand_over_that_the_branch_already_holds_starts_no_checks(repository):
    head = repository.heads["topic"]
    orders = CHANGED | {"trunkline adopt": {"outputs": {"outcome": "unchanged", "commit": head}}}
    run = repository.run("model-pr", "pull_request", repository.pull_request(), orders)
    adopt, *_ = report(repository)
    assert run.lines()[-3:] == [adopt, commented(repository, head), *judged(repository, head)]


def test_a_plan_that_fails_starts_no_gpu(repository):
    run = repository.run("model-pr", "pull_request", repository.pull_request(), {"trunkline plan": {"exit": 1}})
    assert (run.lines(), run.code, run.jobs) == (PLAN, 1, {"plan": "failed"})


def test_the_name_of_a_branch_is_an_argument_and_never_a_command(repository):
    branch = '$(touch${IFS}made);`touch${IFS}made`"&&gh'
    run = repository.run("model-pr", "pull_request", repository.pull_request(branch), CHANGED)
    adopt = next(call for call in run.calls if "adopt" in call.call)
    assert adopt.arguments[-2:] == ["--branch", branch]
    assert len(run.calls) == len(PLAN + TRAIN) + 4


# What may not reach a GPU.


@pytest.mark.parametrize("kind", ["fork", "draft"])
def test_a_fork_and_a_draft_get_nothing_but_checks(repository, kind):
    event = repository.pull_request(**{kind: True})
    run = repository.run("model-pr", "pull_request", event, CHANGED)
    assert (run.lines(), run.code, run.jobs) == ([], 0, {})
    checks = repository.run("checks", "pull_request", event)
    assert (checks.lines(), checks.code) == (["checks: ci-run"], 0)
    assert checks.calls[0].secrets == []


def test_checks_that_fail_fail(repository):
    assert repository.run("checks", "push", repository.push(), {"ci-run": {"exit": 1}}).code == 1


# A merge.


@pytest.fixture
def unwatched(repository, monkeypatch) -> ScratchRepository:
    """Where nothing reaches the prediction log."""
    monkeypatch.setattr(repository, "variables", {})
    return repository


def test_a_merge_registers_the_release_and_promotes_the_version_that_was_registered(unwatched):
    repository = unwatched
    run = repository.run(
        "release", "push", repository.push(), {"trunkline release": {"outputs": {"version": "v1.2.0"}}}
    )
    promote = "promote: trunkline promote v1.2.0 --to production"
    assert run.lines() == ["register: trunkline release", promote, "promote: trunkline status"]
    assert (run.code, run.jobs) == (0, {"register": "succeeded", "promote": "succeeded"})
    assert {call.head for call in run.calls} == {repository.heads["main"]}
    assert [call.secrets for call in run.calls] == [["HF_TOKEN"], [], []]


@pytest.mark.parametrize("code", [1, 4])
def test_a_release_that_is_refused_promotes_nothing(repository, code):
    run = repository.run("release", "push", repository.push(), {"trunkline release": {"exit": code}})
    assert (run.lines(), run.code, run.jobs) == (["register: trunkline release"], 1, {"register": "failed"})


def test_an_inconclusive_release_is_let_through_in_the_name_of_who_says_why(repository):
    reason = 'the "slices" are $(small)'
    event = {"inputs": {"reason": reason}, "ref": "refs/heads/main"}
    run = repository.run("release", "workflow_dispatch", event, {"trunkline release": {"exit": 1}})
    assert run.calls[0].arguments[-4:] == ["--approved-by", "ada", "--reason", reason]


def test_who_starts_a_release_says_which_part_of_the_version_is_raised(repository):
    event = {"inputs": {"reason": "an incompatible answer format", "bump": "major"}, "ref": "refs/heads/main"}
    run = repository.run("release", "workflow_dispatch", event, {"trunkline release": {"exit": 1}})
    assert run.calls[0].arguments[:3] == ["release", "--bump", "major"]


def test_a_promotion_that_fails_is_seen(unwatched):
    orders = {"trunkline release": {"outputs": {"version": "v1.2.0"}}, "trunkline promote": {"exit": 1}}
    run = unwatched.run("release", "push", unwatched.push(), orders)
    assert (run.code, run.jobs["promote"]) == (1, "failed")


# A release earns its traffic where something can watch it.

START, LOOK, LOOK_ON = (
    "trunkline rollout start v1.2.0",
    "trunkline rollout watch --until-held",
    "trunkline rollout watch",
)
TRIED = "triage#production#v1.2.0#1"
APPROVED, REJECTED = f"trunkline rollout promote {TRIED} --reviewed", f"trunkline rollout rollback {TRIED} --reviewed"


def watched(state: str, code: int) -> dict:
    return {LOOK: {"exit": code, "outputs": {"state": state, "rollout": TRIED}}, LOOK_ON: {"exit": 0}}


def started(repository, orders: dict, **inputs: str):
    event = {"inputs": {"action": "start", "version": "v1.2.0", "reason": "", **inputs}, "ref": "refs/heads/main"}
    return repository.run("rollout", "workflow_dispatch", event, orders)


def test_a_merge_lets_the_registered_release_earn_its_traffic_instead_of_promoting_it(repository):
    orders = {"trunkline release": {"outputs": {"version": "v1.2.0"}}} | watched("promoted", 0)
    run = repository.run("release", "push", repository.push(), orders)
    assert [call.call for call in run.calls] == ["trunkline release", START, LOOK]
    assert run.code == 0
    assert {call.head for call in run.calls} == {repository.heads["main"]}
    assert all(call.may_push for call in run.calls)


def test_what_is_rolled_back_is_red_and_nobody_is_asked(repository):
    run = started(repository, watched("rolled_back", 3))
    assert run.lines() == [f"start: {START}", f"watch: {LOOK}"]
    assert (run.code, run.jobs) == (1, {"start": "succeeded", "watch": "failed"})


def test_what_is_held_is_watched_on_and_promoted_in_the_name_of_its_reviewers(repository):
    run = started(repository, watched("held", 4))
    assert run.lines()[:2] == [f"start: {START}", f"watch: {LOOK}"]
    assert set(run.lines()[2:]) == {f"held: {LOOK_ON}", f"promote-reviewed: {APPROVED}"}
    assert run.jobs == dict.fromkeys(("start", "watch", "held", "promote-reviewed"), "succeeded")
    log, none = ["PGPASSWORD"], []
    secrets = {call.job: call.secrets for call in run.calls}
    assert secrets == {"start": none, "watch": log, "held": log, "promote-reviewed": ["GITHUB_TOKEN"]}


def test_what_was_not_approved_is_rolled_back_if_it_was_rejected_which_the_command_finds_out(repository):
    run = started(repository, watched("held", 4) | {APPROVED: {"exit": 1}})
    assert run.lines()[-1] == f"rollback: {REJECTED}"
    assert (run.code, run.jobs["promote-reviewed"], run.jobs["rollback"]) == (1, "failed", "succeeded")


@pytest.mark.parametrize("code", [1, 2])
def test_a_watch_that_cannot_look_is_red_and_a_rollout_that_was_not_started_is_not_watched(repository, code):
    lost = started(repository, {LOOK: {"exit": code}})
    assert (lost.lines()[1:], lost.jobs["watch"]) == ([f"watch: {LOOK}"], "failed")
    refused = started(repository, {START: {"exit": code}})
    assert (refused.lines(), refused.jobs) == ([f"start: {START}"], {"start": "failed"})


@pytest.mark.parametrize(
    ("action", "job"),
    [("promote", "promote-reviewed"), ("resume", "promote-reviewed"), ("rollback", "rollback"), ("hold", "rollback")],
)
def test_what_people_decide_about_a_rollout_is_recorded_with_their_reason(repository, action, job):
    reason = 'ann said "$(no)"'
    run = started(repository, {}, action=action, version="", reason=reason)
    assert [(call.job, call.arguments) for call in run.calls] == [(job, ["rollout", action, "--reason", reason])]
    assert (run.code, run.jobs, run.calls[0].secrets) == (0, {job: "succeeded"}, [])


@pytest.mark.parametrize(
    ("action", "job", "named"),
    [
        ("promote", "promote-reviewed", ["promote", "v1.1.0", "--to", "production"]),
        ("rollback", "rollback", ["rollback", "--to", "v1.1.0"]),
    ],
)
def test_a_version_that_is_named_serves_at_once_also_where_nothing_is_watched(unwatched, action, job, named):
    reason = "$(no) `no`; the cards team cannot read it"
    run = started(unwatched, {}, action=action, version="v1.1.0", reason=reason)
    assert [(call.job, call.arguments) for call in run.calls] == [(job, [*named, "--reason", reason])]
    assert (run.code, run.jobs, run.calls[0].may_push) == (0, {job: "succeeded"}, True)


def test_a_decision_that_fails_is_red_and_makes_no_other(repository):
    run = started(repository, {"trunkline rollout promote": {"exit": 1}}, action="promote", version="", reason="x")
    assert (len(run.calls), run.code, run.jobs) == (1, 1, {"promote-reviewed": "failed"})


def test_to_try_again_what_was_rolled_back_takes_a_reason(repository):
    run = started(repository, watched("promoted", 0), reason="it was the engine")
    assert run.calls[0].arguments == ["rollout", "start", "v1.2.0", "--reason", "it was the engine"]


# What serves is watched, and newer data are learned from.

WATCH = ["monitor: trunkline monitor", "monitor: trunkline alert"]
COLLECT = ["retrain: trunkline monitor", "retrain: trunkline retrain"]
WRITTEN = {"reports/monitor.json": "{}", "reports/monitor.html": "what a customer wrote"}
PAGE = {"trunkline monitor": {"files": WRITTEN}}
ALARM = {
    "trunkline monitor": {"exit": 3, "files": WRITTEN},
    "trunkline alert": {"outputs": {"retrain": "true"}},
}


def scheduled(repository, name: str, orders: dict):
    return repository.run(name, "schedule", {"ref": "refs/heads/main"}, orders)


@pytest.mark.parametrize("code", [0, 3, 4])
def test_what_the_monitor_finds_is_told_and_red_is_only_what_did_not_run(repository, code):
    orders = PAGE | {"trunkline monitor": {"exit": code, **PAGE["trunkline monitor"]}}
    orders |= {"trunkline alert": {"outputs": {"retrain": "false"}}}
    run = scheduled(repository, "monitor", orders)
    assert (run.lines(), run.code, run.jobs) == (WATCH, 0, {"monitor": "succeeded"})
    assert [call.secrets for call in run.calls] == [["PGPASSWORD"], ["GITHUB_TOKEN"]]
    kept = {path.name: path.read_text() for path in (repository.folder / "home/artifacts/monitor").iterdir()}
    assert kept == {"monitor.json": "{}"}, "what customers wrote stays on the runner"


@pytest.mark.parametrize("code", [1, 2])
def test_a_monitor_that_cannot_look_is_red_and_tells_nothing(repository, code):
    run = scheduled(repository, "monitor", {"trunkline monitor": {"exit": code}})
    assert (run.lines(), run.code, run.jobs["monitor"]) == (WATCH[:1], 1, "failed")


def test_an_alarm_that_newer_data_may_mend_starts_a_retraining(repository):
    run = scheduled(repository, "monitor", ALARM)
    assert [call.call for call in run.calls] == [line.split(": ")[1] for line in WATCH + COLLECT]
    assert run.code == 0
    assert {call.head for call in run.calls} == {repository.heads["main"]}


def test_a_retraining_shows_secrets_only_to_what_reads_the_log_and_asks_github(repository):
    run = scheduled(repository, "retrain", {})
    assert (run.lines(), run.code, run.jobs) == (COLLECT, 0, {"retrain": "succeeded"})
    assert [call.secrets for call in run.calls] == [["PGPASSWORD"], ["GITHUB_TOKEN", "PGPASSWORD"]]
    assert run.calls[1].arguments == ["retrain"]


@pytest.mark.parametrize(("code", "end"), [(0, "succeeded"), (4, "succeeded"), (3, "failed"), (1, "failed")])
def test_too_few_rows_are_no_failure_and_rows_that_are_not_fit_are(repository, code, end):
    run = scheduled(repository, "retrain", {"trunkline retrain": {"exit": code}})
    assert (run.lines(), run.jobs) == (COLLECT, {"retrain": end})


def test_before_anything_serves_there_is_nothing_to_watch_but_something_to_learn(repository):
    run = scheduled(repository, "retrain", {"trunkline monitor": {"exit": 1}})
    assert (run.lines(), run.code) == (COLLECT, 0)


def test_a_retraining_by_hand_says_why(repository):
    reason = 'the new "Roam" card; $(touch made)'
    event = {"inputs": {"reason": reason}, "ref": "refs/heads/main"}
    run = repository.run("retrain", "workflow_dispatch", event, {})
    assert run.calls[1].arguments == ["retrain", "--reason", reason]


@pytest.mark.parametrize("name", ["monitor", "retrain"])
def test_where_no_runner_is_set_up_nothing_waits_for_one(unwatched, name):
    run = scheduled(unwatched, name, {})
    assert (run.lines(), run.code, run.jobs) == ([], 0, {})


def test_where_no_runner_is_set_up_no_rollout_starts(unwatched):
    run = started(unwatched, {})
    assert (run.lines(), run.code, run.jobs) == ([], 0, {})
