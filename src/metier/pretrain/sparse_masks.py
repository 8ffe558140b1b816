"""Masks of weights: which entries of which matrices are kept at zero, how they are drawn and stored, and a Model that trains under them."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.artifacts import Model

if TYPE_CHECKING:
    from metier.engines.train.trainer import Step

logger = logging.getLogger(__name__)

FILE = "sparse_masks.safetensors"
Pattern = Literal["random", "2:4", "magnitude"]
Masks = dict[str, Tensor]  # parameter name -> bool of its shape, True where a weight is kept

EVERY = 50  # steps between two looks at the zeros


@dataclass(frozen=True)
class Masked(Model):
    """A Model for `fit`, with FILE in its folder: the gradients of its masked weights are zero, so AdamW leaves them at zero.

    The gradient's norm, and so its clipping, sees kept weights alone. What `fit` makes of it is an ordinary Model.
    """

    def load(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        network = super().load(dtype)
        keep_zero(network, stored(self.path))
        return network

    def fingerprint(self) -> str:
        """Another one than that of the same weights without masks, whose training is not this one."""
        return hashlib.sha256(f"{super().fingerprint()} masked".encode()).hexdigest()[:32]


def maskable(model: PreTrainedModel) -> dict[str, nn.Linear | Conv1D]:
    """The linear layers of a decoder's blocks by name, that is all but the head.

    Raises ValueError for weights that are quantised or shared, and for experts in one tensor, which would all stay dense.
    """
    head = model.get_output_embeddings()
    found = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    owners: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), []).append(name)
        if "experts" in name and weight.ndim > 2:
            raise ValueError(
                f"{name} holds its experts in one tensor {tuple(weight.shape)}, which is no linear layer to be masked"
            )
    if not found:
        raise ValueError(f"{type(model).__name__} has no linear layer besides its head, so nothing can be masked")
    for name, layer in found.items():
        if not layer.weight.is_floating_point():
            raise ValueError(f"{name} is quantised ({layer.weight.dtype}): give the model with plain weights")
        if len(owners[id(layer.weight)]) > 1:
            raise ValueError(f"{name} shares its weight ({', '.join(owners[id(layer.weight)])}), so it cannot be masked alone")
    return found


def drawn(model: PreTrainedModel, *, sparsity: float, pattern: Pattern, seed: int) -> Masks:
    """A mask for each layer that keeps exactly round((1 - sparsity) x entries): a function of seed and the layer's name (random, 2:4) or
    of its weights (magnitude: the largest). 2:4 keeps two of each four successive inputs."""
    masks: Masks = {}
    for name, layer in maskable(model).items():
        weight = layer.weight.detach()
        kept = round((1 - sparsity) * weight.numel())
        if kept < 1:
            raise ValueError(f"sparsity={sparsity} leaves nothing of {name} {tuple(weight.shape)}: give less")
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big"))
        if pattern == "2:4":
            mask = _two_of_four(name, layer, generator)
        else:
            chosen = (
                torch.randperm(weight.numel(), generator=generator)[:kept]
                if pattern == "random"
                else weight.float().abs().flatten().topk(kept).indices.cpu()
            )
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[chosen] = True
            mask = mask.view(weight.shape)
        masks[f"{name}.weight"] = mask
        dead = int((~mask.any(0)).sum()), int((~mask.any(1)).sum())
        if any(dead):
            logger.warning("%s: %d columns and %d rows are zero throughout at sparsity %s", name, *dead, sparsity)
    return masks


@torch.no_grad()
def apply(model: PreTrainedModel, masks: Masks, *, scale: float = 1.0) -> None:
    """Weights in place: zero where masked, times `scale` where kept."""
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        weight.mul_(mask.to(weight.device)).mul_(scale)


def keep_zero(model: PreTrainedModel, masks: Masks) -> None:
    """Zeroes the gradients of masked weights, each as soon as it is complete."""
    for name, mask in masks.items():
        model.get_parameter(name).register_post_accumulate_grad_hook(_Hook(mask))


@dataclass
class Watchman:
    """A hook for `fit`'s Watch: looks at the zeros now and then, and ends a training that has lost them.

    Raises RuntimeError where a masked weight is not zero, and ValueError where weights are cut over processes, which loses the hooks.
    """

    masks: Masks

    def __call__(self, step: Step) -> Mapping[str, Any] | None:
        if step.step % EVERY and step.step != step.steps:
            return None
        for name, mask in self.masks.items():
            weight = step.network.get_parameter(name).detach()
            if isinstance(weight, DTensor):
                raise ValueError(f"{name} is cut over processes, and its mask is not: train without --use_fsdp")
            lost = int(weight[~mask.to(weight.device)].count_nonzero())
            if lost:
                raise RuntimeError(
                    f"step {step.step}: {lost} masked weights of {name} are no longer zero: the optimiser moves weights that have no "
                    "gradient (coupled weight decay, noise, averages of weights); use AdamW"
                )
        return None


def store(masks: Masks, folder: Path, **facts: object) -> None:
    """Writes FILE: a bit for each weight, with shapes and facts as text beside them."""
    packed = {name: _packed(mask) for name, mask in masks.items()}
    told = {name: ",".join(map(str, mask.shape)) for name, mask in masks.items()}
    save_file(packed, folder / f"{FILE}.partial", metadata=told | {key: str(value) for key, value in facts.items()})
    (folder / f"{FILE}.partial").rename(folder / FILE)


def stored(folder: Path) -> Masks:
    """The masks of a folder."""
    masks: Masks = {}
    with safe_open(folder / FILE, framework="pt") as file:
        told = file.metadata()
        for name in file.keys():  # noqa: SIM118 (no mapping)
            shape = [int(size) for size in told[name].split(",")]
            masks[name] = _unpacked(file.get_tensor(name), math.prod(shape)).view(shape)
    return masks


class _Hook:
    def __init__(self, mask: Tensor) -> None:
        self._mask = mask

    def __call__(self, weight: Tensor) -> None:
        if self._mask.device != weight.device:
            self._mask = self._mask.to(weight.device)
        assert weight.grad is not None
        weight.grad.mul_(self._mask)


def _two_of_four(name: str, layer: nn.Linear | Conv1D, generator: torch.Generator) -> Tensor:
    outputs, inputs = layer.weight.T.shape if isinstance(layer, Conv1D) else layer.weight.shape
    if inputs % 4:
        raise ValueError(f"{name} has {inputs} inputs, which pattern 2:4 cannot part into fours")
    order = torch.rand(outputs, inputs // 4, 4, generator=generator).argsort(dim=-1).argsort(dim=-1)
    mask_OI = (order < 2).view(outputs, inputs)
    return mask_OI.T.contiguous() if isinstance(layer, Conv1D) else mask_OI


_BITS = 2 ** torch.arange(8, dtype=torch.uint8)


def _packed(mask: Tensor) -> Tensor:
    bits = nn.functional.pad(mask.flatten().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
    return (bits * _BITS).sum(1, dtype=torch.uint8)


def _unpacked(packed: Tensor, entries: int) -> Tensor:
    return (packed[:, None] & _BITS).ne(0).flatten()[:entries]
