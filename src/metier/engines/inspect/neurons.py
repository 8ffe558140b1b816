"""Entropy neurons: units of the last feed-forward layer that write much and favour no token, so that they only set the confidence."""
# M neurons, D hidden size, V vocabulary

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from metier.engines.inspect.blocks import decoder_blocks, feed_forward

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")  # names of their count in configurations
CHUNK_BYTES = 256 << 20  # of compositions held at once


@dataclass(frozen=True)
class Neurons:
    """The neurons of the last feed-forward layer.

    norm: of the vector each writes, (M,); logit_variance: over the vocabulary, of the cosine between that vector and the tokens' rows
    of the output layer, (M,), nan for neurons outside the share with the largest norms; chosen: numbers of the entropy neurons, the
    most neutral first; num_dropped: rows of the output layer that are 0 (padding) and stand for no token
    """

    norm: Tensor
    logit_variance: Tensor
    chosen: list[int]
    num_dropped: int


@torch.inference_mode()
def entropy_neurons(model: PreTrainedModel, *, norm_top: float = 0.25, num_neurons: int = 10) -> Neurons:
    """Among the share `norm_top` with the largest norm, the `num_neurons` of least logit variance (Stolfo et al. 2024).

    Raises ValueError for models without an output layer or without one last feed-forward layer (mixtures of experts), and for
    settings that leave fewer neurons than asked.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise ValueError(f"{model.config.model_type} has no output layer, so its neurons have no effect on tokens to measure")
    written_MD = written_vectors(model)
    norm_M = written_MD.norm(dim=-1)
    num_kept = round(norm_top * len(norm_M))
    if not 0 < norm_top <= 1 or not 1 <= num_neurons <= num_kept:
        raise ValueError(
            f"norm_top={norm_top} keeps {num_kept} of {len(norm_M)} neurons, and num_neurons={num_neurons}: give 1 to that many"
        )
    kept_K = norm_M.argsort(descending=True, stable=True)[:num_kept]
    unit_KD = written_MD[kept_K] / norm_M[kept_K, None].clamp_min(torch.finfo(torch.float32).tiny)
    variance_K, num_dropped = _cosine_variance(unit_KD, head.weight)
    logit_variance_M = torch.full_like(norm_M, torch.nan)
    logit_variance_M[kept_K] = variance_K
    chosen = kept_K[variance_K.argsort(stable=True)[:num_neurons]]
    return Neurons(norm_M.cpu(), logit_variance_M.cpu(), chosen.tolist(), num_dropped)


def written_vectors(model: PreTrainedModel) -> Tensor:
    """What each neuron of the last feed-forward layer adds to the residual stream when it is 1: (M, D), float32.

    Raises ValueError where that layer is no single matrix.
    """
    config = model.config.get_text_config()
    if any(getattr(config, name, None) for name in EXPERTS):
        raise ValueError(f"{config.model_type} is a mixture of experts: its last feed-forward layer has no one set of neurons")
    for module in reversed(list(feed_forward(decoder_blocks(model)[-1]).modules())):
        if isinstance(module, nn.Linear) and module.out_features == config.hidden_size:
            return module.weight.T.float()
        if isinstance(module, Conv1D) and module.nf == config.hidden_size:
            return cast("Tensor", module.weight.float())
    raise ValueError(f"{config.model_type}: the last feed-forward layer ends in no linear layer of width {config.hidden_size}")


def _cosine_variance(unit_KD: Tensor, rows_VD: Tensor) -> tuple[Tensor, int]:
    """Variance over the rows (those of norm 0 left out) of the cosine with each vector, (K,); and how many rows were left out."""
    # Summed in float64: the variance is what two nearly equal numbers leave of each other.
    chunk = max(1, CHUNK_BYTES // (4 * len(unit_KD)))
    counts = 0
    sums_K, squares_K = (torch.zeros(len(unit_KD), dtype=torch.float64, device=unit_KD.device) for _ in range(2))
    for start in range(0, len(rows_VD), chunk):
        rows = rows_VD[start : start + chunk].float()
        norms_V = rows.norm(dim=-1)
        cosines_KV = unit_KD @ (rows[norms_V > 0] / norms_V[norms_V > 0, None]).T
        counts += cosines_KV.shape[1]
        sums_K = sums_K + cosines_KV.sum(dim=1, dtype=torch.float64)
        squares_K = squares_K + cosines_KV.square().sum(dim=1, dtype=torch.float64)
    variance_K = squares_K / counts - (sums_K / counts) ** 2
    return variance_K.to(unit_KD), len(rows_VD) - counts


def overlap(one: Neurons, other: Neurons) -> float:
    """Intersection over union of the two chosen sets."""
    a, b = set(one.chosen), set(other.chosen)
    return len(a & b) / len(a | b)
