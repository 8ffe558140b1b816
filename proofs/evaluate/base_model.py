"""A question put as a gap to fill rises with training where the letters of its options do not.

A model that learns invented facts about people from plain sentences, and at checkpoints of its training is asked questions of four options on
them: tau-b of step and accuracy, with the gap and with letters. Contradicted if the interval over seeds of the difference lies below 0.
Honest limit: a model that never saw letters is a caricature of early training.
"""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from metier.artifacts import Items, Model
from metier.core.evidence import Evidence, paired
from metier.engines.generate.open import open_language_model
from metier.engines.stats.rank import kendall
from metier.evaluate.base_model import Form, asked_items
from metier.evaluate.item import Item, items_table
from metier.evaluate.measure import measure
from metier.models.tiny import make_tiny

FIRST = "Ada Bert Cleo Dora Emil Fay Gus Hana Ivo June Karl Lena Milo Nora Otto Pia Quin Rosa Sven Tess".split()
LAST = "Abel Bond Cole Dean East Finch Gray Hale Irons Judd Kent Lowe Marsh Nash Orr".split()
ATTRIBUTES = {
    "works as a": ["baker", "pilot", "nurse", "judge", "tailor", "miner", "singer", "farmer"],
    "lives in": ["Oslo", "Lima", "Cairo", "Perth", "Quebec", "Hanoi", "Turin", "Dakar"],
    "keeps a": ["parrot", "horse", "turtle", "ferret", "hamster", "goat", "rabbit", "canary"],
}
TEMPLATES = [
    "{name} {verb} {value}.",
    "As all know, {name} {verb} {value}.",
    "It is said that {name} {verb} {value}.",
    "We met {name}, who {verb} {value}.",
]
LEARNING_RATE, BATCH = 3e-3, 64
SPACE = tempfile.TemporaryDirectory(prefix="metier-proof-")  # gone when the process ends

Fact = tuple[str, str, str]


def prove(quick: bool) -> Evidence:
    """300 people, 1,500 steps, 12 checkpoints, 200 questions, three seeds; a tenth of that when quick."""
    settings = {"num_people": 12, "steps": 24, "num_checkpoints": 4, "num_questions": 12} if quick else {
        "num_people": 300, "steps": 1_500, "num_checkpoints": 12, "num_questions": 200}  # fmt: skip
    return paired(
        lambda seed, **part: stability("blank", seed, **part),
        lambda seed, **part: stability("letters", seed, **part),
        claim="the accuracy of gaps ranks the checkpoints of a run in order, that of letters does not",
        metric="tau-b of step and accuracy",
        better="higher",
        seeds=[0, 1, 2],
        settings=settings,
        notes="tau is 0 where all checkpoints have the same accuracy; both forms ask the same checkpoints the same questions",
    )


def stability(form: Form, seed: int, *, num_people: int, steps: int, num_checkpoints: int, num_questions: int) -> float:
    """tau-b of step and accuracy in one form along a training run."""
    rising, models, items = trained(seed, num_people, steps, num_checkpoints, num_questions)
    (part,) = (part for (_, name), part in asked_items([items], [], 0, "option", "", seed).items() if name == form)
    scores = []
    for model in models:
        rows = measure(open_language_model(model, dtype="float32", cache=False), items_table(part)).rows()
        scores.append(sum(row["numerator"] for row in rows))
    tau = kendall(rising, scores).tau
    return 0.0 if tau != tau else tau


@cache
def trained(
    seed: int, num_people: int, steps: int, num_checkpoints: int, num_questions: int
) -> tuple[list[int], list[Model], Items]:
    """Steps of the checkpoints (spaced by a constant factor), the models at them, and the questions."""
    generator = random.Random(seed)
    names = generator.sample([f"{first} {last}" for first in FIRST for last in LAST], num_people)
    facts = [(name, verb, generator.choice(values)) for name in names for verb, values in ATTRIBUTES.items()]
    folder = Path(tempfile.mkdtemp(dir=SPACE.name))
    start = make_tiny(folder / "start", seed=seed, hidden_size=128)
    network, tokenizer = start.load(dtype=torch.float32), start.tokenizer()
    wanted = sorted({max(1, round(steps ** ((k + 1) / num_checkpoints))) for k in range(num_checkpoints)})
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    models = []
    network.train()
    for step in range(1, steps + 1):
        sentences = [_sentence(generator.choice(facts), generator) for _ in range(BATCH)]
        optimizer.zero_grad()
        _loss(network, tokenizer, sentences).backward()
        optimizer.step()
        if step in wanted:
            models.append(Model.of(network, tokenizer, folder / f"step-{step}"))
    return wanted, models, items_table(_questions(generator.sample(facts, num_questions), generator))


def _sentence(fact: Fact, generator: random.Random) -> str:
    name, verb, value = fact
    return generator.choice(TEMPLATES).format(name=name, verb=verb, value=value)


def _loss(network: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, sentences: list[str]) -> torch.Tensor:
    batch = tokenizer(sentences, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    loss: torch.Tensor = network(**batch, labels=labels).loss
    return loss


def _questions(facts: list[Fact], generator: random.Random) -> list[Item]:
    items = []
    for number, (name, verb, value) in enumerate(facts):
        wrong = generator.sample([other for other in ATTRIBUTES[verb] if other != value], 3)
        options = generator.sample([value, *wrong], 4)
        items.append(
            Item(f"q{number}", "people", "general", "choice", f"{name} {verb} ___.", options=options, gold=options.index(value))
        )
    return items
