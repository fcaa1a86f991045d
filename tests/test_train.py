import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import safetensors.torch
import torch

import starter
from finished import TASK
from trunkline import packing
from trunkline.clients import files, model
from trunkline.errors import Error
from trunkline.packing import Encoded
from trunkline.records import Bundle, Report
from trunkline.stages import train
from trunkline.stages.train import adapter, checkpoint, loop, loss
from trunkline.stages.train.bodies import Bodies
from trunkline.stages.train.prefix import Prefix
from trunkline.verdict import Verdict

PROMPT = (
    "{% block system %}Answer with one JSON object: intent, urgency.{% endblock %}"
    "{% block user %}{{ message }}{% endblock %}"
)
QUICK = {
    "train__precision": "fp32",
    "train__attention": "eager",
    "train__last_layers": 2,
    "train__r": 4,
    "train__learning_rate": 5.0e-3,
    "train__batch_size": 4,
    "train__epochs": 1,
    "train__pack_tokens": 128,
    "train__max_tokens": 300,
}


def workspace(folder: Path, base: Path, **changes: object):
    """A folder in which the train stage can run on 24 examples; returns its params."""
    shutil.copytree(base, folder / "models/base")
    frame = starter.examples(folder, 24)
    files.write_table(folder / "data/train.parquet", frame.with_columns(input=pl.col("message")))
    files.write_text(folder / "data/task.json", TASK.model_copy(update={"template": PROMPT}).text())
    return starter.settings(folder, **{**QUICK, **changes})


@pytest.fixture
def here(in_tmp: Path, tiny_base: Path):
    return workspace(in_tmp, tiny_base)


def candidate() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("models/candidate").iterdir()}


# The gradients


def adapted_tiny(base: Path, attention: str, params):
    """The tiny model with adapters that do something, and the adapters' parameters."""
    loaded = model.load(base, None, "fp32", attention)
    adapters = adapter.trainable(adapter.attach(loaded.model, params.train))
    generator = torch.Generator().manual_seed(1)
    for parameter in adapters:
        parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return loaded.model, adapters


def gradient(total: torch.Tensor, adapters: list[torch.nn.Parameter]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(total, adapters)])


def plain_loss(language_model, examples: list[Encoded]) -> torch.Tensor:
    """What transformers computes for the padded batch: the mean over all answer tokens."""
    width = max(len(prompt) + len(answer) for prompt, answer in examples)
    tokens = torch.zeros(len(examples), width, dtype=torch.long)
    mask, labels = torch.zeros_like(tokens), torch.full_like(tokens, -100)
    for row, (prompt, answer) in enumerate(examples):
        length = len(prompt) + len(answer)
        tokens[row, :length] = torch.tensor(prompt + answer)
        mask[row, :length] = 1
        labels[row, len(prompt) : length] = torch.tensor(answer)
    return language_model(input_ids=tokens, attention_mask=mask, labels=labels).loss


def packed_loss(language_model, examples: list[Encoded], pack_tokens: int) -> torch.Tensor:
    prefix = packing.shared_prefix([example.prompt for example in examples])
    layout = packing.lay_out(examples, prefix, pack_tokens)
    shared = Prefix(language_model, examples[0].prompt[:prefix])
    return loss.summed_loss(language_model, shared, layout) / len(layout.targets)


def some_examples(kind: str, count: int) -> list[Encoded]:
    """Examples with random tokens whose prompts share 20 tokens, nothing, or one prompt entirely."""
    generator = torch.Generator().manual_seed(count)

    def draw(low: int, high: int) -> list[int]:
        length = int(torch.randint(low, high, (1,), generator=generator))
        return torch.randint(3, 400, (length,), generator=generator).tolist()

    common = draw(20, 21)
    examples = [Encoded(common + draw(1, 15), draw(1, 9)) for _ in range(count)]
    if kind == "nothing shared":
        return [Encoded([10 + number, *prompt], answer) for number, (prompt, answer) in enumerate(examples)]
    if kind == "one prompt is the whole prefix":
        return [Encoded(common, examples[0].answer), *examples[1:]]
    return examples


def test_gradients_are_the_same_when_the_frozen_layers_do_not_run_again(here):
    language_model, adapters = adapted_tiny(Path("models/base"), "eager", here)
    examples = some_examples("a prompt shared", 40)
    prefix = Prefix(language_model, examples[0].prompt[: packing.shared_prefix([one.prompt for one in examples])])
    bodies = Bodies(language_model, prefix, examples, 64)
    assert bodies.fits
    for chosen in ([7, 0, 33, 12], [39, 7, 1], [12]):
        step = [examples[index] for index in chosen]
        layout = packing.lay_out(step, prefix.length, 64)
        total = loss.summed_loss(language_model, prefix, layout, bodies.entering(chosen, layout))
        expected, actual = gradient(plain_loss(language_model, step), adapters), gradient(total, adapters)
        assert (actual / len(layout.targets) - expected).norm() <= 1e-5 * expected.norm()


def test_what_is_kept_does_not_depend_on_which_step_asked_first(here):
    language_model, _ = adapted_tiny(Path("models/base"), "eager", here)
    examples = some_examples("a prompt shared", 40)
    prefix = Prefix(language_model, examples[0].prompt[: packing.shared_prefix([one.prompt for one in examples])])
    layout = packing.lay_out([examples[3]], prefix.length, 64)
    first, later = (Bodies(language_model, prefix, examples, 64) for _ in range(2))
    later.entering([30, 9], packing.lay_out([examples[30], examples[9]], prefix.length, 64))
    assert torch.equal(first.entering([3], layout), later.entering([3], layout))


@pytest.mark.parametrize("kind", ["nothing shared", "every layer adapted", "too many examples"])
def test_nothing_is_kept_where_no_layer_is_frozen_or_memory_is_short(here, in_tmp, monkeypatch, kind):
    layers = 99 if kind == "every layer adapted" else 2
    settings = starter.settings(in_tmp, **{**QUICK, "train__last_layers": layers})
    if kind == "too many examples":
        monkeypatch.setattr(train.bodies, "_MOST_BYTES", 1000)
    language_model, _ = adapted_tiny(Path("models/base"), "eager", settings)
    examples = some_examples("nothing shared" if kind == "nothing shared" else "a prompt shared", 8)
    prefix = Prefix(language_model, examples[0].prompt[: packing.shared_prefix([one.prompt for one in examples])])
    assert not Bodies(language_model, prefix, examples, 64).fits


KINDS = ["a prompt shared", "nothing shared", "one prompt is the whole prefix"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "pack_tokens"), [(1, 64), (3, 1), (8, 40), (8, 64), (8, 4096)])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradients_are_those_of_the_plain_padded_loss(here, attention, count, pack_tokens, kind):
    language_model, adapters = adapted_tiny(Path("models/base"), attention, here)
    examples = some_examples(kind, count)
    plain, packed = plain_loss(language_model, examples), packed_loss(language_model, examples, pack_tokens)
    expected, actual = gradient(plain, adapters), gradient(packed, adapters)
    assert abs(plain.item() - packed.item()) <= 1e-5 * plain.item()
    assert (actual - expected).norm() <= 1e-5 * expected.norm()


def test_the_comparison_of_gradients_sees_a_single_missing_token(here):
    language_model, adapters = adapted_tiny(Path("models/base"), "eager", here)
    examples = some_examples("a prompt shared", 8)
    shorter = [*examples[:-1], Encoded([*examples[-1].prompt, examples[-1].answer[0]], examples[-1].answer[1:])]
    expected = gradient(plain_loss(language_model, examples), adapters)
    actual = gradient(packed_loss(language_model, shorter, 64), adapters)
    assert (actual - expected).norm() > 1e-3 * expected.norm()


# The recipe


def test_each_epoch_takes_every_example_once_in_an_order_of_its_own(here):
    params = here.train.model_copy(update={"batch_size": 5, "epochs": 2})
    epochs = [
        [index for step in steps for index in loop.batch_of(step, 13, params)] for steps in ([0, 1, 2], [3, 4, 5])
    ]
    assert [sorted(epoch) for epoch in epochs] == [list(range(13))] * 2
    assert epochs[0] != epochs[1]


def test_the_learning_rate_warms_up_and_then_falls_or_stays(here):
    cosine = here.train.model_copy(update={"warmup": 0.2, "learning_rate": 1.0})
    rates = [loop.learning_rate(step, 10, cosine) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.1
    constant = cosine.model_copy(update={"schedule": "constant", "warmup": 0.0})
    assert {loop.learning_rate(step, 10, constant) for step in range(10)} == {1.0}


# The stage


def test_it_writes_a_candidate_that_loads_a_report_and_a_curve(here):
    train.run(here)
    bundle = Bundle.read(Path("models/candidate/bundle.json"))
    assert bundle.kind == "lora"
    assert bundle.trained_on == files.sha256(Path("data/train.parquet"))
    assert set(bundle.weights) == {"adapter_config.json", "adapter_model.safetensors"}
    assert set(candidate()) == {*bundle.weights, "bundle.json"}
    report = Report.read(Path("reports/train.json"))
    assert report.verdict is Verdict.PASS
    assert report.metrics["steps"] == 6
    assert report.metrics["shared_tokens"] > 10
    assert len(Path("reports/train/plots/metrics/loss.tsv").read_text().splitlines()) == 1 + 6
    assert not Path(".trunkline/train/checkpoint").exists()
    base, tuned = (model.load(Path("models/base"), path, "fp32", "eager") for path in (None, Path("models/candidate")))
    tokens = torch.tensor([model.encode_prompt(base.tokenizer, [{"role": "user", "content": "my card"}])])
    with torch.inference_mode():
        assert not torch.allclose(base.model(tokens).logits, tuned.model(tokens).logits)


def test_only_the_last_layers_are_adapted(here):
    train.run(here)
    names = safetensors.torch.load_file("models/candidate/adapter_model.safetensors")
    assert {int(re.search(r"layers\.(\d+)\.", name)[1]) for name in names} == {1, 2}
    assert len({name.split(".")[-3] for name in names}) == 7


def test_the_same_seed_gives_the_same_bytes(here):
    train.run(here)
    first = candidate()
    shutil.rmtree("models/candidate")
    train.run(here)
    assert candidate() == first


@pytest.mark.parametrize(
    "change", [{"train__share_prefix": False}, {"train__precision": "bf16"}, {"train__pack_tokens": 20}]
)
def test_how_it_is_computed_changes_the_result_only_by_rounding(here, in_tmp, change):
    train.run(here)
    first = safetensors.torch.load_file("models/candidate/adapter_model.safetensors")
    train.run(starter.settings(in_tmp, **{**QUICK, **change}))
    second = safetensors.torch.load_file("models/candidate/adapter_model.safetensors")
    limit = 0.1 if "train__precision" in change else 1e-3
    difference = torch.cat([(first[name] - second[name]).flatten() for name in first]).norm()
    assert difference <= limit * torch.cat([weight.flatten() for weight in first.values()]).norm()


def test_dropout_is_used_and_repeatable(here, in_tmp):
    train.run(here)
    without = candidate()
    dropping = starter.settings(in_tmp, **QUICK, train__dropout=0.3)
    train.run(dropping)
    first = candidate()
    train.run(dropping)
    assert candidate() == first
    assert first["adapter_model.safetensors"] != without["adapter_model.safetensors"]
    assert Report.read(Path("reports/train.json")).metrics["shared_tokens"] == 0


# Killed, and several processes


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def killed_on_the_way() -> bool:
    """Kill a run a moment after its first checkpoint; False where it was over before."""
    killed = start([sys.executable, "-m", "trunkline", "train"])
    while not checkpoint.PATH.exists() and killed.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    killed.kill()
    _, said = killed.communicate()
    assert killed.returncode in (0, -signal.SIGKILL), said
    return killed.returncode != 0 and not Path("models/candidate").exists()


def test_a_killed_run_goes_on_and_ends_byte_for_byte_the_same(here, in_tmp):
    long = starter.settings(in_tmp, **QUICK | {"train__epochs": 10, "train__checkpoint_seconds": 1.0e-6})
    while not killed_on_the_way():
        shutil.rmtree("models/candidate")
        checkpoint.remove()
    again = start([sys.executable, "-m", "trunkline", "train"])
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert "going on after step" in said, said
    done = int(re.search(r"going on after step (\d+)", said)[1])
    assert 1 <= done <= 60
    assert Report.read(Path("reports/train.json")).metrics["steps"] == 60
    resumed, curve = candidate(), Path("reports/train/plots/metrics/loss.tsv").read_bytes()
    train.run(long)
    assert candidate() == resumed
    assert Path("reports/train/plots/metrics/loss.tsv").read_bytes() == curve


def test_a_checkpoint_is_used_only_whole_and_only_by_its_own_run(in_tmp):
    checkpoint.write("a" * 64, {"weights": [torch.ones(3)]})
    assert checkpoint.read("a" * 64)["weights"][0].tolist() == [1, 1, 1]
    assert checkpoint.read("b" * 64) is None
    content = bytearray(checkpoint.PATH.read_bytes())
    content[-1] ^= 1
    checkpoint.PATH.write_bytes(content)
    assert checkpoint.read("a" * 64) is None
    checkpoint.PATH.write_bytes(b"")
    assert checkpoint.read("a" * 64) is None


def test_training_stops_at_the_budget_and_goes_on_where_it_was_when_that_is_raised(here, in_tmp):
    train.run(here)
    whole = candidate()
    shutil.rmtree("models/candidate")
    cheap = starter.settings(in_tmp, **QUICK | {"train__max_gpu_hours": 1.0e-9})
    for _ in range(2):
        with pytest.raises(Error, match=r"for 1 of 6 steps; train\.max_gpu_hours is 1e-09") as caught:
            train.run(cheap)
        assert "raise train.max_gpu_hours" in caught.value.hint
        assert checkpoint.PATH.exists()
        assert not Path("models/candidate").exists()
    train.run(starter.settings(in_tmp, **QUICK | {"train__max_gpu_hours": 1.0}))
    assert candidate()["adapter_model.safetensors"] == whole["adapter_model.safetensors"]
    assert 0 < Report.read(Path("reports/train.json")).metrics["gpu_hours"] < 0.1


def test_two_processes_train_what_one_does(here):
    train.run(here)
    alone = safetensors.torch.load_file("models/candidate/adapter_model.safetensors")
    shutil.rmtree("models/candidate")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = start([*launcher, "-m", "trunkline", "train"])
    _, said = both.communicate()
    assert both.returncode == 0, said
    assert said.count("2 process(es)") == 1, "one of them speaks"
    together = safetensors.torch.load_file("models/candidate/adapter_model.safetensors")
    difference = torch.cat([(alone[name] - together[name]).flatten() for name in alone]).norm()
    assert difference <= 1e-3 * torch.cat([weight.flatten() for weight in alone.values()]).norm()


# Bad inputs


def rewrite(change) -> None:
    files.write_table(Path("data/train.parquet"), change(pl.read_parquet("data/train.parquet")))


def flip(path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)


BROKEN = {
    "missing": (lambda: Path("data/train.parquet").unlink(), "train.parquet not found"),
    "truncated": (lambda: Path("data/train.parquet").write_bytes(b"PAR1"), "train.parquet is damaged"),
    "empty": (lambda: rewrite(lambda frame: frame.head(0)), "has no rows"),
    "without its answers": (lambda: rewrite(lambda frame: frame.drop("answer")), r"lacks the columns \['answer'\]"),
    "with numbers for text": (lambda: rewrite(lambda frame: frame.with_columns(input=pl.lit(1))), "column input has"),
    "without its task": (lambda: Path("data/task.json").unlink(), "task.json not found"),
    "on flipped weights": (lambda: flip("models/base/model.safetensors"), "model.safetensors is damaged"),
    "without a base": (lambda: shutil.rmtree("models/base"), "base.json not found"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_bad_input_is_one_error_and_no_candidate(here, case):
    spoil, problem = BROKEN[case]
    spoil()
    with pytest.raises(Error, match=problem):
        train.run(here)
    assert not Path("models/candidate").exists()


@pytest.mark.parametrize(
    ("words", "limit", "named"), [(400, 300, "train.max_tokens 300"), (1100, 9000, "the model reads, 1024")]
)
def test_too_long_examples_are_counted_before_anything_is_trained(here, in_tmp, words, limit, named):
    rewrite(
        lambda frame: frame.with_columns(
            input=pl.when(pl.int_range(24) < 2).then(pl.lit("word " * words)).otherwise("input")
        )
    )
    with pytest.raises(Error, match=rf"2 of 24 examples are longer than {named}: m-2026-07-0-0000\d has \d+ tokens"):
        train.run(starter.settings(in_tmp, **QUICK | {"train__max_tokens": limit}))


def test_a_loss_that_is_no_number_stops_the_run(here, in_tmp):
    with pytest.raises(Error, match="not a finite number in step") as caught:
        train.run(starter.settings(in_tmp, **QUICK | {"train__learning_rate": 1.0e30}))
    assert "learning_rate" in caught.value.hint
    assert not Path("models/candidate").exists()


def test_too_little_memory_names_what_to_lower(here):
    with pytest.raises(Error, match=r"train\.batch_size 4"), train._explained_memory(here.train):
        torch.empty(2**50, dtype=torch.uint8)


def test_nobodys_words_are_logged(here, caplog, capsys):
    with caplog.at_level("DEBUG"):
        train.run(here)
    said = caplog.text + "".join(capsys.readouterr())
    assert "card" not in said.replace(json.dumps(str(Path.cwd())), "")
