"""The data are what they say they are, and probes read what a model's states hold and nothing else.

The paper's 9.7% against 96.6% needs 100,000 people and hours on a GPU, so it is not claimed here. Contradicted if an entry lacks a value or
has it where it should not, if a planted code is read with more than 2% errors, if labels that are shuffled or told only later are read
beyond chance, if anything but the probe changes, or if the audit passes facts told once or names more than 5% of those of multi5+permute.
"""

from __future__ import annotations

import math
import random

import torch

from metier.core.evidence import Check, Evidence, exact
from metier.models.source import open_model
from metier.pretrain.knowledge_storage import knowledge_storage
from metier.pretrain.knowledge_storage.biographies import Augmentation, biographies
from metier.pretrain.knowledge_storage.people import ATTRIBUTES, NUM, TEMPLATES, made_values
from metier.pretrain.knowledge_storage.probes import Asked, Probe, Reader, Training, probe

FORMS = ("single", "multi2", "multi5", "single+permute5", "multi5+permute", "multi5+permute+fullname", "multi2+couple")
CLASSES = 5
AT_CHANCE = 4.0  # standard errors: one false alarm in 15,000 a check


def prove(quick: bool) -> Evidence:
    """Invariants of every augmentation, the audit of the two extremes, and probes on a random network with a planted code."""
    people = 30 if quick else 1000
    checks = [_sizes()] + [_entries(form, people if form in ("single", "multi5+permute") else people // 10) for form in FORMS]
    checks += _audit(people // 2)
    for rank in (0,) if quick else (0, 2, 16):
        checks += _planted(rank, 240 if quick else 600, 300 if quick else 400)
    return exact(
        claim="biographies hold what they say; probes read a planted code and chance where there is none",
        metric="largest violation",
        checks=checks,
        notes=f"{people} people; probes on the tiny random Llama: the place's own token is the planted code; the direction of the paper's "
        "headline (9.7% to 96.6%) is not tested here",
    )


def _sizes() -> Check:
    values = made_values(0)
    sizes = [
        len(set(part))
        for part in (values.first, values.middle, values.last, values.city, values.university, values.field, values.company)
    ]
    capital = sum(city == values.city[0] for city in values.company.values())
    wrong = sum(size != expected for size, expected in zip(sizes, NUM.values(), strict=True))
    wrong += sum(len(set(templates)) != 49 for templates in TEMPLATES.values()) + (round(100 * capital / 263, 1) != 13.7)
    return Check("sizes of the lists, 49 templates an attribute, 13.7% in the capital: violations", wrong, 0.5)


def _entries(form: str, people: int) -> Check:
    made = biographies(people=people, augmentation=form, seed=1)
    facts = {(row["entity"], row["attribute"]): row["value"] for row in made.facts.rows()}
    shape, wrong, names, rows = Augmentation.of(form), 0, set(), 0
    for row in made.corpus.rows():
        rows += 1
        names.add(row["entity"])
        wrong += row["text"].count(row["entity"]) != (6 if shape.fullname else 1)
        placed = zip(ATTRIBUTES, row["starts"], strict=True)
        wrong += not all(row["text"].startswith(facts[row["entity"], name], start) for name, start in placed)
        wrong += not shape.orders and not shape.couple and row["starts"] != sorted(row["starts"])
    wrong += len(names) != people or rows != people * shape.entries * max(1, shape.orders)
    return Check(f"{form}: violations", wrong, 0.5)


def _audit(people: int) -> list[Check]:
    found = {}
    for form in ("single", "multi5+permute"):
        made = biographies(people=people, augmentation=form, seed=2)
        summary = knowledge_storage(made.corpus, made.facts).summary
        found[form] = summary.at_risk / summary.facts
    return [
        Check("audit: share of facts of single that it passes", 1 - found["single"], 1e-9),
        Check("audit: share of facts of multi5+permute that it names", found["multi5+permute"], 0.05),
    ]


def _planted(rank: int, people: int, steps: int) -> list[Check]:
    network = open_model("tiny").load(dtype=torch.float32)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    generator = random.Random(3)
    labels = [number % CLASSES for number in range(people)]
    texts = [
        Asked([*(generator.randrange(200, 400) for _ in range(2)), 150 + label], [1, 2], f"person {number}")
        for number, label in enumerate(labels)
    ]
    training = Training(rank, steps, 50, learning_rate=1e-2, weight_decay=0.0)
    reader = Reader(network)
    found = probe(reader, texts, labels, training, norm="layer", seed=0)
    shuffled = probe(reader, texts, generator.sample(labels, people), training, norm="layer", seed=0)
    made = Probe(network, rank, 1, CLASSES, "layer", torch.Generator().manual_seed(0))
    vocabulary, hidden = network.get_input_embeddings().weight.shape
    expected = rank * (vocabulary + hidden) + 2 * hidden + CLASSES * (hidden + 1)
    moved = max(float((weight - before[name]).abs().max()) for name, weight in network.state_dict().items())
    return [
        Check(f"rank {rank}: planted code, errors by questions", 1 - found.accuracy[1], 0.02),
        Check(f"rank {rank}: told only later, standard errors over chance", _over(found.accuracy[0], found.asked), AT_CHANCE),
        Check(
            f"rank {rank}: shuffled labels, standard errors over chance", _over(shuffled.accuracy[1], shuffled.asked), AT_CHANCE
        ),
        Check(f"rank {rank}: parameters beyond the expected", abs(sum(w.numel() for w in made.parameters()) - expected), 0.5),
        Check(f"rank {rank}: largest change of the model", moved, 1e-12),
    ]


def _over(accuracy: float, asked: int) -> float:
    chance = 1 / CLASSES
    return max(0.0, (accuracy - chance) / math.sqrt(chance * (1 - chance) / asked))
