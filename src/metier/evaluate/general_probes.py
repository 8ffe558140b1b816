"""Abilities a specialist must not lose, asked by items made on the spot: no download, no licence, no leak into training."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from metier.artifacts import Items
from metier.evaluate.item import Item, items_table
from metier.method import method

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
).split()
WORDS = (
    "apple river stone window garden silver bottle candle mountain pencil carpet orange bridge forest yellow basket mirror ladder "
    "pocket summer winter island button hammer needle rabbit castle market pepper violin saddle lantern"
).split()
PEOPLE = [
    (f"{word}", f"{word}s")
    for word in "doctor teacher farmer singer artist driver lawyer student neighbour pilot painter waiter sailor baker nurse".split()
]
VERBS = [(f"{word}s", word) for word in "sing work wait smile read sleep walk write dance cook swim travel".split()]
BE = [("is", "are"), ("was", "were"), ("has been", "have been")]
STATES = "tired happy hungry late young famous busy ready angry polite".split()
PLACES = (
    "in the garden,at home,near the river,in the kitchen,after lunch,every morning,on the train,at the station,in the evening,at school"
).split(",")
THINGS = [(word, f"{word}s") for word in "book car house letter song idea picture chair table ticket bottle window".split()]
DONE = [
    (participle, infinitive, f"the {thing}")
    for participle, infinitive, things in [
        ("written", "write", "letter song book list report"),
        ("taken", "take", "picture bus ticket train basket"),
        ("broken", "break", "window chair bottle cup promise"),
        ("eaten", "eat", "apple bread soup cake orange"),
        ("drawn", "draw", "map house horse line tree"),
        ("chosen", "choose", "song gift name colour winner"),
    ]
    for thing in things.split()
]

EXAMPLES = "Say river twice: river river\nSay silver then garden: silver garden\nSay stone then window: stone window\n"


@method(claim="notices when a model lost arithmetic, grammar, copying or the following of instructions")
def general_probes(*, num_items: int = 600, seed: int = 0) -> Items:
    """Four probes (role general): numbers in words, grammatical minimal pairs, copying, simple instructions.

    The first three are choices of `num_items` each; instructions, two thirds as many, are answered in words after three examples. Two
    models that disagree on a share d of n items have a paired 95% interval of plus or minus 1.96 sqrt(d / n): 600 items give 3 points
    at d = 14%, which is what training on other text made of SmolLM2-135M-Instruct. The difficulty was set by that model alone, as it comes,
    so that each probe is well above chance and below its ceiling: sums beyond ten and instructions in its chat format are
    beyond it, repeating a list word by word is too easy, and either would have shown nothing.
    Settings:
        num_items: items of each probe; 600 give 3 points where the models disagree on 14%, 1400 where they disagree on a third
    """
    if num_items < 1:
        raise ValueError(f"num_items={num_items} asks nothing: give 1 or more")
    makers: dict[str, Callable[[random.Random], tuple[str, list[str], str]]] = {
        "arithmetic in words": _number,
        "grammar": _grammar,
        "copying": _copying,
        "simple instructions": _instruction,
    }
    items = []
    for task, make in makers.items():
        generator = random.Random(f"{seed} {task}")
        count = math.ceil(num_items * 2 / 3) if make is _instruction else num_items  # written answers take longest
        seen: set[tuple[str, str]] = set()
        tries = 0
        while len(seen) < count:
            prompt, wrong, right = make(generator)
            tries += 1
            # Once a probe runs out of new items, it repeats none: it has fewer.
            if tries > 50 * count:
                break
            if (prompt, right) not in seen:
                seen.add((prompt, right))
                items.append(_item(f"general/{task}/{len(seen)}", task, prompt, wrong, right, generator))
    return items_table(items)


def _item(name: str, task: str, prompt: str, wrong: list[str], right: str, generator: random.Random) -> Item:
    if not wrong:
        return Item(name, task, "general", "generate", prompt, answer=right)
    gold = generator.randrange(len(wrong) + 1)
    return Item(name, task, "general", "choice", prompt, [*wrong[:gold], right, *wrong[gold:]], gold)


def _number(generator: random.Random) -> tuple[str, list[str], str]:
    """Counting on, up or down, or a small sum after four others."""
    if generator.random() < 0.5:
        length, step = generator.randint(3, 5), generator.choice([1, -1])
        start = generator.randint(0, 20 - length) if step == 1 else generator.randint(length, 20)
        right = start + step * length
        counted = ", ".join(NUMBERS[number] for number in range(start, right, step))
        prompt = f"{generator.choice(['Counting', 'The numbers in order', 'Count with me'])}: {counted},"
    else:
        *examples, (a, b) = [(generator.randint(1, 5), generator.randint(1, 5)) for _ in range(5)]
        right = a + b
        solved = "".join(f"{NUMBERS[x]} plus {NUMBERS[y]} is {NUMBERS[x + y]}.\n" for x, y in examples)
        prompt = f"{solved}{NUMBERS[a]} plus {NUMBERS[b]} is"
    near = [number for number in range(max(0, right - 5), min(20, right + 5) + 1) if number != right]
    return prompt, [NUMBERS[number] for number in generator.sample(near, 3)], NUMBERS[right]


def _grammar(generator: random.Random) -> tuple[str, list[str], str]:
    """A sentence and its twin with one word changed so that it is no longer English."""
    right, wrong = generator.choice(PARADIGMS)(generator)
    return "", [wrong], right


def _agreement(generator: random.Random) -> tuple[str, str]:
    number, subject = _noun(generator, PEOPLE)
    verb, place = generator.choice(VERBS), generator.choice(PLACES)
    return f"The {subject} {verb[number]} {place}.", f"The {subject} {verb[1 - number]} {place}."


def _agreement_across(generator: random.Random) -> tuple[str, str]:
    """The verb goes with the subject, not with the noun next to it."""
    number, subject = _noun(generator, PEOPLE)
    _, between = _noun(generator, PEOPLE)
    be, state = generator.choice(BE), generator.choice(STATES)
    return (
        f"The {subject} near the {between} {be[number]} {state}.",
        f"The {subject} near the {between} {be[1 - number]} {state}.",
    )


def _reflexive(generator: random.Random) -> tuple[str, str]:
    number, subject = _noun(generator, PEOPLE)
    forms, place = (generator.choice(["himself", "herself"]), "themselves"), generator.choice(PLACES)
    return f"The {subject} helped {forms[number]} {place}.", f"The {subject} helped {forms[1 - number]} {place}."


def _determiner(generator: random.Random) -> tuple[str, str]:
    _, subject = _noun(generator, PEOPLE)
    number, place = generator.randrange(2), generator.choice(PLACES)
    determiner, thing = generator.choice([("this", "these"), ("that", "those")])[number], generator.choice(THINGS)
    return (
        f"The {subject} saw {determiner} {thing[number]} {place}.",
        f"The {subject} saw {determiner} {thing[1 - number]} {place}.",
    )


def _participle(generator: random.Random) -> tuple[str, str]:
    _, subject = _noun(generator, PEOPLE)
    participle, infinitive, rest = generator.choice(DONE)
    auxiliary, right, wrong = generator.choice([("had", participle, infinitive), ("will", infinitive, participle)])
    return f"The {subject} {auxiliary} {right} {rest}.", f"The {subject} {auxiliary} {wrong} {rest}."


def _polarity(generator: random.Random) -> tuple[str, str]:
    """The word any wants a negation before it."""
    _, subject = _noun(generator, PEOPLE)
    (_, things), place = generator.choice(THINGS), generator.choice(PLACES)
    verb, wrong = generator.choice(["saw", "wanted", "found", "liked"]), generator.choice(["often", "always", "sometimes"])
    return f"The {subject} never {verb} any {things} {place}.", f"The {subject} {wrong} {verb} any {things} {place}."


PARADIGMS = [_agreement, _agreement_across, _reflexive, _determiner, _participle, _polarity]


def _noun(generator: random.Random, nouns: list[tuple[str, str]]) -> tuple[int, str]:
    """A number (0 singular, 1 plural) and a noun in it."""
    number = generator.randrange(2)
    return number, generator.choice(nouns)[number]


def _copying(generator: random.Random) -> tuple[str, list[str], str]:
    """A list, its beginning again, and which of its words comes next."""
    words = generator.sample(WORDS, generator.randint(5, 7))
    place = generator.randrange(1, len(words) - 1)
    others = [word for number, word in enumerate(words) if number not in (place, place - 1)]
    return f"{', '.join(words)}.\n{', '.join(words[:place])},", generator.sample(others, 3), words[place]


def _instruction(generator: random.Random) -> tuple[str, list[str], str]:
    first, second = generator.sample(WORDS, 2)
    instruction, right = generator.choice(
        [(f"{first} twice", f"{first} {first}"), (f"{first} then {second}", f"{first} {second}")]
    )
    return f"{EXAMPLES}Say {instruction}:", [], right
