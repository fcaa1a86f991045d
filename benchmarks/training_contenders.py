"""One contender of the training benchmark in a process of its own: trains, prints JSON.

    python benchmarks/training_contenders.py CONTENDER PROMPT EXAMPLES EPOCHS

All contenders get the same token ids, adapters (params.yaml), learning rate, schedule and number of steps.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import PreTrainedTokenizerBase

from trunkline import packing, params
from trunkline.clients import model
from trunkline.packing import Encoded
from trunkline.stages.train import adapter, loop
from trunkline.stages.train.bodies import Bodies
from trunkline.stages.train.optimizer import Optimizer
from trunkline.stages.train.prefix import Prefix
from trunkline.stages.train.processes import Processes

BASE = Path("models/base")
HOLDOUT = 48
SETTINGS = params.load(Path("params.yaml"))
RECIPE = SETTINGS.train.model_copy(update={"epochs": int(sys.argv[4])})
INTENTS = SETTINGS.data.answer.allowed["intent"]
PROMPTS = {
    "short": "Name the intent of the message.",
    "label list": "Name what the customer of a payments app asks for. Answer with exactly one of these intents and "
    f"nothing else: {', '.join(INTENTS)}. Take what is asked for now, not what is already solved or only mentioned.",
    "JSON": "You sort messages to the support team of a payments app. Answer with one JSON object and nothing else: "
    '{"intent": "...", "urgency": "..."}\nintent is what the customer asks for now, not what is solved or only '
    f"mentioned. One of: {', '.join(INTENTS)}.\nurgency is one of: low, normal, high. high: money is at risk, the "
    "customer cannot pay for essentials, or there is a deadline within two days. low: it can wait. normal: the rest.",
}


def rows() -> list[dict[str, Any]]:
    """Messages of a line or two from the starter project's raw data, with a known intent."""
    lines = (line for path in sorted(Path("data/raw").glob("*.jsonl")) for line in path.open(encoding="utf-8"))
    parsed = (json.loads(line) for line in lines)
    return [row for row in parsed if row.get("intent") in INTENTS and 20 <= len(str(row["message"])) <= 130]


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, count: int) -> list[Encoded]:
    def one(row: dict[str, Any]) -> Encoded:
        messages = [{"role": "system", "content": PROMPTS[prompt]}, {"role": "user", "content": str(row["message"])}]
        answer = json.dumps({key: row[key] for key in ("intent", "urgency")}) if prompt == "JSON" else row["intent"]
        return Encoded(model.encode_prompt(tokenizer, messages), model.encode_answer(tokenizer, answer))

    return [one(row) for row in islice(rows(), count)]


def timed(train: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    train()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def ours(examples: list[Encoded], precision: str) -> tuple[Any, dict[str, float]]:
    loaded = model.load(BASE, None, precision, "auto")
    adapted = adapter.attach(loaded.model, RECIPE)
    shared = packing.shared_prefix([example.prompt for example in examples])
    optimizer = Optimizer(adapter.trainable(adapted), RECIPE, loaded.model.dtype)
    prefix = Prefix(loaded.model, examples[0].prompt[:shared])
    bodies = Bodies(loaded.model, prefix, examples, RECIPE.pack_tokens) if RECIPE.epochs > 1 else None
    run = loop.Run(loaded.model, examples, prefix, RECIPE, Processes(0, 1), bodies)
    return loaded.model, timed(lambda: loop.train(run, optimizer, loop.History(), lambda: None))


def common_arguments(folder: str) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": RECIPE.batch_size,
        "num_train_epochs": RECIPE.epochs,
        "learning_rate": RECIPE.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": RECIPE.warmup,
        "max_grad_norm": RECIPE.clip,
        "seed": RECIPE.seed,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def lora() -> peft.LoraConfig:
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    layers = json.loads((BASE / "config.json").read_text())["num_hidden_layers"]
    kept = list(range(layers)[-RECIPE.last_layers :])
    return peft.LoraConfig(
        r=RECIPE.r, lora_alpha=int(RECIPE.alpha), target_modules=names, layers_to_transform=kept, task_type="CAUSAL_LM"
    )


def hf_trainer(examples: list[Encoded], tuned: bool) -> tuple[Any, dict[str, float]]:
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(RECIPE.seed)
    speed = {"dtype": torch.bfloat16, "attn_implementation": "eager"} if tuned else {"dtype": torch.float32}
    network = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(BASE, **speed), lora())
    data = [
        {
            "input_ids": prompt + answer,
            "labels": [-100] * len(prompt) + answer,
            "attention_mask": [1] * len(prompt + answer),
        }
        for prompt, answer in examples
    ]
    options = {"train_sampling_strategy": "group_by_length", "logging_strategy": "no"} if tuned else {}
    arguments = TrainingArguments(**common_arguments(tempfile.mkdtemp()), **options)
    collator = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(BASE), pad_to_multiple_of=None)
    trainer = Trainer(model=network, args=arguments, train_dataset=data, data_collator=collator)
    return network, timed(trainer.train)


def trl_trainer(examples: list[Encoded], variant: str) -> tuple[Any, dict[str, float]]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_list(
        [
            {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}
            for prompt, answer in examples
        ]
    )
    options: dict[str, Any] = {}
    if variant != "defaults":
        options = {
            "gradient_checkpointing": False,
            "bf16": False,  # no autocast: the weights themselves are bf16
            "model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "eager"},
            "logging_strategy": "no",
            "train_sampling_strategy": "group_by_length",
        }
    if variant == "packed":
        tokens = sum(len(prompt) + len(answer) for prompt, answer in examples) / len(examples)
        width = max(256, max(len(prompt) + len(answer) for prompt, answer in examples))
        options |= {"packing": True, "max_length": width, "train_sampling_strategy": "random"}
        options["per_device_train_batch_size"] = max(1, round(RECIPE.batch_size * tokens / width))
    arguments = SFTConfig(**{**common_arguments(tempfile.mkdtemp()), **options})
    trainer = SFTTrainer(model=str(BASE), args=arguments, train_dataset=data, peft_config=lora())
    return trainer.model, timed(trainer.train)


CONTENDERS: dict[str, Callable[[list[Encoded]], tuple[Any, dict[str, float]]]] = {
    "Trunkline": lambda examples: ours(examples, RECIPE.precision),
    "Trunkline, fp32": lambda examples: ours(examples, "fp32"),
    "TRL SFTTrainer, defaults": lambda examples: trl_trainer(examples, "defaults"),
    "TRL SFTTrainer, tuned": lambda examples: trl_trainer(examples, "tuned"),
    "TRL SFTTrainer, tuned and packed": lambda examples: trl_trainer(examples, "packed"),
    "HF Trainer, defaults": lambda examples: hf_trainer(examples, False),
    "HF Trainer, tuned": lambda examples: hf_trainer(examples, True),
}


@torch.no_grad()
def holdout_loss(network: torch.nn.Module, examples: list[Encoded]) -> float:
    """Mean cross-entropy of the answer tokens, each example alone and in fp32, the same for all contenders."""
    network.float().eval()
    if getattr(network, "is_gradient_checkpointing", False):
        network.gradient_checkpointing_disable()
    total = count = 0.0
    for prompt, answer in examples:
        logits = network(input_ids=torch.tensor([prompt + answer], device=network.device)).logits[
            0, len(prompt) - 1 : -1
        ]
        target = torch.tensor(answer, device=logits.device)
        total += torch.nn.functional.cross_entropy(logits.float(), target, reduction="sum").item()
        count += len(answer)
    return total / count


def main() -> None:
    warnings.simplefilter("ignore")
    contender, prompt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    tokenizer = model.load(BASE, None, "bf16", "eager").tokenizer
    encoded = encode(tokenizer, prompt, count + HOLDOUT)
    examples, holdout = encoded[:count], encoded[count:]
    network, times = CONTENDERS[contender](examples)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result = {
        **times,
        "tokens": sum(len(part) for example in examples for part in example) / count,
        "shared": packing.shared_prefix([example.prompt for example in examples]),
        "peak_memory_gb": round(peak, 2),
        "holdout_loss": holdout_loss(network, holdout),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
