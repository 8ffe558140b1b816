"""Fits a model to packed rows: what continued pretraining and supervised fine-tuning share."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from metier.artifacts import Model
from metier.engines.train import checkpoints as saved
from metier.engines.train.adapter import Adapter
from metier.engines.train.metrics import MetricsFile
from metier.engines.train.packed_loss import check_against_logits, lose_in_chunks, restore
from metier.engines.train.resources import needs_recomputation, peak_memory_bytes, recompute, rows_at_once
from metier.engines.train.segments import plain_attention, use_segments
from metier.engines.train.trainer import Collator, Recorder, Row, Trainer, unwrap
from metier.models.precision import best_device, resolve_dtype
from metier.progress import task

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]
HELD_OUT_TOKENS = 16_384  # measured on the way; the examination measures all
EVALUATIONS = 4


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

    A call with a workdir in which an earlier one was interrupted goes on from its last checkpoint, and ends with the same weights; a
    workdir with the checkpoint of another training raises ValueError. bf16 is autocast over fp32 weights: an eighth slower
    than weights in bf16 on a CPU, and without their lost updates. Under `accelerate launch` each process takes its share of a step's rows.
    """
    if not rows:
        raise ValueError("there is nothing to train on: no row holds a predicted token")
    rows_per_step = min(schedule.rows_per_step, len(rows))
    steps = max(1, round(schedule.epochs * math.ceil(len(rows) / rows_per_step)))
    workdir = workdir if workdir is not None else _temporary()
    arguments = _arguments(workdir, rows, rows_per_step, steps, schedule, precision, seed)
    names = sorted({sequence.source for row in [*rows, *held_out] for sequence in row})
    trained = _prepared(model, rows[0], names, adapter, arguments.device, seed)
    longest = arguments.per_device_train_batch_size * max(sum(map(len, row)) for row in rows)
    if needs_recomputation(unwrap(trained), longest, arguments.device):
        recompute(unwrap(trained))
        logger.info("activations are computed again in the backward pass: memory would not hold them")
    with arguments.main_process_first():
        if arguments.process_index == 0:
            facts = asdict(schedule) | {"adapter": asdict(adapter) if adapter else None, "bf16": arguments.bf16, "seed": seed}
            facts |= {"processes": arguments.world_size, "model": model.fingerprint(), "rows": _digest(rows)}
            saved.claim(workdir, facts)
        resume = saved.latest(workdir)
        first = int(resume.name.rpartition("-")[2]) if resume is not None else 0
        metrics = MetricsFile(workdir / "metrics.jsonl", from_step=first)
    logger.info("%d rows, %d steps from step %d, %s", len(rows), steps, first, "bf16" if arguments.bf16 else "fp32")
    keeper = saved.Checkpoints(checkpoint_seconds)
    with task("training", total=steps, unit="step") as progress:
        progress.advance(first)
        recorder = Recorder(metrics, progress, _some(held_out, HELD_OUT_TOKENS), EVALUATIONS)
        trainer = Trainer(trained, names, args=arguments, train_dataset=list(rows), callbacks=[recorder, keeper])
        trainer.remove_callback(PrinterCallback)
        recorder.trainer = trainer
        with saved.stopping_politely(keeper):
            trainer.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    trainer.accelerator.wait_for_everyone()  # the first process writes the metrics that all read
    lines = [line for line in metrics.lines() if "trained" in line]
    tokens = sum(line["trained"] for line in lines)
    return _stored(
        trainer,
        model,
        adapter,
        workdir / "model",
        method=method,
        steps=steps,
        tokens_trained=tokens,
        tokens_per_second=tokens / sum(line["trained"] / line["tokens_per_second"] for line in lines),
        final_loss=lines[-1]["loss"],
        precision="bfloat16" if arguments.bf16 else "float32",
        peak_memory_bytes=peak_memory_bytes(),
        base=model.facts.get("source", str(model.path)),
    )


def _temporary() -> Path:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("several processes need one folder to meet in: give workdir")
    return Path(tempfile.mkdtemp(prefix="metier-fit-"))


def _arguments(
    workdir: Path, rows: Sequence[Row], rows_per_step: int, steps: int, schedule: Schedule, precision: Precision, seed: int
) -> TrainingArguments:
    device = best_device()
    share = math.ceil(rows_per_step / int(os.environ.get("WORLD_SIZE", "1")))
    together = rows_at_once(rows, share, device.type)
    arguments = TrainingArguments(
        output_dir=str(workdir),
        max_steps=steps,
        per_device_train_batch_size=together,
        gradient_accumulation_steps=share // together,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.shape,
        warmup_steps=round(schedule.warmup * steps),
        weight_decay=schedule.weight_decay,
        max_grad_norm=schedule.max_grad_norm,
        adam_beta2=0.95,
        optim="adamw_torch_fused",
        bf16=resolve_dtype(precision, device) == torch.bfloat16,
        use_cpu=device.type == "cpu",
        seed=seed,
        data_seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device.type == "cuda",
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
    )
    arguments._setup_devices  # noqa: B018  # finds this process's device and sets _n_gpu
    # Several GPUs without a launcher would be DataParallel, which cuts packed rows apart.
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return arguments


def _prepared(
    model: Model, row: Row, names: Sequence[str], adapter: Adapter | None, device: torch.device, seed: int
) -> torch.nn.Module:
    """The network in fp32 on its device, losing in chunks, checked against its own logits, with its adapter on."""
    network = model.load(dtype=torch.float32)
    network.to(device)
    logger.info("%s attention", use_segments(network))
    lose_in_chunks(network)
    batch = Collator(names)([row])
    check_against_logits(
        network, {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    )
    trained: torch.nn.Module = adapter.put_on(network, seed=seed) if adapter is not None else network
    return trained


def _stored(trainer: Trainer, model: Model, adapter: Adapter | None, folder: Path, **facts: Any) -> Model:
    """The trained network in plain form, adapter merged, in the dtype of `model`; one process of several writes it."""
    if trainer.accelerator.num_processes > 1:
        # Every process must ask; where the weights are sharded only the first is given them.
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if trainer.is_world_process_zero():
            network = model.load(dtype=torch.float32)
            trained: Any = adapter.put_on(network, seed=0) if adapter is not None else network
            trained.load_state_dict(weights)
    else:
        trained = trainer.accelerator.unwrap_model(trainer.model)
        restore(unwrap(trained))
    if trainer.is_world_process_zero():
        final = trained.merge_and_unload() if adapter is not None else trained
        final.set_attn_implementation(plain_attention(final))
        final.to(model.stored_dtype())
        with saved.full_disk_named(folder.parent, sum(weight.nbytes for weight in final.parameters())):
            Model.of(final, model.tokenizer(), folder, **facts)
    trainer.accelerator.wait_for_everyone()
    return Model.open(folder)


def _digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        for sequence in row:
            digest.update(array("q", [len(sequence), *sequence.input_ids, *sequence.labels]).tobytes())
    return digest.hexdigest()[:16]


def _some(rows: Sequence[Row], budget: int) -> list[Row]:
    chosen: list[Row] = []
    for row in rows:
        if chosen and sum(map(len, row)) > budget:
            break
        budget -= sum(map(len, row))
        chosen.append(row)
    return chosen
