"""Packed rows give the loss and the gradients of the same sequences one by one.

Contradicted if, in fp32, a loss or a gradient differs by more than 1e-5 of its size.
"""

from __future__ import annotations

import torch

from metier.core.evidence import Check, Evidence, exact
from metier.engines.text.pack import pack
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.packed_loss import lose_in_chunks
from metier.engines.train.segments import use_segments
from metier.engines.train.trainer import Collator
from metier.models.source import open_model

TOLERANCE = 1e-5


def prove(quick: bool) -> Evidence:
    """Random sequences of 2 to 120 tokens in rows of 256, against the model's own forward pass of each alone."""
    checks = []
    for source in ["tiny"] if quick else ["tiny", "smollm2"]:
        checks += _checks(source, num_sequences=12 if quick or source == "smollm2" else 40)
    return exact(
        claim="packed rows give the loss and the gradients of separate sequences",
        metric="largest relative difference",
        checks=checks,
        notes="fp32; gradients compared by the norm of the difference over the norm, for every parameter; the worst is given",
    )


def _checks(source: str, num_sequences: int) -> list[Check]:
    generator = torch.Generator().manual_seed(0)
    model = open_model(source).load(dtype=torch.float32)
    sequences = [
        TokenSequence.of_text(torch.randint(3, 500, (int(length),), generator=generator).tolist())
        for length in torch.randint(2, 121, (num_sequences,), generator=generator)
    ]
    separate = _separate(model, sequences)
    use_segments(model)
    lose_in_chunks(model)
    batch = Collator([""])(pack(sequences, sequence_length=256))
    batch.pop("sources")
    loss = model(**batch).loss
    loss.backward()
    packed = loss.item(), {name: weight.grad for name, weight in model.named_parameters()}
    return compare(source, separate, packed)


def _separate(model: torch.nn.Module, sequences: list[TokenSequence]) -> tuple[float, dict[str, torch.Tensor]]:
    total = 0.0
    for sequence in sequences:
        ids = torch.tensor([sequence.input_ids])
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")
        loss.backward()
        total += loss.item()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return total, gradients


def compare(
    source: str, expected: tuple[float, dict[str, torch.Tensor]], found: tuple[float, dict[str, torch.Tensor]]
) -> list[Check]:
    """The loss's relative difference, and the largest over all parameters of their gradients'."""
    gradients = max(
        float((found[1][name] - gradient).norm() / gradient.norm().clamp_min(1e-12)) for name, gradient in expected[1].items()
    )
    return [
        Check(f"{source}: loss", abs(found[0] - expected[0]) / abs(expected[0]), TOLERANCE),
        Check(f"{source}: gradients", gradients, TOLERANCE),
    ]
