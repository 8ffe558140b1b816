"""After sparse pretraining, dense fine-tuning reaches a lower loss on the task than fine-tuning under the same masks.

One model is pretrained at 75% sparsity for each seed; both arms fine-tune it on the same pairs of a data-to-text task, with the same steps
and learning rate, one with all weights free and one with the masks kept. That the zeros stay exact, the FLOPs and the agreement with
masks in the forward pass are equalities, which the tests hold.

Contradicted if the 95% interval of the paired difference in held-out task loss lies above 0; not shown if it covers 0.
"""

from __future__ import annotations

import json
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from metier.artifacts import Corpus, Model
from metier.core.evidence import Evidence, paired
from metier.engines.data.read import read
from metier.engines.text.pack import pack
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.fit import Schedule, Watch, fit
from metier.models.source import open_model
from metier.pretrain.sparse_masks import Masked
from metier.pretrain.sparse_then_dense import sparse_then_dense

LENGTH = 128
NAMES = ["Alba", "Bruno", "Clara", "Dario", "Elsa", "Felix", "Greta", "Hugo", "Ines", "Jonas"]
TOWNS = ["Arles", "Bern", "Cork", "Delft", "Essen", "Faro", "Ghent", "Hull"]
FOODS = ["bread", "cheese", "fish", "rice", "soup", "noodles", "fruit", "cake"]
PRICES = ["cheap", "moderate", "dear"]
TEMPLATES = [
    "{name} in {town} serves {food} at {price} prices.",
    "If you want {price} {food}, go to {name} in {town}.",
    "In {town} there is {name}, where {food} is {price}.",
    "{food} is what {name} of {town} is known for, and it is {price}.",
]


def prove(quick: bool) -> Evidence:
    """Llamas of 4 layers of 128: 100 steps of 2,048 tokens of documentation, then 60 of 16 rows of pairs.

    quick: 2 layers of 64, 300 documents, 16 and 25 steps; much fewer teach neither arm anything, and their difference means nothing.
    """
    settings = {
        "layers": 2 if quick else 4,
        "width": 64 if quick else 128,
        "pretraining": 16 if quick else 100,
        "documents": 300 if quick else None,
        "tuning": 25 if quick else 60,
    }
    with tempfile.TemporaryDirectory() as folder:
        evidence = paired(
            _dense,
            _sparse,
            claim="after pretraining at 75% sparsity, dense fine-tuning reaches a lower task loss than sparse fine-tuning",
            metric="loss of held-out answers (nats per token)",
            better="lower",
            seeds=range(3),
            settings=settings | {"folder": folder},
            notes="pairs of attributes and a sentence about them; held-out pairs combine attributes that training never saw together",
        )
    evidence.settings.pop("folder")
    return evidence


def _dense(*, seed: int, tuning: int, folder: str, **sizes: Any) -> float:
    return _tuned_loss(_pretrained(seed, folder, **sizes), seed, tuning, Path(folder) / f"dense-{seed}")


def _sparse(*, seed: int, tuning: int, folder: str, **sizes: Any) -> float:
    return _tuned_loss(Masked(_pretrained(seed, folder, **sizes).path), seed, tuning, Path(folder) / f"sparse-{seed}")


@cache
def _pretrained(seed: int, folder: str, *, layers: int, width: int, pretraining: int, documents: int | None) -> Model:
    config = LlamaConfig(
        vocab_size=512, hidden_size=width, intermediate_size=11 * width // 4, num_hidden_layers=layers, num_attention_heads=4,
        max_position_embeddings=LENGTH, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    new = Model.of(network, open_model("tiny").tokenizer(), Path(folder) / f"new-{seed}")
    return sparse_then_dense(
        new, _corpus(documents), tokens=pretraining * 16 * LENGTH, learning_rate=3e-3, sequence_length=LENGTH, batch_tokens=16 * LENGTH,
        precision="float32", checkpoint_seconds=1e9, seed=seed, workdir=Path(folder) / f"pretraining-{seed}",
    )  # fmt: skip


def _tuned_loss(model: Model, seed: int, steps: int, workdir: Path) -> float:
    training, held_out = _pairs(seed)
    schedule = Schedule(epochs=1, steps=steps, rows_per_step=16, learning_rate=1e-3)
    fit(
        model, training, held_out, schedule, adapter=None, precision="float32", checkpoint_seconds=1e9, seed=seed, workdir=workdir,
        method="pretrain.sparse_then_dense", watch=Watch(evaluations=1),
    )  # fmt: skip
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return float([line["held_out_loss"] for line in lines if "held_out_loss" in line][-1])


@cache
def _corpus(documents: int | None) -> Corpus:
    return Corpus.from_rows(list(read(source="python:stdlib", limit=documents).rows()))


def _pairs(seed: int) -> tuple[list[Any], list[Any]]:
    """Rows of pairs; a name and a town whose numbers add up to a multiple of five are met in held-out pairs only."""
    generator, tokenizer = random.Random(seed), open_model("tiny").tokenizer()
    found: tuple[list[TokenSequence], list[TokenSequence]] = ([], [])
    for _ in range(2000):
        name, town = generator.randrange(len(NAMES)), generator.randrange(len(TOWNS))
        told = {"name": NAMES[name], "town": TOWNS[town], "food": generator.choice(FOODS), "price": generator.choice(PRICES)}
        prompt = tokenizer(", ".join(f"{key}: {value}" for key, value in told.items()) + " ->")["input_ids"]
        answer = tokenizer(" " + generator.choice(TEMPLATES).format(**told))["input_ids"]
        labels = [IGNORED] * (len(prompt) - 1) + answer + [IGNORED]
        found[(name + town) % 5 == 0].append(TokenSequence([*prompt, *answer], labels, "pairs"))
    training, held_out = (pack(part, sequence_length=LENGTH) for part in found)
    return training, held_out[:60]
