"""pass@k: the chance that at least one of k answers is right, from n answers of which c are."""

from __future__ import annotations

from math import comb


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): the mean over all sets of k of the n answers of whether one of them is right, so without bias.

    Estimating it as 1 - (1 - c / n)^k would be too low. Source: Chen et al. 2021, arXiv 2107.03374, section 2.1.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"{num_correct} of {num_samples} answers cannot be right: give 0 <= num_correct <= num_samples")
    if not 1 <= k <= num_samples:
        raise ValueError(f"k={k} of {num_samples} answers cannot be drawn: give 1 <= k <= num_samples")
    return 1 - comb(num_samples - num_correct, k) / comb(num_samples, k)
