"""When to grow, by how much, and what it will save: the paper's fit, and a fit of one's own.

The paper's fit holds for four times the layers, 410M to 3B weights and 1e19 to 1e22 FLOPs. Beyond, its second term alone can ask for more
tokens than the whole training has, so a plan says that it extrapolates, and never gives the base more than a quarter of the tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

FITTED_PARAMETERS = (410e6, 3e9)
FITTED_FLOPS = (1e19, 1e22)
MOST = 0.25  # of the tokens: the base's share is clamped to it


def fitted_tokens(parameters: float, flops: float) -> float:
    """The tokens d that the base is trained on: log10 d = 0.88 log10 N + 163.27 / log10 C - 5.74 (section 4.2 of the paper).

    parameters: N, of the target without embeddings; flops: C, of the whole training (6 N D)
    """
    if parameters <= 1 or flops <= 10:
        raise ValueError(f"parameters={parameters}, flops={flops}: give the target's weights and the FLOPs of its training")
    return float(10 ** (0.88 * math.log10(parameters) + 163.27 / math.log10(flops) - 5.74))


@dataclass(frozen=True)
class GrowthPlan:
    """How a training that grows once goes, at the FLOPs of training the target from scratch on `tokens`.

    base_parameters: of the base, without embeddings; base_tokens: what it is trained on, d; target_tokens: what the grown one is trained on,
        tokens - d / growth; base_flops, flops: of the base and in all (6 N D)
    fitted_tokens: d by the paper's fit before it was clamped, None for a d that was given; extrapolated: why the fit does not hold here, "" where it does
    """

    growth: int
    parameters: float
    base_parameters: float
    base_tokens: float
    target_tokens: float
    base_flops: float
    flops: float
    fitted_tokens: float | None
    extrapolated: str


def plan_growth(
    parameters: float, tokens: float, *, growth: int = 4, base_tokens: float | None = None, extrapolate: bool = False
) -> GrowthPlan:
    """The plan for a target of `parameters` weights without embeddings and `tokens` tokens.

    base_tokens: d from a probe of one's own (`best_base_tokens`); None asks the paper's fit, which is refused outside of what it was fitted
    on unless `extrapolate` is set, and is clamped to a quarter of the tokens then. Raises ValueError for a growth outside of 2 to 16
    (a base of two layers at sixteen times gained still; 1 grows nothing).
    """
    if not 2 <= growth <= 16:
        raise ValueError(f"growth={growth}: the paper's best is between 2 and 4, and nothing beyond 16 was tried")
    if parameters <= 1 or tokens <= 1:
        raise ValueError(f"parameters={parameters}, tokens={tokens}: give the target's weights and the training's tokens")
    flops = 6 * parameters * tokens
    reason, fitted = "", None
    if base_tokens is None:
        fitted, reason = fitted_tokens(parameters, flops), _outside(parameters, flops, growth)
        if reason and not extrapolate:
            raise ValueError(
                f"{reason}, so the fit's {fitted:.3g} tokens are a guess: measure three short trainings that grow at other times and give "
                "best_base_tokens of them as base_tokens, or set extrapolate"
            )
        base_tokens = min(fitted, MOST * tokens)
        if base_tokens < fitted:
            logger.warning("the fit asks for %.3g tokens for the base; clamped to a quarter of %.3g", fitted, tokens)
    if not 0 < base_tokens < growth * tokens:
        raise ValueError(f"base_tokens={base_tokens} of {tokens} leave nothing for the target: give fewer, at most a quarter")
    base = parameters / growth
    return GrowthPlan(
        growth=growth,
        parameters=parameters,
        base_parameters=base,
        base_tokens=base_tokens,
        target_tokens=tokens - base_tokens / growth,
        base_flops=6 * base * base_tokens,
        flops=flops,
        fitted_tokens=fitted,
        extrapolated=reason,
    )


@dataclass(frozen=True)
class BestTokens:
    """The base tokens at the bottom of a parabola in log d, with a 95% interval over seeds (None for one seed)."""

    value: float
    low: float | None
    high: float | None


def best_base_tokens(base_tokens: Sequence[float], losses: Sequence[Sequence[float]]) -> BestTokens:
    """Where the loss at equal FLOPs is least, by one's own short trainings that grew after `base_tokens` each.

    losses: of each seed, in the order of base_tokens (an IsoFLOP curve, as in the paper). Each seed's parabola in log10 d has its bottom; the
    interval is Student's t over seeds. Raises ValueError for fewer than three points, and for a bottom that lies outside of them
    or a curve without one: then other times must be tried.
    """
    import numpy as np
    from scipy import stats

    if len(set(base_tokens)) < 3 or min(base_tokens) <= 0:
        raise ValueError(f"base_tokens={list(base_tokens)}: a parabola needs three different positive points")
    at = np.log10(np.asarray(base_tokens, dtype=float))
    bottoms = []
    for curve in losses:
        square, slope, _ = np.polyfit(at, np.asarray(curve, dtype=float), 2)
        bottom = -slope / (2 * square) if square > 0 else math.nan
        if not at.min() <= bottom <= at.max():
            raise ValueError(
                f"losses {list(curve)} at {list(base_tokens)} base tokens have no least value between them: try fewer or more tokens"
            )
        bottoms.append(float(bottom))
    mean = math.fsum(bottoms) / len(bottoms)
    if len(bottoms) < 2:
        return BestTokens(10**mean, None, None)
    half = float(stats.t.ppf(0.975, len(bottoms) - 1) * stats.sem(bottoms))
    return BestTokens(10**mean, 10 ** (mean - half), 10 ** (mean + half))


def _outside(parameters: float, flops: float, growth: int) -> str:
    for name, value, (low, high) in (("parameters", parameters, FITTED_PARAMETERS), ("FLOPs", flops, FITTED_FLOPS)):
        if not low <= value <= high:
            return f"{value:.3g} {name} lie outside of the {low:.3g} to {high:.3g} that the paper fitted"
    return "" if growth == 4 else f"the paper fitted a growth of 4, not {growth}"
