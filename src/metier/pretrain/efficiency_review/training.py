"""What a training takes: measured on this machine, or by formula on GPUs of the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from metier.artifacts import Model
from metier.engines.train.fit import Precision
from metier.models.precision import best_device, resolve_dtype
from metier.pretrain.efficiency_review.calibrate import Machine, machine, training_costs
from metier.pretrain.efficiency_review.memory import Arithmetic, Training, training_peak
from metier.pretrain.efficiency_review.plans import TrainPlan
from metier.pretrain.efficiency_review.probe import TrainingJob
from metier.pretrain.efficiency_review.sizes import Sizes

# An assumption, not measured: how far a run strays from the steps that were tried, by its documents and the machine's other work.
HERE = (0.85, 1.2)


@dataclass(frozen=True)
class Work:
    """What is trained. rows_per_step rows of sequence_length tokens; squares: mean over tokens of the length of their document's piece,
    which is what attention costs; rank: of LoRA, None for every weight"""

    tokens: int
    sequence_length: int
    rows_per_step: int
    squares: float
    precision: Precision
    rank: int | None

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return max(1, math.ceil(self.tokens / (self.sequence_length * self.rows_per_step)))


def plan_here(model: Model, work: Work, *, fresh: bool = False) -> TrainPlan:
    """The plan for this machine from a minute of the training itself. Raises ValueError when the weights alone do not fit."""
    config = model.config()
    sizes, device = Sizes.of(config), best_device()
    speed = machine(fresh=fresh)
    dtype = resolve_dtype(work.precision, device)
    arithmetic: Arithmetic = "float32" if dtype == torch.float32 else "autocast"
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    known = work.rank is None or sizes.is_llama  # LoRA on other blocks is measured only
    adapter = sizes.lora(work.rank) if work.rank is not None and known else 0
    least = 4 * sizes.parameters + 12 * (sizes.parameters if work.rank is None else adapter)
    if least > free:
        raise ValueError(
            f"{sizes.parameters / 1e9:.2f} B parameters need {least / 1e9:.1f} GB before any activation and {free / 1e9:.1f} GB are free: "
            f"{_smallest_change(sizes, work, free)}"
        )
    name = str(dtype).removeprefix("torch.")
    costs = training_costs(
        model, TrainingJob(str(model.path), work.sequence_length, work.rows_per_step, name, work.rank), fresh=fresh
    )
    passes = work.rows_per_step * work.sequence_length // costs.tokens
    training = Training(arithmetic, work.rank, costs.recompute)
    parts = training_peak(config, sizes, costs.tokens, passes, training) if known else {}
    beside = costs.peak_bytes - sum(parts.values())
    seconds = passes * costs.seconds(costs.tokens * work.squares) + costs.step_seconds
    flops = step_flops(sizes, work)
    return TrainPlan(
        parameters=sizes.parameters,
        trained=costs.trained,
        precision=name,
        tokens_at_once=costs.tokens,
        passes=passes,
        recompute=costs.recompute,
        steps=work.steps,
        step_flops=flops,
        step_seconds=seconds,
        step_range=(HERE[0] * seconds, HERE[1] * seconds),
        tokens_per_second=work.rows_per_step * work.sequence_length / seconds,
        total_seconds=work.steps * seconds,
        utilisation=flops / seconds / speed.flops[name] if name in speed.flops else None,
        peak_bytes=costs.peak_bytes,
        peak_range=(round(HERE[0] * costs.peak_bytes), round(HERE[1] * costs.peak_bytes)),
        peak_formula_bytes=sum(parts.values()) + costs.base_bytes if parts else None,
        memory_bytes=speed.memory_bytes,
        fits=costs.peak_bytes < speed.memory_bytes,
        binds=_binds_here(flops, seconds, costs.step_seconds, name, speed),
        basis=f"{costs.steps} steps of the training itself on this machine with {speed.threads} threads",
        parts=parts | {"program and allocator": beside},
        advice=_advice(sizes, work, costs.step_seconds / seconds, parts),
    )


def step_flops(sizes: Sizes, work: Work) -> int:
    """Useful operations of a step; frozen weights save their own gradients, a third."""
    tokens = work.rows_per_step * work.sequence_length
    pieces = max(1, round(tokens / work.squares))
    lengths: Sequence[int] = [round(tokens / pieces)] * pieces
    whole = sizes.costs.training(lengths, tokens)
    return whole * 2 // 3 if work.rank is not None else whole


def _binds_here(flops: int, seconds: float, update: float, name: str, speed: Machine) -> str:
    if update > 0.3 * seconds:
        return f"memory traffic of the optimiser: {update / seconds:.0%} of a step"
    share = flops / seconds / speed.flops[name] if name in speed.flops else 0.0
    return f"arithmetic: {share:.0%} of what matrix products alone reach here" if share else "arithmetic"


def _smallest_change(sizes: Sizes, work: Work, free: int) -> str:
    if work.rank is None and sizes.is_llama and 4 * sizes.parameters + 16 * sizes.lora(16) < free:
        saved = 12 * (sizes.parameters - sizes.lora(16)) / 1e9
        return f"a LoRA adapter of rank 16 would save {saved:.1f} GB"
    return f"name a GPU to plan for, or take a model of at most {free / 16e9:.1f} B parameters"


def _advice(sizes: Sizes, work: Work, update: float, parts: dict[str, Any]) -> list[str]:
    found = []
    if update > 0.15:
        found.append(f"the optimiser takes {update:.0%} of a step: twice the batch_tokens would halve that share")
    if work.rank is not None and parts and parts["activations"] > parts["weights"]:
        found.append("activations are most of the memory, and LoRA does not shrink them: shorter rows do")
    if work.precision == "float32" and resolve_dtype("auto", best_device()) != torch.float32:
        found.append("this machine is faster in bfloat16: precision auto chooses it")
    return found
