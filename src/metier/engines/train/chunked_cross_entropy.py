"""Cross-entropy of a language model's head without its logits.

The full logits of N tokens over a vocabulary V take N x V numbers, three times over with their gradient; for small models they are most
of the memory of a training step. Here the head runs over a chunk of tokens at a time, and the gradients of the hidden states and of the
head's weight are made in the same pass, so that a chunk's logits are all that ever exists.

N predicted tokens, C tokens of a chunk, D hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from metier.method import method

CHUNK_BYTES = 64 * 2**20  # of one chunk's logits in fp32


class TokenLoss(NamedTuple):
    """total: scalar, differentiable, the sum in nats; nll (N,): each token's own loss in fp32, without gradient."""

    total: Tensor
    nll: Tensor


@method(
    paper="Cut Your Losses in Large-Vocabulary Language Models, arXiv 2411.09009 (the idea; here in plain torch, by chunks of tokens)",
    claim="loss and gradients of the plain cross-entropy, never holding the full logits",
)
def chunked_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    labels_N: Tensor,
    bias_V: Tensor | None = None,
    *,
    scale: float = 1.0,
    softcap: float | None = None,
    chunk_tokens: int | None = None,
) -> TokenLoss:
    """The summed cross-entropy of `labels_N` (int64, no ignored ones: select predicted tokens before) and each token's loss.

    Logits are softcap * tanh(scale * (hidden @ weight.T + bias) / softcap), computed in the dtype of `hidden_ND`; sums and exponentials are
    fp32. The weight may be of another dtype (fp32 master weights under autocast). Gradients are made for hidden states, and for weight and
    bias where they are trained. No tokens give a zero that has a gradient.
    Settings:
        scale: factor on the logits (Cohere's logit_scale, 1 / Granite's logits_scaling)
        softcap: bound of the logits by tanh (Gemma 2); null for none
        chunk_tokens: tokens whose logits exist at once; null for 64 MiB of fp32 logits
    """
    if hidden_ND.shape[0] != labels_N.shape[0]:
        raise ValueError(f"{hidden_ND.shape[0]} hidden states and {labels_N.shape[0]} labels: they must be as many")
    if chunk_tokens is not None and chunk_tokens < 1:
        raise ValueError(f"chunk_tokens={chunk_tokens} is no chunk: give 1 or more")
    if chunk_tokens is None:
        chunk_tokens = max(1, CHUNK_BYTES // (4 * weight_VD.shape[0]))
    total, nll_N = _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, bias_V, labels_N, scale, softcap, chunk_tokens)
    return TokenLoss(total, nll_N)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        labels_N: Tensor,
        scale: float,
        softcap: float | None,
        chunk_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        weight = weight_VD.to(hidden_ND.dtype)
        grad_hidden_ND = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_weight_VD = torch.zeros(weight_VD.shape, dtype=torch.float32, device=weight_VD.device) if needs_weight else None
        grad_bias_V = (
            torch.zeros(bias_V.shape, dtype=torch.float32, device=bias_V.device) if needs_bias and bias_V is not None else None
        )
        nll_N = torch.empty(hidden_ND.shape[0], dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, hidden_ND.shape[0], chunk_tokens):
            part = slice(start, start + chunk_tokens)
            hidden_CD, labels_C = hidden_ND[part], labels_N[part]
            logits_CV = hidden_CD @ weight.T
            if bias_V is not None:
                logits_CV = logits_CV + bias_V.to(logits_CV.dtype)
            bounded_CV = None
            if scale != 1.0 or softcap is not None:
                logits_CV = logits_CV.float() * scale
            if softcap is not None:
                bounded_CV = torch.tanh(logits_CV / softcap)
                logits_CV = softcap * bounded_CV
            logprobs_CV = torch.log_softmax(logits_CV, dim=-1, dtype=torch.float32)
            nll_N[part] = -logprobs_CV.gather(1, labels_C[:, None]).squeeze(1)
            if not (needs_hidden or needs_weight or needs_bias):
                continue
            grad_CV = logprobs_CV.exp_()
            grad_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1.0
            if bounded_CV is not None:
                grad_CV *= 1 - bounded_CV.square()
            if scale != 1.0:
                grad_CV *= scale
            if grad_bias_V is not None:
                grad_bias_V += grad_CV.sum(0)
            grad = grad_CV.to(hidden_ND.dtype)
            if grad_hidden_ND is not None:
                grad_hidden_ND[part] = grad @ weight
            if grad_weight_VD is not None:
                grad_weight_VD += grad.T @ hidden_CD
        ctx.save_for_backward(grad_hidden_ND, grad_weight_VD, grad_bias_V)
        ctx.dtypes = weight_VD.dtype, bias_V.dtype if bias_V is not None else None
        ctx.mark_non_differentiable(nll_N)
        return nll_N.sum(), nll_N

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        return (
            hidden * grad_total.to(hidden.dtype) if hidden is not None else None,
            (weight * grad_total).to(ctx.dtypes[0]) if weight is not None else None,
            (bias * grad_total).to(ctx.dtypes[1]) if bias is not None else None,
            None,
            None,
            None,
            None,
        )
