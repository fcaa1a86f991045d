"""The training loop: which examples a step takes, its learning rate, its update.

Every step is a function of the seed and its number alone, so a run that goes on from a checkpoint makes
the same steps as one that was never interrupted.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from trunkline import packing
from trunkline.errors import Error
from trunkline.packing import Encoded
from trunkline.params import TrainParams
from trunkline.stages.train import loss
from trunkline.stages.train.bodies import Bodies
from trunkline.stages.train.optimizer import Optimizer
from trunkline.stages.train.prefix import Prefix
from trunkline.stages.train.processes import Processes


@dataclass
class History:
    """What the finished steps were: their losses, learning rates, tokens of examples, and seconds."""

    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps are finished."""
        return len(self.losses)

    def state(self) -> dict[str, Any]:
        """The fields, for a checkpoint."""
        return asdict(self)


class Run(NamedTuple):
    """What every step needs.

    Attributes:
        model: with adapters inside.
        examples: the training set.
        prefix: what all prompts start with.
        params: the recipe.
        processes: among which a step's examples are divided.
        bodies: what the frozen layers make of the examples, where that is kept.
    """

    model: PreTrainedModel
    examples: list[Encoded]
    prefix: Prefix
    params: TrainParams
    processes: Processes
    bodies: Bodies | None

    @property
    def steps(self) -> int:
        """Steps of the whole run; the last of an epoch may be smaller."""
        return self.params.epochs * math.ceil(len(self.examples) / self.params.batch_size)


def train(run: Run, optimizer: Optimizer, history: History, on_step: Callable[[], None]) -> None:
    """Make all steps that ``history`` does not have yet; ``on_step`` is called after each.

    Raises:
        Error: the loss is not a finite number.
    """
    for step in range(history.steps, run.steps):
        chosen = batch_of(step, len(run.examples), run.params)
        rate = learning_rate(step, run.steps, run.params)
        torch.manual_seed(_seed(run.params.seed, step, run.processes.rank))
        total = optimizer.step(_share_of_loss(run, chosen), rate, run.processes)
        if math.isnan(total):
            raise Error(
                f"the loss is not a finite number in step {step + 1} of {run.steps}",
                f"lower train.learning_rate ({run.params.learning_rate:g}) or train.clip, or set precision: fp32",
            )
        history.losses.append(total)
        history.learning_rates.append(rate)
        history.tokens += sum(len(part) for index in chosen for part in run.examples[index])
        on_step()


def batch_of(step: int, count: int, params: TrainParams) -> list[int]:
    """Indices of the examples of a step: each epoch takes all ``count`` in an order of its own."""
    per_epoch = math.ceil(count / params.batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng([params.seed % 2**32, epoch]).permutation(count)
    return [int(index) for index in order[place * params.batch_size :][: params.batch_size]]


def learning_rate(step: int, steps: int, params: TrainParams) -> float:
    """Linear warm-up to the full rate, then constant or a half cosine down to nearly 0."""
    warmup = math.ceil(params.warmup * steps)
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    if params.schedule == "constant":
        return params.learning_rate
    return params.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _share_of_loss(run: Run, chosen: list[int]) -> torch.Tensor:
    """This process's part of the mean loss over all answer tokens of the step."""
    own = chosen[run.processes.rank :: run.processes.count]
    if not own:
        return torch.zeros((), device=run.model.device)
    layout = packing.lay_out([run.examples[index] for index in own], run.prefix.length, run.params.pack_tokens)
    entering = run.bodies.entering(own, layout) if run.bodies else None
    total = loss.summed_loss(run.model, run.prefix, layout, entering)
    return total / sum(len(run.examples[index].answer) for index in chosen)


def _seed(seed: int, step: int, rank: int) -> int:
    """Of the dropout in one step of one process."""
    return int(np.random.SeedSequence([seed % 2**32, step, rank]).generate_state(1)[0])
