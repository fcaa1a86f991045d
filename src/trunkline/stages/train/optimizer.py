"""AdamW on fp32 copies of the adapters; the model computes with them in its own precision.

Adapters in the precision of the base model save the casts around every one of its linear maps (15 % of a
step in bf16), and fp32 copies keep the small updates that bf16 would round away.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trunkline.params import TrainParams
from trunkline.stages.train.processes import Processes


class Optimizer:
    """Owns the fp32 weights of a run and every update to them."""

    def __init__(self, parameters: list[nn.Parameter], params: TrainParams, dtype: torch.dtype) -> None:
        self._used = parameters
        self._weights = [parameter.detach().float().clone() for parameter in parameters]
        self._clip = params.clip
        self._adamw = torch.optim.AdamW(self._weights, lr=params.learning_rate, weight_decay=params.weight_decay)
        for parameter in parameters:
            parameter.data = parameter.data.to(dtype)

    def step(self, loss: Tensor, learning_rate: float, processes: Processes) -> float:
        """Backpropagate this process's share of a loss and update from the sum over all processes.

        Returns:
            The loss over all processes. When it is not finite, nothing was updated.
        """
        if loss.requires_grad:  # a process without examples in this step has nothing to differentiate
            loss.backward()  # type: ignore[no-untyped-call]
        parts = [self._take_gradient(index).flatten() for index in range(len(self._used))]
        flat = torch.cat([*parts, loss.detach().float()[None]])
        processes.add_up(flat)
        total, gradient = flat[-1].item(), flat[:-1]
        norm = gradient.norm().item()
        if not math.isfinite(total + norm):
            return math.nan
        gradient *= min(1.0, self._clip / (norm + 1e-6))
        for weight, part in zip(
            self._weights, torch.split(gradient, [weight.numel() for weight in self._weights]), strict=True
        ):
            weight.grad = part.view_as(weight)
        self._adamw.param_groups[0]["lr"] = learning_rate
        self._adamw.step()
        self._publish()
        return total

    def finish(self) -> None:
        """Give the model the fp32 weights, to be saved."""
        for parameter, weight in zip(self._used, self._weights, strict=True):
            parameter.data = weight

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on from here."""
        return {"weights": self._weights, "adamw": self._adamw.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for weight, stored in zip(self._weights, state["weights"], strict=True):
            weight.copy_(stored)
        self._adamw.load_state_dict(state["adamw"])
        self._publish()

    def _take_gradient(self, index: int) -> Tensor:
        gradient, self._used[index].grad = self._used[index].grad, None
        return torch.zeros_like(self._weights[index]) if gradient is None else gradient.float()

    @torch.no_grad()
    def _publish(self) -> None:
        for parameter, weight in zip(self._used, self._weights, strict=True):
            parameter.copy_(weight)
