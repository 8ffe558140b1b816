"""Time on links: what several devices send each other in a step of training. Bytes and seconds, per device."""

from __future__ import annotations


def ring_seconds(num_bytes: float, devices: int, bandwidth: float, latency: float = 0.0) -> float:
    """An all-reduce of `num_bytes` over a ring: each device sends and receives 2 (n - 1) / n of them, in 2 (n - 1) messages."""
    if devices == 1:
        return 0.0
    return 2 * (devices - 1) / devices * num_bytes / bandwidth + 2 * (devices - 1) * latency


def data_parallel_seconds(
    parameters: float, devices: int, bandwidth: float, *, stage: int, bytes_each: int, latency: float = 0.0
) -> float:
    """Gradients summed over replicas (ZeRO 0 to 2: two numbers a parameter), with stage 3 weights fetched twice besides (three)."""
    volume = 1.5 if stage == 3 else 1.0
    return volume * ring_seconds(parameters * bytes_each, devices, bandwidth, latency)


def tensor_parallel_seconds(
    layers: int,
    tokens: int,
    hidden: int,
    devices: int,
    bandwidth: float,
    *,
    recompute: bool,
    bytes_each: int = 2,
    latency: float = 0.0,
) -> float:
    """Four all-reduces of T x h a layer (two forward, two backward), six where the forward pass is done again (arXiv 1909.08053)."""
    times = 6 if recompute else 4
    return layers * times * ring_seconds(tokens * hidden * bytes_each, devices, bandwidth, latency)


def pipeline_bubble(stages: int, micro_batches: int, interleaved: int = 1) -> float:
    """The share of time in which a pipeline's devices wait: (p - 1) / (v m + p - 1) (arXiv 2104.04473, section 2.2)."""
    return (stages - 1) / (interleaved * micro_batches + stages - 1)


def offload_seconds(parameters: float, bandwidth: float, bytes_each: int = 2) -> float:
    """Optimiser state on the host: gradients go down and weights come up, once a step."""
    return 2 * bytes_each * parameters / bandwidth
