"""Which way of spreading a training over GPUs fits and is fastest, by formula."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PretrainedConfig

from metier.artifacts import Model
from metier.engines.train.resources import TOKENS_AT_ONCE
from metier.pretrain.efficiency_review.devices import CONTEXT_BYTES, Gpu, gpu_of
from metier.pretrain.efficiency_review.memory import Training, states, training_peak
from metier.pretrain.efficiency_review.plans import TrainPlan
from metier.pretrain.efficiency_review.sizes import Sizes
from metier.pretrain.efficiency_review.traffic import (
    data_parallel_seconds,
    offload_seconds,
    pipeline_bubble,
    tensor_parallel_seconds,
)
from metier.pretrain.efficiency_review.training import Work, step_flops

logger = logging.getLogger(__name__)

MARGIN = 0.1
HOST_LINK = 25e9  # bytes a second to the host's memory, assumed for PCIe 4
NEARLY = 1.03  # within this factor of the fastest the simplest layout is taken
MFU_RANGE = (0.6, 1.4)  # about the mfu that was given
LATENCY = 1e-5


@dataclass(frozen=True)
class Layout:
    """tensor x pipeline x data devices; stage of ZeRO; rows at once on each replica; optimiser state on the host where offload"""

    tensor: int
    pipeline: int
    data: int
    stage: int
    recompute: bool
    rows: int
    offload: bool

    @property
    def complexity(self) -> int:
        """How much there is to set up and to go wrong."""
        return 3 * (self.tensor > 1) + 3 * (self.pipeline > 1) + self.stage + self.recompute + 4 * self.offload

    def __str__(self) -> str:
        parts = [f"{self.data} replicas" if self.data > 1 else "one replica"]
        parts += [f"of {self.tensor} x {self.pipeline} devices (tensor x pipeline)"] if self.tensor * self.pipeline > 1 else []
        parts += [f"ZeRO-{self.stage}"] if self.stage else []
        parts += ["activations computed again"] if self.recompute else []
        parts += ["optimiser on the host"] if self.offload else []
        return ", ".join(parts) + f", {self.rows} rows at once"

    @property
    def how(self) -> str:
        """What runs it."""
        if self.tensor * self.pipeline > 1 or self.offload or self.stage in (1, 2):
            return "metier does not run this layout: take Megatron-LM or DeepSpeed"
        if self.stage == 3:
            return f"run it with accelerate launch --num_processes {self.data} --use_fsdp --fsdp_version 2"
        return f"run it with accelerate launch --num_processes {self.data}" if self.data > 1 else "run it as it is"


def broken_rule(layout: Layout, sizes: Sizes, work: Work, devices: int) -> str | None:
    """The rule that a layout breaks, None for one that can exist."""
    rules = {
        f"tensor x pipeline x data = {devices} devices": layout.tensor * layout.pipeline * layout.data == devices,
        f"tensor divides {sizes.heads} heads and {sizes.kv_heads} key heads": sizes.heads % layout.tensor == 0 and sizes.kv_heads % layout.tensor == 0,
        f"pipeline has at most a block a stage, of {sizes.layers}": layout.pipeline <= sizes.layers,
        "data x rows at once divides the rows of a step": work.rows_per_step % (layout.data * layout.rows) == 0,
        "ZeRO-2 and 3 do not go with a pipeline": layout.pipeline == 1 or layout.stage < 2,
        "ZeRO shards over replicas, and there is one": layout.stage == 0 or layout.data > 1,
    }  # fmt: skip
    return next((rule for rule, holds in rules.items() if not holds), None)


def memory_of(config: PretrainedConfig, sizes: Sizes, work: Work, layout: Layout) -> dict[str, int]:
    """The parts of one device's peak, in bytes."""
    split, tokens = layout.tensor * layout.pipeline, layout.rows * work.sequence_length
    passes = work.rows_per_step // (layout.data * layout.rows)
    parts = training_peak(config, sizes, tokens, passes, Training("autocast", work.rank, layout.recompute))
    trained = (sizes.lora(work.rank) if work.rank is not None else sizes.parameters) / split
    held = states(trained, stage=layout.stage, data_parallel=layout.data, largest_unit=sizes.largest_unit / layout.tensor)
    frozen = 4 * sizes.parameters / split / (layout.data if layout.stage == 3 else 1) if work.rank is not None else 0.0
    host = 8 * trained / (layout.data if layout.stage else 1) if layout.offload else 0.0
    in_flight = min(layout.pipeline, passes)
    return {
        "weights, gradients and optimizer": round(held + frozen - host),
        "activations": round(parts["activations"] / split * in_flight),
        "head": round(parts["head"] / layout.tensor),
        "context": CONTEXT_BYTES,
    }


def seconds_of(sizes: Sizes, work: Work, layout: Layout, gpu: Gpu, flops: int, mfu: float) -> float:
    """A step: arithmetic (beside which replicas' traffic goes on), tensor parallel traffic, the pipeline's waiting, the host's link."""
    devices = layout.tensor * layout.pipeline * layout.data
    compute = flops * (4 / 3 if layout.recompute else 1) / (devices * gpu.flops * mfu)
    passes = work.rows_per_step // (layout.data * layout.rows)
    compute /= 1 - pipeline_bubble(layout.pipeline, passes)
    trained = (sizes.lora(work.rank) if work.rank is not None else sizes.parameters) / (layout.tensor * layout.pipeline)
    between = data_parallel_seconds(trained, layout.data, gpu.link, stage=layout.stage, bytes_each=4, latency=LATENCY)
    tokens = layout.rows * work.sequence_length * passes
    inside = tensor_parallel_seconds(
        sizes.layers // layout.pipeline,
        tokens,
        sizes.hidden,
        layout.tensor,
        gpu.link,
        recompute=layout.recompute,
        latency=LATENCY,
    )
    host = offload_seconds(trained, HOST_LINK, 4) if layout.offload else 0.0
    return max(compute, between) + inside + host


def layouts(sizes: Sizes, work: Work, devices: int) -> Iterator[Layout]:
    """All that can exist."""
    powers = [2**power for power in range(devices.bit_length())]
    most = max(1, TOKENS_AT_ONCE["cuda"] // work.sequence_length)
    for tensor in powers:
        for pipeline in powers:
            for stage in range(4):
                for rows in range(1, most + 1):
                    for again in (False, True):
                        for offload in (False, True):
                            layout = Layout(tensor, pipeline, max(1, devices // (tensor * pipeline)), stage, again, rows, offload)
                            if broken_rule(layout, sizes, work, devices) is None:
                                yield layout


def plan_elsewhere(model: Model, work: Work, name: str, devices: int, mfu: float) -> TrainPlan:
    """The fastest layout that fits, or a simpler one within 3% of it. Raises ValueError when none can exist, or none fits."""
    if not 0 < mfu <= 1:
        raise ValueError(f"mfu={mfu} is no share of the peak: give 0.4, or what you measured")
    if mfu > 0.7:
        logger.warning("mfu=%s: training hardly ever reaches 0.7 of a dense peak; is the peak with sparsity meant?", mfu)
    if work.precision == "float32":
        raise ValueError("precision='float32' on a GPU is not planned: the table's peaks are those of bfloat16; take auto")
    gpu, config = gpu_of(name), model.config()
    sizes = Sizes.of(config)
    flops, room = step_flops(sizes, work), gpu.memory_bytes * (1 - MARGIN)
    possible = list(layouts(sizes, work, devices))
    if not possible:
        first = Layout(1, 1, devices, 0, False, 1, False)
        raise ValueError(
            f"no layout over {devices} devices can exist: {broken_rule(first, sizes, work, devices)}; change batch_tokens"
        )
    needs = {layout: memory_of(config, sizes, work, layout) for layout in possible}
    fitting = [layout for layout in possible if sum(needs[layout].values()) <= room]
    if not fitting:
        raise ValueError(_nothing_fits(sizes, work, gpu, needs))
    times = {layout: seconds_of(sizes, work, layout, gpu, flops, mfu) for layout in fitting}
    fastest = min(times.values())
    chosen = min((one for one in fitting if times[one] <= NEARLY * fastest), key=lambda one: (one.complexity, -one.rows))
    return _plan(sizes, work, chosen, gpu, needs[chosen], times[chosen], flops, mfu)


def _plan(
    sizes: Sizes, work: Work, layout: Layout, gpu: Gpu, parts: dict[str, int], seconds: float, flops: int, mfu: float
) -> TrainPlan:
    peak, devices = sum(parts.values()), layout.tensor * layout.pipeline * layout.data
    tokens = work.rows_per_step * work.sequence_length
    compute = flops / (devices * gpu.flops * mfu)
    return TrainPlan(
        parameters=sizes.parameters,
        trained=sizes.lora(work.rank) if work.rank is not None else sizes.parameters,
        precision="bfloat16",
        tokens_at_once=layout.rows * work.sequence_length,
        passes=work.rows_per_step // (layout.data * layout.rows),
        recompute=layout.recompute,
        steps=work.steps,
        step_flops=flops,
        step_seconds=seconds,
        step_range=(seconds / MFU_RANGE[1], seconds / MFU_RANGE[0]),
        tokens_per_second=tokens / seconds,
        total_seconds=work.steps * seconds,
        utilisation=flops / seconds / (devices * gpu.flops),
        peak_bytes=peak,
        peak_range=(round(0.85 * peak), round(1.25 * peak)),
        peak_formula_bytes=peak,
        memory_bytes=gpu.memory_bytes,
        fits=True,
        binds="arithmetic" if compute > 0.5 * seconds else "links between devices",
        basis=f"{devices} x {gpu.name}: {gpu.flops / 1e12:.0f} TFLOP/s dense ({gpu.source}), of which {mfu:.0%} are taken to be reached",
        parts=parts,
        advice=[str(layout), layout.how],
    )


def _nothing_fits(sizes: Sizes, work: Work, gpu: Gpu, needs: dict[Layout, dict[str, int]]) -> str:
    """How much is short at best, and the smallest change that would do."""
    least = min(needs, key=lambda layout: sum(needs[layout].values()))
    need, room = sum(needs[least].values()), gpu.memory_bytes * (1 - MARGIN)
    state = needs[least]["weights, gradients and optimizer"]
    devices = least.tensor * least.pipeline * least.data
    fixed = need - state + 4 * sizes.largest_unit
    changes = []
    if fixed < room:
        changes.append(f"{math.ceil(state * devices / (room - fixed))} of them with ZeRO-3")
    if work.rank is None and sizes.is_llama:
        changes.append(f"a LoRA adapter, which saves {12 * (sizes.parameters - sizes.lora(16)) / devices / 1e9:.1f} GB a device")
    changes.append("shorter rows" if needs[least]["activations"] > state else "a smaller model")
    return (
        f"{sizes.parameters / 1e9:.2f} B parameters do not fit {devices} x {gpu.name}: {need / 1e9:.1f} GB a device at least ({least}), "
        f"{room / 1e9:.1f} GB there; it is short by {(need - room) / 1e9:.1f} GB. What would do: {', or '.join(changes)}"
    )
