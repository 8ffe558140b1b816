"""The loop of training: losses summed over tokens, counted per source, the same after any interruption and in any number of processes."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metier.engines.text.rows import Row, Rows
from metier.engines.text.sequences import IGNORED
from metier.engines.train import checkpoints as saved
from metier.engines.train.batches import Collator
from metier.engines.train.flops import Costs, peak_flops
from metier.engines.train.metrics import MetricsFile
from metier.engines.train.objectives import Objective
from metier.engines.train.processes import Processes, fold, number, shard
from metier.engines.train.schedule import Schedule
from metier.engines.train.series import Series
from metier.engines.train.spikes import Spikes, Watcher
from metier.progress import Progress

__all__ = ["Collator", "Row", "Step", "Trainer", "Watch", "unwrap"]

logger = logging.getLogger(__name__)

HELD_OUT_PLACE = 1 << 62  # held-out rows are masked as if they stood here in the order: always alike


@dataclass(frozen=True)
class Step:
    """What a hook is told after an optimiser step (and before the first, as step 0 without a loss), in every process.

    network: the transformers model as it is trained, in fp32 (its weights are cut where training is sharded); a hook may change
    weights in place under no_grad
    """

    step: int
    steps: int
    tokens: int
    loss: float | None
    network: PreTrainedModel
    optimizer: torch.optim.Optimizer


Hook = Callable[[Step], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Watch:
    """What is looked at on the way.

    evaluations: how often held-out rows are measured after the measurement before the first step; held_out_tokens: of how many tokens
    series: checkpoints to keep and study; spikes: when to go back, None for never (a loss that is not finite then ends training)
    on_step: called after every step; the numbers it gives go into the step's line of metrics.jsonl
    """

    evaluations: int = 4
    held_out_tokens: int = 16_384
    series: Series | None = None
    spikes: Spikes | None = None
    on_step: Hook | None = field(default=None, repr=False)

    def is_due(self, step: int, steps: int) -> bool:
        """Whether held-out rows are measured after this step."""
        if not self.evaluations:
            return False
        return step == steps or step * self.evaluations // steps > (step - 1) * self.evaluations // steps


@dataclass
class Trainer:
    """Minimises the mean loss over all predicted tokens of an optimiser step, however they are spread over rows and processes."""

    network: nn.Module
    objective: Objective
    rows: Rows
    held_out: Sequence[Row]
    order: Callable[[int], Sequence[int]]
    schedule: Schedule
    steps: int
    rows_at_once: int
    watch: Watch
    processes: Processes
    precision: torch.dtype
    seed: int
    workdir: Path
    metrics: MetricsFile
    progress: Progress
    keeper: saved.Keeper
    keep: Callable[[int, Mapping[str, Any]], None]  # stores a member of the series
    make_optimizer: Callable[[nn.Module, Schedule], torch.optim.Optimizer] | None = None

    def __post_init__(self) -> None:
        self.names = sorted({*self.rows.sources, *(sequence.source for row in self.held_out for sequence in row)})
        self.costs = Costs.of(unwrap(self.network))
        if self.processes.sharded:
            shard(self.network)
        self.optimizer = (self.make_optimizer or adamw)(self.network, self.schedule)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.step, self.skipped, self.tokens, self.flops = 0, list[int](), 0, 0
        self._kept: set[int] = self.watch.series.steps(self.steps) if self.watch.series is not None else set()

    def train(self, resume: Path | None) -> None:
        """All steps, from the beginning or from a checkpoint. Raises RuntimeError when losses that leap or are not finite don't end."""
        if resume is not None:
            self._go_back(resume)
        watcher = self._watcher()
        with torch.random.fork_rng(devices=[self.processes.device] if self.processes.device.type == "cuda" else []):
            if self.step == 0:
                self._begin()
            self.network.train()
            while self.step < self.steps and not self.keeper.stop.is_set():
                began = time.perf_counter()
                sums, norm = self._gradients()
                loss = _mean(sums)
                reason = watcher.reason(loss, norm)
                if reason is not None:
                    self._leave_out(reason, loss)
                    watcher = self._watcher()
                    continue
                self._update()
                watcher.add(loss)
                self._record(sums, loss, norm, time.perf_counter() - began)
                if self.keeper.is_due(self.processes) and self.step < self.steps:
                    self._save()

    def _begin(self) -> None:
        if self.watch.spikes is not None:
            self._save()
        measured = self._measure()
        self._hook(None)
        if 0 in self._kept:
            self.keep(0, {"tokens": 0} | measured)

    def _gradients(self) -> tuple[Tensor, float]:
        """The gradient of the next step, in place and clipped; nats and predicted tokens by source (S, 2) and its norm before."""
        position = _position(self.step, self.skipped)
        torch.manual_seed(hash((self.seed, position, self.processes.rank)) % (1 << 63))  # of dropout
        own, whole = self._batches(position)
        self.optimizer.zero_grad(set_to_none=True)
        nats_S = torch.zeros(len(self.names), dtype=torch.float64, device=self.processes.device)
        tokens_S = torch.zeros(len(self.names), dtype=torch.int64)
        for batch, sources_N in own:
            with self._autocast():
                outputs = self.network(**batch)
            (outputs.loss / whole).backward()
            nats_S.index_add_(0, sources_N.to(nats_S.device), outputs.nll.detach().double())
            tokens_S += torch.bincount(sources_N, minlength=len(self.names))
        self.processes.add_gradients(self.network)
        trained = [weight for weight in self.network.parameters() if weight.requires_grad]
        most = self.schedule.max_grad_norm if self.schedule.max_grad_norm > 0 else math.inf
        norm = number(nn.utils.clip_grad_norm_(trained, most))
        sums = self.processes.total(torch.stack([nats_S.cpu(), tokens_S.double()], dim=1))
        return sums, norm

    def _batches(self, position: int) -> tuple[list[tuple[dict[str, Any], Tensor]], int]:
        """This process's batches of a step, with their sources, and the predicted tokens of all processes' together."""
        order, world = list(self.order(position)), self.processes.world
        places = range(self.processes.rank, len(order), world)
        first = position * self.schedule.rows_per_step
        size = min(self.rows_at_once, max(1, math.ceil(len(order) / world)))
        batches, predicted, flops = [], 0, 0
        for start in range(0, len(places), size):
            chosen = places[start : start + size]
            batch = self.objective.batch([self.rows[order[at]] for at in chosen], [first + at for at in chosen], self.names)
            sources = batch.pop("sources")
            predicted += len(sources)
            flops += self.costs.training(*_sizes(batch), len(sources)) if "cu_seq_lens_q" in batch else self._padded_flops(batch)
            batches.append((_to(batch, self.processes.device), sources))
        shared = self.processes.total(torch.tensor([predicted, flops], dtype=torch.int64))
        self._step_flops = int(shared[1])
        # All must take part in each pass, for weights are fetched from all: one that has no rows left repeats one without its loss.
        for _ in range(self.processes.most(len(batches)) - len(batches)):
            batch = self.objective.batch([self.rows[order[0]]], [first], self.names)
            batch.pop("sources")
            batch["labels"] = torch.full_like(batch["labels"], IGNORED)
            batches.append((_to(batch, self.processes.device), torch.zeros(0, dtype=torch.int64)))
        return batches, max(1, int(shared[0]))

    def _padded_flops(self, batch: Mapping[str, Any]) -> int:
        lengths = batch["attention_mask"].sum(1).tolist()
        decoded = (batch["labels"] != IGNORED).sum(1).tolist()
        return self.costs.training(lengths, sum(decoded), decoded)

    def _update(self) -> None:
        factor = self.schedule.factor(self.step, self.steps)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimizer.step()
        self.step += 1

    def _record(self, sums: Tensor, loss: float, norm: float, seconds: float) -> None:
        tokens = int(sums[:, 1].sum())
        self.tokens, self.flops = self.tokens + tokens, self.flops + self._step_flops
        line: dict[str, Any] = {
            "step": self.step,
            "tokens": self.tokens,
            "trained": tokens,
            "loss": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "tokens_per_second": tokens / seconds,
            "flops": self.flops,
            "losses": _by_name(self.names, sums),
        }
        peak = peak_flops(self.processes.device)
        if peak is not None:
            line["utilisation"] = self._step_flops / seconds / (peak * self.processes.world)
        line |= self._hook(loss)
        if self.processes.first:
            self.metrics.write(**line)
        self.progress.advance(1, loss=loss, **{"tokens/s": tokens / seconds})
        kept = self.step in self._kept
        measured = self._measure() if kept or self.watch.is_due(self.step, self.steps) else {}
        if kept:
            self.keep(self.step, {"tokens": self.tokens, "flops": self.flops, "loss": loss} | measured)

    def _hook(self, loss: float | None) -> dict[str, Any]:
        if self.watch.on_step is None:
            return {}
        step = Step(self.step, self.steps, self.tokens, loss, unwrap(self.network), self.optimizer)
        return dict(self.watch.on_step(step) or {})

    def _measure(self) -> dict[str, Any]:
        """Losses of the held-out rows, written to the metrics; {} without any."""
        if not self.held_out:
            return {}
        sums = self.held_out_sums(self.held_out)
        found = {"held_out_loss": _mean(sums), "held_out": _by_name(self.names, sums)}
        if self.processes.first:
            self.metrics.write(step=self.step, tokens=self.tokens, **found)
        return found

    def held_out_sums(self, rows: Sequence[Row]) -> Tensor:
        """Nats and predicted tokens of the rows by source (S, 2), with the network in evaluation mode."""
        training, world = self.network.training, self.processes.world
        self.network.eval()
        sums = torch.zeros(len(self.names), 2, dtype=torch.float64)
        for start in range(0, len(rows), world):
            at = min(start + self.processes.rank, len(rows) - 1)
            batch = self.objective.batch([rows[at]], [HELD_OUT_PLACE + at], self.names)
            sources = batch.pop("sources")
            with torch.no_grad(), self._autocast():
                nll = self.network(**_to(batch, self.processes.device)).nll.double().cpu()
            if start + self.processes.rank < len(rows):
                sums[:, 0] += torch.bincount(sources, weights=nll, minlength=len(self.names))
                sums[:, 1] += torch.bincount(sources, minlength=len(self.names))
        self.network.train(training)
        fold(self.network)
        return self.processes.total(sums)

    def _leave_out(self, reason: str, loss: float) -> None:
        """Back to the newest checkpoint before the update that may be at fault; its rows and this step's are left out from now on."""
        spikes = self.watch.spikes
        if spikes is None:
            raise RuntimeError(
                f"step {self.step + 1}: {reason}, so training ends: lower the learning rate or look at the rows of this step; with "
                "watch.spikes training goes back and leaves them out"
            )
        bad = sorted({_position(step, self.skipped) for step in (self.step - 1, self.step) if step >= 0})
        if len(self.skipped) // 2 >= spikes.rollbacks:
            raise RuntimeError(
                f"step {self.step + 1}: {reason}, after {spikes.rollbacks} times of going back: lower the learning rate"
            )
        at = self.step
        found = [one for one in saved.complete(self.workdir) if saved.step_of(one) <= max(0, at - 1)]
        if not found:
            raise RuntimeError(f"step {at + 1}: {reason}, and {self.workdir} holds no checkpoint from before to go back to")
        skipped = sorted({*self.skipped, *bad})
        self.processes.meet()
        self._go_back(found[-1])
        self.skipped = skipped
        logger.warning("step %d: %s; back to step %d, without the rows of positions %s", at + 1, reason, self.step, bad)
        if self.processes.first:
            self.metrics.write(step=at + 1, rolled_back_to=self.step, reason=reason, bad_loss=loss, left_out=bad)
            for later in saved.complete(self.workdir):
                if saved.step_of(later) > self.step:  # of an order that is no longer the order
                    saved.remove(later)
        self.processes.meet()
        self._save()  # with what is left out, or a kill before the next checkpoint would forget it

    def _go_back(self, checkpoint: Path) -> None:
        state = saved.load(checkpoint, self.network, self.optimizer, self.processes)
        self.step, self.skipped, self.tokens, self.flops = (state[name] for name in ("step", "skipped", "tokens", "flops"))
        if self.processes.first:
            self.metrics.cut(self.step, keep_rollbacks=True)
        self.processes.meet()

    def _save(self) -> None:
        state = {"step": self.step, "skipped": self.skipped, "tokens": self.tokens, "flops": self.flops}
        keep = 1 if self.watch.spikes is None else 2  # a spike right after a checkpoint needs the one before
        saved.save(self.workdir, self.network, self.optimizer, self.processes, state, keep=keep)
        self.keeper.saved()

    def _watcher(self) -> Watcher:
        losses = [line["loss"] for line in self.metrics.lines() if "trained" in line and line["step"] <= self.step]
        return Watcher(self.watch.spikes, losses)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.processes.device.type, self.precision)


def adamw(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW over the trained weights; matrices decay, biases and norms do not."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in trained if weight.ndim >= 2], "weight_decay": schedule.weight_decay},
        {"params": [weight for weight in trained if weight.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.95), fused=True)


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model under an adapter, or the model itself."""
    find: Any = getattr(model, "get_base_model", None)
    return find() if find is not None else model  # type: ignore[no-any-return]


def _position(step: int, skipped: Sequence[int]) -> int:
    """Where in the order the rows of a step stand: positions that are left out do not count."""
    position = step
    for one in sorted(skipped):
        if one <= position:
            position += 1
    return position


def _mean(sums: Tensor) -> float:
    nats, tokens = sums.sum(0).tolist()
    return nats / tokens if tokens else math.nan


def _by_name(names: Sequence[str], sums: Tensor) -> dict[str, float]:
    return {name: nats / tokens for name, (nats, tokens) in zip(names, sums.tolist(), strict=True) if tokens}


def _sizes(batch: Mapping[str, Any]) -> tuple[list[int]]:
    return (batch["cu_seq_lens_q"].diff().tolist(),)


def _to(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
