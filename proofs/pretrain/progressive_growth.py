"""A model grown in feed-forward width, heads, hidden size and depth, one after another and all at once, has the logits it had before.

Contradicted if a logit differs in float64 by more than 1e-10 of the largest, in float32 by more than 1e-5 of it, or if the published
schedule of FLM-101B (21.54 days, 76.7 at the last size, 3.56 times as fast) does not come out of the planner to the digits printed.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from metier.core.evidence import Check, Evidence, exact
from metier.models.source import open_model
from metier.models.tiny import make_tiny
from metier.pretrain.progressive_growth.grow import Sizes, grown
from metier.pretrain.progressive_growth.schedule import Stage, cost

ALLOWED = {torch.float64: 1e-10, torch.float32: 1e-5}
# layers, hidden size, feed-forward size, heads: as factors of the model's own
STEPS = {"feed-forward": (1, 1, 1.5, 1), "heads": (1, 1, 1, 2), "hidden size": (1, 1.25, 1, 1), "layers": (2, 1, 1, 1)}


def prove(quick: bool) -> Evidence:
    """A tiny Llama with two heads a group and tied embeddings; in full also SmolLM2-135M."""
    checks = _planner()
    with tempfile.TemporaryDirectory() as folder:
        tiny = make_tiny(Path(folder), hidden_size=64, layers=3, std=0.2)
        for dtype in (torch.float64, torch.float32):
            checks += _growths(f"tiny, {dtype}", tiny.load(dtype))
    if not quick:
        checks += _growths("smollm2, torch.float32", open_model("smollm2").load(torch.float32))
    return exact(
        claim="growth in width and depth leaves the logits of a decoder as they were",
        metric="largest difference of logits over the largest logit; days of the published schedule",
        checks=checks,
        notes="all four sizes in sequence, then all four at once; 64 random tokens",
    )


def _growths(name: str, model: PreTrainedModel) -> list[Check]:
    checks, current = [], model
    for step, factors in STEPS.items():
        larger = grown(current, _sizes(current, factors), seed=1)
        checks.append(_check(f"{name}: {step}", model, larger))
        current = larger
    return [*checks, _check(f"{name}: all at once", model, grown(model, _sizes(model, (2, 1.25, 1.5, 2)), seed=2))]


def _sizes(model: PreTrainedModel, factors: tuple[float, ...]) -> Sizes:
    own = Sizes.of(model.config)
    sizes = (own.layers, own.hidden_size, own.intermediate_size, own.heads)
    wanted = [int(size * factor) if factor > 1 else None for size, factor in zip(sizes, factors, strict=True)]
    return own.grown(*wanted, None)


def _check(name: str, model: PreTrainedModel, larger: PreTrainedModel) -> Check:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 500, (1, 64), generator=generator)
    with torch.no_grad():
        before, after = (_in_full(network)(ids).logits for network in (model, larger))
    difference: Tensor = (after - before).abs().max() / before.abs().max()
    return Check(name, float(difference), ALLOWED[model.dtype])


def _in_full(model: PreTrainedModel) -> PreTrainedModel:
    """Norms in the dtype of the weights: transformers computes them in fp32 even for float64."""
    for module in model.modules():
        if "RMSNorm" in type(module).__name__ and model.dtype == torch.float64:
            module.forward = functools.partial(_normed, module.weight, module.variance_epsilon)  # type: ignore[method-assign]
    return model


def _normed(weight: Tensor, epsilon: float, hidden_BTD: Tensor) -> Tensor:
    return weight * hidden_BTD * torch.rsqrt(hidden_BTD.square().mean(-1, keepdim=True) + epsilon)


def _planner() -> list[Check]:
    stages = [
        Stage(parameters * 1e9, tokens * 1e9, tokens * 1e9 / days)
        for parameters, tokens, days in ((16, 245.37, 9.63), (51, 39.64, 5.37), (101, 26.54, 6.54))
    ]
    found = cost(stages)
    return [
        Check("days of FLM-101B's schedule", abs(found.days - 21.54), 0.005),
        Check("days at 101B throughout (the paper cuts 76.77 to 76.7)", abs(found.full_days - 76.7), 0.1),
        Check("times as fast", abs(found.speed_up - 3.56), 0.01),
        Check("zettaFLOPs by 6 N D", abs(found.flops / 1e21 - 51.8), 0.05),
    ]
