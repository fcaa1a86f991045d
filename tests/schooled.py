"""A provider's models: tiny, but taught what to answer to messages as those of `starter.rows`; engines serve them."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

import finished
import served
import starter
import tiny
from trunkline import prompts, transforms
from trunkline.clients import files, model
from trunkline.records import Base, Bundle, Task

URGENCIES = dict(zip(starter.INTENTS, ("high", "normal", "low"), strict=True))
_ROWS, _BATCH, _MOST = 300, 12, 2000


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Raw rows whose answers follow from their messages."""
    return [row | {"urgency": URGENCIES[row["intent"]]} for row in starter.rows(count, seed=seed)]


def answer(intent: str) -> str:
    """The right answer to a message of an intent."""
    return json.dumps({"intent": intent, "urgency": URGENCIES[intent]})


RIGHT = {intent: answer(intent) for intent in starter.INTENTS}
# Each intent taken for the next one: answers of the right form, and all of them wrong.
SHIFTED = dict(zip(starter.INTENTS, map(answer, (*starter.INTENTS[1:], starter.INTENTS[0])), strict=True))


def taught(folder: Path, start: Path, answers: Mapping[str, str], tasks: Sequence[Task]) -> Path:
    """A model that went on learning from another, to give these answers to each intent, however a task asks."""
    shutil.copytree(start, folder)
    loaded = model.load(folder, None, "fp32", "eager")
    torch.manual_seed(0)
    bare = [{"message": words, "intent": intent} for intent, said in starter.WORDS.items() for words in said]
    learned = [*rows(_ROWS, seed=7), *bare]
    examples = [_example(loaded, task, row["message"], answers[row["intent"]]) for task in tasks for row in learned]
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=2e-3)
    lately = 1.0
    for _ in range(_MOST):
        chosen = [examples[place] for place in torch.randint(len(examples), (_BATCH,)).tolist()]
        loss = loaded.model(**_batch(chosen)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loaded.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        lately = 0.9 * lately + 0.1 * loss.item()
        if lately < 0.01:
            break
    else:
        raise AssertionError(f"it was not learned: {lately}")
    loaded.model.save_pretrained(folder)
    tiny.record(folder)
    return folder


def _example(loaded: model.LoadedModel, task: Task, message: str, right: str) -> tuple[list[int], int]:
    """Tokens of question and answer, and where the answer begins."""
    asked = prompts.render(task, transforms.apply(task.transforms, message))
    prompt = model.encode_prompt(loaded.tokenizer, asked)
    return [*prompt, *model.encode_answer(loaded.tokenizer, right)], len(prompt)


def _batch(chosen: Sequence[tuple[list[int], int]]) -> dict[str, torch.Tensor]:
    longest = max(len(tokens) for tokens, _ in chosen)
    ids, labels = (torch.full((len(chosen), longest), filled) for filled in (0, -100))
    for number, (tokens, start) in enumerate(chosen):
        ids[number, : len(tokens)] = torch.tensor(tokens)
        labels[number, start : len(tokens)] = torch.tensor(tokens[start:])
    return {"input_ids": ids, "labels": labels}


@contextmanager
def engine(folder: Path, base: Path, name: str) -> Iterator[str]:
    """`trunkline engine` that answers by a model under any name; yields its address."""
    record = Base.read(base / "base.json")
    bundle = Bundle(
        kind="base",
        release=name,
        base=record.sha256,
        weights={},
        task=finished.TASK,
        partitions=(),
        trained_on=None,
        params={},
        configuration=record.configuration,
    )
    files.write_text(folder / "bundle.json", bundle.text())
    starter.settings(folder, evaluate__precision="fp32")
    with served.engine(folder, "--base", base, params=folder / "params.yaml") as running:
        yield running.url
