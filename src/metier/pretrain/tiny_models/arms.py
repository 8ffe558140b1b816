"""The arms of the comparison: what is pretrained, what is fine-tuned, and what of it is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from metier.artifacts import Corpus, Model
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.fit import Schedule, fit
from metier.pretrain.from_scratch import Size, from_scratch
from metier.pretrain.tiny_models.classifier import Classes, documents, plain, probabilities
from metier.pretrain.tiny_models.committee import Average, committee_of, mean_logits
from metier.pretrain.tiny_models.measured import accuracy, agreement, difference, latency
from metier.pretrain.tiny_models.results import Arm, Findings

ROWS_PER_STEP = 32  # the paper's batch

# M members, N documents, C classes


@dataclass
class Bench:
    """Texts, documents and settings that all arms share. Every training has a folder of its own, from which it resumes."""

    corpus: Corpus
    train: Sequence[dict[str, Any]]
    test: Sequence[dict[str, Any]]
    label: str
    labels: list[str]
    epochs: tuple[float, float]
    learning_rate: float
    vocabulary: int
    sequence_length: int
    folder: Path
    sequences: dict[str, list[TokenSequence]] = field(default_factory=dict)
    pad: int = 0

    def pretrained(self, name: str, size: Size, seed: int, tokenizer: Model | None) -> Model:
        """A BERT after reading the corpus; with a tokenizer of its own for None."""
        return from_scratch(
            self.corpus,
            None,
            tokenizer,
            size=size,
            vocabulary=self.vocabulary,
            objective="masked",
            epochs=self.epochs[0],
            learning_rate=self.learning_rate,
            sequence_length=self.sequence_length,
            batch_tokens=ROWS_PER_STEP * self.sequence_length,
            lr_scheduler_type="linear",
            weight_decay=0.01,
            precision="float32",
            seed=seed,
            workdir=self.folder / name,
        )

    def initial(self, name: str) -> Model:
        """The model of an arm before its pretraining."""
        return Model.open(self.folder / name / "initial")

    def read(self, tokenizer: Model) -> None:
        """The documents in tokens."""
        words = tokenizer.tokenizer()
        self.pad = int(words.pad_token_id)
        for name, rows in (("train", self.train), ("test", self.test)):
            self.sequences[name] = documents(rows, self.label, self.labels, words, self.sequence_length)

    def tuned(self, name: str, model: Model, seed: int) -> PreTrainedModel:
        """The classifier made of a model, all weights trained."""
        schedule = Schedule(self.epochs[1], ROWS_PER_STEP, self.learning_rate, shape="linear", weight_decay=0.01)
        done = fit(
            model,
            [[sequence] for sequence in self.sequences["train"]],
            [],
            schedule,
            adapter=None,
            precision="float32",
            checkpoint_seconds=120.0,
            seed=seed,
            workdir=self.folder / f"tuned-{name}",
            method="pretrain.tiny_models",
            objective=Classes(tuple(self.labels), seed),
        )
        return plain(done)

    def findings(
        self, networks: Mapping[Arm, Sequence[PreTrainedModel]], average: Average, share: float, counts: dict[str, int], seed: int
    ) -> Findings:
        truth_N = torch.tensor([sequence.labels[0] for sequence in self.sequences["test"]])
        found: dict[Arm, torch.Tensor] = {
            arm: torch.stack([probabilities(one, self.sequences["test"], self.pad) for one in members])
            for arm, members in networks.items()
        }
        right = {arm: found_MNC.argmax(-1) == truth_N for arm, found_MNC in found.items()}
        together: dict[Arm, torch.Tensor] = {arm: right[arm][0] for arm in ("deep", "deep, not pretrained")}
        for arm, of in (("committee", "members"), ("one pretraining", "one pretraining")):
            together[arm] = mean_logits(found[of].log(), average).argmax(-1) == truth_N  # type: ignore[index]
        oracle, disagreement = agreement(found["members"].argmax(-1), right["members"])
        notes = [] if disagreement > 0 else ["the members are copies: they never disagree, so that the committee is one of them"]
        return Findings(
            [
                accuracy("deep", networks["deep"], [together["deep"]]),
                accuracy("deep, not pretrained", networks["deep, not pretrained"], [together["deep, not pretrained"]]),
                accuracy("members", networks["members"], list(right["members"])),
                accuracy("committee", networks["members"], [together["committee"]]),
                accuracy("one pretraining", networks["one pretraining"], [together["one pretraining"]]),
            ],
            difference(together, "deep, not pretrained", "deep", seed),
            [difference(together, arm, "committee", seed) for arm in ("deep", "one pretraining")],
            oracle,
            disagreement,
            share,
            [
                latency("deep", networks["deep"], self.sequence_length),
                latency("committee", networks["members"], self.sequence_length),
            ],
            counts,
            notes,
        )

    def stored(
        self, deep: PreTrainedModel, members: Sequence[PreTrainedModel], average: Average, words: Model
    ) -> tuple[Model, Model]:
        """The deep classifier and the committee as models."""
        tokenizer, facts = words.tokenizer(), {"method": "pretrain.tiny_models"}
        return (
            Model.of(deep, tokenizer, self.folder / "deep-classifier", **facts),
            Model.of(committee_of(members, average), tokenizer, self.folder / "committee", **facts, members=len(members)),
        )
