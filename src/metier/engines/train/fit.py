"""Fits a model to packed rows: what continued pretraining and supervised fine-tuning share."""

from __future__ import annotations

import logging
import math
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from metier.artifacts import Model
from metier.engines.train import checkpoints as saved
from metier.engines.train.adapter import Adapter
from metier.engines.train.metrics import MetricsFile
from metier.engines.train.packed_loss import check_against_logits, lose_in_chunks, restore
from metier.engines.train.segments import plain_attention, use_segments
from metier.engines.train.trainer import Collator, Recorder, Row, Trainer, unwrap
from metier.progress import task

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]
HELD_OUT_TOKENS = 16_384  # measured on the way; the examination measures all
EVALUATIONS = 4
TOKENS_AT_ONCE = (
    1024  # more save no time on a CPU, where matrix products are saturated, and cost 3 MB of activations each at 135M
)


@dataclass(frozen=True)
class Schedule:
    """How the steps go: rows a step in order, the learning rate's peak and shape (transformers' scheduler names)."""

    epochs: float
    rows_per_step: int
    learning_rate: float
    warmup: float = 0.05
    shape: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"epochs={self.epochs} trains nothing: give a positive number")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} learns nothing: give a positive number")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup={self.warmup} is no share of the steps: give a number between 0 and 1")


def fit(
    model: Model,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    schedule: Schedule,
    *,
    adapter: Adapter | None,
    precision: Precision,
    checkpoint_seconds: float,
    seed: int,
    workdir: Path | None,
    method: str,
) -> Model:
    """The model trained on the rows, in `workdir`/model; metrics.jsonl and checkpoints stand beside it.

    A call with a workdir in which an earlier one was interrupted goes on from its last checkpoint, and ends with the same weights.
    bf16 is autocast over fp32 weights: on a CPU as fast as weights in bf16, and without their lost updates.
    """
    workdir = workdir if workdir is not None else Path(tempfile.mkdtemp(prefix="metier-fit-"))
    if not rows:
        raise ValueError("there is nothing to train on: no row holds a predicted token")
    stored_dtype = model.stored_dtype()
    network = model.load(dtype=torch.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    implementation = use_segments(network)
    lose_in_chunks(network)
    names = sorted({sequence.source for row in [*rows, *held_out] for sequence in row})
    batch = Collator(names)([rows[0]])
    check_against_logits(
        network, {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    )
    trained = adapter.put_on(network, seed=seed) if adapter is not None else network
    for parameter in trained.parameters():
        parameter.data = parameter.data.contiguous()
    half = precision == "bfloat16" or (precision == "auto" and fast_bfloat16(device))
    rows_per_step = min(schedule.rows_per_step, len(rows))
    together = rows_at_once(rows, rows_per_step)
    steps_an_epoch = math.ceil(len(rows) / rows_per_step)
    steps = max(1, round(schedule.epochs * steps_an_epoch))
    resume = saved.latest(workdir)
    first = int(resume.name.rpartition("-")[2]) if resume is not None else 0
    metrics = MetricsFile(workdir / "metrics.jsonl", from_step=first)
    arguments = TrainingArguments(
        output_dir=str(workdir),
        max_steps=steps,
        per_device_train_batch_size=together,
        gradient_accumulation_steps=rows_per_step // together,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.shape,
        warmup_steps=round(schedule.warmup * steps),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        adam_beta2=0.95,
        optim="adamw_torch_fused",
        bf16=half,
        use_cpu=device == "cpu",
        seed=seed,
        data_seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        average_tokens_across_devices=True,
    )
    keeper = saved.Checkpoints(checkpoint_seconds)
    logger.info(
        "%d rows, %d steps from step %d, %s attention, %s", len(rows), steps, first, implementation, "bf16" if half else "fp32"
    )
    with task("training", total=steps, unit="step") as progress:
        progress.advance(first)
        recorder = Recorder(metrics, progress, _some(held_out, HELD_OUT_TOKENS), EVALUATIONS)
        trainer = Trainer(trained, names, args=arguments, train_dataset=list(rows), callbacks=[recorder, keeper])
        trainer.remove_callback(PrinterCallback)
        recorder.trainer = trainer
        with saved.stopping_politely(keeper):
            trainer.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    final = trainer.accelerator.unwrap_model(trainer.model)
    restore(unwrap(final))
    if adapter is not None:
        final = final.merge_and_unload()
    lines = [line for line in metrics.lines() if "trained" in line]
    final.set_attn_implementation(plain_attention(final))
    return Model.of(
        final.to(stored_dtype),
        model.tokenizer(),
        workdir / "model",
        method=method,
        steps=steps,
        tokens_trained=sum(line["trained"] for line in lines),
        tokens_per_second=sum(line["trained"] for line in lines)
        / sum(line["trained"] / line["tokens_per_second"] for line in lines),
        final_loss=lines[-1]["loss"],
        precision="bfloat16" if half else "float32",
        peak_memory_bytes=peak_memory_bytes(),
        base=model.facts.get("source", str(model.path)),
    )


def rows_at_once(rows: Sequence[Row], rows_per_step: int) -> int:
    """How many rows go through the network together: the most that divide a step and hold about TOKENS_AT_ONCE tokens on average."""
    mean = sum(len(sequence) for row in rows for sequence in row) / len(rows)
    fitting = [count for count in range(1, rows_per_step + 1) if rows_per_step % count == 0 and count * mean <= TOKENS_AT_ONCE]
    return max(fitting, default=1)


def fast_bfloat16(device: str) -> bool:
    """Whether bf16 arithmetic is faster than fp32 here: GPUs that have it, CPUs with AVX-512 BF16 or AMX."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )


def peak_memory_bytes() -> int:
    """The peak of this process so far: of the GPU's memory where there is one, else resident memory."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _some(rows: Sequence[Row], budget: int) -> list[Row]:
    chosen: list[Row] = []
    for row in rows:
        if chosen and sum(map(len, row)) > budget:
            break
        budget -= sum(map(len, row))
        chosen.append(row)
    return chosen
