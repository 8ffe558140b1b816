"""The texts of the four ways to answer: what tuning teaches, what each model is asked, how its answer is read."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from metier.artifacts import Examples

Control = Literal["none", "other_task", "corrupted", "unanswered"]
Row = dict[str, Any]

SOLVE = "Solve the task. Write the answer after 'Solution:'."
GENERATE = (
    "Write examples of the task with their answers, then solve it. Write the answer after 'Solution:' and close with 'END'."
)
HEADER, END = "Solution:", "END"
_EXAMPLE = re.compile(r"^Example \d+:\n", re.MULTILINE)


def regular_prompt(question: str) -> str:
    """What a tuned model is asked without examples."""
    return f"[INST] {SOLVE}\n\n{question} [/INST]\n"


def sample_prompt(question: str) -> str:
    """What a model tuned to write its own examples is asked."""
    return f"[INST] {GENERATE}\n\n{question} [/INST]\n"


def examples_text(examples: Sequence[tuple[str, str | None]]) -> str:
    """Numbered examples; None in the place of an answer leaves its line out."""
    parts = []
    for number, (question, answer) in enumerate(examples, start=1):
        parts.append(f"Example {number}:\n{question}\n" + (f"Answer {number}: {answer}\n\n" if answer is not None else "\n"))
    return "".join(parts)


def in_context_prompt(examples: Sequence[tuple[str, str | None]], question: str) -> str:
    """What a base model is given to go on from: the examples, the question, the header of the answer."""
    return f"{examples_text(examples)}{question}\n{HEADER}"


def base_prompt(written: str) -> str | None:
    """What a model wrote, up to and with its answer's header: byte for byte the examples it conditioned on, and no answer.

    None where there is no header or no example before it.
    """
    before, header, _ = written.partition(HEADER)
    return before + header if header and _EXAMPLE.search(before) is not None else None


def without_first_example(prompt: str, question: str) -> str:
    """The prompt less its leftmost example."""
    places = [match.start() for match in _EXAMPLE.finditer(prompt)]
    return prompt[places[1] :] if len(places) > 1 else f"{question}\n{HEADER}"


def num_examples(prompt: str) -> int:
    return len(_EXAMPLE.findall(prompt))


def regular(examples: Examples) -> Examples:
    """Training rows (prompt, completion, task, id) from rows with task, prompt and completion, for supervised tuning as it
    usually is."""
    return Examples.from_rows(
        [
            row | {"prompt": regular_prompt(row["prompt"]), "completion": f"{HEADER} {row['completion']}"}
            for row in _checked(examples)
        ]
    )


def sample_generation(examples: Examples, *, num_inner: int = 2, control: Control = "none", seed: int = 25) -> Examples:
    """Training rows whose completion is `num_inner` numbered examples, the question again, its answer under the header and an
    end mark.

    Each task's rows are shuffled and cut in halves: questions come from the first, examples are drawn from the second, so that
    none is both. Raises ValueError for a task with too few rows, and for a text that holds the header.
    """
    if num_inner < 1:
        raise ValueError(f"num_inner={num_inner} writes no examples: give 1 or more, or use regular()")
    by_task: dict[str, list[Row]] = defaultdict(list)
    for row in _checked(examples):
        by_task[row["task"]].append(row)
    halves = {}
    for task, rows in by_task.items():
        if len(rows) // 2 < num_inner:
            raise ValueError(f"task {task!r} has {len(rows)} rows, too few for {num_inner} examples apart from the questions")
        shuffled = random.Random(f"{seed} {task}").sample(rows, len(rows))
        halves[task] = shuffled[: (len(rows) + 1) // 2], shuffled[(len(rows) + 1) // 2 :]
    second = {task: rest for task, (_, rest) in halves.items()}
    made = []
    for task, (mains, _) in halves.items():
        for number, row in enumerate(mains):
            generator = random.Random(f"{seed} {task} {number}")
            inner = drawn_examples(second, task, row["prompt"], num_inner, control, generator)
            completion = f"{in_context_prompt(inner, row['prompt'])} {row['completion']}\n{END}"
            made.append(row | {"prompt": sample_prompt(row["prompt"]), "completion": completion, "control": control})
    return Examples.from_rows(made)


def _checked(examples: Examples) -> list[Row]:
    rows = list(examples.rows())
    for number, row in enumerate(rows):
        missing = [name for name in ("task", "prompt", "completion") if not row.get(name)]
        if missing:
            raise ValueError(f"example {row.get('id', number)} has no {missing[0]}: each needs task, prompt and completion")
        if HEADER in row["prompt"] or HEADER in row["completion"]:
            raise ValueError(f"example {row.get('id', number)} holds {HEADER!r}, which marks the answer: word it otherwise")
    return rows


def drawn_examples(
    by_task: Mapping[str, Sequence[Mapping[str, Any]]],
    task: str,
    question: str,
    number: int,
    control: Control,
    generator: random.Random,
) -> list[tuple[str, str | None]]:
    """`number` examples of the task, never the question itself; for a control of another task, with wrong answers, or without.

    Raises ValueError where there are too few.
    """
    source = task
    if control == "other_task":
        others = sorted(name for name in by_task if name != task)
        if not others:
            raise ValueError(f"control=other_task: there is no task beside {task!r}")
        source = generator.choice(others)
    pool = [row for row in by_task.get(source, ()) if row["prompt"] != question]
    if len(pool) < number:
        raise ValueError(
            f"task {source!r} has {len(pool)} examples for the prompt, and {number} are wanted: give more, or ask for fewer"
        )
    drawn = generator.sample(pool, number)
    if control == "unanswered":
        return [(row["prompt"], None) for row in drawn]
    if control == "corrupted":
        return [(row["prompt"], _wrong(row, pool, generator)) for row in drawn]
    return [(row["prompt"], row["completion"]) for row in drawn]


def _wrong(row: Mapping[str, Any], pool: Sequence[Mapping[str, Any]], generator: random.Random) -> str:
    others = sorted({other["completion"] for other in pool} - {row["completion"]})
    if not others:
        raise ValueError(f"control=corrupted: all examples have the answer {row['completion']!r}, so none can be made wrong")
    return str(generator.choice(others))


def tuned_answer(written: str) -> str | None:
    """The line after the first header; None where a tuned model wrote none, which is wrong."""
    _, header, after = written.partition(HEADER)
    return first_line(after) if header else None


def first_line(text: str) -> str:
    """The first line, without the end mark where it stands on the same one."""
    return re.sub(rf"(?:^|\s+){END}$", "", text.strip().partition("\n")[0].strip())


def option_meant(line: str, options: Sequence[str]) -> int | None:
    """The option that the whole line is, by its text, or else by a letter or number before or instead of it; None for anything
    else."""
    from metier.evaluate.measure import normalised  # numpy stands behind it, and this package is light to import

    texts = [normalised(option) for option in options]
    same = [place for place, option in enumerate(texts) if option == normalised(line)]
    if same:
        return same[0] if len(same) == 1 else None
    label = re.fullmatch(r"\(?([A-Za-z]|\d{1,2})(?:[).:]\s*(.*)|)", line.strip())
    if label is None:
        return None
    place = int(label[1]) - 1 if label[1].isdigit() else ord(label[1].lower()) - ord("a")
    rest = normalised(label[2] or "")
    return place if 0 <= place < len(options) and rest in ("", texts[place]) else None


def option_held(line: str, options: Sequence[str]) -> int | None:
    """The longest option whose text stands in the line, as the authors' code reads a line that is no option; None for none, or
    two as long."""
    from metier.evaluate.measure import normalised

    hay = f" {normalised(line)} "
    found = sorted((-len(text), place) for place, option in enumerate(options) if (text := normalised(option)) and text in hay)
    return found[0][1] if found and (len(found) == 1 or found[0][0] != found[1][0]) else None
