"""Supervised fine-tuning on prompts with answers, the loss on the answers only."""

from __future__ import annotations

import logging
from pathlib import Path

from metier.artifacts import Examples, Model
from metier.engines.text.chat import tokenize_examples
from metier.engines.train.adapter import Adapter
from metier.engines.train.fit import Precision, Schedule, fit
from metier.engines.train.trainer import Row
from metier.method import method

logger = logging.getLogger(__name__)


@method(
    paper="Finetuned Language Models Are Zero-Shot Learners, arXiv 2109.01652",
    claim="a model tuned on answered prompts answers such prompts better",
)
def supervised(
    model: Model,
    examples: Examples,
    held_out: Examples | None = None,
    *,
    epochs: float = 1.0,
    learning_rate: float = 5e-5,
    batch_size: int = 16,
    longest: int = 2048,
    warmup: float = 0.03,
    lr_scheduler_type: str = "cosine",
    adapter: Adapter | None = None,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model after learning the examples' answers: messages (every assistant turn), or prompt and completion.

    A step's examples lie end to end in one row without attending to each other, so that nothing is padded; prompts cost no work in the
    head. Raises ValueError when no example is short enough, or when messages meet a tokenizer without a chat template.
    Settings:
        epochs: how often the examples are seen, whole or in part
        learning_rate: the peak; 5e-5 suits full training, ten times that an adapter
        batch_size: examples of an optimiser step
        longest: tokens of an example; longer ones are left out and counted in the log, for a cut answer teaches to stop short
        warmup: share of the steps in which the learning rate rises
        lr_scheduler_type: its course afterwards, by transformers' names (cosine, linear, constant_with_warmup)
        adapter: a LoRA adapter such as {rank: 16}; null trains every weight
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} trains nothing: give 1 or more")
    tokenizer = model.tokenizer()

    def rows_of(part: Examples) -> list[Row]:
        kept, too_long = tokenize_examples(part.rows(), tokenizer, longest=longest)
        if too_long:
            logger.warning("%d of %d examples are longer than %d tokens and left out", too_long, too_long + len(kept), longest)
        return [[sequence] for sequence in kept]

    rows = rows_of(examples)
    if not rows:
        raise ValueError(
            f"no example of at most {longest} tokens is there to learn from: raise `longest`, or look at the stage before"
        )
    schedule = Schedule(
        epochs=epochs, rows_per_step=batch_size, learning_rate=learning_rate, warmup=warmup, shape=lr_scheduler_type
    )
    return fit(
        model,
        rows,
        rows_of(held_out) if held_out is not None else [],
        schedule,
        adapter=adapter,
        precision=precision,
        checkpoint_seconds=checkpoint_seconds,
        seed=seed,
        workdir=workdir,
        method="adapt.supervised",
    )
