"""The processes of one training: alone, or several started by `accelerate launch` or torchrun."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from metier.artifacts.files import work_folder
from metier.models.precision import best_device

QUIET = 20  # hundredths of a second at the end


@dataclass(frozen=True)
class Processes:
    """This process among all. sharded: weights, gradients and moments are cut over the processes (FSDP2), else each has them whole."""

    rank: int
    world: int
    device: torch.device
    sharded: bool

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            numbers = numbers.to(self.device)
            torch.distributed.all_reduce(numbers)
        return numbers.cpu()

    def anywhere(self, *flags: bool) -> list[bool]:
        """Each flag as any process has it: clocks and signals differ, and all must do the same."""
        if self.world == 1:
            return list(flags)
        return [bool(flag) for flag in self.total(torch.tensor(flags, dtype=torch.int32)).tolist()]

    def meet(self) -> None:
        """Waits until all are here."""
        if self.world > 1:
            torch.distributed.barrier()  # which holds no tensor of Python's: see `gathered`

    def folder(self, workdir: Path | None, name: str) -> Path:
        """Where all of them work. Raises ValueError without `workdir` where there are several: each would make its own."""
        if workdir is None and self.world > 1:
            raise ValueError("several processes need one folder to meet in: give workdir")
        return work_folder(workdir, name)

    def most(self, number: int) -> int:
        """The largest of all processes' numbers."""
        if self.world == 1:
            return number
        shared = torch.tensor([number], device=self.device)
        torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
        return int(shared.item())

    def add_gradients(self, network: nn.Module) -> None:
        """Makes each gradient the sum over processes, where weights are whole."""
        if self.world == 1 or self.sharded:
            return
        trained = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in trained:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            torch.distributed.all_reduce(weight.grad)


@contextmanager
def gathered() -> Iterator[Processes]:
    """The processes, their group made if need be. Whoever makes it ends it, with all at the same place.

    A thread of gloo that still holds a tensor of Python's when the interpreter ends asks for its lock, is ended instead, and takes the
    process down ("terminate called without an active exception", SIGABRT). So the last thing that all do is a barrier, which holds
    none, and a moment without the lock, in which threads let go of what they had.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    device = best_device()
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    made = world > 1 and not torch.distributed.is_initialized()
    if made:
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    processes = Processes(rank, world, device, world > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true")
    try:
        yield processes
        processes.meet()
        if made:
            for _ in range(QUIET):
                time.sleep(0.01)
    finally:
        if made:
            torch.distributed.destroy_process_group()


def shard(network: nn.Module) -> None:
    """Cuts the weights over all processes, block by block (FSDP2)."""
    from torch.distributed.fsdp import FSDPModule, fully_shard

    names = {name for module in network.modules() for name in (getattr(module, "_no_split_modules", None) or ())}
    for module in list(network.modules()):
        if type(module).__name__ in names:
            fully_shard(module)
    fully_shard(network)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no averages
            module.set_gradient_divide_factor(1.0)  # the loss is divided by the tokens of all processes already


def fold(network: nn.Module) -> None:
    """Lets go of whole weights that passes without a backward pass leave behind where they are cut."""
    from torch.distributed.fsdp import FSDPModule

    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be cut over the processes, in one piece; all of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # type: ignore[no-any-return]


def number(value: Any) -> float:
    """A scalar that may be cut over the processes."""
    return float(whole(value) if isinstance(value, Tensor) else value)
