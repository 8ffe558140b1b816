"""Several sequences in one row, with no attention between them.

A row (1, T) holds sequences end to end; `cu_seq_lens_q` (int32, sequences + 1) are their borders, `position_ids` restart at each.
On a CPU attention runs sequence by sequence, so that it costs what the sequences cost alone; on a GPU flash attention does the same in one
kernel, and where neither can be had transformers builds a block-diagonal mask from the positions.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

NAME = "metier_segments"


def attend_within_segments(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment, causal unless the module says otherwise. query (1, heads, T, D); key, value (1, key heads, T, D) -> (1, T, heads, D)."""
    if cu_seq_lens_q is None:
        raise ValueError(f"{NAME} needs cu_seq_lens_q, the borders of the sequences in a row")
    grouped, causal = query.shape[1] != key.shape[1], getattr(module, "is_causal", True)
    lengths = cu_seq_lens_q.diff().tolist()
    # split, not slices: the backward pass of a slice fills a whole row of zeros, once for each segment.
    segments = zip(query.split(lengths, dim=2), key.split(lengths, dim=2), value.split(lengths, dim=2), strict=True)
    parts = [
        nn.functional.scaled_dot_product_attention(
            query_s, key_s, value_s, dropout_p=dropout, is_causal=causal, scale=scaling, enable_gqa=grouped
        )
        for query_s, key_s, value_s in segments
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def plain_attention(model: PreTrainedModel) -> str:
    """The implementation for single sequences, which also builds block-diagonal masks: sdpa, or eager for models without it."""
    return "sdpa" if model._supports_sdpa else "eager"


def use_segments(model: PreTrainedModel) -> str:
    """Chooses how the model keeps the sequences of a row apart; gives the name of the implementation."""
    windowed = getattr(model.config, "sliding_window", None) is not None or "sliding_attention" in getattr(
        model.config, "layer_types", []
    )
    if model.config.is_encoder_decoder:  # its sequences stand side by side, padded
        choice = plain_attention(model)
    elif model.device.type == "cuda" and importlib.util.find_spec("flash_attn") is not None:
        choice = "flash_attention_2"
    elif model.device.type == "cpu" and not windowed and model._supports_attention_backend:
        AttentionInterface.register(NAME, attend_within_segments)
        choice = NAME
    else:
        choice = plain_attention(model)
    model.set_attn_implementation(choice)
    return choice
