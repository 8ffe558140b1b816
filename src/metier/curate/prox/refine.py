"""Documents refined a block at a time: asked about, then edited by what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from metier.curate.prox.asking import Asking, Written, ask_chunks, ask_documents, storable
from metier.curate.prox.chunks import Chunk, Ruler, chunks_of
from metier.curate.prox.interpreter import ChunkProgram, execute, judge
from metier.engines.data.words import words
from metier.models.language_model import LanguageModel

DROPPED = {"drop_doc": "prox: drop_doc", "mostly removed": "prox: mostly removed", "too few words": "prox: too few words"}


@dataclass(frozen=True)
class Refining:
    """Who is asked, and how; see `prox` for the settings."""

    document_refiner: LanguageModel | None
    chunk_refiner: LanguageModel | None
    ruler: Ruler
    asking: Asking
    drop_above: float | None
    document_tokens: int
    chunk_tokens: int
    max_new_tokens: int
    drop_ratio: float
    min_keep_ratio: float
    max_errors: int
    min_words: int


@dataclass
class Outcome:
    """What becomes of one document. status: dropped, refined, unchanged, errors, no program, failed."""

    text: str
    status: str = "unchanged"
    drop_reason: str | None = None
    doc_program: str | None = None
    chunk_program: str | None = None
    lines_removed: int = 0
    strings_replaced: int = 0
    strings_missed: int = 0
    lines_skipped: int = 0
    num_tokens: int = 0
    problems: list[str] = field(default_factory=list)

    def drop(self, why: str) -> None:
        self.status, self.drop_reason = "dropped", DROPPED[why]


@dataclass
class Statistics:
    """Counts over all documents that no rule had dropped before.

    status: documents by what became of them; dropped: by reason; problems: refused calls by kind; words: of kept and dropped documents
    before, and of kept ones after; strings_missed: replacements whose source stood nowhere; lines_skipped: longer than a chunk, shown to
    nobody; answer_tokens: that the refiners wrote.
    """

    documents: int = 0
    status: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    words_before: int = 0
    words_after: int = 0
    lines_removed: int = 0
    strings_replaced: int = 0
    strings_missed: int = 0
    lines_skipped: int = 0
    answer_tokens: int = 0

    def add(self, before: str, outcome: Outcome) -> None:
        self.documents += 1
        _count(self.status, outcome.status)
        self.words_before += len(words(before))
        if outcome.drop_reason is not None:
            _count(self.dropped, outcome.drop_reason)
        else:
            self.words_after += len(words(outcome.text))
        for problem in outcome.problems:
            _count(self.problems, problem.partition(":")[0])
        for name in ("lines_removed", "strings_replaced", "strings_missed", "lines_skipped"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.answer_tokens += outcome.num_tokens


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def refine(texts: Sequence[str], how: Refining) -> list[Outcome]:
    """The outcome of each text. Texts of `min_words` words or fewer are dropped unasked, since no program could save them."""
    found = [Outcome(text) for text in texts]
    for outcome in found:
        if len(words(outcome.text)) <= how.min_words:
            outcome.drop("too few words")
    if how.document_refiner is not None:
        _decide([outcome for outcome in found if outcome.drop_reason is None], how.document_refiner, how)
    if how.chunk_refiner is not None:
        _edit([outcome for outcome in found if outcome.status == "unchanged"], how.chunk_refiner, how)
    return found


def _decide(documents: Sequence[Outcome], model: LanguageModel, how: Refining) -> None:
    shown = [how.ruler.cut(outcome.text, how.document_tokens) for outcome in documents]
    answers = ask_documents(model, shown, how.asking, how.drop_above) if documents else []
    for outcome, answer in zip(documents, answers, strict=True):
        outcome.num_tokens += answer.num_tokens
        outcome.doc_program = storable(answer.said)
        outcome.problems += [storable(str(problem)) for problem in answer.program.problems]
        if answer.error is not None:
            outcome.status = "failed"
        elif answer.program.decision == "drop":
            outcome.drop("drop_doc")
        elif answer.program.decision is None and how.chunk_refiner is None:
            outcome.status = "no program"


def _edit(documents: Sequence[Outcome], model: LanguageModel, how: Refining) -> None:
    chunks = [chunks_of(outcome.text, how.chunk_tokens, how.ruler) for outcome in documents]
    shown = [
        (outcome.text.split("\n")[chunk.start : chunk.stop], chunk.start)
        for outcome, own in zip(documents, chunks, strict=True)
        for chunk in own
        if not chunk.too_long
    ]
    answers = iter(ask_chunks(model, shown, how.asking, how.max_new_tokens) if shown else [])
    for outcome, own in zip(documents, chunks, strict=True):
        asked = [chunk for chunk in own if not chunk.too_long]
        outcome.lines_skipped = len(own) - len(asked)
        _carry_out(outcome, [(chunk, next(answers)) for chunk in asked], how)


def _carry_out(outcome: Outcome, answered: Sequence[tuple[Chunk, Written]], how: Refining) -> None:
    outcome.num_tokens += sum(answer.num_tokens for _, answer in answered)
    said = [f"# lines {chunk.start} to {chunk.stop - 1}\n{answer.said.strip()}" for chunk, answer in answered]
    outcome.chunk_program = storable("\n".join(said))
    if any(answer.error is not None for _, answer in answered):
        outcome.status = "failed"
        return
    done = execute(outcome.text, [ChunkProgram(answer.program, chunk.start, chunk.stop) for chunk, answer in answered])
    outcome.problems += [storable(str(problem)) for problem in done.problems]
    outcome.strings_missed = done.missed
    verdict = judge(
        outcome.text,
        done,
        drop_ratio=how.drop_ratio,
        min_keep_ratio=how.min_keep_ratio,
        max_errors=how.max_errors,
        min_words=how.min_words,
    )
    if verdict in DROPPED:
        outcome.drop(verdict)
    elif verdict == "accepted":
        outcome.text, outcome.status = done.text, "refined"
        outcome.lines_removed, outcome.strings_replaced = len(done.removed), done.replaced
    elif verdict == "errors":
        outcome.status = "errors"
    elif answered and all(answer.program.empty for _, answer in answered):
        outcome.status = "no program"


def summary(statistics: Statistics) -> str:
    """One line for the log."""
    shares = Counter(statistics.status).most_common()
    listed = ", ".join(f"{count} {status}" for status, count in shares)
    return (
        f"{statistics.documents} documents: {listed}; {statistics.words_after} of {statistics.words_before} words kept, "
        f"{statistics.lines_removed} lines removed, {statistics.strings_replaced} strings replaced"
    )
