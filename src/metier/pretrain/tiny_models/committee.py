"""A soft committee: several classifiers that answer together, as one model that from_pretrained opens once metier is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

Average = Literal["probabilities", "logits"]


class SoftCommitteeConfig(PreTrainedConfig):
    """members: the configurations of the members, as dictionaries with model_type; average: of what"""

    model_type = "metier_soft_committee"

    def __init__(self, members: Sequence[dict[str, Any]] = (), average: Average = "probabilities", **rest: Any) -> None:
        self.members, self.average = list(members), average
        super().__init__(**rest)


class SoftCommittee(PreTrainedModel):
    """Logits (B, classes): the logarithm of the members' mean probability, or their mean logit."""

    config_class = SoftCommitteeConfig
    base_model_prefix = "members"

    def __init__(self, config: SoftCommitteeConfig) -> None:
        super().__init__(config)
        made = [AutoConfig.for_model(**member) for member in config.members]
        self.members = nn.ModuleList([AutoModelForSequenceClassification.from_config(one) for one in made])
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        found_MBC = torch.stack([member(input_ids=input_ids, attention_mask=attention_mask).logits for member in self.members])
        logits_BC = mean_logits(found_MBC, self.config.average)
        loss = nn.functional.cross_entropy(logits_BC, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits_BC)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: members bring their weights."""


def mean_logits(logits_MBC: Tensor, average: Average) -> Tensor:
    """Members' logits (M, B, C) as one (B, C); of probabilities in logarithms, so that small ones keep their digits."""
    if average == "logits":
        return logits_MBC.mean(0)
    return torch.logsumexp(logits_MBC.log_softmax(-1), dim=0) - torch.log(torch.tensor(float(len(logits_MBC))))


def committee_of(networks: Sequence[PreTrainedModel], average: Average) -> SoftCommittee:
    """The committee of classifiers, copied. Raises ValueError for none, and for other labels or vocabularies than the first's."""
    if not networks:
        raise ValueError("a committee needs a member")
    first = networks[0].config
    for number, network in enumerate(networks):
        if network.config.id2label != first.id2label:
            raise ValueError(
                f"member {number} names its classes {network.config.id2label}, the first {first.id2label}: map them first"
            )
        if network.config.vocab_size != first.vocab_size:
            raise ValueError(
                f"member {number} reads {network.config.vocab_size} tokens, the first {first.vocab_size}: use one tokenizer"
            )
    window = min(network.config.max_position_embeddings for network in networks)
    config = SoftCommitteeConfig(
        members=[network.config.to_dict() for network in networks],
        average=average,
        id2label=first.id2label,
        label2id=first.label2id,
        max_position_embeddings=window,
        pad_token_id=first.pad_token_id,
    )
    with torch.random.fork_rng():
        made = SoftCommittee(config)
    for place, network in enumerate(networks):
        made.members[place].load_state_dict(network.state_dict())
    made.eval()
    return made


AutoConfig.register(SoftCommitteeConfig.model_type, SoftCommitteeConfig, exist_ok=True)
AutoModelForSequenceClassification.register(SoftCommitteeConfig, SoftCommittee, exist_ok=True)
