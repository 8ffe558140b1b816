"""Fine-tuning of a BERT to name a document's class, in the training engine: the class stands as the label of the first token."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import TokenClassifierOutput

from metier.artifacts import Model
from metier.artifacts.quiet import quiet_transformers
from metier.engines.text.rows import Row
from metier.engines.text.sequences import IGNORED, TokenSequence, border_tokens
from metier.engines.train.batches import Collator
from metier.engines.train.packed_loss import PackedLoss, blocks
from metier.engines.train.segments import NAME

# B documents, T tokens, D hidden size, C classes, N classified places


class PlaceClassifier(BertForSequenceClassification):
    """The classifier with logits (B, T, C) at every place, so that packed documents can be told apart; the same weights."""

    def forward(self, input_ids: Tensor, **inputs: Any) -> TokenClassifierOutput:  # type: ignore[override]
        hidden_BTD = self.bert(input_ids, **inputs).last_hidden_state
        return TokenClassifierOutput(logits=self.at(hidden_BTD))

    def at(self, hidden_D: Tensor) -> Tensor:
        """Logits from hidden states of any leading shape: pooler, dropout, classifier."""
        pooled = torch.tanh(self.bert.pooler.dense(hidden_D))
        found: Tensor = self.classifier(self.dropout(pooled))
        return found


@dataclass(frozen=True)
class Classes:
    """The objective: cross-entropy of the class at the places that have a label. Pooler and classifier begin at random, from `seed`, where
    the model has none (a masked language model has neither)."""

    labels: tuple[str, ...]
    seed: int

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel:
        names = dict(enumerate(self.labels))
        with quiet_transformers(), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = PlaceClassifier.from_pretrained(
                model.path,
                dtype=dtype,
                use_safetensors=True,
                id2label=names,
                label2id={name: number for number, name in names.items()},
            )
        return network.eval()

    def prepare(self, network: PreTrainedModel) -> None:
        def forward(self: PlaceClassifier, input_ids: Tensor, labels: Tensor, **inputs: Any) -> PackedLoss:
            if self.config._attn_implementation != NAME:
                inputs = {"position_ids": inputs["position_ids"], "attention_mask": blocks(inputs["cu_seq_lens_q"])}
            hidden_1TD = self.bert(input_ids, **inputs).last_hidden_state
            chosen_1T = labels != IGNORED
            nll_N = nn.functional.cross_entropy(self.at(hidden_1TD[chosen_1T]).float(), labels[chosen_1T], reduction="none")
            return PackedLoss(loss=nll_N.sum(), nll=nll_N.detach())

        network.forward = types.MethodType(forward, network)  # type: ignore[method-assign]

    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        return Collator(names)(rows)


def documents(
    rows: Sequence[Mapping[str, Any]], label: str, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, longest: int
) -> list[TokenSequence]:
    """Each row's text between the border tokens, cut to `longest`, its class as the label of the first token."""
    begin, end = border_tokens(tokenizer)
    found = []
    for row in rows:
        ids = tokenizer(row["text"], add_special_tokens=False, verbose=False)["input_ids"][: longest - 2]
        sequence = [begin, *ids, end]
        found.append(TokenSequence(sequence, [labels.index(str(row[label])), *[IGNORED] * (len(sequence) - 1)], "documents"))
    return found


def plain(model: Model) -> PreTrainedModel:
    """The fine-tuned network as the class that transformers knows."""
    with quiet_transformers():
        network = AutoModelForSequenceClassification.from_pretrained(model.path, use_safetensors=True, trust_remote_code=False)
    return network.eval()  # type: ignore[no-any-return]


@torch.no_grad()
def probabilities(network: nn.Module, sequences: Sequence[TokenSequence], pad: int, at_once: int = 64) -> Tensor:
    """(documents, C) float32, each document's classes; padded to the longest of a batch."""
    parts = []
    for start in range(0, len(sequences), at_once):
        ids = [torch.tensor(sequence.input_ids) for sequence in sequences[start : start + at_once]]
        ids_BT = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
        mask_BT = nn.utils.rnn.pad_sequence([torch.ones(len(one), dtype=torch.int64) for one in ids], batch_first=True)
        parts.append(network(input_ids=ids_BT, attention_mask=mask_BT).logits.float().softmax(-1))
    return torch.cat(parts)
