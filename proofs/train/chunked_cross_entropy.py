"""The chunked cross-entropy gives the loss and the gradients of the plain one.

Contradicted if, in fp32, the loss or a gradient differs by more than 1e-5 of its size.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from metier.core.evidence import Check, Evidence, exact
from metier.engines.train.chunked_cross_entropy import chunked_cross_entropy
from metier.models.source import open_model

TOLERANCE = 1e-5


def prove(quick: bool) -> Evidence:
    """On hidden states of real models with chunks that do not divide them, and on random ones with bias, scale and softcap."""
    checks = _random_checks()
    for source in ["tiny"] if quick else ["tiny", "smollm2"]:
        checks += _model_checks(source)
    return exact(
        claim="loss and gradients of the plain cross-entropy, never holding the full logits",
        metric="largest relative difference",
        checks=checks,
        notes="fp32; gradients compared by the norm of the difference over the norm; models: of the whole network, every parameter",
    )


def _model_checks(source: str) -> list[Check]:
    ids = torch.randint(3, 500, (2, 150), generator=torch.Generator().manual_seed(1))
    model = open_model(source).load(dtype=torch.float32)
    plain = functional.cross_entropy(
        model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"
    )
    plain.backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[:, :-1].flatten(0, 1)
    found = chunked_cross_entropy(hidden, model.get_output_embeddings().weight, ids[:, 1:].flatten(), chunk_tokens=64).total
    found.backward()
    gradients = max(_apart(weight.grad, expected[name]) for name, weight in model.named_parameters())
    return [
        Check(f"{source}: loss", abs(found.item() - plain.item()) / plain.item(), TOLERANCE),
        Check(f"{source}: gradients", gradients, TOLERANCE),
    ]


def _random_checks() -> list[Check]:
    checks = []
    for scale, softcap in ((1.0, None), (0.25, None), (1.0, 5.0), (2.0, 8.0)):
        generator = torch.Generator().manual_seed(2)
        hidden, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((37, 16), (101, 16), (101,)))
        labels = torch.randint(0, 101, (37,), generator=generator)
        arguments = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]
        logits = (hidden @ weight.T + bias) * scale
        plain = functional.cross_entropy(
            softcap * torch.tanh(logits / softcap) if softcap is not None else logits, labels, reduction="sum"
        )
        expected = torch.autograd.grad(plain, arguments)
        total = chunked_cross_entropy(hidden, weight, labels, bias, scale=scale, softcap=softcap, chunk_tokens=10).total
        found = torch.autograd.grad(total, arguments)
        worst = max(_apart(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
        name = f"random, scale {scale}, softcap {softcap}"
        checks.append(Check(name, max(worst, abs(total.item() - plain.item()) / plain.item()), TOLERANCE))
    return checks


def _apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))
