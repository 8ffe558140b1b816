"""What training costs in floating-point operations, by formula; a multiplication and an addition are two.

A step over sequences of T_i tokens, of which P are predicted, costs a model with M weights in matrices (embeddings that are looked up
cost nothing; the head, V x D, runs at predicted tokens only)

    6 M sum(T_i) + 6 V D P + 12 A sum(T_i^2)

A is the sum over layers of heads x head dimension: scores and mixing are two products of 2 A T^2 operations each in the forward pass, and
twice that in the backward pass. Causal attention is counted in full, as is usual, though good kernels leave half of it out. This is the
6 N D of scaling laws (arXiv 2001.08361, section 2.1) with its attention term, exact against torch's FlopCounterMode. What the machine
does besides to save memory (activations computed again) is no part of it: utilisation counts useful work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Dense bf16 peak of a device in operations a second, by a part of its name; the makers' figures, without sparsity. First match counts.
PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 150e12,
    "A10G": 70e12,
    "A10": 125e12,
    "A6000": 155e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 5090": 210e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
    "MI250X": 383e12,
}


@dataclass(frozen=True)
class Costs:
    """What a network's size says of its costs.

    body: weights in matrices that every token meets; of an encoder-decoder those of the encoder, and `decoder` those of the decoder
    head: weights of the output layer; attention: sum over layers of heads x head dimension; `cross` of an encoder-decoder: the same of
        its decoder, whose layers attend to themselves and to the encoder
    """

    body: int
    head: int
    attention: int
    decoder: int = 0
    cross_keys: int = 0
    cross: int = 0

    @classmethod
    def of(cls, network: PreTrainedModel) -> Costs:
        """The costs of a network, which may be on the meta device."""
        config = network.config
        head = network.get_output_embeddings()
        head_size = head.weight.numel() if head is not None else 0
        matrices = {name: module for name, module in network.named_modules() if _is_matrix(module) and module is not head}
        if config.is_encoder_decoder:
            return cls._of_two(config, matrices, head_size)
        inner = config.get_text_config()
        heads = inner.num_attention_heads
        width = heads * (getattr(inner, "head_dim", None) or inner.hidden_size // heads)
        return cls(sum(_size(module) for module in matrices.values()), head_size, inner.num_hidden_layers * width)

    @classmethod
    def of_config(cls, config: PretrainedConfig, auto: Any = None) -> Costs:
        """The costs of a configuration, without making its weights. auto: transformers' AutoModelFor... class, causal if None."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            return cls.of((auto or AutoModelForCausalLM).from_config(config))

    @classmethod
    def _of_two(cls, config: PretrainedConfig, matrices: dict[str, nn.Module], head: int) -> Costs:
        decoder = {name: _size(module) for name, module in matrices.items() if "decoder" in name.split(".")}
        body = sum(_size(module) for name, module in matrices.items() if name not in decoder)
        # Keys and values of cross-attention are made of the encoder's tokens.
        cross = [
            size for name, size in decoder.items() if _is_cross(name) and name.split(".")[-1] in ("k", "v", "k_proj", "v_proj")
        ]
        heads = config.num_attention_heads
        width = heads * (getattr(config, "d_kv", None) or config.hidden_size // heads)
        layers = getattr(config, "num_decoder_layers", None) or config.num_hidden_layers
        return cls(body, head, config.num_hidden_layers * width, sum(decoder.values()) - sum(cross), sum(cross), layers * width)

    def forward(self, lengths: Sequence[int], predicted: int, decoded: Sequence[int] = ()) -> int:
        """Operations of a forward pass over sequences of `lengths` tokens; `decoded`: tokens of each decoder's sequence."""
        tokens, squares = sum(lengths), sum(length * length for length in lengths)
        total = 2 * (self.body + self.cross_keys) * tokens + 2 * self.head * predicted + 4 * self.attention * squares
        total += 2 * self.decoder * sum(decoded)
        crossed = sum(own * (own + other) for own, other in zip(decoded, lengths, strict=False))
        return total + 4 * self.cross * crossed

    def training(self, lengths: Sequence[int], predicted: int, decoded: Sequence[int] = ()) -> int:
        """Operations of a forward and backward pass in which every weight is trained: three times the forward pass."""
        return 3 * self.forward(lengths, predicted, decoded)


def peak_flops(device: torch.device) -> float | None:
    """The bf16 peak of a GPU in operations a second, None for a CPU or a GPU that the table lacks."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


_MATRICES = {"Conv1D", "FactoredLinear"}  # transformers' own of GPT-2; that of pretrain.sparse_low_rank, whose product is dense


def _is_matrix(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in _MATRICES


def _is_cross(name: str) -> bool:
    return "EncDecAttention" in name or "encoder_attn" in name or "crossattention" in name


def _size(module: nn.Module) -> int:
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    return int(inputs * outputs) if inputs is not None else int(module.weight.numel())  # type: ignore[operator, union-attr]
