"""`trunkline plan` in a clone without data."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.exceptions import DvcException

import github_double
import pull_request as pr
import starter
import workflow_rules
from github_double import HEAD, GitHubDouble
from trunkline import cli, params
from trunkline.clients import artifact
from trunkline.errors import Error
from trunkline.operations import plan
from trunkline.records import Report


@pytest.fixture
def clone(merged, tmp_path, output, monkeypatch) -> Path:
    place = pr.cloned(pr.copied(merged.parent, tmp_path / "world"), "hosted")
    monkeypatch.chdir(place)
    return place


def run(folder: Path) -> str:
    return plan.run(params.load(folder / "params.yaml"))


def test_after_a_finished_run_there_is_nothing_to_run(clone, output):
    assert run(clone) == "nothing has changed: there is nothing to run"
    assert pr.outputs(output) == {"changed": "false"}


def test_other_params_name_the_stages_and_what_training_may_cost(clone, output, capsys):
    starter.settings(clone, train__epochs=2, train__max_gpu_hours=0.5)
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train       params.yaml: train changed",
        "compare     models/candidate is made again by train",
        "train       may take 0.5 GPU hours (train.max_gpu_hours), 0.5 US dollars; the last run took 0.25",
        "2 stages have to run: dvc repro --pull",
    ]
    assert pr.outputs(output) == {"changed": "true"}


def test_a_budget_below_what_the_last_run_took_is_told(clone):
    starter.settings(clone, train__max_gpu_hours=0.1)
    assert "the last run took 0.25, so it may not end" in run(clone)


def test_without_a_report_of_training_only_the_budget_is_told(clone):
    (clone / "reports/train.json").unlink()
    assert "may take 4 GPU hours (train.max_gpu_hours), 4 US dollars\n" in run(clone)


def record(clone: Path, hours: float) -> None:
    """Commit what a run of the branch has left, whatever else has changed here."""
    path = clone / "reports/train.json"
    path.write_text(Report.read(path).model_copy(update={"metrics": {"gpu_hours": hours}}).text())
    starter.git(clone, "commit", "-qm", f"a run of {hours} hours", "--", "reports/train.json")


def test_a_branch_whose_runs_have_spent_the_budget_trains_no_more_until_it_is_raised(
    clone, output, monkeypatch, capsys
):
    def said(base: str = "origin/main") -> list[str]:
        return plan.run(params.load(Path("params.yaml")), base).splitlines()

    starter.settings(clone, train__epochs=2)
    for hours in (1.5, 2.0):
        record(clone, hours)
    starter.git(clone, "checkout", "-q", "origin/main", "--", "reports")
    starter.git(clone, "commit", "-qm", "back to main's", "--", "reports")
    record(clone, 2.0)
    assert "; the runs of this branch have taken 3.5; the last run took 2" in said()[-2], "restored ones count once"
    assert pr.outputs(output) == {"changed": "true"}
    record(clone, 0.5)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    told = said()
    assert told[-2:] == [
        "train       the runs of this branch have taken 4 GPU hours, and train.max_gpu_hours is 4: raise it to go on",
        "inconclusive: nothing is run before that is mended",
    ]
    assert pr.outputs(output) == {"changed": "false"}
    warning = f"::warning::{told[-2]}\n"
    assert warning in capsys.readouterr().err, "nobody looks into the log of a job that is green"
    starter.settings(clone, train__epochs=2, train__max_gpu_hours=6.0)
    assert said()[-1].endswith("stages have to run: dvc repro --pull")
    starter.git(clone, "push", "-q", "origin", "HEAD:main")
    assert "of this branch" not in str(said()), "merged, it is main's, as what main was trained with before"
    with pytest.raises(Error, match="nowhere"):
        said("origin/nowhere")


# What failed or was cancelled leaves no commit, and has used a GPU all the same.


@pytest.fixture
def double(clone, output, tmp_path, monkeypatch) -> Iterator[GitHubDouble]:
    """The job of a pull request whose branch trains with other params than main."""
    starter.settings(clone, train__epochs=2)
    with GitHubDouble() as github:
        github_double.job(github, tmp_path, monkeypatch)
        monkeypatch.setenv("GITHUB_OUTPUT", str(output))
        yield github


def said() -> list[str]:
    return plan.run(params.load(Path("params.yaml")), "origin/main", wait=lambda seconds: None).splitlines()


def test_what_failed_or_was_cancelled_is_part_of_the_budget(double, clone, output):
    double.ran("2026-11-02T08:00:00Z", "1" * 40, "failure", minutes=90)
    double.ran("2026-11-02T12:00:00Z", "2" * 40, "cancelled", minutes=60)
    assert "; the runs of this branch have taken 2.5 (2.5 of it for nothing that was kept); the last" in said()[-2]
    assert pr.outputs(output) == {"changed": "true"}
    double.ran("2026-11-03T08:00:00Z", "3" * 40, "timed_out", minutes=90)
    assert said()[-2:] == [
        "train       the runs of this branch have taken 4 (4 of it for nothing that was kept) GPU hours, and"
        " train.max_gpu_hours is 4: raise it to go on",
        "inconclusive: nothing is run before that is mended",
    ]
    assert pr.outputs(output) == {"changed": "false"}


def test_what_a_commit_of_the_branch_records_counts_once_and_what_was_taken_from_it_by_force_too(double, clone):
    record(clone, 1.5)
    starter.git(clone, "commit", "--amend", "-qm", artifact.subject(HEAD))
    double.ran("2026-11-02T08:00:00Z", HEAD, "success", minutes=120)
    assert "; the runs of this branch have taken 1.5; the last" in said()[-2]
    double.runs[0]["jobs"].insert(0, double.runs[0]["jobs"][0] | {"conclusion": "failure", "run_attempt": 0})
    assert "have taken 3.5 (2 of it for nothing that was kept)" in said()[-2], "an earlier try of the same run"
    starter.git(clone, "reset", "-q", "--soft", "HEAD^")
    assert "have taken 4 (4 of it" in said()[-2]


OTHERS = [
    {"branch": "worse"},
    {"event": "workflow_dispatch"},
    {"workflow": "checks.yml"},
    {"name": "plan"},
    {"runner_id": None, "conclusion": None},  # it still waits for a machine
    {"runner_id": 0, "conclusion": "cancelled"},  # it never got one
    {"created": "2026-10-31T23:59:59Z"},  # an earlier pull request of a branch of this name
]


def test_only_what_trained_for_this_branch_on_a_machine_counts_and_until_now_where_it_still_does(double):
    for other in OTHERS:
        double.ran(**{"created": "2026-11-02T08:00:00Z", "head": HEAD, "conclusion": "failure", "minutes": 300} | other)
    assert "of this branch" not in str(said())
    double.ran("2026-11-02T08:00:00Z", HEAD, None, minutes=0)
    assert said()[-1].startswith("inconclusive")


def test_that_github_does_not_tell_it_is_told_and_never_a_zero(double, output, capsys):
    double.fail(403, message="Resource not accessible by integration")
    told = next(line for line in said() if "not counted" in line)
    assert told.startswith("train       what failed or was cancelled is not counted: GitHub refused GET ")
    warning = (
        "::warning::"
        + told.replace("%", "%25")
        + " (give the job the permission to read it, such as `actions: read` for runs)"
    )
    assert warning in capsys.readouterr().err
    assert pr.outputs(output) == {"changed": "true"}


def test_outside_of_a_pull_requests_job_it_says_that_only_commits_count(clone):
    starter.settings(clone, train__epochs=2)
    assert any("is not counted: not set: GITHUB_API_URL" in line for line in said())


def test_the_job_that_counts_is_the_one_that_trains_pull_requests():
    jobs = workflow_rules.load().read[Path(plan.WORKFLOW).stem]["jobs"]
    assert [job["name"] for job in jobs.values() if "dvc repro --pull" in str(job)] == [plan.JOB]


@pytest.mark.parametrize("text", ["<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> better\n", "stages: [", "[]"])
def test_a_lock_that_cannot_be_read_is_an_error_with_the_command_as_no_run_could_read_it_either(clone, output, text):
    (clone / "dvc.lock").write_text(text)
    with pytest.raises(Error, match=r"dvc\.lock") as caught:
        run(clone)
    assert "git checkout origin/main -- dvc.lock reports" in caught.value.hint
    assert pr.outputs(output) == {}
    with pr.standing_in(clone), pytest.raises(DvcException):
        pr.repro(clone, pull=True)
    starter.git(clone, "checkout", "-q", "origin/main", "--", "dvc.lock", "reports")
    assert run(clone) == "nothing has changed: there is nothing to run"


def test_without_a_lock_everything_has_to_run(clone, output):
    (clone / "dvc.lock").unlink()
    assert run(clone).endswith("3 stages have to run: dvc repro --pull")
    assert pr.outputs(output) == {"changed": "true"}


def promoted(clone: Path) -> str:
    """Let a commit of the clone serve in production, and return it."""
    commit = starter.git(clone, "rev-parse", "HEAD")
    for name in ("support-triage@v0.1.0", "support-triage#production#1"):
        starter.git(clone, "tag", "-am", "support-triage v0.1.0", name)
    starter.git(clone, "push", "-q", "--tags")
    return commit


def test_a_comparison_with_what_serves_no_more_is_not_run(clone, output):
    commit = promoted(clone)
    assert run(clone) == "nothing has changed: there is nothing to run", "and a branch that changes nothing may merge"
    starter.settings(clone, train__epochs=2)
    said = "compared with the untuned base model, but v0.1.0 serves in production: run `trunkline pin`"
    assert run(clone).splitlines() == [
        "train       params.yaml: train changed",
        "compare     models/candidate is made again by train",
        f"production  {said}",
        "inconclusive: nothing is run before that is mended",
    ]
    assert pr.outputs(output) == {"changed": "false"}
    pr.pin(clone, "v0.1.0", commit)
    assert run(clone).endswith("2 stages have to run: dvc repro --pull")
    assert pr.outputs(output) == {"changed": "true"}


def test_a_pipeline_that_lost_a_stage_is_not_run(clone, output):
    path = clone / "dvc.yaml"
    path.write_text(
        path.read_text().replace("    - reports/evaluate.json:\n        cache: false\n", "").replace("gate", "data")
    )
    said = run(clone)
    assert "evaluate    no stage of dvc.yaml writes reports/evaluate.json" in said
    assert said.endswith("inconclusive: nothing is run before that is mended")
    assert pr.outputs(output) == {"changed": "false"}


def test_a_pipeline_that_cannot_be_read_is_an_error_and_no_verdict(clone, output):
    (clone / "dvc.yaml").write_text("stages: [")
    with pytest.raises(Error, match=r"dvc\.yaml"):
        run(clone)
    assert pr.outputs(output) == {}
