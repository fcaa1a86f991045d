"""A prompt for a provider's model from `dvc repro` to gate and release with real Git and DVC, and the next one."""

import shutil
from pathlib import Path

import pytest

import provider as providers
import served
import starter
import tiny
from test_story import commit, repro, run, working_copy
from trunkline import identity
from trunkline.records import Base, Bundle, Report
from trunkline.records.release import Manifest
from trunkline.records.serving import Provider
from trunkline.stages import base, evaluate, features, production, train
from trunkline.verdict import Verdict

SETTINGS = {
    "features__holdout": 0.5,
    "features__leakage": {"pass": 0.5, "fail": 0.9},
    "data__limits__near_duplicates": {"pass": 0.9, "fail": 1.0},
    "gate__margin": 0.10,
    "gate__guardrails": {"valid_json": 0.10, "usd_per_1000": 0.50},
    "gate__slice_margin": 0.30,
    "evaluate__max_new_tokens": 16,
}


def told(folder: Path, side: str) -> str:
    report = Report.read(folder / evaluate.REPORT)
    return next(check.message for check in report.checks if check.name == f"evaluate.provider.{side}")


@pytest.mark.slow
def test_a_hosted_candidate_goes_through_the_gate_and_is_released_and_the_next_one_meets_it(tmp_path):
    folder = working_copy(tmp_path / "project")
    shutil.rmtree(folder / "data/raw")
    starter.write_rows(folder / "data/raw/2026-07.jsonl", starter.rows(480))
    with providers.serving() as (provider, hosted):
        starter.settings(folder, **{**SETTINGS, **hosted})
        commit(folder, "ask a provider")
        done = repro(folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert run(folder, "trunkline", "report").returncode == 0
        done = run(folder, "trunkline", "gate")
        assert done.returncode == 0, done.stdout
        commit(folder, "what was found")
        asked = len(provider.bodies)
        assert "up to date" in repro(folder).stdout
        assert len(provider.bodies) == asked, "nothing is asked again"

        done = run(folder, "trunkline", "release")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "weights  hosted, 2 files" in done.stdout
        manifest = Manifest.of(_tag(folder, "support-triage@v0.1.0"))
        assert manifest.kind == "hosted"
        assert manifest.base["model"] == "large-2026-08"
        assert {*manifest.weights} == {"bundle.json", "provider.json"}
        assert identity.of_release(manifest), "an engine is told from it by its pinned answers"
        done = run(folder, "trunkline", "trace", "v0.1.0")
        assert done.returncode == 0, done.stdout
        done = run(folder, "trunkline", "affected", "--customer", "c-0-0")
        assert "support-triage@v0.1.0: a provider's model, which was not trained on it" in done.stdout
        assert run(folder, "trunkline", "promote", "v0.1.0", "--to", "production").returncode == 0

        done = run(folder, "trunkline", "pin")
        assert done.returncode == 0, done.stderr
        prompt = folder / "data/prompts/triage.jinja"
        prompt.write_text(prompt.read_text().replace("and nothing else", "and really nothing else"))
        commit(folder, "another prompt")
        done = repro(folder)
        assert done.returncode == 0, done.stderr[-3000:]
        assert Bundle.read(folder / "models/production/bundle.json").kind == "hosted"
        assert "3 of 3 pinned answers repeat" in told(folder, "production")
        run(folder, "trunkline", "report")
        done = run(folder, "trunkline", "gate")
        assert done.returncode == 0, done.stdout

        provider.answer = providers.wrong
        done = run(folder, "dvc", "repro", "--force", "--single-item", "evaluate")
        assert done.returncode == 0, done.stderr[-3000:]
        for side in ("production", "candidate"):
            assert "the provider moved: 3 of 3 pinned answers differ" in told(folder, side)
        done = run(folder, "dvc", "repro", "compare")
        assert done.returncode == 0
        done = run(folder, "trunkline", "gate")
        assert done.returncode == 4, done.stdout
        assert "the provider moved" in done.stdout


def _tag(folder: Path, name: str):
    from trunkline.records.release import Tag

    text = starter.git(folder, "tag", "-l", "--format=%(contents)", name)
    return Tag(name, starter.git(folder, "rev-parse", f"{name}^{{commit}}"), 0, text)


def test_the_embedded_engine_plays_a_provider_that_changes_its_model_under_the_same_name(in_tmp):
    """The name that is asked for is whatever the engine serves, and both models have the same weights and name."""
    models = [tiny.build_lively(in_tmp / "first"), tiny.build_lively(in_tmp / "second", rope_theta=50_000.0)]
    starter.inputs(in_tmp)
    starter.examples(in_tmp, 24)
    written = in_tmp / "engine.yaml"
    shutil.copyfile(starter.ROOT / "params.yaml", written)
    port = 0
    for number, folder in enumerate(models):
        with served.engine(folder, "--port", port, params=written) as running:
            port = int(running.url.rpartition(":")[2])
            made = starter.settings(
                in_tmp,
                **{
                    **SETTINGS,
                    **providers.params(running.url, base={"model": "hosted:tgi", "sha256": None}),
                    "evaluate__max_new_tokens": 6,
                    "hosted__pinned_tokens": 6,
                },
            )
            if number == 0:
                for stage in (base, features, production, train):
                    stage.run(made)
                recorded = Provider.read(Path("models/candidate/provider.json"))
                assert len(recorded.pins) == 3
                of = Base.read(folder / "base.json")
                assert recorded.fingerprint == identity.digest(of.weights, None, of.configuration)[:12]
            evaluate.run(made)
            report = Report.read(evaluate.REPORT)
            verdict = Verdict.PASS if number == 0 else Verdict.INCONCLUSIVE
            assert {c.verdict for c in report.checks if "provider" in c.name} == {verdict}
            assert report.details["reused"] == {"production": False, "candidate": False}
    assert "the provider moved" in told(in_tmp, "candidate")
