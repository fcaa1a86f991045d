"""A random-weight Llama of 120,000 parameters with its own tokenizer: models/base in a second."""

from pathlib import Path

import safetensors.torch
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trunkline.clients import files, weights

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = [
    "system user assistant",
    'You sort messages of customers. Answer with one JSON object: {"intent": "card_lost", "urgency": "high"}',
    "I have lost my card, please block it and send me a new one as soon as you can!",
    "Why was I charged a fee of 12.50 for the transfer that never arrived?",
    "How do I change the phone number on my account? The app says it is wrong.",
    '{"intent": "transfer_fee", "urgency": "normal"} {"intent": "change_number", "urgency": "low"}',
]


def build(folder: Path, layers: int = 3, vocabulary: int = 512, seed: int = 0, rope_theta: float = 10_000.0) -> Path:
    """Write a models/base-like folder: weights, config, tokenizer, base.json. Returns the folder."""
    tokenizer = _tokenizer(vocabulary)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        dtype=torch.float32,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record(folder)
    return folder


def build_lively(folder: Path, rope_theta: float = 10_000.0) -> Path:
    """A model as `build` writes it, but with answers that vary: one alone repeats the prompt's last token."""
    build(folder, rope_theta=rope_theta)
    return _scaled(folder, layers=10, embeddings=1)


def build_teachable(folder: Path) -> Path:
    """A model as `build` writes it, but one that an adapter teaches to tell three kinds of messages apart.

    With embeddings as small as `build` draws them no answer is ever much likelier than another.
    """
    build(folder)
    return _scaled(folder, layers=5, embeddings=20)


def _scaled(folder: Path, layers: float, embeddings: float) -> Path:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if ".layers." in name and tensor.dim() == 2:
            tensor.mul_(layers)
        elif "embed_tokens" in name:
            tensor.mul_(embeddings)
    safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    record(folder)
    return folder


def record(folder: Path) -> None:
    """Write base.json for the files as they are now."""
    (folder / "model.safetensors").chmod(0o644)
    files.write_text(folder / "base.json", weights.identify("test", folder).text())


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )
