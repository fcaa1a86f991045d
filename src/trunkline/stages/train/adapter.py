"""LoRA adapters in the last layers of a model, and the two files they are kept in."""

import json
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from trunkline.errors import Error
from trunkline.params import TrainParams

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def attach(model: PreTrainedModel, params: TrainParams) -> peft.PeftModel:
    """Freeze the model and put adapters on every linear map of its last layers, in place.

    Their first values depend on ``params.seed`` alone. Source: Hu et al. 2021, LoRA, arXiv 2106.09685.

    Raises:
        Error: the model has no such layers.
    """
    blocks = getattr(model.get_decoder(), "layers", nn.ModuleList())  # type: ignore[no-untyped-call]
    linear = {name.rsplit(".", 1)[-1] for name, module in blocks.named_modules() if isinstance(module, nn.Linear)}
    if not linear:
        problem = f"{type(model).__name__} has no layers of linear maps that an adapter could change"
        raise Error(problem, "choose another model in params.yaml base, such as one of the Llama family")
    config = peft.LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,  # type: ignore[arg-type]
        lora_dropout=params.dropout,
        target_modules=sorted(linear),
        layers_to_transform=list(range(len(blocks))[-params.last_layers :]),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(params.seed)
    adapted = peft.get_peft_model(model, config)
    # Evaluation mode keeps the base model's own dropout out; the adapters' dropout is switched on alone.
    adapted.eval()
    for name, module in adapted.named_modules():
        if "lora_dropout" in name:
            module.train()
    return adapted


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The adapters' parameters, in the order of the model."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def save(model: peft.PeftModel, folder: Path, base: str) -> None:
    """Write the adapter's two files, byte for byte the same for the same weights."""
    # peft's own writer keeps sets in the order of their hashes, which differs from run to run.
    config: dict[str, Any] = {**model.peft_config["default"].to_dict(), "base_model_name_or_path": base}
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    config["inference_mode"] = True
    text = json.dumps(config, indent=2, sort_keys=True, default=str) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    weights = peft.get_peft_model_state_dict(model)
    save_file(
        {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
