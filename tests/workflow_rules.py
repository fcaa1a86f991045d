"""What the workflows must be, as rules over their YAML: act ignores triggers, permissions, environments and more.

Each rule is a function of all workflows that gives what breaks it, one sentence each.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parent.parent / ".github"
HOSTED = "ubuntu-24.04"
GPU = ["self-hosted", "gpu-pr"]
BUMP = {"type": "choice", "options": ["major", "minor", "patch"], "default": "minor"}
ACTION = {"required": True, "type": "choice", "options": ["start", "promote", "hold", "resume", "rollback"]}
SERVING = ["self-hosted", "serving"]
TRIGGERS: dict[str, Any] = {
    "checks": {
        "pull_request": None,
        "push": {"branches": ["main"]},
        "workflow_dispatch": None,
    },
    "model-pr": {
        "pull_request": {"branches": ["main"], "types": ["opened", "synchronize", "reopened", "ready_for_review"]}
    },
    "release": {
        "push": {"branches": ["main"], "paths": ["dvc.lock"]},
        "workflow_dispatch": {"inputs": {"reason": {"required": True, "type": "string"}, "bump": BUMP}},
    },
    "rollout": {
        "workflow_call": {
            "inputs": {
                "version": {"required": True, "type": "string"},
                "action": {"default": "start", "type": "string"},
                "reason": {"default": "", "type": "string"},
            }
        },
        "workflow_dispatch": {
            "inputs": {"action": ACTION, "version": {"type": "string"}, "reason": {"type": "string"}}
        },
    },
    "monitor": {"schedule": [{"cron": "23 * * * *"}], "workflow_dispatch": None},
    "retrain": {
        "schedule": [{"cron": "41 4 1 * *"}],
        "workflow_dispatch": {"inputs": {"reason": {"required": True, "type": "string"}}},
        "workflow_call": None,
    },
}
PERMISSIONS = {
    "checks/checks": {"contents": "read"},
    "model-pr/plan": {"actions": "read", "contents": "read"},
    "model-pr/train": {"contents": "read", "id-token": "write"},
    "model-pr/report": {"actions": "write", "contents": "write", "pull-requests": "write", "statuses": "write"},
    "release/register": {"contents": "write", "id-token": "write"},
    "release/promote": {"contents": "write"},
    "release/rollout": {"actions": "read", "contents": "write"},
    "rollout/start": {"contents": "write"},
    "rollout/watch": {"contents": "write"},
    "rollout/held": {"contents": "write"},
    "rollout/promote-reviewed": {"actions": "read", "contents": "write"},
    "rollout/rollback": {"actions": "read", "contents": "write"},
    "monitor/monitor": {"contents": "read", "id-token": "write", "issues": "write"},
    # What calls a workflow must have what that needs.
    "monitor/retrain": {"contents": "write", "id-token": "write", "issues": "write", "pull-requests": "write"},
    "retrain/retrain": {"contents": "write", "id-token": "write", "issues": "write", "pull-requests": "write"},
}
ENVIRONMENTS = {
    "model-pr/train": "gpu-pr",
    "release/register": "registry",
    "release/promote": "production",
    "rollout/start": "rollout",
    "rollout/watch": "rollout",
    "rollout/held": "rollout",
    "rollout/promote-reviewed": "promote-reviewed",
    "rollout/rollback": "rollback",
    "monitor/monitor": "monitoring",
    "retrain/retrain": "retraining",
}
RUNNERS = {
    "model-pr/train": GPU,
    "monitor/monitor": SERVING,
    "retrain/retrain": SERVING,
    "rollout/watch": SERVING,
    "rollout/held": SERVING,
}
# Steps that may see a secret or the token, by a word of theirs; nothing else in these jobs may, and no other job.
TRUSTED = {
    "release/register": ("actions/checkout", "DVC_CONFIG", "SIGNING_KEY", "trunkline release"),
    "release/promote": ("actions/checkout",),
    "rollout/start": ("actions/checkout",),
    "rollout/watch": ("actions/checkout", "trunkline rollout watch"),
    "rollout/held": ("actions/checkout", "trunkline rollout watch"),
    "rollout/promote-reviewed": ("actions/checkout",),
    "rollout/rollback": ("actions/checkout",),
    "monitor/monitor": ("DVC_CONFIG", "trunkline monitor"),
    "retrain/retrain": ("DVC_CONFIG", "trunkline monitor", "trunkline retrain", "actions/checkout"),
}
TOKENS = {
    "model-pr/plan": ("trunkline plan",),
    "model-pr/report": ("trunkline comment", "gh workflow run"),
    "rollout/promote-reviewed": ('trunkline rollout promote "$ROLLOUT" --reviewed',),
    "rollout/rollback": ('trunkline rollout rollback "$ROLLOUT" --reviewed',),
    "monitor/monitor": ("trunkline alert",),
    "retrain/retrain": ("trunkline retrain", "actions/checkout"),
}
CALLED = {
    "monitor/retrain": "./.github/workflows/retrain.yml",
    "release/rollout": "./.github/workflows/rollout.yml",
}
# What a job waits for, and when it runs. A release is either tried or promoted at once; what is held is looked at on
# while a human decides; and what people decide needs no rollout of this run.
CHAINS = {
    "release/rollout": ("register", "vars.SERVING == 'true'"),
    "release/promote": ("register", "vars.SERVING != 'true'"),
    "rollout/start": (None, "inputs.action == 'start' && vars.SERVING == 'true'"),
    "rollout/watch": ("start", None),
    "rollout/held": ("watch", "needs.watch.outputs.state == 'held'"),
    "rollout/promote-reviewed": (
        "watch",
        "${{ !cancelled() && (needs.watch.outputs.state == 'held' "
        "|| inputs.action == 'promote' || inputs.action == 'resume') }}",
    ),
    "rollout/rollback": (
        ["watch", "promote-reviewed"],
        "${{ !cancelled() && (inputs.action == 'start' && needs.promote-reviewed.result == 'failure' "
        "|| inputs.action == 'rollback' || inputs.action == 'hold') }}",
    ),
}
# Jobs that make registry tags or write env/*, which only a release's key may.
KEYED = {
    *(f"release/{job}" for job in ("register", "promote")),
    *(f"rollout/{job}" for job in ("start", "watch", "held", "promote-reviewed", "rollback")),
}
CONCURRENCY = {
    "checks": (
        "checks-${{ github.event.pull_request.number || github.ref }}",
        "${{ github.ref != 'refs/heads/main' }}",
    ),
    "model-pr": ("model-pr-${{ github.event.pull_request.number }}", True),
    # Of runs that wait in a group GitHub keeps one: a release must not wait behind another, or it may never come.
    "release/register": ("register-${{ github.sha }}", False),
    "release/promote": ("promote", False),
    # What people decide about a rollout must not wait until it is over.
    "rollout": ("rollout-production-${{ inputs.action }}", False),
    "monitor": ("monitor", False),
    "retrain": ("retrain", False),
}
CHECKED_OUT = {
    "model-pr/plan": "${{ github.event.pull_request.head.sha }}",
    "model-pr/train": "${{ github.event.pull_request.head.sha }}",
    "model-pr/report": "${{ github.event.pull_request.base.sha }}",
}
# These run with the base repository's rights for whoever opens a pull request, comments or triggers a run.
DANGEROUS = {"pull_request_target", "workflow_run", "issue_comment"}
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
COMMAND = re.compile(r"(trunkline|dvc|gh|\.ci/run|printf '%s' \"\$(DVC_CONFIG|SIGNING_KEY)\" >)( |$)")


class Job(NamedTuple):
    """A job with its place, such as ``model-pr/train``."""

    place: str
    content: dict[str, Any]

    @property
    def steps(self) -> list[dict[str, Any]]:
        return self.content.get("steps", [])


class Workflows(NamedTuple):
    """Every workflow's text and what YAML reads in it, by name; ``on`` is read as a key and not as true."""

    texts: dict[str, str]
    read: dict[str, dict[str, Any]]

    def jobs(self, calls: bool = False) -> Iterator[Job]:
        """Every job; those that only call another workflow where ``calls`` asks for them."""
        for name, workflow in self.read.items():
            found = (Job(f"{name}/{job}", content) for job, content in workflow["jobs"].items())
            yield from (job for job in found if calls or "uses" not in job.content)


def load(**changed: str) -> Workflows:
    """This project's workflows, with some texts replaced: ``model_pr=…`` is that of model-pr.yml."""
    texts = {path.stem: path.read_text() for path in sorted((FOLDER / "workflows").glob("*.yml"))}
    texts |= {name.replace("_", "-"): text for name, text in changed.items()}
    read = {
        name: {("on" if key is True else key): value for key, value in yaml.safe_load(text).items()}
        for name, text in texts.items()
    }
    return Workflows(texts, read)


def triggers(workflows: Workflows) -> list[str]:
    found = {name: _undescribed(workflow["on"]) for name, workflow in workflows.read.items()}
    wrong = [f"{name}: {DANGEROUS & set(events)}" for name, events in found.items() if DANGEROUS & set(events)]
    return wrong + _differences(TRIGGERS, found)


def permissions(workflows: Workflows) -> list[str]:
    top = [name for name, workflow in workflows.read.items() if workflow.get("permissions") != {}]
    return top + _differences(PERMISSIONS, {job.place: job.content.get("permissions") for job in workflows.jobs(True)})


def environments(workflows: Workflows) -> list[str]:
    found = {job.place: job.content["environment"] for job in workflows.jobs() if "environment" in job.content}
    return _differences(ENVIRONMENTS, found)


def concurrency(workflows: Workflows) -> list[str]:
    places = {**workflows.read, **{job.place: job.content for job in workflows.jobs()}}
    found = {name: content["concurrency"] for name, content in places.items() if "concurrency" in content}
    return _differences(
        CONCURRENCY, {name: (one.get("group"), one.get("cancel-in-progress")) for name, one in found.items()}
    )


def timeouts(workflows: Workflows) -> list[str]:
    return [job.place for job in workflows.jobs() if not isinstance(job.content.get("timeout-minutes"), int)]


def pins(workflows: Workflows) -> list[str]:
    """A tag can be moved to other code, a commit cannot; the comment tells a reader and an updater the version."""
    own = r"\./\.github/(actions/[\w-]+|workflows/[\w-]+\.yml)"
    pinned = re.compile(rf"({own}|[\w./-]+@[0-9a-f]{{40}} # v\d+\.\d+\.\d+)")
    used = re.compile(r"^\s*(?:- )?uses: *(.*)$", re.MULTILINE)
    texts = [*workflows.texts.items(), ("setup", (FOLDER / "actions/setup/action.yml").read_text())]
    return [f"{name}: {use}" for name, text in texts for use in used.findall(text) if not pinned.fullmatch(use.strip())]


def runners(workflows: Workflows) -> list[str]:
    wanted = {job.place: RUNNERS.get(job.place, HOSTED) for job in workflows.jobs()}
    return _differences(wanted, {job.place: job.content["runs-on"] for job in workflows.jobs()})


def fork_rule(workflows: Workflows) -> list[str]:
    """Nothing but `checks` runs for a fork: the first job is guarded, and the others need that it has run."""
    jobs = workflows.read["model-pr"]["jobs"]
    plan, train, report = (str(jobs[name].get("if", "")) for name in ("plan", "train", "report"))
    wrong = [] if plan == f"{SAME_REPOSITORY} && !github.event.pull_request.draft" else ["plan is not guarded"]
    if jobs["train"].get("needs") != "plan" or train != "needs.plan.outputs.changed == 'true'":
        wrong.append("train does not wait for plan")
    if (
        jobs["report"].get("needs") != ["plan", "train"]
        or report != "${{ !cancelled() && needs.plan.result == 'success' }}"
    ):
        wrong.append("report does not need a plan")
    return wrong


def secrets(workflows: Workflows) -> list[str]:
    """Code of a pull request sees no secret: those of a job are its environment's, and they and a token one step's."""
    wrong = []
    for job in workflows.jobs(True):
        for word, may in (("secrets.", TRUSTED), ("github.token", TOKENS)):
            seen = [str(step) for step in job.steps if word in str(step)]
            if any(not any(name in step for name in may.get(job.place, ())) for step in seen):
                wrong.append(f"{job.place} shows {word} to a step that is not named")
            if word in str({**job.content, "steps": None}) or "secrets" in job.content:
                wrong.append(f"{job.place} shows {word} to every step")
    return wrong


def calls(workflows: Workflows) -> list[str]:
    """Which workflows are called, and that a retraining needs an alarm that newer data may mend."""
    found = {job.place: job.content["uses"] for job in workflows.jobs(True) if "uses" in job.content}
    retrain = workflows.read["monitor"]["jobs"]["retrain"]
    guarded = retrain.get("needs") == "monitor" and retrain.get("if") == "needs.monitor.outputs.retrain == 'true'"
    return _differences(CALLED, found) + ([] if guarded else ["monitor/retrain runs without an alarm"])


def without_a_runner(workflows: Workflows) -> list[str]:
    """On a schedule nothing may wait, hour after hour, for a runner that nobody has set up."""
    jobs = [job for job in workflows.jobs() if RUNNERS.get(job.place) == SERVING and job.place not in CHAINS]
    return [f"{job.place} waits for a runner" for job in jobs if job.content.get("if") != "vars.SERVING == 'true'"]


def chains(workflows: Workflows) -> list[str]:
    """Each step of a rollout follows from the one before, and only where a runner can watch it."""
    found = {job.place: (job.content.get("needs"), job.content.get("if")) for job in workflows.jobs(True)}
    return _differences(CHAINS, {place: found.get(place) for place in CHAINS})


def commands(workflows: Workflows) -> list[str]:
    """A step is one command, and no expression is put into its text: what an event says could be code there."""
    wrong = []
    for job in workflows.jobs():
        for step in job.steps:
            run = step.get("run", "trunkline")
            if "${{" in run or "\n" in run.strip() or not COMMAND.match(run):
                wrong.append(f"{job.place}: {run}")
    return wrong


def checkouts(workflows: Workflows) -> list[str]:
    """Which code a job runs is told, and only a job that pushes keeps credentials in its clone."""
    wrong = []
    for job in workflows.jobs():
        found = [step["with"] for step in job.steps if step.get("uses", "").startswith("actions/checkout@")]
        pushes = job.content["permissions"].get("contents") == "write"
        if [one.get("persist-credentials") for one in found] != [pushes]:
            wrong.append(f"{job.place} keeps credentials, or does not say")
        elif found[0].get("ref") != CHECKED_OUT.get(job.place):
            wrong.append(f"{job.place} checks out {found[0].get('ref')}")
        elif ("ssh-key" in found[0]) is not (job.place in KEYED):
            wrong.append(f"{job.place} has a release's key, or lacks it")
    return wrong


def caches(workflows: Workflows) -> list[str]:
    """A cache written by a pull request is read by others: the DVC remote is checked by content, a cache is not."""
    return [
        name
        for name, text in workflows.texts.items()
        if "actions/cache" in text or re.search(r"^\s+cache:", text, re.M)
    ]


def reaping(workflows: Workflows) -> list[str]:
    """The GPU is free before the first stage, and after the last whatever has happened."""
    steps = workflows.read["model-pr"]["jobs"]["train"]["steps"]
    runs = [step for step in steps if "run" in step]
    first, last = runs[0], steps[-1]
    reaps = [step.get("run") == "trunkline reap" for step in (first, last)]
    return [] if all(reaps) and last.get("if") == "always()" else ["train does not begin and end with `trunkline reap`"]


RULES: list[Callable[[Workflows], list[str]]] = [
    triggers,
    permissions,
    environments,
    concurrency,
    timeouts,
    pins,
    runners,
    fork_rule,
    secrets,
    calls,
    without_a_runner,
    chains,
    commands,
    checkouts,
    caches,
    reaping,
]


def _undescribed(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _undescribed(value) for key, value in content.items() if key != "description"}


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    names = sorted(wanted.keys() | found.keys())
    return [f"{name} is {found.get(name)}" for name in names if wanted.get(name) != found.get(name)]
