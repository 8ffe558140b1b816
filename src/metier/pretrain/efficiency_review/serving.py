"""What a service takes: how fast prompts are read and answers written, and how many sequences fit."""

from __future__ import annotations

import math

import psutil
import torch

from metier.artifacts import Model
from metier.models.precision import Precision, best_device, resolve_dtype
from metier.pretrain.efficiency_review.calibrate import machine, serving_costs
from metier.pretrain.efficiency_review.devices import CONTEXT_BYTES, Gpu, gpu_of
from metier.pretrain.efficiency_review.memory import NF4_BITS
from metier.pretrain.efficiency_review.plans import ServePlan
from metier.pretrain.efficiency_review.probe import ServingJob
from metier.pretrain.efficiency_review.sizes import Sizes

ROWS, PROMPT = 8, 256  # of the trial
MARGIN = 0.1
WEIGHT_BITS = {"float32": 32.0, "bfloat16": 16.0, "float16": 16.0, "int8": 8.0, "nf4": NF4_BITS}
BATCH_BANDWIDTH = (0.5, 0.9)  # assumed share of documented bandwidth that decoders reach


def decode_seconds(weights: float, cache: float, rows: int, flops_each: float, bandwidth: float, flops: float) -> float:
    """The least a decoding step takes: weights and caches are read once, and each row is multiplied with the weights."""
    return max((weights + cache) / bandwidth, rows * flops_each / flops)


def plan_serving(
    model: Model, *, length: int, rows: int | None = None, precision: str = "auto", gpu: str | None = None, fresh: bool = False
) -> ServePlan:
    """The plan for sequences of `length` tokens (prompt and answer), `rows` of them at once (None: as many as fit, at most 32).

    precision: of weights; int8 and nf4 are for GPUs of the table only, with caches in bfloat16. Raises ValueError when the weights do not
    fit, or for a length beyond the model's window.
    """
    sizes = Sizes.of(model.config())
    if not 2 <= length <= sizes.positions:
        raise ValueError(f"length={length}: the model reads 2 to {sizes.positions} tokens")
    if gpu is not None:
        return _elsewhere(sizes, length, rows, precision, gpu_of(gpu))
    if precision not in ("auto", "float32", "bfloat16", "float16"):
        raise ValueError(f"precision={precision!r} is none that is computed in here: auto, float32, bfloat16 or float16")
    return _here(model, sizes, length, rows, precision, fresh)  # type: ignore[arg-type]


def _here(model: Model, sizes: Sizes, length: int, rows: int | None, precision: Precision, fresh: bool) -> ServePlan:
    device = best_device()
    dtype = resolve_dtype(precision, device)
    each, name = torch.finfo(dtype).bits // 8, str(dtype).removeprefix("torch.")
    speed = machine(fresh=fresh)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    weights = each * sizes.parameters
    fitting = _fitting(sizes, weights, int(free), length, each)
    prompt = min(PROMPT, sizes.positions - 32)
    costs = serving_costs(model, ServingJob(str(model.path), prompt, ROWS, name), fresh=fresh)
    together = rows if rows is not None else min(fitting, 32)
    # The trial's caches were short; longer ones are read besides.
    longer = sizes.cache_bytes(max(0, length // 2 - prompt), bytes_each=each) / speed.bandwidth

    def seconds(count: int) -> float:
        return costs.step_seconds + count * (costs.row_seconds + longer)

    decode = together / seconds(together)
    return ServePlan(
        weights_bytes=weights,
        cache_bytes=sizes.cache_bytes(length, bytes_each=each),
        sequences=fitting,
        rows=together,
        prefill=costs.prefill,
        decode=decode,
        decode_one=1 / seconds(1),
        decode_range=(0.75 * decode, 1.25 * decode),
        turning_rows=speed.flops.get(name, speed.flops["float32"]) / speed.bandwidth * each / 2,
        memory_bytes=speed.memory_bytes,
        binds="reading weights and starting operations"
        if costs.step_seconds > together * costs.row_seconds
        else "each sequence's own work",
        basis=f"reading and writing on this machine with {speed.threads} threads",
    )


def _elsewhere(sizes: Sizes, length: int, rows: int | None, precision: str, gpu: Gpu) -> ServePlan:
    precision = "bfloat16" if precision == "auto" else precision
    if precision not in WEIGHT_BITS:
        raise ValueError(f"precision={precision!r} of weights is not known: one of {', '.join(WEIGHT_BITS)}")
    weights = math.ceil(sizes.parameters * WEIGHT_BITS[precision] / 8)
    each = 4 if precision == "float32" else 2
    fitting = _fitting(sizes, weights, gpu.memory_bytes - CONTEXT_BYTES, length, each)
    together = rows if rows is not None else fitting
    read, operations = WEIGHT_BITS[precision] / 8 * sizes.active, 2.0 * (sizes.costs.body + sizes.costs.head)

    def speed(count: int, share: float) -> float:
        caches = sizes.cache_bytes(length // 2, rows=count, bytes_each=each)
        return count / decode_seconds(read, caches, count, operations, share * gpu.bandwidth, 0.5 * gpu.flops)

    low, high = (speed(together, share) for share in BATCH_BANDWIDTH)
    turning = gpu.flops / gpu.bandwidth * WEIGHT_BITS[precision] / 16
    return ServePlan(
        weights_bytes=weights,
        cache_bytes=sizes.cache_bytes(length, bytes_each=each),
        sequences=fitting,
        rows=together,
        prefill=0.5 * gpu.flops / (sizes.costs.forward([length], 1) / length),
        decode=speed(together, 0.7),
        decode_one=speed(1, 0.7),
        decode_range=(low, high),
        turning_rows=turning,
        memory_bytes=gpu.memory_bytes,
        binds="arithmetic" if together > turning else "memory bandwidth",
        basis=f"{gpu.name}: {gpu.flops / 1e12:.0f} TFLOP/s dense, {gpu.bandwidth / 1e12:.2f} TB/s ({gpu.source}); half of the one and 0.5 "
        "to 0.9 of the other are taken to be reached",
    )


def _fitting(sizes: Sizes, weights: int, memory: int, length: int, each: int) -> int:
    room = memory * (1 - MARGIN) - weights
    count = int(room // sizes.cache_bytes(length, bytes_each=each))
    if count < 1:
        need = (weights + sizes.cache_bytes(length, bytes_each=each)) / (1 - MARGIN)
        raise ValueError(
            f"one sequence of {length} tokens needs {need / 1e9:.1f} GB with its margin and {memory / 1e9:.1f} GB are there: shorter "
            f"sequences take {sizes.cache_bytes(1, bytes_each=each) / 1e6:.2f} MB a token less, weights in nf4 "
            f"{sizes.parameters * NF4_BITS / 8e9:.1f} GB instead of {weights / 1e9:.1f}"
        )
    return count
