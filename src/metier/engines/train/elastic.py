"""Penalties that hold weights where an earlier task left them: EWC, which holds what the Fisher information calls important, and
L2-SP, which holds all alike.

EWC (Overcoming catastrophic forgetting in neural networks, arXiv 1612.00796) adds strength / 2 * sum_j F_j (theta_j -
theta*_j)^2 to the loss. The Fisher diagonal F is taken at theta*, after the earlier task, and is none of its training gradients.
L2-SP (arXiv 1802.01483) is F = 1.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from metier.artifacts import Model
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.packed_loss import lose_in_chunks, restore
from metier.engines.train.segments import plain_attention

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

Labels = Literal["model", "data"]


@dataclass(frozen=True)
class Anchored(Model):
    """A Model for `fit`: the network that it loads loses the penalty of `hold` besides, anchored at its stored weights.

    strength: of the penalty; importance: a safetensors file of fp32 tensors by parameter name (EWC), None for 1 everywhere
    (L2-SP). What `fit` makes of it is an ordinary Model. Not for low-rank adapters: their weights begin anew in each training
    and have no theta*.
    """

    strength: float = 0.0
    importance: Path | None = None

    def load(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        network = super().load(dtype)
        hold(network, self.strength, load_file(self.importance) if self.importance is not None else None)
        return network

    def fingerprint(self) -> str:
        """Of the weights and the penalty: a checkpoint of a training without it, or with another, is not gone on from."""
        digest = hashlib.sha256(f"{super().fingerprint()} {self.strength}".encode())
        if self.importance is not None:
            with self.importance.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:32]


def hold(network: nn.Module, strength: float, importance: Mapping[str, Tensor] | None = None) -> RemovableHandle:
    """Adds the penalty to the loss of each training pass of a network that returns a PackedLoss; anchors are its trained weights
    now.

    A pass gets as many times the penalty as it predicts tokens, so that the mean over a step's tokens holds it once, however the
    step is spread over passes and processes. Passes in evaluation mode lose as ever, and `nll` has no part of it. importance: by
    parameter name, None for 1. Takes the memory of one or two more copies of the weights. The handle's remove() ends it.
    """
    penalty = Penalty(network, strength, importance)

    def add(module: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        if module.training:
            output.loss = output.loss + penalty(module) * output.nll.numel()
        return output

    return network.register_forward_hook(add)


class Penalty:
    """strength / 2 * sum_j F_j (theta_j - theta*_j)^2 of a network with the parameters of the one it was made for."""

    def __init__(self, network: nn.Module, strength: float, importance: Mapping[str, Tensor] | None = None) -> None:
        """theta* is `network` now. Parameters, or rows of them (a grown vocabulary), without importance are free, and logged.

        Raises ValueError for a strength that is negative or not finite, and for an importance of another shape.
        """
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength={strength} holds nothing in place: give 0 or a positive number")
        weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._strength = strength
        self._anchor = {name: weight.detach().clone() for name, weight in weights.items()}
        self._importance: dict[str, Tensor | None] = dict.fromkeys(weights)
        if importance is not None:
            self._importance |= {name: _fitted(name, importance.get(name), weight) for name, weight in weights.items()}

    def __call__(self, network: nn.Module) -> Tensor:
        """The penalty (scalar, fp32), with its gradient F_j * (theta_j - theta*_j) * strength."""
        total: Tensor | None = None
        for name, weight in network.named_parameters():
            if name not in self._anchor:
                continue
            anchor, importance = self._anchor[name].to(weight.device), self._importance[name]
            if anchor.shape != weight.shape:
                raise ValueError(
                    f"{name} has the shape {tuple(weight.shape)} and had {tuple(anchor.shape)} when it was anchored: "
                    "weights sharded over processes can't be held; train with whole copies"
                )
            importance = importance.to(weight.device) if importance is not None else None
            self._anchor[name], self._importance[name] = anchor, importance
            part: Tensor = _Quadratic.apply(weight, anchor, importance)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("the network has none of the parameters that were anchored, so nothing would be held")
        return self._strength * total


def fisher_diagonal(
    network: PreTrainedModel, sequences: Sequence[TokenSequence], *, labels: Labels = "model", rows: int = 512, seed: int = 0
) -> dict[str, Tensor]:
    """The diagonal of the Fisher information of a predicted token, at the network's weights: fp32 by parameter name, on its
    device.

    The mean over tokens is taken sequence by sequence: squared gradients of a sequence's log-likelihood, summed, by the number
    of tokens. Under the model's own labels the cross terms between tokens have expectation 0, so this is unbiased. The network
    should be in fp32; it comes back in evaluation mode, without gradients and with its own forward. Raises ValueError where no
    token is predicted. Settings:
        labels: model draws them from the network's own distribution, given the text so far (the Fisher information); data takes
            the text's
        rows: sequences that are looked at, drawn without replacement; all where there are fewer
        seed: of the draws
    """
    if rows < 1:
        raise ValueError(f"rows={rows} looks at nothing: give 1 or more")
    usable = [sequence for sequence in sequences if sequence.num_predicted]
    drawn = random.Random(f"{seed} fisher").sample(usable, min(rows, len(usable)))
    generator = torch.Generator().manual_seed(seed)
    network.eval()
    network.set_attn_implementation(plain_attention(network))

    def losses() -> Iterator[tuple[Tensor, int]]:
        for sequence in drawn:
            ids_1T, labels_1T = (torch.tensor([ids], device=network.device) for ids in (sequence.input_ids, sequence.labels))
            if labels == "model":
                labels_1T = own_labels(network, ids_1T, labels_1T, generator)
            lose_in_chunks(network)
            yield network(input_ids=ids_1T, labels=labels_1T).loss, sequence.num_predicted
            restore(network)

    return mean_squared_gradient(network, losses())


def mean_squared_gradient(network: nn.Module, losses: Iterable[tuple[Tensor, int]]) -> dict[str, Tensor]:
    """Squared gradients of the losses, summed over them and divided by the sum of their counts; by name of trained parameter."""
    weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    squares = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    network.zero_grad(set_to_none=True)
    total = 0
    for loss, count in losses:
        loss.backward()  # type: ignore[no-untyped-call]
        for name, weight in weights.items():
            if weight.grad is not None:
                squares[name] += weight.grad.float().square()
                weight.grad = None
        total += count
    if total == 0:
        raise ValueError("no sequence predicts a token, so there is no Fisher information: give texts or answers of the task")
    return {name: square.div_(total) for name, square in squares.items()}


def own_labels(network: PreTrainedModel, ids_1T: Tensor, labels_1T: Tensor, generator: torch.Generator) -> Tensor:
    """labels_1T with a token drawn from the network's distribution at each predicted place; the draw is made on the CPU."""
    predicted_1T = labels_1T != IGNORED
    with torch.no_grad():
        logits_NV = network(input_ids=ids_1T, use_cache=False).logits[predicted_1T].float()
    drawn_N = torch.multinomial(logits_NV.softmax(-1).cpu(), 1, generator=generator).squeeze(1)
    labels = labels_1T.clone()
    labels[predicted_1T] = drawn_N.to(labels.device)
    return labels


class _Quadratic(torch.autograd.Function):
    # By hand, because autograd would keep the difference and its square of every weight until the backward pass.
    @staticmethod
    def forward(ctx: Any, weight: Tensor, anchor: Tensor, importance: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, anchor, importance)
        squares = (weight.float() - anchor).square_()
        return 0.5 * (squares if importance is None else squares.mul_(importance)).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        weight, anchor, importance = ctx.saved_tensors
        gradient = (weight.float() - anchor).mul_(grads[0])
        return (gradient if importance is None else gradient.mul_(importance)).to(weight.dtype), None, None


def _fitted(name: str, importance: Tensor | None, weight: Tensor) -> Tensor:
    if importance is not None and importance.shape == weight.shape:
        return importance.detach().float()
    fitted = torch.zeros_like(weight, dtype=torch.float32, requires_grad=False)
    if importance is None:
        logger.info("%s has no Fisher information and is free to move", name)
        return fitted
    if importance.shape[1:] != weight.shape[1:] or len(importance) > len(weight):
        raise ValueError(
            f"the importance of {name} has the shape {tuple(importance.shape)} and the weight {tuple(weight.shape)}: "
            "it is of another model"
        )
    logger.info("%d new rows of %s have no Fisher information and are free to move", len(weight) - len(importance), name)
    fitted[: len(importance)] = importance.to(fitted.device)
    return fitted
