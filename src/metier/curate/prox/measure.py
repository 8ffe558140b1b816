"""`curate.prox.measure`: how well a refiner does what its examples say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metier.artifacts import Examples
from metier.curate.prox.asking import ask
from metier.curate.prox.interpreter import ChunkProgram, execute
from metier.curate.prox.program import Level, Program, parse
from metier.engines.stats.bootstrap import Interval, ratio
from metier.method import method
from metier.models.language_model import LanguageModel


@dataclass(frozen=True)
class Agreement:
    """Of one level. f1: with a 95% interval (bootstrap over examples); documents count by kept, chunks by removed lines, pooled.

    exact: share of examples whose result is the very text (chunks) or decision (documents); no_program: share without a call; problems:
    refused calls by kind.
    """

    num_examples: int
    f1: Interval
    precision: float
    recall: float
    exact: float
    no_program: float
    problems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """The refiner, and its agreement with the examples of each level; None where there is none."""

    model: str
    document: Agreement | None
    chunk: Agreement | None


@dataclass(frozen=True)
class Hit:
    """What one example adds: lines (or the document kept) that both name, only the refiner, only the example; and see Agreement."""

    both: int
    only_found: int
    only_true: int
    exact: bool
    written: Program


@method(
    paper="Programming Every Example, arXiv 2409.17115, section 3.2 and appendix",
    claim="the paper's F1 of refiners, with an interval, and what went wrong beside it",
)
def measure(examples: Examples, refiner: LanguageModel, *, max_new_tokens: int = 256, seed: int = 0) -> Measured:
    """F1 of a refiner on examples that it was not trained on, of `curate.prox.examples` or `curate.prox.annotate`.

    Documents: TP is a document that both keep. Chunks: TP is a line that both programs remove, summed over all chunks; 2 TP / (2 TP +
    FP + FN); replaced strings count in `exact` alone. A document without a decision is kept, as `prox` does. An interval is
    of these examples: it says nothing of other trainings. Raises ValueError for examples without the columns that those methods
    give, and RuntimeError where the refiner can't be asked.
    Settings:
        max_new_tokens: most tokens of a program
    """
    rows = list(examples.rows())
    missing = {"level", "text", "start", "completion"} - set(rows[0] if rows else ())
    if missing:
        raise ValueError(f"the examples lack {sorted(missing)}: make them with curate.prox.examples or curate.prox.annotate")
    found: dict[Level, Agreement | None] = {}
    levels: tuple[Level, ...] = ("document", "chunk")
    for level in levels:
        some = [row for row in rows if row["level"] == level]
        answers = ask(refiner, [row["prompt"] for row in some], level, max_new_tokens)
        failed = next((answer.error for answer in answers if answer.error is not None), None)
        if failed is not None:
            raise RuntimeError(f"{refiner.name} gave no answer: {failed}")
        found[level] = (
            agreement([hit(row, answer.program) for row, answer in zip(some, answers, strict=True)], seed) if some else None
        )
    return Measured(refiner.name, found["document"], found["chunk"])


def hit(row: Mapping[str, Any], program: Program) -> Hit:
    """A program compared with the one of an example."""
    completion = row["completion"]
    truth = parse(completion if isinstance(completion, str) else completion[-1]["content"], row["level"])
    if row["level"] == "document":
        keep, kept = truth.decision != "drop", program.decision != "drop"
        return Hit(keep and kept, kept and not keep, keep and not kept, keep == kept, program)
    lines = row["text"].split("\n")
    shown = "\n".join([*[""] * row["start"], *lines])
    true, done = (execute(shown, [ChunkProgram(one, row["start"], row["start"] + len(lines))]) for one in (truth, program))
    both = len(true.removed & done.removed)
    refused = Program(program.calls, done.problems, program.num_prose)
    return Hit(both, len(done.removed) - both, len(true.removed) - both, true.text == done.text, refused)


def agreement(hits: Sequence[Hit], seed: int) -> Agreement:
    """The measures of several examples. Precision, recall and F1 of nothing named and nothing to name are 1."""
    both, found, true = (sum(counts) for counts in zip(*((h.both, h.only_found, h.only_true) for h in hits), strict=True))
    whole = [2 * h.both + h.only_found + h.only_true for h in hits]
    return Agreement(
        num_examples=len(hits),
        f1=_f1([2 * h.both for h in hits], whole, seed),
        precision=both / (both + found) if both + found else 1.0,
        recall=both / (both + true) if both + true else 1.0,
        exact=sum(h.exact for h in hits) / len(hits),
        no_program=sum(h.written.empty for h in hits) / len(hits),
        problems=dict(Counter(problem.kind for h in hits for problem in h.written.problems).most_common()),
    )


def _f1(twice_both: Sequence[int], whole: Sequence[int], seed: int) -> Interval:
    """The ratio of the sums, over the examples in which anything is named."""
    some = [(both, named) for both, named in zip(twice_both, whole, strict=True) if named]
    return ratio(*zip(*some, strict=True), seed=seed) if some else Interval(1.0, 1.0, 1.0)
