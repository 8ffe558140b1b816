"""A linear layer whose weight is a low-rank product plus a sparse matrix of fixed support, and its gradient without the dense one.

Suffixes: T tokens, I inputs, O outputs, R rank, N non-zeros.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 1 << 22  # entries of the dense weight that exist at a time


class FactoredLinear(nn.Module):
    """y = x W' + b with W = alpha / R * B A + S: `down` is A (R, I), `up` is B (O, R), `weight` (N,) the values of S at the flat
    positions `index` (N,), int32 and ascending (int64 from 2**31 entries on).

    The values bear the name that a dense layer's matrix has, so that a program that does not know this layer stops at their shape
    instead of initialising the layer anew. transposed: it stands for transformers' Conv1D, whose matrix is (I, O). Made with
    uninitialised values: `draw` or `approximate` fill it, or a checkpoint.
    """

    index: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, rank: int, density: float, alpha: float, bias: bool, transposed: bool = False,
        dtype: torch.dtype | None = None, device: torch.device | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_features, self.out_features, self.rank, self.alpha, self.transposed = inputs, outputs, rank, alpha, transposed
        nonzeros = math.floor(density * inputs * outputs)
        like: dict[str, Any] = {"dtype": dtype, "device": device}
        self.weight = nn.Parameter(torch.empty(nonzeros, **like))
        self.down = nn.Parameter(torch.empty(rank, inputs, **like))
        self.up = nn.Parameter(torch.empty(outputs, rank, **like))
        self.bias = nn.Parameter(torch.empty(outputs, **like)) if bias else None
        places = torch.int32 if inputs * outputs < 1 << 31 else torch.int64
        self.register_buffer("index", torch.empty(nonzeros, dtype=places, device=device))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., I) -> (..., O), in the dtype of autocast where it is on."""
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        down_RI = (self.down * (self.alpha / self.rank)).to(dtype)
        x_TI = hidden.reshape(-1, self.in_features).to(dtype)
        y_TO = _Product.apply(x_TI, self.up.to(dtype), down_RI, self.weight.to(dtype), self.index)  # type: ignore[no-untyped-call]
        if self.bias is not None:
            y_TO = y_TO + self.bias.to(dtype)
        return y_TO.reshape(*hidden.shape[:-1], self.out_features)  # type: ignore[no-any-return]

    @torch.no_grad()
    def dense(self) -> Tensor:
        """W (O, I), summed in at least fp32, in the layer's dtype."""
        dtype = torch.promote_types(self.up.dtype, torch.float32)
        down_RI = self.down.to(dtype) * (self.alpha / self.rank)
        return _filled(self.up.to(dtype) @ down_RI, self.index, self.weight.to(dtype)).to(self.up.dtype)

    @torch.no_grad()
    def draw(self, seed: int, name: str) -> None:
        """A random layer: A and S uniform within 1 / sqrt(I), B zero, the bias uniform within 1 / sqrt(O), the support uniform over
        the whole matrix without replacement. It depends on seed and name alone, so it is the same in every process."""
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:7], "big"))
        order = torch.randperm(self.in_features * self.out_features, generator=generator, dtype=self.index.dtype)
        self.index.copy_(order[: len(self.index)].sort().values)
        del order
        self.up.zero_()
        for values, fan in ((self.down, self.in_features), (self.weight, self.in_features), (self.bias, self.out_features)):
            if values is not None:
                drawn = torch.empty(values.shape, dtype=torch.float32).uniform_(-1, 1, generator=generator)
                values.copy_(drawn / math.sqrt(fan))

    @torch.no_grad()
    def approximate(self, weight_OI: Tensor, bias_O: Tensor | None) -> float:
        """The layer nearest to a dense one in two steps: the best low-rank product, then the largest entries of what is left.

        Gives the norm of what is lost as a share of the weight's.
        """
        full_OI = weight_OI.to(torch.promote_types(weight_OI.dtype, torch.float32))
        left_OK, sizes_K, right_KI = torch.linalg.svd(full_OI, full_matrices=False)
        roots_R = sizes_K[: self.rank].sqrt()
        up_OR, down_RI = left_OK[:, : self.rank] * roots_R, right_KI[: self.rank] * roots_R[:, None]
        rest = (full_OI - up_OR @ down_RI).view(-1)
        index = rest.abs().topk(len(self.index)).indices.sort().values
        self.up.copy_(up_OR)
        self.down.copy_(down_RI * (self.rank / self.alpha))
        self.index.copy_(index)
        self.weight.copy_(rest[index])
        if self.bias is not None and bias_O is not None:
            self.bias.copy_(bias_O)
        rest[index] = 0
        return float(rest.norm() / full_OI.norm().clamp_min(torch.finfo(full_OI.dtype).tiny))

    def check(self, name: str) -> None:
        """Raises ValueError where the support can be none: positions that do not ascend within the matrix."""
        places = self.index.long()
        inside = len(places) > 0 and int(places[0]) >= 0 and int(places[-1]) < self.in_features * self.out_features
        if not inside or not bool((places.diff() > 0).all()):
            raise ValueError(
                f"{name}.index does not say where the {len(places)} sparse values of this layer belong: the checkpoint lacks it or it "
                "was cast to another type; without it the layer is lost, so take another copy of the checkpoint"
            )

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, nonzeros={len(self.weight)}, alpha={self.alpha}"


class _Product(torch.autograd.Function):
    """x W' by blocks of W's rows, each built when it is needed, in both passes.

    Kept for the backward pass are x and the parts of W, which exist anyway; W and its dense gradient G = g' x exist a block at a time.
    dB = G A', dA = B' G and dv = G[index] are all taken from a block of G. (dB = g' (x A') and dA = (g B)' x take no G, but dv needs
    one in any case, and from T > I O / (I + O) tokens on, half the width of a square layer, they cost more.)
    """

    @staticmethod
    def forward(ctx: Any, x_TI: Tensor, up_OR: Tensor, down_RI: Tensor, values_N: Tensor, index_N: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x_TI, up_OR, down_RI, values_N, index_N)
        ctx.blocks = list(_blocks(index_N, up_OR.shape[0], down_RI.shape[1]))
        parts = [x_TI @ _block(up_OR, down_RI, values_N, index_N, *block).T for block in ctx.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[misc, untyped-decorator]
    def backward(ctx: Any, grad_TO: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_TI, up_OR, down_RI, values_N, index_N = ctx.saved_tensors
        x_needed, *parts_needed, _ = ctx.needs_input_grad
        dx_TI = torch.zeros_like(x_TI) if x_needed else None
        dup_OR, ddown_RI, dvalues_N = torch.empty_like(up_OR), torch.zeros_like(down_RI), torch.empty_like(values_N)
        for rows, stored in ctx.blocks:
            grad_Tb = grad_TO[:, rows]
            if dx_TI is not None:
                dx_TI.addmm_(grad_Tb, _block(up_OR, down_RI, values_N, index_N, rows, stored))
            if any(parts_needed):
                dense_bI = grad_Tb.T @ x_TI
                dup_OR[rows] = dense_bI @ down_RI.T
                ddown_RI.addmm_(up_OR[rows].T, dense_bI)
                dvalues_N[stored] = dense_bI.view(-1)[index_N[stored] - rows.start * x_TI.shape[1]]
        found = [part if wanted else None for part, wanted in zip((dup_OR, ddown_RI, dvalues_N), parts_needed, strict=True)]
        return dx_TI, *found, None


def _blocks(index_N: Tensor, outputs: int, inputs: int) -> Iterator[tuple[slice, slice]]:
    """(rows of W, the stored values within them), from the first to the last."""
    height = max(1, BLOCK // inputs)
    edges = [*range(0, outputs, height), outputs]
    borders = [0, len(index_N)]
    if len(edges) > 2:  # on a GPU this waits for it; one block needs no search
        wanted = torch.tensor([edge * inputs for edge in edges[1:-1]], dtype=index_N.dtype, device=index_N.device)
        borders[1:1] = torch.searchsorted(index_N, wanted).tolist()
    for place in range(len(edges) - 1):
        yield slice(edges[place], edges[place + 1]), slice(borders[place], borders[place + 1])


def _block(up_OR: Tensor, down_RI: Tensor, values_N: Tensor, index_N: Tensor, rows: slice, stored: slice) -> Tensor:
    return _filled(up_OR[rows] @ down_RI, index_N[stored] - rows.start * down_RI.shape[1], values_N[stored])


def _filled(product_OI: Tensor, index_N: Tensor, values_N: Tensor) -> Tensor:
    product_OI.view(-1).index_add_(0, index_N, values_N)
    return product_OI
