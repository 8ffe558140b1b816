"""What `fit` needs to train with scores: rows that carry them, the objective, and the value head of AWR."""
# T places of a row, N predicted tokens, C of a chunk, D hidden size, V vocabulary

from __future__ import annotations

import hashlib
import types
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from metier.artifacts import Model
from metier.engines.text.rows import ListedRows, Row
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.batches import Collator
from metier.engines.train.chunked_cross_entropy import CHUNK_BYTES
from metier.engines.train.packed_loss import PackedLoss, lose_in_chunks
from metier.pretrain.human_preferences import losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["unlikelihood", "rwr", "awr"]


@dataclass(frozen=True)
class ScoredSequence(TokenSequence):
    """A sequence with the score of the segment that each token belongs to, as many as input_ids."""

    scores: list[float] = field(default_factory=list)


class ScoredRows(ListedRows):
    """Rows of scored sequences; the fingerprint follows the scores, too."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        digest = hashlib.sha256(self.fingerprint.encode())
        for row in rows:
            for sequence in row:
                digest.update(array("d", sequence.scores if isinstance(sequence, ScoredSequence) else []).tobytes())
        self.fingerprint = digest.hexdigest()[:16]


@dataclass(frozen=True)
class Preference:
    """An objective with scores; tokens of sequences without them (held-out rows) are measured by plain likelihood.

    kind: which of losses.py; threshold: of unlikelihood; alpha: of unlikelihood and AWR; beta: of RWR and AWR
    """

    kind: Kind
    threshold: float = 0.0
    alpha: float = 1.0
    beta: float = 1.0

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel:
        return model.load(dtype=dtype)

    def prepare(self, network: PreTrainedModel) -> None:
        lose_in_chunks(network)
        plain, objective = network.forward, self

        def forward(
            self: PreTrainedModel, input_ids: Tensor, labels: Tensor, badness: Tensor | None = None, **inputs: Any
        ) -> PackedLoss:
            if badness is None or not self.training:
                return plain(input_ids=input_ids, labels=labels, **inputs)  # type: ignore[no-any-return]
            hidden_1TD = self.get_decoder()(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
            return objective.loss(self, hidden_1TD[labels != IGNORED], labels[labels != IGNORED], badness)

        network.forward = types.MethodType(forward, network)

    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        found = Collator(names)(rows)
        scores: list[float] = []
        for sequence in (sequence for row in rows for sequence in row):
            if not isinstance(sequence, ScoredSequence):
                return found
            # Labels stand a place before the token they name, and so do scores.
            scores += [
                score for score, label in zip([*sequence.scores[1:], 0.0], sequence.labels, strict=True) if label != IGNORED
            ]
        return found | {"badness": torch.tensor(scores, dtype=torch.float32)}

    def loss(self, network: PreTrainedModel, hidden_ND: Tensor, labels_N: Tensor, badness_N: Tensor) -> PackedLoss:
        """The loss of predicted tokens from the hidden states before them."""
        if len(badness_N) != len(labels_N):  # rows that only keep processes in step have no labels
            badness_N = badness_N[:0]
        nll_N = token_nll(network, hidden_ND, labels_N)
        if self.kind == "unlikelihood":
            total = losses.unlikelihood(nll_N, badness_N, threshold=self.threshold, alpha=self.alpha)
        elif self.kind == "rwr":
            total = losses.rwr(nll_N, badness_N, beta=self.beta)
        else:
            total = losses.awr(nll_N, badness_N, network.value_head(hidden_ND), alpha=self.alpha, beta=self.beta)
        return PackedLoss(loss=total, nll=nll_N.detach())


class ValueHead(nn.Module):
    """V = -sigmoid(h w): rewards between -1 and 0. w is zero at first, so V is -1/2 everywhere."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, hidden_ND: Tensor) -> Tensor:
        """(N,) fp32."""
        return -torch.sigmoid(hidden_ND.float() @ self.weight.float())


@dataclass(frozen=True)
class WithValueHead:
    """Puts a value head on for the length of training. Its loss flows into the body."""

    def put_on(self, model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
        model.value_head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
        return model

    def take_off(self, adapted: PreTrainedModel) -> PreTrainedModel:
        del adapted.value_head
        return adapted


def token_nll(network: PreTrainedModel, hidden_ND: Tensor, labels_N: Tensor, chunk_tokens: int | None = None) -> Tensor:
    """(N,) fp32: -log p of each label, with its gradient. Logits exist for a chunk at a time, and are computed again in the backward pass.

    `chunked_cross_entropy` has the gradient of the plain sum only, and these objectives need each token's.
    """
    head: Any = network.get_output_embeddings()
    config = network.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0))
    softcap = getattr(config, "final_logit_softcapping", None)
    chunk_tokens = chunk_tokens or max(1, CHUNK_BYTES // (4 * head.weight.shape[0]))

    def nll(hidden_CD: Tensor, labels_C: Tensor) -> Tensor:
        logits_CV = nn.functional.linear(hidden_CD, head.weight.to(hidden_CD.dtype), head.bias).float() * scale
        if softcap is not None:
            logits_CV = softcap * torch.tanh(logits_CV / softcap)
        return nn.functional.cross_entropy(logits_CV, labels_C, reduction="none")

    parts = [
        checkpoint(nll, hidden_CD, labels_C, use_reentrant=False)
        for hidden_CD, labels_C in zip(hidden_ND.split(chunk_tokens), labels_N.split(chunk_tokens), strict=True)
    ]
    return torch.cat(parts) if len(labels_N) else hidden_ND.sum().float().reshape(1)[:0]
