"""Programs carried out on a document's lines. Text in, text and counts out: nothing else is read, written or run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metier.curate.prox.program import Call, Normalize, Problem, Program, RemoveLines
from metier.engines.data.words import words

LEAST_SOURCE = 2  # characters that are not white space: one alone would take a letter, or every space, out of a text
MOST_CHANGED = 0.5  # share of a chunk's characters that the replacements of its program may take out or put in

Verdict = Literal["accepted", "unchanged", "errors", "mostly removed", "too few words"]


@dataclass(frozen=True)
class ChunkProgram:
    """What a model wrote about the lines start to stop - 1 of a document, which are all that it was shown."""

    program: Program
    start: int
    stop: int


@dataclass(frozen=True)
class Executed:
    """text: of the remaining lines; removed: numbers of those taken out; replaced: occurrences replaced; missed: normalize calls whose
    source is nowhere in the lines shown; problems: calls refused by the grammar or by the text."""

    text: str
    removed: frozenset[int]
    replaced: int
    missed: int
    problems: tuple[Problem, ...]


def execute(text: str, chunks: Sequence[ChunkProgram]) -> Executed:
    """The document after all its chunks' programs: replacements first, literally and in order, then the union of the ranges out.

    A program reaches only the lines that it was shown. A call is refused, whole, where it names lines outside them, where its source
    has fewer than two characters besides white space, or where the replacements of its chunk would come to change more than half
    of it. Raises ValueError for chunks that lie outside the document.
    """
    lines = text.split("\n")
    removed: set[int] = set()
    problems: list[Problem] = []
    replaced = missed = 0
    for chunk in chunks:
        if not 0 <= chunk.start < chunk.stop <= len(lines):
            raise ValueError(
                f"a chunk of the lines {chunk.start} to {chunk.stop - 1} is outside a document of {len(lines)} lines"
            )
        problems += chunk.program.problems
        shown = lines[chunk.start : chunk.stop]
        left = int(MOST_CHANGED * sum(map(len, shown)))
        for call in chunk.program.calls:
            problem = _refused(call, chunk, shown, left)
            if problem is not None:
                problems.append(problem)
            elif isinstance(call, RemoveLines):
                removed.update(range(call.first, call.last + 1))
            elif isinstance(call, Normalize):
                count = _count(call, shown)
                left -= count * _size(call)
                replaced, missed = replaced + count, missed + (count == 0)
                shown = [line.replace(call.source, call.target) for line in shown]
        lines[chunk.start : chunk.stop] = shown
    kept = [line for number, line in enumerate(lines) if number not in removed]
    return Executed("\n".join(kept), frozenset(removed), replaced, missed, tuple(problems))


def _refused(call: Call, chunk: ChunkProgram, shown: Sequence[str], left: int) -> Problem | None:
    if isinstance(call, RemoveLines) and not chunk.start <= call.first <= call.last < chunk.stop:
        return Problem("lines not shown", str(call))
    if isinstance(call, Normalize):
        if len("".join(call.source.split())) < LEAST_SOURCE:
            return Problem("source too short", str(call)[:120])
        if _count(call, shown) * _size(call) > left:
            return Problem("changes too much", str(call)[:120])
    return None


def _count(call: Normalize, shown: Sequence[str]) -> int:
    return sum(line.count(call.source) for line in shown)


def _size(call: Normalize) -> int:
    return max(len(call.source), len(call.target))


def judge(
    before: str, executed: Executed, *, drop_ratio: float, min_keep_ratio: float, max_errors: int, min_words: int
) -> Verdict:
    """The paper's acceptance, with r = words after / words before and e = problems.

    r <= 1 - drop_ratio and e < max_errors: mostly removed. Else `min_words` words or fewer after: too few words (a document without
    words is of these). Else r < min_keep_ratio or e >= max_errors: errors, and the text stays as it was. Else it is accepted.
    """
    num_before, num_after = len(words(before)), len(words(executed.text))
    errors = len(executed.problems)
    if num_before and num_after <= (1 - drop_ratio) * num_before and errors < max_errors:
        return "mostly removed"
    if num_after <= min_words:
        return "too few words"
    if num_after < min_keep_ratio * num_before or errors >= max_errors:
        return "errors"
    return "unchanged" if executed.text == before else "accepted"
