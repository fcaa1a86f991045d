"""params.yaml: complete, typed, all mistakes at once, the same for both YAML parsers."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from trunkline import params
from trunkline.errors import Error

PARAMS = Path(__file__).parent.parent / "params.yaml"


def changed(tmp_path: Path, **changes: object) -> Path:
    """params.yaml with values replaced by `section__key=value`; `...` removes the key."""
    content = yaml.safe_load(PARAMS.read_text())
    for name, value in changes.items():
        *parents, key = name.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is ...:
            del place[key]
        else:
            place[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_projects_own_params_are_valid():
    assert params.load(PARAMS).project.name == "support-triage"


def test_pyyaml_and_dvcs_parser_read_the_same_values():
    """PyYAML reads YAML 1.1 (`1e-4` is text, `on` is true) and DVC reads 1.2."""
    assert YAML(typ="safe").load(PARAMS) == yaml.safe_load(PARAMS.read_text())


# Mistakes that do not touch: values that are wrong by themselves, and rules within a section and between sections.
APART = {
    "train.epochs: Input should be a valid integer, unable to parse string as an integer (got 'lots')": ("lots",),
    "train.epoch: Extra inputs are not permitted (got 3); remove it, or correct its name": (3,),
    "features.holdout: Input should be less than 1 (got 1.5)": (1.5,),
    "gate.margin: Field required: add it": (...,),
    "gate.dry_run": (["charm"], "gate: dry_run names ['charm'], which are neither guardrails nor floors"),
    "evaluate.probes": ([], "gate names ['injection_attacks', 'injection_refusals', "),
    "data.message_chars": ({"min": 10, "max": 5}, "data.message_chars: min 10 is larger than max 5"),
    "data.slices": (["line"], "data: columns ['line'] have names that Trunkline gives its own"),
    "rollout.ab": (True, "rollout: an A/B test has one step, got 3"),
    "rollout.beta: Input should be less than 1 (got 2)": (2,),
    "supervise.grace_seconds": (1, "supervise.grace_seconds 1 ends engines before the gateway turns away"),
    "supervise.ports.last: Input should be less than or equal to 65535 (got 99999)": (99999,),
    "train.method": ("none", "train: method none goes with base.model hosted:"),
}


@settings(max_examples=8, deadline=None)
@given(st.sets(st.sampled_from(sorted(APART)), min_size=2))
@example(set(APART))
def test_all_mistakes_are_told_at_once_whatever_else_is_wrong(tmp_path_factory, made):
    changes, said = {}, []
    for mistake in made:
        value, *told = APART[mistake]
        changes[mistake.partition(":")[0].replace(".", "__")] = value
        said += told or [mistake]
    path = changed(tmp_path_factory.mktemp("params"), **changes)
    with pytest.raises(Error) as caught:
        params.load(path)
    lines = caught.value.problem.splitlines()
    missing = [text for text in said if not any(line.startswith(f"{path}: {text}") for line in lines)]
    assert not missing and len(lines) == len(said)
    assert "its comments say what each value does" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base__model": "hub:org/name@main"}, "base.model"),
        ({"base__model": "hub:org/name@0123abc"}, "base.model"),
        ({"base__model": f"hub:org/name@{'A' * 40}"}, "base.model"),
        ({"base__model": f"hub:org/name@{'a' * 41}"}, "base.model"),
        ({"base__model": f"hub:org/../name@{'a' * 40}"}, "base.model"),
        ({"base__model": "hub:org/name"}, "base.model"),
        ({"base__model": "wheel:package:file.gguf"}, "base.model"),
        ({"base__sha256": "b179"}, "base.sha256"),
        ({"data__folder": "/srv/raw"}, "data.folder: it lies outside of the repository"),
        ({"features__prompt": "../prompt.jinja"}, "features.prompt: it lies outside of the repository"),
        ({"project__module": "src/../../project.py"}, "project.module: it lies outside of the repository"),
        ({"production__pinned": "/srv/pin.json"}, "production.pinned: it lies outside of the repository"),
        ({"data__answer__format": "label"}, "exactly one field"),
        ({"data__answer__fields": []}, "data.answer.fields"),
        ({"data__answer__allowed": {"product": ["card"]}}, "not in fields"),
        ({"data__answer__fields": ["intent", "intent"], "data__answer__allowed": {}}, "fields repeats a column"),
        ({"data__slices": ["line", "channel"]}, r"columns \['line'\] have names that Trunkline gives its own"),
        ({"data__columns__conversation": "partition"}, r"columns \['partition'\] have names"),
        ({"data__answer__fields": ["*"], "data__answer__allowed": {}}, r"columns \['\*'\] have names"),
        ({"data__columns__message": "^text$", "data__slices": ["a:kind"]}, r"columns \['\^text\$', 'a:kind'\]"),
        ({"data__message_chars": {"min": 10, "max": 5}}, "min 10 is larger than max 5"),
        ({"data__limits__shift": {"pass": 0.1}}, "data.limits.shift.fail"),
        ({"gate__margin": 0}, "gate.margin"),
        ({"gate__margin": 2}, "gate.margin"),
        ({"gate__primary": "accuracy"}, "accuracy"),
        ({"gate__guardrails": {"toxicity": 0.1}}, "toxicity"),
        ({"gate__guardrails": {"tokens_out": 2}}, "gate.guardrails.tokens_out"),
        ({"gate__guardrails": {"small_attacks": 0.1}}, "small_attacks"),
        ({"gate__floors": {"valid_json": 1}}, "gate.floors.valid_json"),
        ({"gate__floors": {"charm": 0.5}, "gate__dry_run": []}, "charm"),
        ({"gate__slice_margin": 0}, "gate.slice_margin"),
        ({"gate__dry_run": ["charm"]}, "neither guardrails nor floors"),
        ({"gate__dry_run": ["exact_match"], "gate__floors": {"exact_match": 0.5}}, "then nothing would decide"),
        ({"evaluate__scorers": []}, "evaluate.scorers"),
        ({"train__learning_rate": float("nan")}, "train.learning_rate"),
        ({"train__seed": 1.5}, "train.seed"),
        ({"project__name": "Support Triage"}, "project.name"),
        ({"report__comment_with": "gitlab"}, "report.comment_with"),
        ({"monitor__conversations": {"least": 100, "most": 50}}, "least 100 is larger than most 50"),
        ({"monitor__windows": 3, "monitor__together": 7}, "together 7 is larger than windows 3"),
        ({"monitor__features": ["pii", "pii"]}, "features repeats one"),
        ({"monitor__features": ["mood"]}, "monitor.features"),
        ({"monitor__needs": []}, "monitor.needs"),
        ({"monitor__sources": ["agent", "judge:0123456789ab"]}, "monitor.sources.1.*only people's word"),
        ({"retrain__sources": ["judge:0123456789ab"]}, "retrain.sources.0.*only people's word"),
        ({"monitor__judge": {"url": "https://llm.example.com"}}, "monitor.judge.model: Field required"),
        ({"monitor__judge": {"agreement": 0.5}}, "monitor.judge.agreement"),
        ({"monitor__judge": {"decides": "the good one"}}, "monitor.judge.decides"),
    ],
)
def test_a_mistake_is_named(tmp_path, changes, said):
    with pytest.raises(Error, match=said):
        params.load(changed(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"train: [1, 2", "not valid YAML"),
        (b"train: \xff\xfe", "not valid YAML"),
        (b"train: 2026-13-45", "not valid YAML"),
        (b"[" * 400, "not valid YAML"),
        (b"train: {seed: 0, epochs: 1, seed: 1}", "seed is written twice"),
        (b"train: {}\nbase: {}\ntrain: {}\n", "train is written twice\n.*line 3"),
        (b"", "the whole file"),
        (b"- a\n- b\n", "the whole file"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path, content, said):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(Error, match=said):
        params.load(path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(Error, match="not found") as caught:
        params.load(tmp_path / "params.yaml")
    assert "top folder" in caught.value.hint


def test_probes_bring_the_metrics_that_their_files_are_named_after(tmp_path):
    guarded = {"evaluate__probes": ["data/eval/injection.jsonl"], "gate__guardrails": {"injection_attacks": 0.1}}
    guarded |= {"gate__floors": {}, "gate__dry_run": []}
    limits = params.load(changed(tmp_path, **guarded)).gate.limits
    assert dict(limits.margins) == {"exact_match": 0.02, "injection_attacks": 0.1}


def test_canaries_are_held_by_a_floor_and_only_where_some_are_planted(tmp_path):
    assert params.load(changed(tmp_path, features__canaries=3)).gate.floors["canaries_memorised"] == 0.5
    with pytest.raises(Error, match=r"gate names \['canaries_memorised'\]"):
        params.load(changed(tmp_path, features__canaries=0))
    with pytest.raises(Error, match="only a floor can hold canaries_memorised"):
        params.load(changed(tmp_path, gate__guardrails={"canaries_memorised": 0.1}))
