"""Whether a matrix of weights is still as random as it was drawn, so that a surgery that forgets it forgets nothing learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MARGIN = 1.3  # above the edge; of drawn matrices from 16 x 16 on the largest value stays below it


@torch.no_grad()
def looks_trained(weight: Tensor) -> bool:
    """Whether a matrix (m, n) has a singular value that independent entries of its variance do not have.

    Theirs end near s (sqrt m + sqrt n) (Marchenko and Pastur), whatever the entries' distribution and however many are masked; training
    soon puts some far beyond. Twenty power iterations find the largest one from below. A matrix of one value throughout was not trained.
    """
    matrix = weight.detach().float()
    spread = float(matrix.square().mean().sqrt())
    if spread == 0 or not float(matrix.std()) > 1e-6 * spread:
        return False
    rows, columns = matrix.shape
    vector = torch.randn(columns, generator=torch.Generator().manual_seed(0)).to(matrix.device)
    for _ in range(20):
        vector = matrix.T @ (matrix @ (vector / vector.norm()))
    return float(vector.norm().sqrt()) > MARGIN * spread * (math.sqrt(rows) + math.sqrt(columns))
