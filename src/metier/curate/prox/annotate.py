"""`curate.prox.annotate`: seed programs written by a large model, checked before a refiner learns from them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from metier.artifacts import Corpus, Examples, Model
from metier.curate.prox.asking import Written, ask_chunks, ask_documents
from metier.curate.prox.chunks import Ruler, chunks_of
from metier.curate.prox.interpreter import ChunkProgram, execute
from metier.curate.prox.program import Level, written
from metier.curate.prox.prompts import Form, chunk_prompt, document_prompt
from metier.engines.data.words import words
from metier.method import method
from metier.models.language_model import LanguageModel
from metier.progress import track

_BLOCK = 64  # documents asked about at once


@method(
    paper="Programming Every Example, arXiv 2409.17115, section 3.2 and appendix",
    claim="seed programs that a large model wrote, of which none is broken, misses its text or removes too much",
)
def annotate(
    corpus: Corpus,
    annotator: LanguageModel,
    tokenizer: Model | None = None,
    *,
    level: Level = "chunk",
    max_tokens: int = 1500,
    max_new_tokens: int = 256,
    max_removed: float = 0.5,
    form: Form = "plain",
    seed: int = 0,
) -> Examples:
    """Pairs of a prompt and the program that answers it, in the columns of `curate.prox.examples`, from any texts.

    Documents: two scores of 0 to 5 (what the text teaches, how clean its form is); kept from 3 of the first, or with 2 and 4 of the
    second. Chunks, best of documents that were kept: one drawn of each document, and a program for each kind of noise (menus, links,
    footers), merged. Pairs that fail a check stay, with `drop_reason`: "no answer", "no decision" (a score can't be read), "no
    program", "broken program" (a call was refused), "string not there" (a replacement of nothing), "removes too much". A trained
    refiner learns from the rest. tokenizer: a model whose tokenizer counts; without it three bytes count as a token. Raises
    ValueError for settings out of range.
    Settings:
        level: document or chunk
        max_tokens: of what is shown; the paper's 1,500 for chunks, 2,000 for documents
        max_new_tokens: most tokens of a chunk's program
        max_removed: largest share, 0 to 1, of a chunk's words that a program may take out
        form: plain text, or messages for a refiner with a chat template; how the annotator is asked does not depend on it
    """
    if max_tokens < 1 or max_new_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}, max_new_tokens={max_new_tokens}: both must be 1 or more")
    if not 0 <= max_removed <= 1:
        raise ValueError(f"max_removed={max_removed} is no share: give a number between 0 and 1, such as 0.5")
    ruler = Ruler(tokenizer.tokenizer() if tokenizer is not None else None)
    rows: list[dict[str, Any]] = []
    for block in _blocks(corpus):
        if level == "document":
            rows += _documents(block, annotator, ruler, max_tokens, form)
        else:
            rows += _chunks(block, annotator, ruler, max_tokens, max_new_tokens, max_removed, form, seed)
    return Examples.from_rows(rows, _COLUMNS)


_COLUMNS = ("id", "prompt", "completion", "level", "text", "start", "source", "drop_reason")


def _blocks(corpus: Corpus) -> Iterator[list[dict[str, Any]]]:
    rows = (row for row in track(corpus.rows(), "annotating", unit="document") if row["text"].strip())
    while block := list(islice(rows, _BLOCK)):
        yield block


def _documents(
    block: Sequence[dict[str, Any]], annotator: LanguageModel, ruler: Ruler, max_tokens: int, form: Form
) -> list[dict[str, Any]]:
    texts = [ruler.cut(row["text"], max_tokens) for row in block]
    answers = ask_documents(annotator, texts, "instructed", None)
    return [
        _row(row, "document", text, 0, document_prompt(text, form), answer, _reason(answer, "no decision"), form)
        for row, text, answer in zip(block, texts, answers, strict=True)
    ]


def _chunks(
    block: Sequence[dict[str, Any]],
    annotator: LanguageModel,
    ruler: Ruler,
    max_tokens: int,
    max_new_tokens: int,
    max_removed: float,
    form: Form,
    seed: int,
) -> list[dict[str, Any]]:
    chosen = []
    for row in block:
        chunks = [chunk for chunk in chunks_of(row["text"], max_tokens, ruler) if not chunk.too_long]
        if chunks:
            chunk = random.Random(f"{seed} {row['id']}").choice(chunks)
            chosen.append((row, row["text"].split("\n")[chunk.start : chunk.stop], chunk.start))
    answers = (
        ask_chunks(annotator, [(lines, start) for _, lines, start in chosen], "instructed", max_new_tokens) if chosen else []
    )
    found = []
    for (row, lines, start), answer in zip(chosen, answers, strict=True):
        reason = _reason(answer, "no program") or _failed_check(lines, start, answer, max_removed)
        found.append(_row(row, "chunk", "\n".join(lines), start, chunk_prompt(lines, start, form), answer, reason, form))
    return found


def _reason(answer: Written, empty: str) -> str | None:
    if answer.error is not None:
        return "no answer"
    return empty if answer.program.empty else None


def _failed_check(lines: Sequence[str], start: int, answer: Written, max_removed: float) -> str | None:
    shown = "\n".join([*[""] * start, *lines])
    done = execute(shown, [ChunkProgram(answer.program, start, start + len(lines))])
    if done.problems:
        return "broken program"
    if done.missed:
        return "string not there"
    return "removes too much" if len(words(done.text)) < (1 - max_removed) * len(words(shown)) else None


def _row(
    row: dict[str, Any], level: Level, text: str, start: int, prompt: Any, answer: Written, reason: str | None, form: Form
) -> dict[str, Any]:
    program = written(answer.program.calls, level)
    return {
        "id": f"{row['id']}#{start}",
        "prompt": prompt,
        "completion": program if form == "plain" else [{"role": "assistant", "content": program}],
        "level": level,
        "text": text,
        "start": start,
        "source": row["source"],
        "drop_reason": reason,
    }
