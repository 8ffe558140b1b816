"""What the machine decides: how much goes through the network at once, and what memory it takes."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from metier.engines.text.rows import Rows

# On a CPU more save little time, for matrix products are nearly saturated, and cost 3 MB of activations each at 135M. The GPU's is a guess.
TOKENS_AT_ONCE = {"cpu": 512, "cuda": 8192}


def rows_at_once(rows: Rows, rows_per_step: int, device: str) -> int:
    """How many rows go through the network together: the most that divide a step and hold TOKENS_AT_ONCE or fewer on average."""
    mean = rows.num_tokens / len(rows)
    most = TOKENS_AT_ONCE[device]
    fitting = [count for count in range(1, rows_per_step + 1) if rows_per_step % count == 0 and count * mean <= most]
    return max(fitting, default=1)


def needs_recomputation(model: PreTrainedModel, num_tokens: int, device: torch.device) -> bool:
    """Whether the activations of `num_tokens` in one pass, beside gradients and AdamW's moments, exceed the memory that is free."""
    if not model.supports_gradient_checkpointing:
        return False
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return bool(activation_bytes(model) * num_tokens + 12 * trained > free)


def recompute(model: PreTrainedModel) -> None:
    """Makes the model compute its activations again in the backward pass: less memory, more time, the same numbers."""
    # The first name is the newer one of the same thing; transformers 5 began with the second.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def compile_layers(model: PreTrainedModel) -> None:
    """Makes torch.compile fuse what a layer does, the same code for all layers; the first steps take a minute longer."""
    names = set(model._no_split_modules or ())
    for module in model.modules():
        if type(module).__name__ in names:
            module.compile(dynamic=True)


def activation_bytes(model: PreTrainedModel) -> int:
    """An estimate of what the backward pass keeps of a token in fp32: 2.9 MB for a Llama of 135M, which measured 3."""
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return int(4 * config.num_hidden_layers * (20 * config.hidden_size + 8 * inner))


def peak_memory_bytes() -> int:
    """The peak of this process so far: of the GPU's memory where there is one, else resident memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
