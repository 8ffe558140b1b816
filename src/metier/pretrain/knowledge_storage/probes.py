"""P-probing and Q-probing: can an attribute be read off a frozen model, before it is told and from the name alone?"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from metier.progress import task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# B texts of a batch, T tokens, D hidden size, K positions of a text, C classes


@dataclass(frozen=True)
class Asked:
    """A text whose hidden states are read. ids: its tokens; places: K tokens whose states are read; group: train and test share none"""

    ids: list[int]
    places: list[int]
    group: str


@dataclass(frozen=True)
class Training:
    """How a probe is trained. rank: of the update of the embedding, 0 for none, which reads states only once and is a hundred times
    faster; the rest is the paper's: AdamW, learning rate falling linearly to 0, weight decay"""

    rank: int = 2
    steps: int = 30_000
    batch: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.rank < 0 or self.steps < 1 or self.batch < 2 or not self.learning_rate > 0:
            raise ValueError(f"a probe with {self} learns nothing: give rank 0 or more, steps 1 or more, batch 2 or more")


@dataclass(frozen=True)
class Found:
    """correct (K,) and asked: right answers on groups not trained on, at each place; majority: share of the commonest class there"""

    correct: list[int]
    asked: int
    majority: float
    classes: int

    @property
    def accuracy(self) -> list[float]:
        return [count / self.asked for count in self.correct]


class Probe(nn.Module):
    """What is trained: a low-rank update of the input embedding, a norm with weights, and a linear map for each of K places.

    up (V, rank) begins at 0, so that the update does. norm is LayerNorm (P-probe) or BatchNorm (Q-probe).
    """

    def __init__(
        self, network: PreTrainedModel, rank: int, places: int, classes: int, norm: str, generator: torch.Generator
    ) -> None:
        super().__init__()
        vocabulary, hidden = network.get_input_embeddings().weight.shape
        device = network.device
        if rank:
            self.up = nn.Parameter(torch.zeros(vocabulary, rank, device=device))
            self.down = nn.Parameter(torch.randn(rank, hidden, generator=generator).to(device) * hidden**-0.5)
        self.rank = rank
        size = network.config.get_text_config().hidden_size
        self.norms = nn.ModuleList(
            (nn.LayerNorm if norm == "layer" else nn.BatchNorm1d)(size, device=device) for _ in range(places)
        )
        heads = [nn.Linear(size, classes, device=device) for _ in range(places)]
        self.heads = nn.ModuleList(heads)
        for head in heads:
            with torch.no_grad():
                head.weight.copy_(torch.randn(classes, size, generator=generator) * size**-0.5)
                head.bias.zero_()

    def embed(self, network: PreTrainedModel, ids_BT: Tensor) -> Tensor:
        """(B, T, D): the network's own embedding, and the update on top. A tied head is not touched: only the input side is changed."""
        plain: Tensor = network.get_input_embeddings()(ids_BT)
        return plain + (self.up[ids_BT] @ self.down).to(plain.dtype) if self.rank else plain

    def logits(self, states_BKD: Tensor) -> Tensor:
        """(B, K, C)"""
        return torch.stack(
            [head(norm(states_BKD[:, k])) for k, (head, norm) in enumerate(zip(self.heads, self.norms, strict=True))], dim=1
        )


@dataclass
class Reader:
    """A frozen network and the states of texts that it has read already. dropout stays on while a probe is trained, as in the paper."""

    network: PreTrainedModel
    batch: int = 50
    _known: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for weight in self.network.parameters():
            weight.requires_grad_(False)
        rates = [module.p for module in self.network.modules() if isinstance(module, nn.Dropout)]
        if not any(rates):
            logger.warning(
                "the model has no dropout, which the paper leaves on against over-fitting: compare with shuffled labels"
            )

    def states(self, probe: Probe, texts: Sequence[Asked]) -> Tensor:
        """(B, K, D) in float32, of the last layer, after its norm."""
        longest = max(len(text.ids) for text in texts)
        ids_BT = torch.zeros(len(texts), longest, dtype=torch.int64)
        mask_BT = torch.zeros_like(ids_BT)
        for row, text in enumerate(texts):
            ids_BT[row, : len(text.ids)] = torch.tensor(text.ids)
            mask_BT[row, : len(text.ids)] = 1
        device = self.network.device
        embedded = probe.embed(self.network, ids_BT.to(device))
        hidden_BTD = self.network.get_decoder()(
            inputs_embeds=embedded, attention_mask=mask_BT.to(device), use_cache=False
        ).last_hidden_state
        places_BK = torch.tensor([text.places for text in texts], device=device)
        found_BKD: Tensor = hidden_BTD[torch.arange(len(texts), device=device)[:, None], places_BK].float()
        return found_BKD

    @torch.no_grad()
    def cached(self, probe: Probe, texts: Sequence[Asked]) -> Tensor:
        """The states of an unchanged embedding (len(texts), K, D), read once whatever the probe."""
        key = id(texts)
        if key not in self._known:
            self.network.eval()
            self._known = {
                key: torch.cat(
                    [self.states(probe, texts[start : start + self.batch]) for start in range(0, len(texts), self.batch)]
                )
            }
        return self._known[key]


def probe(reader: Reader, texts: Sequence[Asked], labels: Sequence[int], training: Training, *, norm: str, seed: int) -> Found:
    """How often a label (0, 1, ...) is read off the states at each place, in the half of the groups that the probe was not trained on.

    Raises ValueError where there is one class only, where classes are more than half of the groups to train on (then no probe could
    know them), for fewer than four groups, and where a place is no token of its text.
    """
    train, test = _halves(texts, seed)
    classes = max(labels) + 1
    if len(set(labels)) < 2:
        raise ValueError("all labels are the same, so any probe would be right: leave the attribute out")
    if 2 * classes > len({texts[number].group for number in train}):
        raise ValueError(
            f"{classes} classes and {len(train)} texts to learn them from: probe the value's first token, or give more people"
        )
    if bad := [text for text in texts if not all(0 <= place < len(text.ids) for place in text.places)]:
        raise ValueError(f"places {bad[0].places} of {bad[0].group!r} are not in its {len(bad[0].ids)} tokens")
    network, places = reader.network, len(texts[0].places)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of dropout
        made = Probe(network, training.rank, places, classes, norm, generator)
        optimizer = torch.optim.AdamW(
            made.parameters(), training.learning_rate, weight_decay=training.weight_decay, eps=training.epsilon
        )
        gold = torch.tensor(labels, device=network.device)
        with task("probing", total=training.steps, unit="step") as progress:
            for step, numbers in zip(range(training.steps), _batches(train, training.batch, generator), strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = training.learning_rate * (1 - step / training.steps)
                network.train(bool(training.rank))
                logits_BKC = made.train().logits(_read(reader, made, texts, numbers))
                loss = nn.functional.cross_entropy(
                    logits_BKC.flatten(0, 1), gold[numbers].repeat_interleave(places), reduction="sum"
                )
                optimizer.zero_grad()
                (loss / len(numbers)).backward()
                optimizer.step()
                progress.advance(1, loss=float(loss.detach()) / len(numbers) / places)
        network.eval()
        made.eval()
        correct = torch.zeros(places, dtype=torch.int64)
        with torch.no_grad():
            for start in range(0, len(test), training.batch):
                numbers = test[start : start + training.batch]
                found_BK = made.logits(_read(reader, made, texts, numbers)).argmax(-1)
                correct += (found_BK == gold[numbers][:, None]).sum(0).cpu()
    asked = [labels[number] for number in test]
    return Found(correct.tolist(), len(test), max(map(asked.count, set(asked))) / len(asked), classes)


def _read(reader: Reader, made: Probe, texts: Sequence[Asked], numbers: Sequence[int]) -> Tensor:
    if made.rank:
        return reader.states(made, [texts[number] for number in numbers])
    return reader.cached(made, texts)[list(numbers)]


def _halves(texts: Sequence[Asked], seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the texts to train on and to test on; no group is in both."""
    groups = list(dict.fromkeys(text.group for text in texts))
    if len(groups) < 4:
        raise ValueError(f"{len(groups)} people can't be halved into people to learn from and people to ask: give 4 or more")
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    first = {groups[number] for number in order[: len(groups) // 2]}
    return [n for n, text in enumerate(texts) if text.group in first], [
        n for n, text in enumerate(texts) if text.group not in first
    ]


def _batches(numbers: Sequence[int], size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Without end, in epochs; the last batch of one has at least two, as BatchNorm needs."""
    while True:
        order = torch.randperm(len(numbers), generator=generator).tolist()
        for start in range(0, len(order), size):
            chosen = [numbers[place] for place in order[start : start + size]]
            if len(chosen) >= 2:
                yield chosen
