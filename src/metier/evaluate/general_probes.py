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


@method(claim="notices when a model lost arithmetic, grammar, copying or the following of instructions")
def general_probes(*, num_items: int = 500, seed: int = 0) -> Items:
    """Four probes of `num_items` each (role general): sums in words, grammatical minimal pairs, copying a list, simple instructions.

    The first three are choices; instructions go through the chat template and are answered in words. With 500 items a difference of two
    models that disagree on a tenth of them has a 95% interval of plus or minus 2.8 points. The difficulty was set so that
    SmolLM2-135M-Instruct as it comes is well above chance on each, before any specialist was seen.
    Settings:
        num_items: items of each probe; at 20% disagreement 500 give 3.9 points, 850 give 3
    """
    if num_items < 1:
        raise ValueError(f"num_items={num_items} asks nothing: give 1 or more")
    makers: dict[str, Callable[[random.Random], tuple[str, list[str], str]]] = {
        "arithmetic in words": _sum,
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
        return Item(name, task, "general", "generate", prompt, answer=right, chat=True)
    gold = generator.randrange(len(wrong) + 1)
    return Item(name, task, "general", "choice", prompt, [*wrong[:gold], right, *wrong[gold:]], gold)


def _sum(generator: random.Random) -> tuple[str, list[str], str]:
    a, b = generator.randint(1, 10), generator.randint(1, 10)
    if generator.random() < 0.5:
        result, asked = a + b, generator.choice(["{a} plus {b}", "the sum of {a} and {b}", "{a} and {b} together"])
    else:
        a, b = max(a, b) + 1, min(a, b)
        result, asked = (
            a - b,
            generator.choice(["{a} minus {b}", "{b} taken away from {a}", "the difference between {a} and {b}"]),
        )
    near = [number for number in range(max(0, result - 5), min(20, result + 5) + 1) if number != result]
    prompt = f"Question: What is {asked.format(a=NUMBERS[a], b=NUMBERS[b])}?\nAnswer: The answer is"
    return prompt, [NUMBERS[number] for number in generator.sample(near, 3)], NUMBERS[min(result, 20)]


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
    words = generator.sample(WORDS, 5)
    wrong = []
    while len(wrong) < 3:
        i, j = sorted(generator.sample(range(5), 2))
        changed = [*words]
        changed[i], changed[j] = changed[j], changed[i]
        if ", ".join(changed) not in wrong:
            wrong.append(", ".join(changed))
    return f"First list: {', '.join(words)}.\nThe same list again:", wrong, ", ".join(words)


def _instruction(generator: random.Random) -> tuple[str, list[str], str]:
    first, second, third = generator.sample(WORDS, 3)
    return generator.choice(
        [
            (f"Reply with only the word {first}.", [], first),
            (f"Say the word {first} and nothing else.", [], first),
            (f"Repeat this text exactly: {first} {second} {third}", [], f"{first} {second} {third}"),
            (f"Write the words {first} and {second}, separated by a comma, and nothing else.", [], f"{first}, {second}"),
        ]
    )
