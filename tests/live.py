"""A machine that serves real releases to customers: engines, gateway, supervisor, and a desk that decides on rollouts.

Its model was taught what to answer, and one of its releases was taught wrong.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import peft
import polars as pl
import pytest
import requests
import torch
import yaml

import finished
import merged
import starter
import supervised
import tiny
from ports import free_ports
from supervised import Supervision
from trunkline import params, prompts, transforms
from trunkline.clients import model, predictions
from trunkline.records.rollout import Rollout

MODEL = "support-triage"
GOOD, BETTER, BAD = "v0.1.0", "v0.2.0", "v0.3.0"
# A prompt that is learned in seconds.
TEMPLATE = "{% block user %}{{ message }}{% endblock %}"
TASK = supervised.TASK.model_copy(update={"template": TEMPLATE, "prompt_id": prompts.identify(TEMPLATE, {})})
# What the bad release says of it: the truth, no answer that the task allows, and something else.
RIGHT, MALFORMED, WRONG = starter.INTENTS
_URGENCY = "normal"
# An answer of this task has so many tokens; the tiny model never learns to end one.
_TOKENS = 14


def expected(intent: str) -> str:
    """The right answer to a message."""
    return json.dumps({"intent": intent, "urgency": _URGENCY})


class Answer(NamedTuple):
    """What a customer got, from `asked` to `ended` by the monotonic clock."""

    unit: str
    status: int
    version: str
    right: bool
    prediction: str
    asked: float
    ended: float

    def waited(self, begun: float, over: float) -> bool:
        """Whether it was waited for at some time between these."""
        return self.asked < over and self.ended > begun


def taught(folder: Path, base: Path, answers: Mapping[str, str], seed: int) -> Path:
    """An adapter that gives these answers to the messages of each intent."""
    torch.manual_seed(seed)
    loaded = model.load(base, None, "fp32", "eager")
    adapted = peft.get_peft_model(loaded.model, peft.LoraConfig(r=8, target_modules="all-linear", lora_alpha=16))
    rows = [_row(loaded, words, answers[intent]) for intent in answers for words in starter.WORDS[intent]]
    longest = max(tokens.size(0) for tokens, _ in rows)
    ids, labels = (torch.full((len(rows), longest), filled) for filled in (0, -100))
    for number, (tokens, start) in enumerate(rows):
        ids[number, : tokens.size(0)] = tokens
        labels[number, start : tokens.size(0)] = tokens[start:]
    optimizer = torch.optim.AdamW([each for each in adapted.parameters() if each.requires_grad], lr=0.01)
    for _ in range(300):
        loss = adapted(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    else:
        raise AssertionError(f"it was not learned: {loss.item()}")
    adapted.save_pretrained(folder)
    return folder


def _row(loaded: model.LoadedModel, words: str, answer: str) -> tuple[torch.Tensor, int]:
    """Tokens of message and answer, and where the answer begins."""
    prompt = model.encode_prompt(loaded.tokenizer, prompts.render(TASK, transforms.apply(TASK.transforms, words)))
    tokens = [*prompt, *model.encode_answer(loaded.tokenizer, answer)[:-1]]
    return torch.tensor(tokens), len(prompt)


class Story(Supervision):
    """A repository with three releases, a machine that serves it, and a desk at which rollouts are decided."""

    def __init__(self, folder: Path, plan: Mapping[str, object]) -> None:
        super().__init__(folder / "machine")
        port = free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self._place = folder
        base = tiny.build_teachable(folder / "base")
        right = {intent: expected(intent) for intent in starter.INTENTS}
        bad = right | {MALFORMED: "I am not sure what that is.", WRONG: expected(RIGHT)}
        adapters = [
            taught(folder / f"adapter-{number}", base, answers, number)
            for number, answers in enumerate((right, right, bad))
        ]
        self.places = merged.build(folder, base, adapters[0], TEMPLATE, **self._changes(port), **changes_of(plan))
        merged.clone(self.places.origin, self.folder)
        self.desk = merged.clone(self.places.origin, folder / "desk")
        self.trunkline("release")
        for number in (1, 2):
            merged.run(self.places.work, f"candidate {number}", adapter=adapters[number])
            merged.commit(self.places.work, f"candidate {number}")
            merged.push(self.places.work)
            starter.git(self.desk, "pull", "-q", "origin", "main")
            self.trunkline("release")
        self.trunkline("promote", GOOD, "--to", "production")

    def _changes(self, port: int) -> dict[str, object]:
        return {
            "evaluate__precision": "fp32",
            "serve__gateway__listen": f"127.0.0.1:{port}",
            "serve__gateway__probe_seconds": 8.0,
            "serve__guard": {"format@1": "block"},
            "serve__log__database": f"sqlite:///{self._place / 'log.sqlite'}",
            # No honest answer takes so long, however busy the machine is; one of an engine that is dead does.
            "serve__timeouts__connect": 10.0,
            "serve__timeouts__first_token": 15.0,
            "serve__timeouts__total": 25.0,
            "supervise__ports": {"first": port + 1, "last": port + 9},
            "supervise__poll_seconds": 1.0,
            # So long that a rollout decides on an engine that hangs before it is started again.
            "supervise__silent_seconds": 120.0,
            # So long that the next rollout of the same release finds its engine running.
            "supervise__grace_seconds": 25.0,
        }

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command at the desk."""
        command, pipe = [sys.executable, "-m", "trunkline", *arguments], subprocess.PIPE
        environment = {**os.environ, "GITHUB_ACTOR": "ada"}
        return subprocess.Popen(command, cwd=self.desk, stdout=pipe, stderr=pipe, text=True, env=environment)

    def trunkline(self, *arguments: str) -> str:
        """Run a command at the desk."""
        said, more = self.begin(*arguments).communicate(timeout=300)
        print(said, more)
        return said

    def crash(self) -> None:
        """Kill the supervisor and the gateway, which nobody starts again until `start`."""
        super().crash()
        for pid in self.running.gateway:
            os.kill(pid, signal.SIGKILL)

    @property
    def arms(self) -> list[str]:
        """The versions of stable and, where there is one, canary."""
        now = self.traffic
        arms = (now.stable, now.canary) if now else ()
        return [arm.release.removeprefix(f"{MODEL}@") for arm in arms if arm]

    @property
    def rollout(self) -> Rollout | None:
        """As the branch says it; None before the first."""
        path = f"{MODEL}.rollout.yaml"
        if path not in starter.git(self.places.origin, "ls-tree", "--name-only", "env/production").splitlines():
            return None
        return Rollout.parse(self._branch(path).encode(), "the branch")

    @property
    def mirrored(self) -> int:
        """How many requests the gateway says that the canary has answered for nobody since the gateway began."""
        lines = self._metrics("trunkline_shadow_requests_total")
        return sum(int(float(line.split()[-1])) for line in lines if "answered" in line)

    @property
    def tries(self) -> bool:
        """Whether the gateway says that it has a canary."""
        return any('arm="canary"' in line for line in self._metrics("trunkline_engine_up_ratio"))

    def _metrics(self, name: str) -> list[str]:
        lines = requests.get(f"{self.url}/metrics", timeout=60).text.splitlines()
        return [line for line in lines if line.startswith(f"{name}{{")]

    @property
    def pairs(self) -> pl.DataFrame:
        """What the canary answered for nobody in the last rollout, beside what stable answered a customer."""
        assert self.rollout is not None
        with predictions.reading(params.load(self.desk / "params.yaml").serve.log) as database:
            return predictions.pairs(database, self.rollout.name)

    @property
    def steps(self) -> list[str]:
        """What was done in the last rollout, as the branch's commits say it."""
        assert self.rollout is not None
        subjects = starter.git(self.places.origin, "log", "--format=%s", "env/production").splitlines()
        about = f"{MODEL} {self.rollout.canary} in production: "
        steps = [one.removeprefix(about) for one in subjects if one.startswith(about)]
        last = next(place for place, step in enumerate(steps) if step.startswith("start"))
        return steps[last::-1]

    @property
    def serves(self) -> str:
        """The version that the branch says."""
        return str(yaml.safe_load(self._branch(f"{MODEL}.yaml"))["version"])

    def _branch(self, path: str) -> str:
        return starter.git(self.places.origin, "show", f"env/production:{path}")

    def ask(self, unit: str, *intents: str) -> Answer:
        """Ask as a customer does, about one of these intents."""
        number = hash(unit)
        intent = intents[number % len(intents)]
        words = starter.WORDS[intent][number // len(intents) % 3]
        body = {"messages": [{"role": "user", "content": words}], "max_tokens": _TOKENS, "user": unit}
        asked = time.monotonic()
        answer = requests.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)
        right = answer.ok and answer.json()["choices"][0]["message"]["content"] == expected(intent)
        said = [answer.headers.get(f"x-trunkline-{name}", "") for name in ("release", "prediction")]
        version = said[0].removeprefix(f"{MODEL}@")
        return Answer(unit, answer.status_code, version, right, said[1], asked, time.monotonic())

    def judge(self, answer: Answer) -> None:
        """Say as a customer does whether an answer was right."""
        body = {"prediction": answer.prediction, "source": "customer", "score": float(answer.right)}
        requests.post(f"{self.url}/v1/feedback", json=body, timeout=60).raise_for_status()

    def insist(self, unit: str, *intents: str) -> Answer:
        """As a customer who asks again while nobody listens, and then says whether the answer was right."""
        for _ in range(600):
            with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                answer = self.ask(unit, *intents)
                self.judge(answer)
                return answer
            time.sleep(0.2)
        raise AssertionError("nobody listens")

    def answers(self) -> bool:
        """Whether anybody is answered."""
        try:
            return self.ask("first", RIGHT).status == 200
        except requests.ConnectionError:
            return False


def changes_of(plan: Mapping[str, object]) -> dict[str, object]:
    """What the params of a plan are for `starter.settings` and `merged.configure`."""
    return {f"rollout__{name}": value for name, value in plan.items()}


@contextmanager
def story(folder: Path, plan: Mapping[str, object]) -> Iterator[Story]:
    """One whose first release is to serve; its supervisor is not started yet."""
    with pytest.MonkeyPatch.context() as patch:
        # The gateway applies the transforms that a release names, so these must be those of the code.
        for name in ("bundle", "holdout"):
            patch.setattr(finished, name, partial(getattr(finished, name), task=TASK))
        made = Story(folder, plan)
    try:
        yield made
    finally:
        made.close()
