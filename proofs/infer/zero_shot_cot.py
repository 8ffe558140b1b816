"""Played back through both calls, the authors' logs give the answers that their harness found.

Where the logs of their runs lie beside the checkout (shared/data/zero_shot_cot_logs), a recorded model answers with their
words, and only to the prompts that they show; every cleaned answer and every accuracy must come out as logged. They may not be
shipped, so replies written by hand cover each rule everywhere. Two generated sets are solved again by a reader of the
questions.

Contradicted if one answer differs, an accuracy differs by more than 1e-9, a generated answer is not the solver's, or the share
of yes among 500 coins leaves 45 to 55%. The paper's own claim, that one sentence makes models reason, is one about models a
thousand times as large (it finds no effect for small ones): the full proof measures it on SmolLM2 (135M) and says what came out
in its notes; no verdict hangs on it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metier.artifacts import Items, Scores
from metier.core.evidence import Check, Evidence, exact, proofs_folder
from metier.engines.answers.extract import Form, extract
from metier.engines.stats.paired import compare_pairs
from metier.infer.reasoning_sets import coin_flip_items, last_letters_items
from metier.infer.zero_shot_cot import TRIGGER, summarise, zero_shot_cot
from metier.models.language_model import Completion, LanguageModel, Prompt, Score

RECORD = re.compile(
    r"1_th_sampling\n(.*?)\npred_before : (.*?)\npred_after : (.*?)\npred_list : .*?\nGT : (.*?)\n\*{5}", re.DOTALL
)
NONE = 0.5  # tolerance of a count that must be 0
ITEMS = 24  # of each set that SmolLM2 is asked

NUMBER, LETTER, YES_NO, STRING = Form("number"), Form("letter", "ABCDE"), Form("yes/no"), Form("string")
REPLIES = [
    (
        NUMBER,
        [
            (" 8.", "8"),
            ("\n\n1,250", "1250"),
            (" -3", "-3"),
            (" 2.50 dollars", "2.50"),
            (" $7", "7"),
            (" 25%", "25"),
            (" 3/4", "3"),
        ],
    ),
    (
        NUMBER,
        [
            (" between 4 and 6", "4"),
            (" 12 - 5 = 7", "12"),
            (" about -1,000.5.", "-1000.5"),
            (" unknown", ""),
            ("", ""),
            (" .5", "5"),
        ],
    ),
    (
        LETTER,
        [
            (" B.", "B"),
            (" (E)", "E"),
            (" A good choice is D", "A"),
            (" either C or D", "C"),
            (" none", ""),
            (" F", ""),
            ("\nEve", "E"),
        ],
    ),
    (
        YES_NO,
        [
            (" Yes.", "yes"),
            (' "no"', "no"),
            (" NO,yes", "no"),
            (" yesterday", ""),
            (" not known", ""),
            (" yes/no", ""),
            ("\nYES", "yes"),
        ],
    ),
    (
        STRING,
        [
            (' "abcd".', "abcd"),
            (" a b\nc.d", "abcd"),
            (" it's", "its"),
            ("", ""),
            (" x-y", "x-y"),
            (" A, B", "A,B"),
            (" ...", ""),
        ],
    ),
]


def prove(quick: bool) -> Evidence:
    """Every record of the logs at hand, and what can be checked without them."""
    logs = proofs_folder().parent.parent / "shared" / "data" / "zero_shot_cot_logs"
    files = sorted(logs.glob("*.log"))
    wrong = sum(extract(reply, form) != answer for form, replies in REPLIES for reply, answer in replies)
    checks = [Check(f"{sum(len(replies) for _, replies in REPLIES)} replies written by hand: other answers", float(wrong), NONE)]
    checks += [check for file in files for check in _replayed(file)] + _generated()
    notes = (
        f"{len(files)} logs played back"
        if files
        else "the authors' logs are not beside this checkout: replies written by hand only"
    )
    return exact(
        claim="answers and accuracies are those of the authors' logs, record by record",
        metric="answers that differ; difference of accuracies in percent",
        checks=checks,
        notes=notes if quick else f"{notes}. {_smollm2()}",
    )


class Recorded:
    """A model that has said what it says: a prompt that was never given to it is an error."""

    name = "recorded"

    def __init__(self, replies: dict[str, str]) -> None:
        self._replies = replies

    def generate(self, prompts: Sequence[Prompt], **_: Any) -> list[Completion]:
        return [Completion(self._replies[str(prompt)]) for prompt in prompts]

    def score(self, requests: Sequence[tuple[str, str]]) -> list[Score]:
        raise NotImplementedError("the paper's method asks for words only")

    def score_texts(self, texts: Sequence[str]) -> list[Score]:
        raise NotImplementedError("the paper's method asks for words only")


def _replayed(file: Path) -> list[Check]:
    text = file.read_text(encoding="utf-8")
    task, cot = file.stem.partition("_zero_shot")[0], file.stem.endswith("_cot")
    setting = re.search(r"direct_answer_trigger='\\n(.*?)'", text)
    accuracy = re.search(r"^accuracy : (.*)$", text, re.MULTILINE)
    assert setting is not None and accuracy is not None
    records, replies = RECORD.findall(text), dict[str, str]()
    pairs = []
    for whole, before, _, expected in records:
        question = whole.removeprefix("Q: ").partition("\nA: ")[0]
        pairs.append((question, expected))
        start = f"Q: {question}\nA: "
        if cot:
            start += "Let's think step by step."
            thought, ask, _ = whole.removeprefix(start).partition(f" \n{setting[1]}")
            replies |= {start: thought, f"{start}{thought}{ask}": before}
        else:
            plain = setting[1].removeprefix("Therefore, ")
            replies[f"{start}{plain[0].upper()}{plain[1:]}"] = before
    scores = zero_shot_cot(_items(task, pairs), Recorded(replies), trigger=TRIGGER if cot else None)
    found = [row["found"] for row in scores.rows()]
    differing = sum(answer != after for answer, (_, _, after, _) in zip(found, records, strict=True))
    gap = abs(100 * summarise(scores)[task].accuracy - float(accuracy[1]))
    return [
        Check(f"{file.stem}: other answers in {len(records)}", float(differing), NONE),
        Check(f"{file.stem}: accuracy", gap, 1e-9),
    ]


def _generated() -> list[Check]:
    coins, letters = list(coin_flip_items().rows()), list(last_letters_items().rows())
    flips = [len(re.findall(r"\. \w+ flips the coin", row["prompt"])) for row in coins]
    words = [row["prompt"].split('"')[1].split() for row in letters]
    wrong = sum(row["answer"] != ("no" if count % 2 else "yes") for row, count in zip(coins, flips, strict=True))
    wrong += sum(row["answer"] != "".join(word[-1] for word in one) for row, one in zip(letters, words, strict=True))
    balance = sum(row["answer"] == "yes" for row in coins) / len(coins)
    return [
        Check("1000 generated questions: answers other than the solver's", float(wrong), NONE),
        Check("500 coins: share of yes beyond 45 to 55%", max(0.0, abs(balance - 0.5) - 0.05), 1e-9),
    ]


def _sums(num_items: int) -> Items:
    """Stories of two sums with numbers up to 20."""
    generator, pairs = random.Random(0), []
    for _ in range(num_items):
        first, second, third = (generator.randint(2, 20) for _ in range(3))
        question = f"Ann has {first} apples. She buys {second} more and then {third} more. How many apples does Ann have now?"
        pairs.append((question, str(first + second + third)))
    return _items("multiarith", pairs)


def _items(task: str, pairs: Sequence[tuple[str, str]]) -> Items:
    common = {"task": task, "role": "general", "kind": "generate", "options": [], "gold": -1, "chat": False, "source": ""}
    return Items.from_rows({"id": f"{task}-{number}", "prompt": q, "answer": a} | common for number, (q, a) in enumerate(pairs))


def _smollm2() -> str:
    from metier.engines.generate.open import open_language_model

    model = open_language_model("smollm2", cache=False)
    sets = [_sums(ITEMS), coin_flip_items(num_items=ITEMS), last_letters_items(num_items=ITEMS)]
    return "SmolLM2: " + "; ".join(_both(model, items) for items in sets)


def _both(model: LanguageModel, items: Items) -> str:
    plain, thought = zero_shot_cot(items, model, trigger=None), zero_shot_cot(items, model)
    ((task, without),), ((_, with_it),) = summarise(plain).items(), summarise(thought).items()
    gap = compare_pairs(_numbers(plain), _numbers(thought), seed=0)
    return (
        f"{task} ({without.num_items}) zero-shot {100 * without.accuracy:.0f}% ({100 * without.unparsed:.0f}% unparsed), "
        f"CoT {100 * with_it.accuracy:.0f}% ({100 * with_it.unparsed:.0f}% unparsed, {100 * with_it.cut:.0f}% cut), "
        f"difference {100 * gap.value:+.0f} [{100 * gap.low:+.0f}, {100 * gap.high:+.0f}] points"
    )


def _numbers(scores: Scores) -> tuple[list[float], list[float]]:
    rows = list(scores.rows())
    return [row["numerator"] for row in rows], [row["denominator"] for row in rows]
