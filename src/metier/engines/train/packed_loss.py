"""A model's forward pass with the loss of packed rows: its head runs only where a token is predicted, by chunks."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from metier.engines.text.sequences import IGNORED
from metier.engines.train.chunked_cross_entropy import chunked_cross_entropy
from metier.engines.train.segments import NAME, plain_attention


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
    head = _linear_head(model)
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0))
    softcap = getattr(config, "final_logit_softcapping", None)

    def forward(self: PreTrainedModel, input_ids: Tensor, labels: Tensor, **inputs: Any) -> PackedLoss:
        hidden_1TD = self.get_decoder()(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
        return _loss(hidden_1TD, labels, head, scale, softcap)

    model.forward = types.MethodType(forward, model)


def lose_before_the_head(model: PreTrainedModel) -> None:
    """`lose_in_chunks` for masked language models and encoder-decoders, which do things of their own between body and head.

    The model's own forward runs with its last linear layer left out, so that its "logits" are what that layer would see. Sequences of a
    row are kept apart by a block-diagonal mask where attention does not do it from their borders. Labels are (1, T), or (B, T) of an
    encoder-decoder, whose decoder reads them shifted.
    """
    head = _linear_head(model)
    own = type(model).forward
    window = getattr(model.config, "local_attention", None) or getattr(model.config, "sliding_window", None)
    if window is not None and not model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(model).__name__} attends within {window} tokens, which packed rows of a masked model do not know"
        )

    def forward(self: PreTrainedModel, input_ids: Tensor, labels: Tensor, **inputs: Any) -> PackedLoss:
        if self.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = self.prepare_decoder_input_ids_from_labels(labels)  # type: ignore[operator]
            inputs["use_cache"] = False
        elif self.config._attn_implementation != NAME:
            inputs = {"position_ids": inputs["position_ids"], "attention_mask": blocks(inputs["cu_seq_lens_q"])}
        with _left_out(head):
            hidden_BTD = own(self, input_ids=input_ids, **inputs).logits
        return _loss(hidden_BTD, labels, head, 1.0, None)

    model.forward = types.MethodType(forward, model)


def blocks(borders: Tensor) -> Tensor:
    """(1, 1, T, T) bool: whether two places of a row are of the same sequence. borders: int32 (sequences + 1)."""
    number_T = torch.repeat_interleave(torch.arange(len(borders) - 1, device=borders.device), borders.diff())
    return (number_T[:, None] == number_T[None, :])[None, None]


def restore(model: PreTrainedModel) -> None:
    """The model's own forward again."""
    model.__dict__.pop("forward", None)


def check_against_logits(model: PreTrainedModel, batch: dict[str, Any], tolerance: float = 1e-3) -> None:
    """Compares the chunked loss of a batch's first sequence with the one from the model's own logits.

    Models differ in what they do between their body and the logits; one that does something unknown here is refused before it is
    trained wrongly. Raises ValueError with both numbers. Costs one forward pass of at most 256 tokens.
    """
    ours, theirs = _packed_input(batch) if "cu_seq_lens_q" in batch else _padded_input(model, batch)
    labels = ours["labels"]
    if not bool((labels != IGNORED).any()):
        return
    chosen, training = model.config._attn_implementation, model.training
    model.eval()
    with torch.no_grad():
        our_loss = float(model(**ours).loss)
        model.set_attn_implementation(plain_attention(model))
        logits_TV = type(model).forward(model, **theirs).logits[0].float()
        their_loss = float(nn.functional.cross_entropy(logits_TV, labels[0], ignore_index=IGNORED, reduction="sum"))
    model.set_attn_implementation(chosen)
    model.train(training)
    limit = tolerance if model.dtype == torch.float32 else 0.02
    if not abs(our_loss - their_loss) <= limit * max(1.0, abs(their_loss)):
        raise ValueError(
            f"{type(model).__name__} gives a loss of {their_loss:.4f} from its own logits and {our_loss:.4f} from its body and head: "
            "it does something between the two that metier does not know, so it is not trained"
        )


def _packed_input(batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    start, end = batch["cu_seq_lens_q"][:2].tolist()
    end = min(end, start + 256)
    ids_1T = batch["input_ids"][:, start:end]
    borders = torch.tensor([0, end - start], dtype=torch.int32, device=ids_1T.device)
    ours = {
        "input_ids": ids_1T,
        "labels": batch["labels"][:, start:end],
        "position_ids": batch["position_ids"][:, start:end],
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": end - start,
        "max_length_k": end - start,
    }
    return ours, {"input_ids": ids_1T}


def _padded_input(model: PreTrainedModel, batch: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    ours = {name: batch[name][:1] for name in ("input_ids", "attention_mask", "labels")}
    shifted = model.prepare_decoder_input_ids_from_labels(ours["labels"])  # type: ignore[operator]
    theirs = {"input_ids": ours["input_ids"], "attention_mask": ours["attention_mask"], "decoder_input_ids": shifted}
    return ours, theirs


def _linear_head(model: PreTrainedModel) -> nn.Linear:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise TypeError(
            f"the head of {type(model).__name__} is a {type(head).__name__}, not a linear layer: it cannot run in chunks"
        )
    return head


def _loss(hidden_BTD: Tensor, labels_BT: Tensor, head: nn.Linear, scale: float, softcap: float | None) -> PackedLoss:
    predicted_BT = labels_BT != IGNORED
    hidden_ND = hidden_BTD[predicted_BT]
    if torch.is_autocast_enabled(hidden_ND.device.type):
        hidden_ND = hidden_ND.to(torch.get_autocast_dtype(hidden_ND.device.type))
    found = chunked_cross_entropy(hidden_ND, head.weight, labels_BT[predicted_BT], head.bias, scale=scale, softcap=softcap)
    return PackedLoss(loss=found.total, nll=found.nll)


@contextmanager
def _left_out(layer: nn.Module) -> Iterator[None]:
    layer.forward = lambda hidden: hidden  # type: ignore[method-assign]
    try:
        yield
    finally:
        layer.__dict__.pop("forward", None)
