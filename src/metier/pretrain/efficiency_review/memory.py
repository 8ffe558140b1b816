"""Bytes of training and serving, in closed form.

T tokens that go through the network at once, P of them predicted, h hidden size, q queries and k keys of a token, f inner size, a heads,
r rank, V vocabulary, W weights of a block's linear layers. "autocast" is what metier's engine does for bfloat16: fp32 weights, products in
bfloat16. Activations are those of metier's engine (attention within sequences, the head in chunks); they equal what autograd saves, to
the byte, for Llama's blocks. transformers' own forward keeps 4 q fewer a token and layer, and 4 V a token of logits (`plain_activations`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from metier.engines.train.chunked_cross_entropy import CHUNK_BYTES
from metier.pretrain.efficiency_review.sizes import Sizes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Arithmetic = Literal["float32", "autocast"]
# Bytes a parameter: weights, gradients, optimiser (fp32 master weights among its state).
STATES = {
    "adamw": (4, 4, 8),  # fp32 weights, also under autocast: what metier's engine does
    "adamw_mixed": (2, 2, 12),  # bf16 weights and gradients, fp32 master weights and moments
    "adamw_bf16": (2, 2, 4),
    "adamw_8bit": (2, 2, 2),
    "sgd_momentum_mixed": (2, 2, 8),
}
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # blocks of 64 with 8-bit constants, whose own constants are fp32 for 256 of them
GATED_LINEARS = 7


@dataclass(frozen=True)
class Training:
    """How a model is trained. rank: of LoRA, None to train every weight; recompute: activations are computed again, block by block."""

    arithmetic: Arithmetic
    rank: int | None = None
    recompute: bool = False


def states(
    parameters: float, *, optimizer: str = "adamw", stage: int = 0, data_parallel: int = 1, largest_unit: float = 0.0
) -> float:
    """Bytes of weights, gradients and optimiser on one device with ZeRO `stage` 0 to 3 (arXiv 1910.02054, section 5).

    data_parallel is the number of replicas, not of devices; divide parameters by tensor and pipeline parallelism before. Stage 3 adds the
    weights of `largest_unit`, which are gathered whole.
    """
    if optimizer not in STATES:
        raise ValueError(f"optimizer={optimizer!r} is not known: one of {', '.join(STATES)}")
    weights, gradients, state = STATES[optimizer]
    state_share, gradient_share, weight_share = (1 / data_parallel if stage >= least else 1.0 for least in (1, 2, 3))
    gathered = weights * largest_unit if stage == 3 and data_parallel > 1 else 0.0
    return parameters * (weights * weight_share + gradients * gradient_share + state * state_share) + gathered


def activations(sizes: Sizes, tokens: int, predicted: int, training: Training) -> int:
    """What autograd keeps from the forward for the backward pass over `tokens`, of which `predicted` are predicted.

    Raises ValueError for other blocks than Llama's (`trace` counts those).
    """
    if not sizes.is_llama:
        raise ValueError(f"the activations of {sizes.family} are not known in closed form: count them with trace")
    layer, weights = _block(sizes, tokens, training)
    kept = sizes.layers * (layer + weights)
    if training.recompute:
        kept = sizes.layers * 4 * sizes.hidden * tokens + layer + weights
    elif training.rank is not None:
        kept -= _first_block_lacks(sizes, tokens, training)
    return kept + _outside(sizes, tokens, predicted, training)


def kept_activations(config: PretrainedConfig, sizes: Sizes, tokens: int, predicted: int, training: Training) -> int:
    """`activations` for any decoder whose weights are all trained: in closed form where it is known, else counted tensor by tensor."""
    if sizes.is_llama:
        return activations(sizes, tokens, predicted, training)
    if training.rank is not None:
        raise ValueError(f"LoRA on {sizes.family} is not known in closed form: plan it on this machine, where it is measured")
    from metier.pretrain.efficiency_review.trace import traced_activations

    each = 4 if training.arithmetic == "float32" else 2
    body = traced_activations(config, tokens, training.arithmetic)
    head = tokens + each * sizes.hidden * predicted + 4 * sizes.vocabulary * sizes.hidden
    if training.recompute:
        body = sizes.layers * 4 * sizes.hidden * tokens + body // sizes.layers
    return body + each * sizes.layers * sizes.queries * tokens + head


def _block(sizes: Sizes, tokens: int, training: Training) -> tuple[int, int]:
    """Bytes of a block that grow with tokens, and bytes that do not: autocast's copies of weights."""
    h, q, k, f, a = sizes.hidden, sizes.queries, sizes.keys, sizes.inner, sizes.heads
    rank, weights = training.rank, sizes.blocks // sizes.layers
    if training.arithmetic == "float32":
        each = (24 if rank is None else 16) * h + 12 * q + 8 * k + 16 * f + 4 * a + 8
        return tokens * (each + 4 * GATED_LINEARS * (rank or 0)), 0
    each = (26 if rank is None else 18) * h + 6 * q + 4 * k + 8 * f + 4 * a + 8
    return tokens * (each + 2 * GATED_LINEARS * (rank or 0)), 2 * (weights + sizes.lora(rank or 0) // sizes.layers)


def _first_block_lacks(sizes: Sizes, tokens: int, training: Training) -> int:
    """With LoRA nothing before the first block's adapters is trained, so that its first norm and what leads there is not kept."""
    lacks = tokens * (4 * sizes.hidden + 4)
    if training.arithmetic == "autocast":
        lacks += 2 * sizes.hidden * (sizes.queries + 2 * sizes.keys) + 6 * (training.rank or 0) * sizes.hidden
    return lacks


def _outside(sizes: Sizes, tokens: int, predicted: int, training: Training) -> int:
    """Final norm, rotary angles, labels' places, and the gradients that the chunked head makes in the forward pass."""
    each = 4 if training.arithmetic == "float32" else 2
    shared = tokens * (8 * sizes.head_size + 1) + each * sizes.hidden * predicted
    if training.rank is not None:
        return shared + tokens * (4 * sizes.hidden + 4)
    return shared + tokens * (8 * sizes.hidden + 12) + 4 * sizes.vocabulary * sizes.hidden


def plain_activations(sizes: Sizes, tokens: int, rows: int, dtype: Literal["float32", "bfloat16"]) -> int:
    """The same of transformers' own forward with labels, all weights in `dtype`, for `rows` sequences of `tokens` tokens each.

    The usual 12h + 4k + 8f a layer lacks the fp32 copies that RMSNorm keeps: 19% too low for SmolLM2.
    """
    h, q, k, f, a, count = sizes.hidden, sizes.queries, sizes.keys, sizes.inner, sizes.heads, tokens * rows
    if dtype == "float32":
        layer, outside = 24 * h + 8 * q + 8 * k + 16 * f + 4 * a + 8, 12 * h + 4 * sizes.vocabulary + 20
        return count * (sizes.layers * layer + outside) + 8 * tokens * sizes.head_size
    layer, outside = 16 * h + 4 * q + 4 * k + 8 * f + 4 * a + 8, 8 * h + 4 * sizes.vocabulary + 20
    return count * (sizes.layers * layer + outside) + 4 * tokens * sizes.head_size


def head_workspace(sizes: Sizes, predicted: int, training: Training) -> int:
    """What the head needs besides while it runs over a chunk: logits, their log-probabilities, and the gradient in its dtype; where it is
    trained, also one product of its gradient, and under autocast a copy of its weight."""
    chunk = min(predicted, max(1, CHUNK_BYTES // (4 * sizes.vocabulary))) * sizes.vocabulary
    each = 4 if training.arithmetic == "float32" else 2
    copy = 2 * sizes.vocabulary * sizes.hidden if training.arithmetic == "autocast" else 0
    product = each * sizes.vocabulary * sizes.hidden if training.rank is None else 0
    return 8 * chunk + copy + product


def training_peak(config: PretrainedConfig, sizes: Sizes, tokens: int, passes: int, training: Training) -> dict[str, int]:
    """The parts of a training step's peak in metier's engine: fp32 weights, gradients, AdamW's moments, activations, the head's workspace.

    With one pass a step gradients come as activations go, so that only the larger of the two counts; with several both are there.
    """
    adapter = sizes.lora(training.rank) if training.rank is not None else 0
    trained = adapter if training.rank is not None else sizes.parameters
    kept = kept_activations(config, sizes, tokens, tokens, training)
    return {
        "weights": 4 * (sizes.parameters + adapter),
        "gradients": 4 * trained if passes > 1 else max(0, 4 * trained - kept),
        "optimizer": 8 * trained,
        "activations": kept,
        "head": head_workspace(sizes, tokens, training),
    }
