"""The objectives as functions of each token's loss and score.

nll_N: -log p of each predicted token in nats, fp32; badness_N: the score of its segment, higher is worse (its reward is R = -badness);
value_N: what the value head expects of R. Each gives the sum over the tokens as a scalar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 1e-20  # of 1 - p
MOST_WEIGHT = 1000.0


def unlikelihood(nll_N: Tensor, badness_N: Tensor, *, threshold: float, alpha: float) -> Tensor:
    """-log p of tokens up to the threshold, which may be 0, and -alpha log(1 - p) of worse ones."""
    # By expm1: near p = 1 the plain difference has no correct digit left. At p = 1 to the bit the clamp gives a gradient of 0.
    unlikely_N = -torch.log((-torch.expm1(-nll_N)).clamp_min(LEAST))
    return torch.where(badness_N > threshold, alpha * unlikely_N, nll_N).sum()


def rwr(nll_N: Tensor, badness_N: Tensor, *, beta: float) -> Tensor:
    """-log p times exp(R / beta), at most 1000."""
    return (nll_N * weights(-badness_N, beta)).sum()


def awr(nll_N: Tensor, badness_N: Tensor, value_N: Tensor, *, alpha: float, beta: float) -> Tensor:
    """alpha times -log p times exp((R - V) / beta), at most 1000, plus 1 - alpha times (R - V)^2; the weight is a constant."""
    weight_N = weights(-badness_N - value_N.detach(), beta)
    return (alpha * nll_N * weight_N + (1 - alpha) * (-badness_N - value_N).square()).sum()


def weights(advantage_N: Tensor, beta: float) -> Tensor:
    """exp(advantage / beta), at most 1000."""
    return (advantage_N / beta).exp().clamp_max(MOST_WEIGHT)


class Spread(NamedTuple):
    """What weights do. effective: exp(entropy) of them as a share of their number, 1 for equal ones (then the objective is plain
    likelihood in disguise); clamped: share at the bound; ratio: of their 95th to their 5th percentile."""

    effective: float
    clamped: float
    ratio: float


def spread(badness: Sequence[float], beta: float) -> Spread:
    """Of the weights of RWR over tokens with these scores, before any training. Raises ValueError for none."""
    if not badness:
        raise ValueError("no scores: weights of nothing have no spread")
    weight_N = weights(-torch.tensor(badness, dtype=torch.float64), beta)
    share_N = weight_N / weight_N.sum()
    entropy = torch.special.entr(share_N).sum()
    low, high = torch.quantile(weight_N, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return Spread(float(entropy.exp()) / len(weight_N), float((weight_N >= MOST_WEIGHT).double().mean()), high / max(low, 1e-300))
