"""Abilities a specialist must not lose, asked by items made on the spot: no download, no licence, no leak into training."""

from __future__ import annotations

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
SINGULAR = "doctor teacher farmer singer child artist driver lawyer student neighbour".split()
PLURAL = "doctors teachers farmers singers children artists drivers lawyers students neighbours".split()
VERBS = [
    ("sings", "sing"),
    ("works", "work"),
    ("waits", "wait"),
    ("smiles", "smile"),
    ("reads", "read"),
    ("sleeps", "sleep"),
    ("walks", "walk"),
]
PLACES = "in the garden,at home,near the river,in the kitchen,after lunch,every morning,on the train,at the station".split(",")
THINGS = [
    ("book", "books"),
    ("car", "cars"),
    ("house", "houses"),
    ("letter", "letters"),
    ("song", "songs"),
    ("idea", "ideas"),
    ("picture", "pictures"),
]

INSTRUCTIONS = (
    "Instruction: Say river.\nResponse: river\nInstruction: Say stone twice.\nResponse: stone stone\n"
    "Instruction: Say silver, then garden.\nResponse: silver garden\n"
)


@method(claim="notices when a model lost arithmetic, grammar, copying or the following of instructions")
def general_probes(*, num_items: int = 500, seed: int = 0) -> Items:
    """Four probes of `num_items` each (role general): numbers in words, grammatical minimal pairs, copying a list, simple instructions.

    The first three are choices; instructions are answered in words, after three examples. With 500 items a difference of two
    models that disagree on a tenth of them has a 95% interval of plus or minus 2.8 points. The difficulty was set so that
    SmolLM2-135M-Instruct as it comes is well above chance on each, before any specialist was seen: sums beyond ten and instructions in its
    chat format are beyond it, and would have shown nothing.
    Settings:
        num_items: items of each probe; at 20% disagreement 500 give 3.9 points, 850 give 3
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
        seen: set[tuple[str, str]] = set()
        tries = 0
        while len(seen) < num_items:
            prompt, wrong, right = make(generator)
            tries += 1
            # Once a probe runs out of new items, it repeats none: it has fewer.
            if tries > 50 * num_items:
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
    who, other = generator.sample(range(len(SINGULAR)), 2)
    verb, place, thing = generator.choice(VERBS), generator.choice(PLACES), generator.choice(THINGS)
    kind = generator.randrange(5)
    if kind == 0:
        subject, right, wrong = generator.choice([(SINGULAR[who], *verb), (PLURAL[who], verb[1], verb[0])])
        return "", [f"The {subject} {wrong} {place}."], f"The {subject} {right} {place}."
    if kind == 1:
        subject, right, wrong = generator.choice([(SINGULAR[who], *verb), (PLURAL[who], verb[1], verb[0])])
        between = generator.choice([SINGULAR[other], PLURAL[other]])
        return "", [f"The {subject} near the {between} {wrong} {place}."], f"The {subject} near the {between} {right} {place}."
    if kind == 2:
        determiner, right, wrong = generator.choice(
            [("this", *thing), ("these", thing[1], thing[0]), ("many", thing[1], thing[0])]
        )
        return (
            "",
            [f"The {SINGULAR[who]} saw {determiner} {wrong} {place}."],
            f"The {SINGULAR[who]} saw {determiner} {right} {place}.",
        )
    if kind == 3:
        auxiliary, right, wrong = generator.choice(
            [("has", "written", "write"), ("will", "write", "written"), ("can", "write", "wrote")]
        )
        return (
            "",
            [f"The {SINGULAR[who]} {auxiliary} {wrong} a {thing[0]}."],
            f"The {SINGULAR[who]} {auxiliary} {right} a {thing[0]}.",
        )
    right, wrong = generator.choice([("themselves", "himself"), ("themselves", "itself")])
    return "", [f"The {PLURAL[who]} helped {wrong} {place}."], f"The {PLURAL[who]} helped {right} {place}."


def _copying(generator: random.Random) -> tuple[str, list[str], str]:
    words = generator.sample(WORDS, 4)
    wrong: list[str] = []
    while len(wrong) < 2:
        i, j = sorted(generator.sample(range(4), 2))
        changed = [*words]
        changed[i], changed[j] = changed[j], changed[i]
        if ", ".join(changed) not in wrong:
            wrong.append(", ".join(changed))
    return f"First list: {', '.join(words)}.\nThe same list again:", wrong, ", ".join(words)


def _instruction(generator: random.Random) -> tuple[str, list[str], str]:
    first, second = generator.sample(WORDS, 2)
    instruction, right = generator.choice(
        [
            (f"Say {first}.", first),
            (f"Say {first} twice.", f"{first} {first}"),
            (f"Say {first}, then {second}.", f"{first} {second}"),
        ]
    )
    return f"{INSTRUCTIONS}Instruction: {instruction}\nResponse:", [], right
