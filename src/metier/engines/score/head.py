"""Log-probabilities at chosen positions only: the output layer is applied to what was asked, in chunks, never to all positions."""
# N positions asked, D hidden size, V vocabulary, K targets

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

Head = Callable[["Tensor"], "Tensor"]

_CHUNK_BYTES = 64 << 20  # of float32 logits held at once


def find_head(model: PreTrainedModel) -> Head | None:
    """The function from last hidden states (N, D) to logits (N, V), or None where none of the known forms gives the model's own logits.

    Models cap or scale their logits in different ways; which one it is is found by comparing with the model's own answer.
    """
    output = model.get_output_embeddings()
    if output is None or getattr(model, "base_model", model) is model:
        return None
    config = model.config.get_text_config()
    cap, divisor, factor = (getattr(config, name, None) for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"))
    forms: list[Head] = [output]
    if cap is not None:
        forms.append(lambda hidden: torch.tanh(output(hidden) / cap) * cap)
    if divisor is not None:
        forms.append(lambda hidden: output(hidden) / divisor)
    if factor is not None:
        forms.append(lambda hidden: output(hidden) * factor)
    ids = torch.arange(1, 5, device=model.device)[None] % config.vocab_size
    with torch.inference_mode():
        expected = model(input_ids=ids, use_cache=False).logits[0].float()
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
        for form in forms:
            if torch.allclose(form(hidden).float(), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
                return form
    logger.warning(
        "%s: its logits are not a known function of its last hidden states, so all logits are computed", config.model_type
    )
    return None


def target_logprobs(hidden_ND: Tensor, head: Head, vocabulary: int, places: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For K targets: their log-probability (float64), and whether each is the likeliest token; both (K,) on the CPU.

    places: for each target the row of hidden_ND that predicts it (K,), ascending
    targets: the tokens (K,)
    """
    chunk = max(1, _CHUNK_BYTES // (4 * vocabulary))
    logprobs, greedy = [], []
    bounds = torch.searchsorted(places, torch.arange(0, hidden_ND.shape[0] + chunk, chunk, device=places.device)).tolist()
    for number, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            continue
        logits_NV = head(hidden_ND[number * chunk : (number + 1) * chunk]).float()
        rows, tokens = places[start:end] - number * chunk, targets[start:end]
        logprobs.append((logits_NV[rows, tokens] - torch.logsumexp(logits_NV, dim=-1)[rows]).double().cpu())
        greedy.append((logits_NV.argmax(dim=-1)[rows] == tokens).cpu())
    return torch.cat(logprobs), torch.cat(greedy)
