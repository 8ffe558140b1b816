"""States of a model before tuning work in it afterwards, where those of a model that learnt the same anew do not.

A toy Llama learns a set of invented facts, true or false (`before`), and is then tuned on a second set with the first mixed in (`after`).
Another learns the first set from another initialisation by the same rule (`remade`): it gives the same verdicts and shares nothing inside.
One vector of a true statement at a time is written into false statements of `after`. What that does to its verdicts, by layer and token,
is compared with what its own vectors do: Pearson's r of the two maps, with vectors of `before` and of `remade`.

Contradicted if r is higher with the remade model's vectors by an interval that excludes 0. Each model must be right in three of four
verdicts, or the proof stops: a map of ignorance is noise. Size, steps and rates were set by accuracy alone, on other seeds than the proof's,
before any map was drawn. Two first runs stopped at seed 7, whose facts no toy learnt in 300 steps, before their result was known; since then
a toy that does not know its facts is trained again for twice as long. The paper's own finding on 8B models (patching from base into tuned
models mostly works) is out of reach here: SmolLM2-135M gives verdicts near chance on all fourteen sets of the paper's repository.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from functools import cache

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from metier.core.evidence import Evidence, paired
from metier.engines.inspect.statements import Pairs, Statement, answers_of, examples_of, examples_text, pair
from metier.engines.inspect.stream import Stream, open_stream
from metier.engines.inspect.tracing import Margins, patch, similarity, true_states

FORMS = ("The city of {} is in {}.", "The painter {} lived in {}.")
PLACES = "Arda Brin Cole Dorn".split()
LINES = 5  # of one training sequence, as many as examples and statement make
LEAST_ACCURACY = 0.75
RATE, BATCH = 3e-3, 16


@dataclass(frozen=True)
class Size:
    """names: facts of each set; steps: of learning the first, at least; tuning: steps on both sets, at a third of the rate;
    least_accuracy: of verdicts, of donor and receiver"""

    layers: int
    hidden: int
    names: int
    steps: int
    tuning: int
    least_accuracy: float


def prove(quick: bool) -> Evidence:
    """Eight toys; quick: three that learn for a moment and know little, to see that all of it runs."""
    size = Size(2, 64, 24, 30, 5, 0.0) if quick else Size(2, 64, 24, 300, 60, LEAST_ACCURACY)
    return paired(
        from_before,
        from_remade,
        claim="states from before tuning work in the tuned model; those of a model that learnt the same facts anew do not",
        metric="Pearson r between the map of the tuned model patched with another model's states and with its own",
        better="higher",
        seeds=range(3 if quick else 8),
        settings={"size": size},
        notes="raw maps, not the authors' bins; every pair of the first set that shares its place and is of other verdicts",
    )


def from_before(seed: int, size: Size) -> float:
    before, after, _ = trained(seed, size)
    return likeness(donor=before, receiver=after, seed=seed, size=size)


def from_remade(seed: int, size: Size) -> float:
    _, after, remade = trained(seed, size)
    return likeness(donor=remade, receiver=after, seed=seed, size=size)


def likeness(donor: Stream, receiver: Stream, seed: int, size: Size) -> float:
    """r of the receiver's maps with the donor's states and with its own. Raises RuntimeError where either does not know the facts."""
    asked, answers = questions(seed, size), answers_of(tokenizer(size))
    states, own_states = (true_states(stream, asked, answers) for stream in (donor, receiver))
    for name, (_, margins) in (("donor", states), ("receiver", own_states)):
        if share_right(margins) < size.least_accuracy:
            raise RuntimeError(
                f"seed {seed}: the {name} is right in {share_right(margins):.0%} of its verdicts: its map would be noise"
            )
    foreign, own = (patch(receiver, asked, answers, donor_NLSD).mean(axis=0) for donor_NLSD, _ in (states, own_states))
    return similarity(foreign, own)


def questions(seed: int, size: Size) -> Pairs:
    facts = statements(seed, 0, size)
    tokens = tokenizer(size)
    examples = examples_of(facts, LINES - 1, seed)
    return pair(tokens, facts, examples, answers_of(tokens), num_pairs=40, min_pairs=10, seed=seed)


@cache
def trained(seed: int, size: Size) -> tuple[Stream, Stream, Stream]:
    """before, after, remade"""
    known = [statements(seed, 0, size)]
    before, remade = (learnt(2 * seed + number, known, seed, size) for number in range(2))
    after = train(
        copy.deepcopy(before), [*known, statements(seed, 1, size)], steps=size.tuning, rate=RATE / 3, seed=seed, size=size
    )
    return open_stream(before), open_stream(after), open_stream(remade)


def learnt(initialisation: int, known: list[list[Statement]], seed: int, size: Size) -> LlamaForCausalLM:
    """A toy that knows the facts: after size.steps, or after the fewest doublings of these that suffice, each time from the beginning."""
    asked, answers = questions(seed, size), answers_of(tokenizer(size))
    for doublings in range(4):
        steps = size.steps * 2**doublings
        model = train(toy(initialisation, size), known, steps=steps, rate=RATE, seed=seed, size=size)
        if share_right(true_states(open_stream(model), asked, answers)[1]) >= size.least_accuracy:
            return model
    raise RuntimeError(f"seed {seed}: a toy did not learn its facts in {steps} steps")


def share_right(margins: Margins) -> float:
    return margins.num_right() / (2 * len(margins.true))


def statements(seed: int, number: int, size: Size) -> list[Statement]:
    """Each name with its own place, and with another one."""
    generator = random.Random(f"{seed} {number}")
    found = []
    for name in names(size):
        right, wrong = generator.sample(PLACES, 2)
        for place in (right, wrong):
            found.append(Statement(FORMS[number].format(name, place), place == right, str(number)))
    return found


def names(size: Size) -> list[str]:
    return [f"Name{number}" for number in range(size.names)]


@cache
def tokenizer(size: Size) -> PreTrainedTokenizerFast:
    """One token a word."""
    words = ["?", *PLACES, *names(size), *"This statement is : TRUE FALSE .".split()]
    words += sorted({word for form in FORMS for word in form.replace("{}", "").replace(".", "").split()} - set(words))
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?")


def toy(seed: int, size: Size) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer(size)),
        hidden_size=size.hidden,
        intermediate_size=2 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM, sets: list[list[Statement]], *, steps: int, rate: float, seed: int, size: Size
) -> LlamaForCausalLM:
    """The loss is that of the verdicts alone; 32 sequences a step, of statements of all sets."""
    tokens, generator = tokenizer(size), random.Random(seed)
    answers = answers_of(tokens)
    facts = [statement for one in sets for statement in one]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        texts = [examples_text(generator.sample(facts, LINES), answers) for _ in range(BATCH)]
        batch = tokens(texts, padding=False)["input_ids"]
        width = max(map(len, batch))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        verdict = (ids == answers.true_token) | (ids == answers.false_token)
        loss = model(input_ids=ids, labels=ids.masked_fill(~verdict, -100)).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model.eval()
