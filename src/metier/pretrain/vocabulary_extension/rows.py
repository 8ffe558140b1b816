"""More rows of a model's embedding and head; the old rows stay as they were, bit for bit."""
# V old rows, N new tokens, D hidden size

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Init = Literal["pieces", "mean", "random", "transformers"]
INITS = ("pieces", "mean", "random", "transformers")
TRANSFORMERS_SCALE = 1e-9  # of the covariance that transformers draws new rows with


def check_growable(network: PreTrainedModel, num_tokens: int) -> None:
    """Raises ValueError or TypeError for a network whose vocabulary cannot be extended without losing weights.

    num_tokens: of its tokenizer. Rows beyond them (a vocabulary padded to a multiple) are well.
    """
    name = type(network).__name__
    table, head = network.get_input_embeddings(), network.get_output_embeddings()
    if not isinstance(table, nn.Embedding) or not isinstance(head, nn.Linear):
        raise TypeError(
            f"{name} has a {type(table).__name__} as embedding and a {type(head).__name__} as head: only a plain embedding and a linear head "
            "can get new rows; merge adapters and undo quantisation first"
        )
    rows = table.weight.shape[0]
    if head.weight.shape[0] != rows:
        raise ValueError(f"{name} has {rows} rows of embedding and {head.weight.shape[0]} of head: it is no plain language model")
    if num_tokens > rows:
        raise ValueError(
            f"the tokenizer has {num_tokens} tokens and the embedding {rows} rows: its files were replaced without resizing the model; "
            "take the tokenizer that the model was trained with"
        )
    if not table.weight.is_floating_point() or not head.weight.is_floating_point():
        raise TypeError(f"{name} has an embedding or a head in {table.weight.dtype}: undo quantisation first")
    known = {id(table.weight), id(head.weight), id(head.bias)}
    others = [
        f"{label} {tuple(weight.shape)}"
        for label, weight in network.named_parameters()
        if id(weight) not in known and weight.shape[0] == rows and _looks_up_tokens(network, label)
    ]
    if others:
        raise ValueError(f"{name} has more than embedding and head by token, which would not grow along: {', '.join(others)}")


def grow(
    network: PreTrainedModel, pieces: Sequence[Sequence[int]], num_tokens: int, *, init: Init, noise: float = 0.0, seed: int = 0
) -> None:
    """Gives the network, in place, a row for each new token, with ids from `num_tokens` (the tokenizer's size before) on.

    pieces: what each new token was split into before, old ids; noise: standard deviation that is added to every number. Rows are made
    in fp32 and then have the network's dtype. Rows that padded the old vocabulary are used first. A tied head stays tied.

    init "pieces" is the mean of the old rows of a token's pieces; "mean" of all old rows; "random" is normal with mean 0 and the standard
    deviation of the old rows' numbers; "transformers" normal with their mean and 1e-9 of their covariance, as its own resizing draws. A
    bias of the head gets the mean of the pieces' biases, or of all. Raises ValueError where the dtype loses a row to underflow.
    """
    if init not in INITS:
        raise ValueError(f"init={init!r} is unknown: give one of {', '.join(INITS)}")
    check_growable(network, num_tokens)
    table, head = network.get_input_embeddings(), network.get_output_embeddings()
    assert isinstance(table, nn.Embedding) and isinstance(head, nn.Linear)
    tied, needed = head.weight is table.weight, num_tokens + len(pieces)
    generator = torch.Generator().manual_seed(seed)
    made = [
        _rows(weight[:num_tokens], pieces, init, noise, generator)
        for weight in ([table.weight] if tied else [table.weight, head.weight])
    ]
    bias = head.bias[:num_tokens].detach().float() if head.bias is not None else None
    if needed > table.weight.shape[0]:
        with torch.random.fork_rng(devices=[]):  # the random rows are overwritten below
            network.resize_token_embeddings(needed, mean_resizing=False)
        table, head = network.get_input_embeddings(), network.get_output_embeddings()
        assert isinstance(table, nn.Embedding) and isinstance(head, nn.Linear)
    assert (head.weight is table.weight) == tied
    with torch.no_grad():
        for weight, rows_ND in zip([table.weight, head.weight], made, strict=False):
            weight[num_tokens:needed] = rows_ND.to(weight)
            _check_underflow(weight[num_tokens:needed])
        if bias is not None:
            found = [bias[list(one)].mean() if init == "pieces" else bias.mean() for one in pieces]
            head.bias[num_tokens:needed] = torch.stack(found).to(head.bias)


def _looks_up_tokens(network: nn.Module, label: str) -> bool:
    """By the kind and name of its owner: other matrices can have as many rows by chance, and positions are no tokens."""
    owner = network.get_submodule(label.rpartition(".")[0])
    if isinstance(owner, nn.Embedding):
        return re.search(r"wpe|pos", label) is None
    return isinstance(owner, nn.Linear) and "head" in label


def _rows(old_VD: Tensor, pieces: Sequence[Sequence[int]], init: Init, noise: float, generator: torch.Generator) -> Tensor:
    """(N, D) fp32 on the CPU."""
    old_VD = old_VD.detach().float().cpu()
    shape = (len(pieces), old_VD.shape[1])
    if init == "pieces":
        if any(len(one) == 0 for one in pieces):
            raise ValueError("a new token without pieces has no mean of them: give init mean or random")
        rows_ND = torch.stack([old_VD[list(one)].mean(0) for one in pieces]) if pieces else torch.zeros(shape)
    elif init == "random":
        rows_ND = torch.randn(shape, generator=generator) * old_VD.std()
    else:
        rows_ND = old_VD.mean(0).expand(shape).clone()
        if init == "transformers":
            centred_VD = old_VD - old_VD.mean(0)
            values_D, vectors_DD = torch.linalg.eigh(centred_VD.T @ centred_VD / len(old_VD))
            scales_D = (TRANSFORMERS_SCALE * values_D.clamp_min(0)).sqrt()
            rows_ND += (torch.randn(shape, generator=generator) * scales_D) @ vectors_DD.T
    return rows_ND + noise * torch.randn(shape, generator=generator) if noise else rows_ND


def _check_underflow(rows_ND: Tensor) -> None:
    lost = int((rows_ND == 0).all(1).sum())
    if lost:
        raise ValueError(
            f"{lost} of {len(rows_ND)} new rows are zero in {rows_ND.dtype}: their numbers are too small for it, or the old rows are "
            "empty; load the model in bfloat16 or float32"
        )
