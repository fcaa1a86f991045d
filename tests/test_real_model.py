"""What README promises of `make run`: the committed data and params, the real model, real DVC."""

import pytest

from test_story import commit, repro, run, working_copy
from trunkline.records import Report

# The whole run on one thread, beside other tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def test_the_real_model_learns_the_task(tmp_path):
    folder = working_copy(tmp_path / "project")
    commit(folder, "as cloned")
    done = repro(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = Report.read(folder / "reports/evaluate.json").metrics
    assert metrics["production"]["exact_match"]["value"] <= 0.05
    assert metrics["candidate"]["exact_match"]["value"] >= 0.75
    assert metrics["candidate"]["valid_json"]["value"] >= 0.98
    assert run(folder, "trunkline", "gate").returncode == 0
    print(run(folder, "trunkline", "report").stdout)
