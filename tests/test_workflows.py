"""The workflows as text: rules of our own, each shown to find its mistake, actionlint and zizmor."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import workflow_rules as rules

ROOT = Path(__file__).parent.parent
GUARD = f"    if: {rules.SAME_REPOSITORY} && !github.event.pull_request.draft\n"
REAP_AT_LAST = "      - if: always()\n        run: trunkline reap\n"
TOKEN = "          GITHUB_TOKEN: ${{ github.token }}\n"
INHERITED = "    uses: ./.github/workflows/retrain.yml\n    secrets: inherit\n"
HANDED_ON = "    uses: ./.github/workflows/rollout.yml\n    secrets: inherit\n"
# Per mistake: the rule that finds it, the workflow, and what is written instead of what.
MISTAKES: list[tuple[Callable, str, str, str]] = [
    (rules.triggers, "model-pr", "  pull_request:\n", "  pull_request_target:\n"),
    (rules.triggers, "checks", "  pull_request:\n", "  pull_request:\n  issue_comment:\n"),
    (rules.triggers, "checks", "  pull_request:\n", "  pull_request:\n  merge_group:\n"),  # nobody judges its commits
    (rules.triggers, "checks", "    branches: [main]\n", ""),
    (rules.triggers, "model-pr", ", ready_for_review", ""),
    (rules.triggers, "release", "    paths: [dvc.lock]\n", ""),
    (rules.permissions, "checks", "permissions: {}", "permissions: read-all"),
    (rules.permissions, "release", "permissions: {}\n", ""),
    (rules.permissions, "checks", "      contents: read", "      contents: write"),
    (rules.permissions, "model-pr", "      id-token: write\n", "      id-token: write\n      statuses: write\n"),
    (rules.permissions, "model-pr", "      contents: read\n    outputs", "      contents: write\n    outputs"),
    (rules.environments, "release", "    environment: production\n", ""),
    (rules.environments, "model-pr", "    environment: gpu-pr\n", "    environment: production\n"),
    (rules.concurrency, "release", "cancel-in-progress: false", "cancel-in-progress: true"),
    (rules.concurrency, "release", "      group: register-${{ github.sha }}\n", "      group: release\n"),
    (rules.concurrency, "release", "permissions: {}\n", "permissions: {}\nconcurrency: {group: release}\n"),
    (rules.triggers, "release", "options: [major, minor, patch]", "options: [minor]"),
    (rules.concurrency, "checks", "github.event.pull_request.number", "github.head_ref"),  # a fork cancels others'
    (rules.concurrency, "model-pr", "cancel-in-progress: true", "cancel-in-progress: false"),
    (rules.concurrency, "model-pr", "model-pr-${{ github.event.pull_request.number }}", "model-pr"),
    (rules.timeouts, "release", "    timeout-minutes: 120\n", ""),
    (rules.pins, "checks", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
    (rules.pins, "checks", " # v7.0.1", ""),
    (rules.pins, "model-pr", "actions/upload-artifact@bbbca2d", "actions/upload-artifact@main"),
    (rules.runners, "model-pr", "runs-on: [self-hosted, gpu-pr]", "runs-on: self-hosted"),
    (rules.runners, "release", "runs-on: ubuntu-24.04", "runs-on: [self-hosted, gpu-pr]"),
    (rules.fork_rule, "model-pr", GUARD, ""),
    (rules.fork_rule, "model-pr", rules.SAME_REPOSITORY, "github.event.pull_request.head.repo.fork == false"),
    (rules.fork_rule, "model-pr", " && !github.event.pull_request.draft", ""),
    (rules.fork_rule, "model-pr", "    if: needs.plan.outputs.changed == 'true'\n", "    if: always()\n"),
    (rules.fork_rule, "model-pr", "!cancelled() && needs.plan.result == 'success'", "always()"),
    (
        rules.secrets,
        "model-pr",
        "      - run: trunkline push\n",
        "      - run: trunkline push\n        env: {T: '${{ secrets.T }}'}\n",
    ),
    (
        rules.secrets,
        "model-pr",
        "      - run: trunkline push\n",
        "      - run: trunkline push\n        env: {T: '${{ github.token }}'}\n",
    ),
    (rules.secrets, "model-pr", "      BRANCH: ", "      GITHUB_TOKEN: ${{ github.token }}\n      BRANCH: "),
    (rules.commands, "model-pr", '"$BRANCH"', '"${{ github.head_ref }}"'),
    (rules.commands, "checks", "run: .ci/run", "run: |\n          .ci/run\n          echo done"),
    (rules.commands, "checks", "run: .ci/run", "run: curl example.com"),
    (rules.checkouts, "checks", "          persist-credentials: false\n", "          fetch-depth: 0\n"),
    (rules.checkouts, "model-pr", "persist-credentials: false", "persist-credentials: true"),
    (
        rules.checkouts,
        "model-pr",
        "ref: ${{ github.event.pull_request.base.sha }}",
        "ref: ${{ github.event.pull_request.head.sha }}",
    ),
    (rules.checkouts, "model-pr", "          ref: ${{ github.event.pull_request.head.sha }}\n", ""),
    (rules.caches, "checks", "      - run: .ci/run", "      - uses: actions/cache@v5\n      - run: .ci/run"),
    (rules.triggers, "monitor", "  schedule:\n", "  push:\n  schedule:\n"),
    (rules.triggers, "retrain", "  workflow_call: # monitor, when there is an alarm that newer data may mend\n", ""),
    (rules.permissions, "monitor", "      issues: write\n", ""),
    (
        rules.permissions,
        "retrain",
        "      pull-requests: write\n",
        "      pull-requests: write\n      actions: write\n",
    ),
    (rules.environments, "retrain", "    environment: retraining\n", ""),
    (rules.concurrency, "monitor", "cancel-in-progress: false", "cancel-in-progress: true"),
    (rules.runners, "retrain", "runs-on: [self-hosted, serving]", "runs-on: ubuntu-24.04"),
    (
        rules.pins,
        "monitor",
        "uses: ./.github/workflows/retrain.yml",
        "uses: acme/flows/.github/workflows/retrain.yml@v1",
    ),
    (rules.calls, "monitor", "uses: ./.github/workflows/retrain.yml", "uses: ./.github/workflows/release.yml"),
    (rules.calls, "monitor", "    if: needs.monitor.outputs.retrain == 'true'\n", "    if: always()\n"),
    (rules.secrets, "monitor", "    uses: ./.github/workflows/retrain.yml\n", INHERITED),
    (rules.secrets, "monitor", TOKEN, f"{TOKEN}          P: ${{{{ secrets.PGPASSWORD }}}}\n"),
    (rules.secrets, "retrain", "PGPASSWORD: ${{ secrets.PGPASSWORD }}", "PGPASSWORD: ${{ github.token }}"),
    (
        rules.secrets,
        "retrain",
        "    timeout-minutes: 120\n",
        "    timeout-minutes: 120\n    env: {T: '${{ secrets.T }}'}\n",
    ),
    (rules.triggers, "rollout", "options: [start, promote, hold, resume, rollback]", "options: [start]"),
    (rules.triggers, "rollout", "        default: start\n", ""),
    (rules.permissions, "rollout", "      actions: read # who has approved\n", "      actions: write\n"),
    (rules.permissions, "release", "      actions: read\n", ""),
    (rules.environments, "rollout", "environment: promote-reviewed #", "environment: production #"),
    (rules.environments, "rollout", "    environment: rollback\n", ""),
    (rules.concurrency, "rollout", "cancel-in-progress: false", "cancel-in-progress: true"),
    (rules.concurrency, "rollout", "rollout-production-${{ inputs.action }}", "rollout-production"),
    (rules.runners, "rollout", "runs-on: [self-hosted, serving]", "runs-on: ubuntu-24.04"),
    (rules.calls, "release", "uses: ./.github/workflows/rollout.yml", "uses: ./.github/workflows/monitor.yml"),
    (rules.secrets, "release", "    uses: ./.github/workflows/rollout.yml\n", HANDED_ON),
    (rules.secrets, "rollout", "          REASON: ${{ inputs.reason }}\n", "          R: ${{ secrets.PGPASSWORD }}\n"),
    (rules.secrets, "rollout", "VERSION: ${{ inputs.version }}", "VERSION: ${{ github.token }}"),
    (rules.chains, "release", "    if: vars.SERVING != 'true'\n", ""),
    (rules.chains, "release", "    if: vars.SERVING == 'true' # there", "    if: always() # there"),
    (rules.chains, "rollout", " && vars.SERVING == 'true'", ""),
    (
        rules.chains,
        "rollout",
        "needs.watch.outputs.state == 'held'\n      ||",
        "needs.watch.result == 'success'\n      ||",
    ),
    (rules.chains, "rollout", "    if: needs.watch.outputs.state == 'held'\n", "    if: always()\n"),
    (rules.chains, "rollout", "(inputs.action == 'start' && ", "("),
    (rules.checkouts, "rollout", "          ssh-key: ${{ secrets.RELEASE_KEY }}\n", ""),
    (rules.checkouts, "release", "          ssh-key: ${{ secrets.RELEASE_KEY }} #", "          #"),
    (
        rules.checkouts,
        "monitor",
        "persist-credentials: false\n",
        "persist-credentials: false\n          ssh-key: key\n",
    ),
    (rules.commands, "rollout", '"$VERSION"', '"${{ inputs.version }}"'),
    (rules.without_a_runner, "retrain", "    if: vars.SERVING == 'true'", "    if: vars.SERVING != 'true'"),
    (rules.checkouts, "monitor", "persist-credentials: false", "persist-credentials: true"),
    (rules.reaping, "model-pr", REAP_AT_LAST, ""),
    (rules.reaping, "model-pr", REAP_AT_LAST, "      - run: trunkline reap\n"),
    (rules.reaping, "model-pr", "      - run: trunkline reap\n", ""),
]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_workflows_keep_the_rule(rule):
    assert rule(rules.load()) == []


@pytest.mark.parametrize(("rule", "name", "right", "wrong"), MISTAKES)
def test_the_rule_finds_the_mistake(rule, name, right, wrong):
    text = rules.load().texts[name]
    assert right in text, "the mistake is made nowhere"
    assert rule(rules.load(**{name.replace("-", "_"): text.replace(right, wrong, 1)}))


def test_every_rule_is_shown_to_find_a_mistake():
    assert {rule for rule, *_ in MISTAKES} == set(rules.RULES)


# The linters, as a user would run them.

LINTERS = {"actionlint": ["actionlint"], "zizmor": ["zizmor", "--offline", "--no-progress", "--quiet", "."]}


def lint(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command, *arguments = LINTERS[name]
    path = Path(sys.executable).with_name(command)
    return subprocess.run([str(path), *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize("name", LINTERS)
def test_a_linter_finds_nothing(copy, name):
    done = lint(name, copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "right", "wrong", "said"),
    [
        ("actionlint", "gpu-pr]", "gpu-pt]", "gpu-pt"),
        ("actionlint", "needs.plan.outputs.changed", "needs.plan.outputs.change", "change"),
        ("actionlint", "vars.AWS_ROLE_ARN", "vars.AWS_ROLE", "AWS_ROLE"),
        ("zizmor", '"$BRANCH"', '"${{ github.head_ref }}"', "template-injection"),
        ("zizmor", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("zizmor", "          persist-credentials: false\n", "", "artipacked"),
    ],
)
def test_a_linter_finds_a_mistake(copy, name, right, wrong, said):
    path = copy / ".github/workflows/model-pr.yml"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong, 1))
    done = lint(name, copy)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
