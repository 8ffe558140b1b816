"""Continued pretraining: the plain baseline that other pretraining methods are measured against."""

from __future__ import annotations

import math
from pathlib import Path

from metier.artifacts import Corpus, Model
from metier.engines.text.shards import held_out_rows, lesson
from metier.engines.train.adapter import Adapter
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.engines.train.objectives import Name, objective_of
from metier.engines.train.series import Series
from metier.engines.train.spikes import Spikes
from metier.method import method


@method(
    paper="Don't Stop Pretraining, arXiv 2004.10964",
    claim="a model that reads a domain's documents on models them better",
)
def continued(
    model: Model,
    corpus: Corpus,
    held_out: Corpus | None = None,
    *,
    epochs: float = 1.0,
    tokens: int | None = None,
    learning_rate: float = 1e-4,
    sequence_length: int = 1024,
    batch_tokens: int = 4096,
    warmup: float = 0.05,
    lr_scheduler_type: str = "cosine",
    objective: Name = "causal",
    spikes: Spikes | None = None,
    series: Series | None = None,
    adapter: Adapter | None = None,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model after reading the corpus on: loss on what the objective predicts, documents packed without attending to each other.

    Every weight is trained unless an adapter is given, which is merged at the end. Losses are kept per `source` of the corpus, and
    measured a few times on `held_out` where it is given. The result has the dtype of `model`. The corpus is tokenised once, into
    metier's cache, and read from there row by row.
    Settings:
        epochs: how often the corpus is read, whole or in part; ignored when `tokens` is given
        tokens: how many tokens are read, null for `epochs`; more than the corpus holds means several epochs
        learning_rate: the peak; at 135M 3e-4 gained the domain no more than 1e-4 (1.080 and 1.081 bits per byte) and cost more of the rest
        sequence_length: tokens of a row; longer documents are cut into pieces
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        warmup: share of the steps in which the learning rate rises
        lr_scheduler_type: its course afterwards: cosine, linear, constant, or wsd (constant, then down over the last fifth)
        objective: causal predicts each next token; masked (masked_words: whole words) suits BERT's kind, spans T5's
        spikes: such as {threshold: 10}: where the loss leaps, training goes back and leaves those rows out; null for never
        series: checkpoints to keep as models in series/ beside the result, such as {every: 100} or {spaced: 12} (on a logarithmic scale)
        adapter: a LoRA adapter such as {rank: 64}; null trains every weight
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    tokenizer = model.tokenizer()
    window = getattr(model.config(), "max_position_embeddings", None) or sequence_length
    length = min(sequence_length, window)
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens} trains nothing: give at least one row's {length}")

    rows = lesson(corpus, tokenizer, sequence_length=length)
    schedule = Schedule(
        epochs=epochs if tokens is None else tokens / rows.num_predicted,
        rows_per_step=max(1, math.ceil(batch_tokens / length)) if len(rows) > 1 else 1,
        learning_rate=learning_rate,
        warmup=warmup,
        shape=lr_scheduler_type,
    )
    return fit(
        model,
        rows,
        held_out_rows(held_out, tokenizer, sequence_length=length),
        schedule,
        adapter=adapter,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        workdir=workdir,
        method="pretrain.continued",
        objective=objective_of(objective, tokenizer, seed=seed),
        watch=Watch(spikes=spikes, series=series),
    )
