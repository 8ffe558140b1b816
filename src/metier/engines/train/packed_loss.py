"""A causal model's forward pass with the loss of packed rows: its head runs only where a token is predicted, by chunks."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from metier.engines.text.sequences import IGNORED
from metier.engines.train.chunked_cross_entropy import chunked_cross_entropy
from metier.engines.train.segments import plain_attention


@dataclass
class PackedLoss(ModelOutput):
    """loss: the sum over predicted tokens in nats; nll (predicted tokens,): each one's, fp32, in order, without gradient."""

    loss: Tensor | None = None
    nll: Tensor | None = None


def lose_in_chunks(model: PreTrainedModel) -> None:
    """Makes `model(input_ids, labels=..., ...)` return a PackedLoss; labels (1, T) say what is predicted *at* each place.

    Only this object changes, and `restore` undoes it: it stays of its class, so that wrappers for several processes work as ever.
    Raises TypeError for a model whose head is not a plain linear layer on its decoder.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise TypeError(
            f"the head of {type(model).__name__} is a {type(head).__name__}, not a linear layer: it cannot run in chunks"
        )
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0))
    softcap = getattr(config, "final_logit_softcapping", None)

    def forward(self: PreTrainedModel, input_ids: Tensor, labels: Tensor, **inputs: Any) -> PackedLoss:
        hidden_1TD = self.get_decoder()(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
        predicted_1T = labels != IGNORED
        hidden_ND = hidden_1TD[predicted_1T]
        if torch.is_autocast_enabled(hidden_ND.device.type):
            hidden_ND = hidden_ND.to(torch.get_autocast_dtype(hidden_ND.device.type))
        found = chunked_cross_entropy(hidden_ND, head.weight, labels[predicted_1T], head.bias, scale=scale, softcap=softcap)
        return PackedLoss(loss=found.total, nll=found.nll)

    model.forward = types.MethodType(forward, model)


def restore(model: PreTrainedModel) -> None:
    """The model's own forward again."""
    model.__dict__.pop("forward", None)


def check_against_logits(model: PreTrainedModel, batch: dict[str, Any], tolerance: float = 1e-3) -> None:
    """Compares the chunked loss of a packed batch with the one from the model's own logits, sequence by sequence.

    Models differ in what they do between the decoder and the logits; one that does something unknown here is refused before it is
    trained wrongly. Raises ValueError with both numbers. Costs one forward pass of at most 256 tokens.
    """
    borders = batch["cu_seq_lens_q"].tolist()
    start, end = borders[0], min(borders[1], 256)
    ids_1T, labels_1T = batch["input_ids"][:, start:end], batch["labels"][:, start:end]
    if not bool((labels_1T != IGNORED).any()):
        return
    borders_T = torch.tensor([0, end - start], dtype=torch.int32, device=ids_1T.device)
    positions_1T = torch.arange(end - start, device=ids_1T.device)[None]
    chosen, training = model.config._attn_implementation, model.training
    model.eval()
    with torch.no_grad():
        ours = model(
            input_ids=ids_1T, labels=labels_1T, position_ids=positions_1T, cu_seq_lens_q=borders_T, cu_seq_lens_k=borders_T,
            max_length_q=end - start, max_length_k=end - start,
        ).loss  # fmt: skip
        model.set_attn_implementation(plain_attention(model))
        logits_TV = type(model).forward(model, input_ids=ids_1T, use_cache=False).logits[0].float()
        theirs = nn.functional.cross_entropy(logits_TV, labels_1T[0], ignore_index=IGNORED, reduction="sum")
    model.set_attn_implementation(chosen)
    model.train(training)
    limit = tolerance if model.dtype == torch.float32 else 0.02
    if not abs(float(ours) - float(theirs)) <= limit * max(1.0, abs(float(theirs))):
        raise ValueError(
            f"{type(model).__name__} gives a loss of {float(theirs):.4f} from its own logits and {float(ours):.4f} from its decoder and head: "
            "it does something between the two that metier does not know, so it is not trained"
        )
