"""Machines that are not at hand: documented peaks of GPUs, each with where the number stands."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from metier.engines.train.flops import PEAKS

GIB = 2**30
CONTEXT_BYTES = 10**9  # of the driver and of kernels


@dataclass(frozen=True)
class Gpu:
    """memory_bytes: as the maker calls it, GB of 10^9 bytes but for cards whose GB are GiB; bandwidths in bytes a second, link: to another
    GPU of the same machine, one way; flops: dense bf16 (no sparsity, which doubles the number in advertisements)."""

    name: str
    memory_bytes: int
    bandwidth: float
    link: float
    source: str

    @property
    def flops(self) -> float:
        """Dense bf16 operations a second."""
        return next(peak for part, peak in PEAKS.items() if part in self.name)


PCIE4 = 32e9
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            "B200",
            180 * 10**9,
            7.7e12,
            900e9,
            "NVIDIA DGX B200 datasheet: 1,440 GB and 64 TB/s (rounded) of 8, NVLink 1.8 TB/s both ways",
        ),
        Gpu("H200", 141 * 10**9, 4.8e12, 450e9, "NVIDIA H200 datasheet, SXM"),
        Gpu("H100", 80 * GIB, 3.35e12, 450e9, "NVIDIA H100 datasheet, SXM5"),
        Gpu("H100 PCIe", 80 * GIB, 2.0e12, 64e9, "NVIDIA H100 datasheet, PCIe"),
        Gpu("A100", 80 * GIB, 2.039e12, 300e9, "NVIDIA A100 datasheet, 80 GB SXM"),
        Gpu("A100 40GB", 40 * GIB, 1.555e12, 300e9, "NVIDIA A100 datasheet, 40 GB SXM"),
        Gpu("L40S", 48 * GIB, 0.864e12, PCIE4, "NVIDIA L40S datasheet"),
        Gpu("L4", 24 * GIB, 0.300e12, PCIE4, "NVIDIA L4 datasheet (its 242 TFLOP/s are with sparsity)"),
        Gpu("A10G", 24 * GIB, 0.600e12, PCIE4, "AWS, instances G5"),
        Gpu("RTX 4090", 24 * GIB, 1.008e12, PCIE4, "NVIDIA Ada architecture paper"),
        Gpu("RTX 3090", 24 * GIB, 0.936e12, PCIE4, "NVIDIA Ampere GA102 architecture paper"),
        Gpu("MI300X", 192 * 10**9, 5.3e12, 64e9, "AMD Instinct MI300X datasheet"),
    )
}


def gpu_of(name: str) -> Gpu:
    """The GPU of a name, capitals aside. Raises ValueError with the nearest."""
    known = {known.lower(): gpu for known, gpu in GPUS.items()}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {known[near[0]].name!r}?" if near else ""
    raise ValueError(f"the GPU {name!r} is not in the table{hint} Known: {', '.join(GPUS)}")
