"""Fits a model to packed rows: what pretraining from scratch, continued pretraining and supervised fine-tuning share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.artifacts import Model
from metier.engines.text.rows import ListedRows, Row, Rows
from metier.engines.train import checkpoints as saved
from metier.engines.train.adapter import Adapter
from metier.engines.train.metrics import MetricsFile
from metier.engines.train.objectives import Causal, Objective
from metier.engines.train.packed_loss import check_against_logits, restore
from metier.engines.train.processes import Processes, gathered, whole
from metier.engines.train.resources import compile_layers, needs_recomputation, peak_memory_bytes, recompute, rows_at_once
from metier.engines.train.schedule import Order, Schedule
from metier.engines.train.segments import plain_attention, use_segments
from metier.engines.train.series import place_of
from metier.engines.train.trainer import Trainer, Watch, unwrap
from metier.models.precision import resolve_dtype
from metier.progress import task

__all__ = ["Precision", "Schedule", "Surgery", "Watch", "fit"]

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]


class Surgery(Protocol):
    """A change of the network for the length of training, as Adapter is: a frozen dataclass of plain values.

    put_on: the changed network, the same for the same seed; take_off: the plain model that is stored
    """

    def put_on(self, model: PreTrainedModel, *, seed: int) -> Any: ...
    def take_off(self, adapted: Any) -> PreTrainedModel: ...


def fit(
    model: Model,
    rows: Sequence[Row] | Rows,
    held_out: Sequence[Row],
    schedule: Schedule,
    *,
    adapter: Adapter | Surgery | None,
    precision: Precision,
    checkpoint_seconds: float,
    seed: int,
    workdir: Path | None,
    method: str,
    objective: Objective | None = None,
    watch: Watch | None = None,
    order: Callable[[int], Sequence[int]] | None = None,
    optimizer: Callable[[nn.Module, Schedule], torch.optim.Optimizer] | None = None,
    compiled: bool | Literal["auto"] = "auto",
) -> Model:
    """The model trained on the rows, in `workdir`/model; metrics.jsonl, checkpoints and series stand beside it.

    A call with a workdir in which an earlier one was interrupted goes on from its last checkpoint, in any number of processes, and ends
    with the same weights; a workdir with the checkpoint of another training raises ValueError. bf16 is autocast over fp32 weights: an
    eighth slower than weights in bf16 on a CPU, and without their lost updates. Under `accelerate launch` or torchrun each process
    takes its share of a step's rows; with accelerate's --use_fsdp the weights are cut over them, too.

    objective: what is predicted, Causal() for None; order: the numbers of the rows of the position-th step (0, 1, ...) where they are not
    shuffled epochs; optimizer: makes one from the network, whose groups' learning rates are peaks; compiled: torch.compile of the
    layers, auto on a GPU in trainings of 200 steps or more
    """
    listed: Rows = ListedRows(rows) if isinstance(rows, list | tuple) else rows  # type: ignore[assignment]
    if not len(listed):
        raise ValueError("there is nothing to train on: no row holds a predicted token")
    objective, watch = objective or Causal(), watch or Watch()
    steps = schedule.num_steps(len(listed))
    with gathered() as processes, task("training", total=steps, unit="step") as progress:
        workdir = processes.folder(workdir, "fit")
        dtype = resolve_dtype(precision, processes.device)
        network = _prepared(model, objective, listed[0], listed.sources, adapter, processes.device, seed)
        per_process = -(-min(schedule.rows_per_step, len(listed)) // processes.world)
        together = rows_at_once(listed, per_process, processes.device.type)
        _ease(unwrap(network), together * listed.longest, processes.device, compiled, steps)
        identity = asdict(schedule) | {
            "precision": str(dtype),
            "seed": seed,
            "model": model.fingerprint(),
            "rows": listed.fingerprint,
        }
        identity |= {"objective": repr(objective), "adapter": asdict(adapter) if is_dataclass(adapter) else repr(adapter)}  # type: ignore[arg-type]
        identity |= {"spikes": repr(watch.spikes)}
        if processes.first:
            saved.claim(workdir, identity)
        processes.meet()
        resume = saved.latest(workdir)
        first = saved.step_of(resume) if resume is not None else 0
        if processes.first:
            MetricsFile(workdir / "metrics.jsonl", from_step=first)
        processes.meet()
        logger.info("%d rows, %d steps from step %d, %s", len(listed), steps, first, dtype)
        progress.advance(first)
        metrics = MetricsFile(workdir / "metrics.jsonl")
        storing = _Storing(model, objective, adapter, network, processes, workdir, method)
        keeper = saved.Keeper(checkpoint_seconds)
        trainer = Trainer(
            network=network,
            objective=objective,
            rows=listed,
            held_out=_some(held_out, watch.held_out_tokens),
            order=order or Order(len(listed), schedule.rows_per_step, seed),
            schedule=schedule,
            steps=steps,
            rows_at_once=together,
            watch=watch,
            processes=processes,
            precision=dtype,
            seed=seed,
            workdir=workdir,
            metrics=metrics,
            progress=progress,
            keeper=keeper,
            keep=storing.keep,
            make_optimizer=optimizer,
        )
        with saved.stopping_politely(keeper):
            trainer.train(resume)
        processes.meet()  # the first process writes the metrics that all read
        lines = [line for line in metrics.lines() if "trained" in line]
        tokens = sum(line["trained"] for line in lines)
        return storing.last(
            steps=steps,
            tokens_trained=tokens,
            tokens_per_second=tokens / sum(line["trained"] / line["tokens_per_second"] for line in lines),
            flops=trainer.flops,
            final_loss=lines[-1]["loss"],
            precision=str(dtype).removeprefix("torch."),
            peak_memory_bytes=peak_memory_bytes(),
        )


def _prepared(
    model: Model, objective: Objective, row: Row, names: Sequence[str], surgery: Surgery | None, device: torch.device, seed: int
) -> nn.Module:
    """The network in fp32 on its device, losing in chunks, checked against its own logits, with what is put on."""
    network = objective.load(model, torch.float32)
    network.to(device)  # type: ignore[arg-type]
    logger.info("%s attention", use_segments(network))
    objective.prepare(network)
    batch = objective.batch([row], [0], names)
    check_against_logits(network, {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()})
    changed: nn.Module = surgery.put_on(network, seed=seed) if surgery is not None else network
    return changed


def _ease(network: PreTrainedModel, num_tokens: int, device: torch.device, compiled: bool | Literal["auto"], steps: int) -> None:
    """Recomputes activations where memory is short, compiles layers where it pays."""
    if needs_recomputation(network, num_tokens, device):
        recompute(network)
        logger.info("activations are computed again in the backward pass: memory would not hold them")
    if compiled is True or (compiled == "auto" and device.type == "cuda" and steps >= 200):
        compile_layers(network)


class _Storing:
    """Stores the network in plain form, adapter taken off, in the dtype of the model it began as; one process of several writes."""

    def __init__(
        self, model: Model, objective: Objective, surgery: Surgery | None, network: nn.Module, processes: Processes, workdir: Path,
        method: str,
    ) -> None:  # fmt: skip
        self._model, self._objective, self._surgery, self._network = model, objective, surgery, network
        self._processes, self._workdir = processes, workdir
        self._facts = {"method": method, "base": model.facts.get("source", str(model.path))}

    def keep(self, step: int, numbers: Mapping[str, Any]) -> None:
        """A member of the series, from a copy of the weights."""
        self._write(place_of(self._workdir, step), self._copy(), {"step": step} | dict(numbers))

    def last(self, **facts: Any) -> Model:
        """The trained model; the network is used up."""
        folder = self._workdir / "model"
        if self._processes.world > 1:
            self._write(folder, self._copy(), facts)
        else:
            restore(unwrap(self._network))
            self._write(folder, self._network, facts)
        self._processes.meet()
        return Model.open(folder)

    def _copy(self) -> nn.Module | None:
        weights = dict(self._network.named_parameters()) | dict(self._network.named_buffers())
        found = {name: whole(weight.detach()).cpu() for name, weight in weights.items()}  # all must ask
        if not self._processes.first:
            return None
        plain = self._objective.load(self._model, torch.float32)
        network: nn.Module = self._surgery.put_on(plain, seed=0) if self._surgery is not None else plain
        network.load_state_dict(found, strict=False)
        own = dict(network.named_parameters())
        assert own.keys() == dict(self._network.named_parameters()).keys()
        return network

    def _write(self, folder: Path, network: nn.Module | None, facts: Mapping[str, Any]) -> None:
        if network is None:
            return
        final: Any = self._surgery.take_off(network) if self._surgery is not None else network
        final.set_attn_implementation(plain_attention(final))
        final.to(self._model.stored_dtype())
        with saved.full_disk_named(folder.parent, sum(weight.nbytes for weight in final.parameters())):
            Model.of(final, self._model.tokenizer(), folder, **self._facts, **facts)


def _some(rows: Sequence[Row], budget: int) -> list[Row]:
    chosen: list[Row] = []
    for number in range(len(rows)):
        row = rows[number]
        if chosen and sum(map(len, row)) > budget:
            break
        budget -= sum(map(len, row))
        chosen.append(row)
    return chosen
