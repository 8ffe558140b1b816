"""Programs do to a text what a reference of thirty lines does, and keep their promises; what a trained refiner is worth beside rules is told.

Contradicted if, of random programs on random texts, executing one differs from the reference (text, removed lines, counts of what was replaced
and refused) or raises; if a text grows by more than half, or without a longer replacement; or if the lines left by removals alone are not
lines of the text in their order, or change when the program is carried out twice.

The paper's claim, that a small refiner cleans better than rules, is not made here, since it did not hold at this size. The first full run set out to show it and was
contradicted: line F1 of the refiner less that of the rules was -0.090 [-0.143, -0.037]. The full proof goes on measuring it, in the
notes. SmolLM2-135M, trained once on 300 chunks of at most 150 tokens (the paper's refiners learn from 57,000, of 1,500), is asked about 80
chunks with noise from other templates, in texts of other packages: documentation of the standard library, a paragraph a line. The rules
(C4's: lines without end punctuation, lines of few words, phrases of policies) take the best of 22 settings on the same 300; in such texts,
where what is clean is long and what is noise is short, length tells most of it. The interval is over 8 groups of 10 test chunks.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metier.adapt.supervised import supervised
from metier.artifacts import Corpus
from metier.core.evidence import Check, Evidence, exact, paired
from metier.curate.prox.asking import ask
from metier.curate.prox.examples import examples
from metier.curate.prox.interpreter import MOST_CHANGED, ChunkProgram, Executed, execute
from metier.curate.prox.measure import Agreement, Hit, agreement, hit
from metier.curate.prox.program import Call, Normalize, Program, RemoveLines, parse
from metier.engines.data.stdlib import documents
from metier.engines.generate.open import open_language_model
from metier.models.language_model import LanguageModel
from metier.models.source import open_model

LESSONS, TESTS, FOLDS, UNTUNED = 300, 80, 8, 16
TOKENS, ANSWER = 150, 48
POLICIES = (
    "javascript",
    "lorem ipsum",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "use cookies",
    "uses cookies",
    "use of cookies",
)
Row = dict[str, Any]


def prove(quick: bool) -> Evidence:
    """See the module's docstring."""
    cases = 2_000 if quick else 20_000
    wrong, broken = (sum(fails(seed) for seed in range(cases)) for fails in (_differs, _breaks_a_promise))
    return exact(
        claim="programs do to a text what a reference does, line by line, and reach nothing else",
        metric="programs that differ",
        checks=[Check(f"execution of {cases} programs", float(wrong), 0.5), Check("promises broken", float(broken), 0.5)],
        notes="no model was trained" if quick else _trained_against_rules(),
    )


def _trained_against_rules() -> str:
    """What came of the comparison."""
    base = open_model("smollm2")
    train, held_out = _corpora()
    lessons = examples(train, base, num_examples=LESSONS, level="chunk", max_tokens=TOKENS, seed=0)
    exam = list(
        examples(held_out, base, num_examples=TESTS, level="chunk", max_tokens=TOKENS, templates="held_out", seed=1).rows()
    )
    rule, few_words, needs_end = _tuned_rule(list(lessons.rows()))
    ruled = [hit(row, rule(row)) for row in exam]
    untuned = _answered(open_language_model(base, cache=False), exam[:UNTUNED])
    with tempfile.TemporaryDirectory() as folder:
        tuned = supervised(base, lessons, epochs=1, learning_rate=1e-4, batch_size=4, longest=512, seed=0, workdir=Path(folder))
        refined = _answered(open_language_model(tuned, cache=False), exam)

    def f1_of(hits: list[Hit], seed: int) -> float:
        return agreement(hits[seed::FOLDS], 0).f1.value

    whole = {
        name: agreement(hits, 0)
        for name, hits in (("refiner", refined), ("rules", ruled), (f"untuned, {UNTUNED} chunks", untuned))
    }
    found = paired(
        lambda seed: f1_of(refined, seed),
        lambda seed: f1_of(ruled, seed),
        claim="a refiner of 135M finds the lines of unseen noise better than line rules tuned on the same examples",
        metric="line F1",
        better="higher",
        seeds=range(FOLDS),
    )
    assert found.interval is not None
    low, high = found.interval
    said = {"shown": "better than", "contradicted": "worse than", "not shown": "not told from"}[found.verdict]
    rules = f"fewer than {few_words} words, end punctuation {'needed' if needs_end else 'not needed'}"
    return "; ".join(
        [
            f"in line F1 the refiner is {said} the rules, {found.effect:+.3f} [{low:+.3f}, {high:+.3f}]",
            *(f"{name}: {_told(measured)}" for name, measured in whole.items()),
            f"the rules remove lines of {rules}",
        ]
    )


def _told(found: Agreement) -> str:
    low, high = found.f1.low, found.f1.high
    return (
        f"F1 {found.f1.value:.3f} [{low:.3f}, {high:.3f}], precision {found.precision:.3f}, recall {found.recall:.3f}, "
        f"to the letter {found.exact:.0%}, no program {found.no_program:.0%}, refused {found.problems}"
    )


def _answered(model: LanguageModel, rows: list[Row]) -> list[Hit]:
    answers = ask(model, [row["prompt"] for row in rows], "chunk", ANSWER)
    return [hit(row, answer.program) for row, answer in zip(rows, answers, strict=True)]


def _tuned_rule(lessons: list[Row]) -> tuple[Callable[[Row], Program], int, bool]:
    """The rule with the highest F1 on the lessons, and its settings."""
    rules = [(_rule(few, end), few, end) for few in range(11) for end in (False, True)]
    return max(rules, key=lambda rule: agreement([hit(row, rule[0](row)) for row in lessons], 0).f1.value)


def _rule(few_words: int, needs_end: bool) -> Callable[[Row], Program]:
    def fires(line: str) -> bool:
        ends = line.rstrip().endswith((".", "!", "?", '"'))
        return len(line.split()) < few_words or (needs_end and not ends) or any(phrase in line.lower() for phrase in POLICIES)

    def program(row: Row) -> Program:
        lines = enumerate(row["text"].split("\n"), row["start"])
        return Program(tuple(RemoveLines(number, number) for number, line in lines if line.strip() and fires(line)))

    return program


def _corpora() -> tuple[Corpus, Corpus]:
    """Texts of four packages in five, and of the fifth."""
    rows = list(_prose())
    packages = sorted({row["source"] for row in rows})
    held_out = set(packages[::5])
    return tuple(  # type: ignore[return-value]
        Corpus.from_rows(row for row in rows if (row["source"] in held_out) == side) for side in (False, True)
    )


def _prose() -> Iterator[Row]:
    """Documents of three paragraphs and more, each one line; indented ones, which are code or lists, are left out."""
    for row in documents():
        paragraphs = [part for part in row["text"].split("\n\n") if part.strip() and not part.startswith((" ", "\t", ">>>"))]
        lines = [" ".join(part.split()) for part in paragraphs]
        if len(lines) >= 3 and sum(len(line.split()) for line in lines) >= 40:
            yield {"id": row["id"], "text": "\n".join(lines), "source": row["source"]}


Programs = list[tuple[list[Call], int, int]]


def _drawn(seed: int) -> tuple[list[str], Programs]:
    """The lines of a random document, and random calls for its two chunks with where they begin and end."""
    generator = random.Random(seed)
    lines = ["".join(generator.choices("ab c", k=generator.randint(0, 8))) for _ in range(generator.randint(2, 9))]
    middle = generator.randint(1, len(lines) - 1)
    return lines, [(_calls(generator, len(lines)), start, stop) for start, stop in ((0, middle), (middle, len(lines)))]


def _executed(lines: list[str], programs: Programs) -> Executed:
    """Programs go through their text."""
    chunks = [ChunkProgram(parse("\n".join(map(str, calls)), "chunk"), start, stop) for calls, start, stop in programs]
    return execute("\n".join(lines), chunks)


def _differs(seed: int) -> bool:
    lines, programs = _drawn(seed)
    done = _executed(lines, programs)
    return (done.text, set(done.removed), done.replaced, len(done.problems)) != _reference(lines, programs)


def _breaks_a_promise(seed: int) -> bool:
    lines, programs = _drawn(seed)
    before, done = len("\n".join(lines)), _executed(lines, programs)
    longer = any(isinstance(call, Normalize) and len(call.target) > len(call.source) for calls, *_ in programs for call in calls)
    removals = [([call for call in calls if isinstance(call, RemoveLines)], start, stop) for calls, start, stop in programs]
    removed = _executed(lines, removals)
    twice = _executed(lines, [(calls * 2, start, stop) for calls, start, stop in removals])
    rest = iter(lines)
    left = removed.text.split("\n") if len(removed.removed) < len(lines) else []
    return (
        len(done.text) > (1 + MOST_CHANGED) * before
        or (len(done.text) > before and not longer)
        or not all(line in rest for line in left)
        or twice.text != removed.text
    )


def _calls(generator: random.Random, num_lines: int) -> list[Call]:
    calls: list[Call] = []
    for _ in range(generator.randint(0, 5)):
        if generator.random() < 0.5:
            first = generator.randrange(num_lines)
            calls.append(RemoveLines(first, first + generator.randint(0, 3)))
        else:
            calls.append(Normalize(*("".join(generator.choices("ab c", k=generator.randint(0, 3))) for _ in range(2))))
    return calls


def _reference(lines: list[str], programs: Programs) -> tuple[str, set[int], int, int]:
    lines, gone, replaced, refused = list(lines), set[int](), 0, 0
    for calls, start, stop in programs:
        budget = int(MOST_CHANGED * sum(len(line) for line in lines[start:stop]))
        for call in calls:
            if isinstance(call, RemoveLines):
                asked = set(range(call.first, call.last + 1))
                inside = asked <= set(range(start, stop))
                gone, refused = gone | (asked if inside else set()), refused + (not inside)
            elif isinstance(call, Normalize):
                parts = [line.split(call.source) if call.source else [line] for line in lines[start:stop]]
                count = sum(map(len, parts)) - len(parts)
                cost = count * max(len(call.source), len(call.target))
                if len(call.source.replace(" ", "")) < 2 or cost > budget:
                    refused += 1
                else:
                    budget, replaced = budget - cost, replaced + count
                    lines[start:stop] = [call.target.join(part) for part in parts]
    return "\n".join(line for number, line in enumerate(lines) if number not in gone), gone, replaced, refused
