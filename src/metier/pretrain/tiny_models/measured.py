"""What is measured of the arms: accuracies and their differences, agreement, overlap of tokens, time."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from metier.engines.stats.exact import binomial_interval
from metier.engines.stats.paired import compare_pairs
from metier.pretrain.tiny_models.results import Accuracy, Arm, Difference, Latency

RUNS = 30


def accuracy(arm: Arm, networks: Sequence[nn.Module], right: Sequence[Tensor]) -> Accuracy:
    """right: (documents,) bool, one a model or one of all together. The interval is the exact one; of several models, of as many right on
    average, for they share the documents."""
    mean = float(torch.stack(list(right)).float().mean())
    found = binomial_interval(round(mean * len(right[0])), len(right[0]))
    weights = sum(weight.numel() for network in networks for weight in network.parameters())
    return Accuracy(arm, len(networks), weights, mean, found.low, found.high)


def difference(right: Mapping[Arm, Tensor], first: Arm, second: Arm, seed: int) -> Difference:
    pairs = [(right[arm].double().tolist(), [1.0] * len(right[arm])) for arm in (first, second)]
    return Difference(first, second, *compare_pairs(pairs[0], pairs[1], seed=seed))


def agreement(chosen_MN: Tensor, right_MN: Tensor) -> tuple[float, float]:
    """oracle and mean disagreement of members; 0 for a single one."""
    differ = [float((first != second).float().mean()) for first, second in itertools.combinations(chosen_MN, 2)]
    return float(right_MN.any(0).float().mean()), statistics.fmean(differ) if differ else 0.0


def overlap(pretraining: Iterable[str], labelled: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> float:
    """Share of the labelled texts' tokens that occur in the pretraining texts. Raises ValueError for labelled texts without a token."""
    known: set[int] = set()
    for text in pretraining:
        known.update(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    tokens = [token for text in labelled for token in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]]
    if not tokens:
        raise ValueError("the labelled documents hold no token: look at their column text")
    return sum(token in known for token in tokens) / len(tokens)


def latency(arm: Arm, networks: Sequence[PreTrainedModel], length: int) -> Latency:
    ids_1T = torch.ones((1, length), dtype=torch.int64)
    each = [_median_milliseconds(network, ids_1T) for network in networks]
    layers = max(network.config.num_hidden_layers for network in networks)
    return Latency(arm, layers, len(networks), max(each), sum(each))


@torch.no_grad()
def _median_milliseconds(network: PreTrainedModel, ids_1T: Tensor) -> float:
    mask_1T = torch.ones_like(ids_1T)
    for _ in range(3):
        network(input_ids=ids_1T, attention_mask=mask_1T)
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        network(input_ids=ids_1T, attention_mask=mask_1T)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
