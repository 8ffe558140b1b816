"""What a model's configuration says of its size: counted on a model without storage, so nothing is guessed and nothing is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from metier.engines.train.flops import Costs

# Blocks whose saved tensors are known to the byte: RMSNorm, rotary attention without norms of queries and keys, a gated MLP.
LLAMA_BLOCKS = frozenset({"llama", "mistral", "qwen2"})


@dataclass(frozen=True)
class Sizes:
    """Sizes of a decoder; parameters are counted once where they are tied.

    active: parameters that a token meets (fewer than all in a mixture of experts); trained_matrices: weights in the linear layers of the
        blocks; largest_unit: parameters of the largest block, or of the embedding: what sharding gathers at once
    cached: by layer, numbers of keys and values a token and the window beyond which they are dropped (None: never)
    """

    family: str
    parameters: int
    active: int
    blocks: int
    largest_unit: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    inner: int
    vocabulary: int
    positions: int
    costs: Costs
    cached: tuple[tuple[int, int | None], ...]

    @classmethod
    def of(cls, config: PretrainedConfig) -> Sizes:
        """Raises ValueError for an encoder-decoder, and for attention over latents, whose cache is another one."""
        text = config.get_text_config()
        if config.is_encoder_decoder:
            raise ValueError(f"{config.model_type} is an encoder-decoder: the planner knows decoders only")
        if getattr(text, "kv_lora_rank", None):
            raise ValueError(
                f"{config.model_type} attends over latents (kv_lora_rank={text.kv_lora_rank}): the planner does not know it"
            )
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config)
        heads = text.num_attention_heads
        kv_heads = getattr(text, "num_key_value_heads", None) or heads
        head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
        experts, used = _experts(network, text)
        plain = Costs.of(network)
        costs = Costs(plain.body + round(experts * used), plain.head, plain.attention)
        parameters = sum(weight.numel() for weight in network.parameters())
        names = set(network._no_split_modules or ())
        units = [
            sum(weight.numel() for weight in module.parameters())
            for module in network.modules()
            if type(module).__name__ in names
        ]
        embedding = network.get_input_embeddings().weight.numel()
        return cls(
            family=config.model_type,
            parameters=parameters,
            active=parameters - experts + round(experts * used),
            blocks=plain.body + experts,
            largest_unit=max([embedding, *units]),
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            inner=getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * text.hidden_size,
            vocabulary=text.vocab_size,
            positions=getattr(text, "max_position_embeddings", None) or 1 << 30,
            costs=costs,
            cached=tuple((2 * kv_heads * head_size, window) for window in _windows(text)),
        )  # fmt: skip

    @property
    def queries(self) -> int:
        """Numbers of a token's queries: heads x head size."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Numbers of a token's keys: key heads x head size."""
        return self.kv_heads * self.head_size

    @property
    def is_llama(self) -> bool:
        """Whether its blocks are Llama's, whose activations are known in closed form."""
        return self.family in LLAMA_BLOCKS

    def lora(self, rank: int) -> int:
        """Trainable numbers of LoRA on every linear layer of Llama's blocks: the sum of rank x (inputs + outputs)."""
        if not self.is_llama:
            raise ValueError(f"LoRA on {self.family} is not known in closed form: plan it on this machine, where it is measured")
        attention = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys)
        return rank * self.layers * (attention + 3 * (self.hidden + self.inner))

    def cache_bytes(self, tokens: int, *, rows: int = 1, bytes_each: int = 2) -> int:
        """Keys and values of `rows` sequences of `tokens` tokens."""
        return sum(size * min(tokens, window or tokens) for size, window in self.cached) * rows * bytes_each


def _experts(network: nn.Module, text: Any) -> tuple[int, float]:
    """Parameters of all experts, and the share of them that a token meets."""
    total = sum(weight.numel() for name, weight in network.named_parameters() if re.search(r"\.experts\.", name))
    if not total:
        return 0, 1.0
    number = next(getattr(text, name) for name in ("num_local_experts", "num_experts", "n_routed_experts") if hasattr(text, name))
    return total, text.num_experts_per_tok / number


def _windows(text: Any) -> list[int | None]:
    window = getattr(text, "sliding_window", None) if getattr(text, "use_sliding_window", True) else None
    kinds = (
        getattr(text, "layer_types", None)
        or ["full_attention" if window is None else "sliding_attention"] * text.num_hidden_layers
    )
    return [window if kind == "sliding_attention" else None for kind in kinds]
