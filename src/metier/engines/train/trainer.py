"""transformers' Trainer on packed rows: losses summed over tokens, counted per source, the same after any interruption."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from metier.engines.text.sequences import TokenSequence
from metier.engines.train.checkpoints import full_disk_named
from metier.engines.train.metrics import MetricsFile
from metier.progress import Progress

Row = Sequence[TokenSequence]


class Collator:
    """Rows laid end to end in one row of a batch: input_ids, labels, position_ids (1, T) int64; cu_seq_lens_q and _k int32
    (sequences + 1), the borders of the sequences; sources (predicted tokens,) int64, indices into `names`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._number = {name: number for number, name in enumerate(names)}

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        sequences = [sequence for row in rows for sequence in row]
        lengths = [len(sequence) for sequence in sequences]
        borders = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return {
            "input_ids": torch.tensor([[token for sequence in sequences for token in sequence.input_ids]]),
            "labels": torch.tensor([[label for sequence in sequences for label in sequence.labels]]),
            "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
            "cu_seq_lens_q": borders,
            "cu_seq_lens_k": borders,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
            "sources": torch.repeat_interleave(
                torch.tensor([self._number[sequence.source] for sequence in sequences]),
                torch.tensor([sequence.num_predicted for sequence in sequences]),
            ),
        }


class Trainer(transformers.Trainer):
    """Minimises the mean loss over all predicted tokens of an optimiser step, however they are spread over rows and processes."""

    def __init__(self, model: nn.Module, names: Sequence[str], **options: Any) -> None:
        super().__init__(model=model, data_collator=Collator(names), **options)
        self.model_accepts_loss_kwargs = True  # makes transformers count the predicted tokens of a whole step
        self._loss_shifts_labels = False  # the labels say what is predicted at each place
        self._names = list(names)
        self.sums = torch.zeros(len(names), 2, dtype=torch.float64)  # nats and tokens by source, of the step so far

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        sources = inputs.pop("sources").cpu()
        outputs = model(**inputs)
        self._count(sources, outputs.nll.detach().double().cpu())
        total = num_items_in_batch if num_items_in_batch is not None else max(1, outputs.nll.numel())
        # transformers divides by the number of processes when it averages gradients; the token count already spans them all.
        loss = outputs.loss / total * (self.accelerator.num_processes if num_items_in_batch is not None else 1)
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        trained = sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)
        with full_disk_named(Path(self.args.output_dir), 12 * trained):  # fp32 weights and AdamW's two moments
            super()._save_checkpoint(model, trial)

    def take_sums(self) -> dict[str, tuple[float, int]]:
        """Nats and predicted tokens by source since last asked, over all processes."""
        sums = self.sums.clone()
        self.sums.zero_()
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.to(self.args.device), reduction="sum").cpu()
        return {name: (nats, int(tokens)) for name, (nats, tokens) in zip(self._names, sums.tolist(), strict=True) if tokens}

    def _count(self, sources: Tensor, nll: Tensor) -> None:
        if len(sources):
            size = len(self._names)
            self.sums[:, 0] += torch.bincount(sources, weights=nll, minlength=size)
            self.sums[:, 1] += torch.bincount(sources, minlength=size)


class Recorder(TrainerCallback):
    """Writes each step to the metrics file and the progress display, and measures held-out rows a few times on the way."""

    def __init__(self, metrics: MetricsFile, progress: Progress, held_out: Sequence[Row], evaluations: int) -> None:
        self._metrics, self._progress = metrics, progress
        self._held_out, self._evaluations = held_out, evaluations
        self.trainer: Trainer
        self._tokens = sum(line["trained"] for line in metrics.lines() if "trained" in line)
        self._began = time.perf_counter()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == 0:
            self._measure(state)
        self._began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        seconds = time.perf_counter() - self._began
        sums = self.trainer.take_sums()
        nats, tokens = sum(nats for nats, _ in sums.values()), sum(tokens for _, tokens in sums.values())
        self._tokens += tokens
        loss = nats / tokens
        if state.is_world_process_zero:
            self._metrics.write(
                step=state.global_step,
                tokens=self._tokens,
                trained=tokens,
                loss=loss,
                learning_rate=self.trainer._get_learning_rate(),
                tokens_per_second=tokens / seconds,
                losses={name: nats / count for name, (nats, count) in sums.items()},
            )
        self._progress.advance(1, loss=loss, **{"tokens/s": tokens / seconds})
        if self._evaluations and self._is_due(state):
            self._measure(state)
        self._began = time.perf_counter()

    def _is_due(self, state: TrainerState) -> bool:
        step, total = state.global_step, state.max_steps
        return bool(step == total or step * self._evaluations // total > (step - 1) * self._evaluations // total)

    def _measure(self, state: TrainerState) -> None:
        if not self._held_out:
            return
        losses = held_out_losses(self.trainer, self._held_out)
        if state.is_world_process_zero:
            total = sum(nats for nats, _ in losses.values()) / sum(count for _, count in losses.values())
            self._metrics.write(
                step=state.global_step,
                tokens=self._tokens,
                held_out_loss=total,
                held_out={name: nats / count for name, (nats, count) in losses.items()},
            )


def held_out_losses(trainer: Trainer, rows: Sequence[Row]) -> dict[str, tuple[float, int]]:
    """Nats and predicted tokens of the rows by source, with the model in evaluation mode."""
    model = trainer.model_wrapped
    names = sorted({sequence.source for row in rows for sequence in row})
    collate = Collator(names)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    training = model.training
    model.eval()
    for row in rows:
        batch = collate([row])
        sources = batch.pop("sources")
        batch = trainer._prepare_inputs(batch)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            nll = model(**batch).nll.double().cpu()
        for number, name in enumerate(names):
            chosen = nll[sources == number]
            sums[name][0] += float(chosen.sum())
            sums[name][1] += chosen.numel()
    model.train(training)
    return {name: (nats, int(count)) for name, (nats, count) in sums.items() if count}


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model under an adapter, or the model itself."""
    find: Any = getattr(model, "get_base_model", None)
    return find() if find is not None else model  # type: ignore[no-any-return]
