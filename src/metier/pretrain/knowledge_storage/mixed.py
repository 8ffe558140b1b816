"""Pretraining on biographies and questions at once: rows of either kind, by a share."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metier.artifacts import Corpus, Examples, Model
from metier.method import method

if TYPE_CHECKING:
    from metier.engines.text.sequences import TokenSequence


@method(
    paper="Physics of Language Models: Part 3.1, Knowledge Storage and Extraction, arXiv 2309.14316, section 3 (mixed training)",
    claim="rows of questions come with the probability that was asked for, and no row mixes them with biographies",
)
def mixed(
    model: Model,
    corpus: Corpus,
    questions: Examples,
    *,
    qa_ratio: float = 0.8,
    tokens: int = 10_000_000,
    learning_rate: float = 1e-3,
    sequence_length: int = 512,
    batch_tokens: int = 49_152,
    weight_decay: float = 0.1,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model after reading rows of which each holds only documents or only questions with their answers, drawn at random.

    `questions` has the columns prompt and completion. In the paper such a model answers 86.6% of the questions about people it was never
    asked about, where one fine-tuned on questions after reading the same single entries answers 9.7%: questions in pretraining make facts
    extractable that stand in one wording. All tokens are predicted, those of questions, too. Differs from the paper: entries of a row do
    not attend to each other. Longer entries are cut into
    pieces of a row. Raises ValueError for settings out of range, and where one of the two kinds is missing.
    Settings:
        qa_ratio: probability that a row is of questions, 0 to 1; 0.8 in the paper, where more did better
        tokens: how many are read, about
        learning_rate: the peak; falls to a tenth as a cosine; 1e-3 in the paper
        sequence_length: tokens of a row
        batch_tokens: tokens of an optimiser step, rounded to whole rows; the paper's 96 rows of 512
        weight_decay: of matrices; the paper's
        precision: of the arithmetic
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    from metier.engines.text.sequences import tokenize_texts
    from metier.engines.train.fit import Schedule, fit

    if not 0 <= qa_ratio <= 1 or tokens < 1 or batch_tokens < 1:
        raise ValueError(f"qa_ratio={qa_ratio}, tokens={tokens}, batch_tokens={batch_tokens}: give a share, and 1 or more")
    tokenizer = model.tokenizer()
    texts = (
        [(row["text"], row["source"]) for row in corpus.rows()],
        [(row["prompt"] + row["completion"], "questions") for row in questions.rows()],
    )
    kinds = [list(tokenize_texts(one, tokenizer, longest=sequence_length)) for one in texts]
    if not kinds[0] or (qa_ratio and not kinds[1]):
        raise ValueError(
            f"{len(kinds[0])} documents and {len(kinds[1])} questions for qa_ratio={qa_ratio}: give some of both, or ratio 0"
        )
    num_rows = -(-tokens // sequence_length)
    per_step = -(-batch_tokens // sequence_length)
    rows = list(mixed_rows(kinds[0], kinds[1], num_rows, qa_ratio=qa_ratio, sequence_length=sequence_length, seed=seed))
    return fit(
        model,
        rows,
        [],
        Schedule(1, per_step, learning_rate, weight_decay=weight_decay, final=0.1),
        adapter=None,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        workdir=workdir,
        method="pretrain.knowledge_storage.mixed",
    )


def mixed_rows(
    documents: Sequence[TokenSequence],
    questions: Sequence[TokenSequence],
    num_rows: int,
    *,
    qa_ratio: float,
    sequence_length: int,
    seed: int,
) -> Iterator[list[TokenSequence]]:
    """Rows of one kind each, filled with sequences drawn with replacement until the next does not fit."""
    generator = random.Random(seed)
    for _ in range(num_rows):
        kind = questions if generator.random() < qa_ratio else documents
        row: list[TokenSequence] = []
        room = sequence_length
        while len(drawn := kind[generator.randrange(len(kind))]) <= room:
            row.append(drawn)
            room -= len(drawn)
        yield row
