"""Real steps of metier's own engine, in a process of their own, so that its peak of memory is theirs alone.

python -m metier.pretrain.efficiency_review.probe < job.json > found.json
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metier.engines.train.trainer import Step

SHORT = 128  # tokens of the short sequences that tell attention's cost from the rest
MOST_SECONDS = 75.0
MOST_STEPS = 9
MOST_NEW = 17


@dataclass(frozen=True)
class TrainingJob:
    """What is tried. folder: of the model; rows_per_step: of the plan; rank: of LoRA, None for every weight"""

    folder: str
    sequence_length: int
    rows_per_step: int
    precision: str
    rank: int | None


@dataclass(frozen=True)
class TrainingCosts:
    """Of one pass over `tokens` at once. attention_seconds: for a unit of the sum of squared lengths; step_seconds: the optimiser and the
    clipping of a step; base_bytes: resident before the model was loaded; peak_bytes: of the whole process; recompute: activations
    are computed twice; trained: parameters"""

    tokens: int
    pass_seconds: float
    attention_seconds: float
    step_seconds: float
    steps: int
    precision: str
    base_bytes: int = 0
    peak_bytes: int = 0
    recompute: bool = False
    trained: int = 0

    def seconds(self, squares: float) -> float:
        """A pass over sequences whose squared lengths sum to `squares`."""
        return self.pass_seconds + self.attention_seconds * squares


@dataclass(frozen=True)
class ServingJob:
    """rows: of the larger of two batches; prompt_tokens: of each prompt"""

    folder: str
    prompt_tokens: int
    rows: int
    precision: str


@dataclass(frozen=True)
class ServingCosts:
    """prefill: prompt tokens a second; step_seconds, row_seconds: a decoding step of b rows takes step_seconds + b row_seconds"""

    prefill: float
    step_seconds: float
    row_seconds: float
    base_bytes: int
    peak_bytes: int
    precision: str


class _EnoughError(Exception):
    pass


def try_training(job: TrainingJob) -> TrainingCosts:
    """Steps of two passes over rows of one sequence and over rows of short ones by turns, after one step to get warm."""
    from metier.artifacts import Model
    from metier.engines.train.adapter import Adapter
    from metier.engines.train.fit import Schedule, Watch, fit
    from metier.engines.train.resources import peak_memory_bytes

    model = Model.open(job.folder)
    rows, passes, together = _rows(job, model.config().get_text_config().vocab_size)
    base, clock = _resident(), _Clock(time.perf_counter() + MOST_SECONDS)
    with tempfile.TemporaryDirectory(prefix="metier-probe-") as folder:
        schedule = Schedule(epochs=1, steps=MOST_STEPS, rows_per_step=passes * together, learning_rate=1e-6)
        with contextlib.suppress(_EnoughError):
            fit(
                model, rows, [], schedule,
                adapter=Adapter(rank=job.rank) if job.rank is not None else None,
                precision=job.precision,  # type: ignore[arg-type]
                checkpoint_seconds=1e9,
                seed=0,
                workdir=Path(folder),
                method="pretrain.efficiency_review",
                watch=Watch(evaluations=0, on_step=clock),
                order=lambda position: [position % 2] * (passes * together),
            )  # fmt: skip
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["trained"] / line["tokens_per_second"] for line in lines[1:]]
    costs = _costs(job, together, passes, seconds, clock.updates[1 : len(lines)])
    return replace(costs, base_bytes=base, peak_bytes=peak_memory_bytes(), recompute=clock.recompute, trained=clock.trained)


class _Clock:
    """A hook of the training that times the optimiser and ends the trial when its time is up and both kinds of rows were tried."""

    def __init__(self, until: float) -> None:
        self.updates: list[float] = []
        self.recompute, self.trained = False, 0
        self._until, self._began = until, 0.0

    def __call__(self, step: Step) -> None:
        if step.step == 0:
            self.recompute = recomputes(step.network)
            self.trained = sum(weight.numel() for weight in step.network.parameters() if weight.requires_grad)
            step.optimizer.register_step_pre_hook(self._begin)
            step.optimizer.register_step_post_hook(self._end)
        elif step.step >= 4 and time.perf_counter() > self._until:
            raise _EnoughError

    def _begin(self, *_: object) -> None:
        self._began = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.updates.append(time.perf_counter() - self._began)


def recomputes(network: Any) -> bool:
    """Whether a transformers model computes its activations again; the first name is the newer one of the same thing."""
    newer = getattr(network, "is_activation_checkpointing", None)
    return bool(newer if newer is not None else network.is_gradient_checkpointing)


def _costs(job: TrainingJob, together: int, passes: int, seconds: Sequence[float], updates: Sequence[float]) -> TrainingCosts:
    """Steps by turns have short sequences (the first that counts) and one long one."""
    update, tokens = statistics.median(updates), together * job.sequence_length
    short, long = (statistics.median(seconds[first::2]) for first in (0, 1))
    least = tokens * min(SHORT, job.sequence_length)
    more = tokens * job.sequence_length - least
    attention = max(0.0, (long - short) / passes / more) if more else 0.0
    body = (short - update) / passes - attention * least
    return TrainingCosts(tokens, body, attention, update, len(seconds), job.precision)


def _rows(job: TrainingJob, vocabulary: int) -> tuple[list[Any], int, int]:
    """A row of one sequence and a row of short ones, the passes of a trial step, and the rows of each pass as the engine decides."""
    import torch

    from metier.engines.text.rows import ListedRows
    from metier.engines.text.sequences import TokenSequence
    from metier.engines.train.resources import rows_at_once
    from metier.models.precision import best_device

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (job.sequence_length,), generator=generator).tolist()
    short = [ids[start : start + SHORT] for start in range(0, job.sequence_length, SHORT)]
    rows = [[TokenSequence.of_text(ids)], [TokenSequence.of_text(part) for part in short]]
    listed, device = ListedRows(rows), best_device().type
    together = rows_at_once(listed, job.rows_per_step, device)
    most = job.rows_per_step // together
    passes = next(few for few in range(min(2, most), most + 1) if rows_at_once(listed, few * together, device) == together)
    return rows, passes, together


def try_serving(job: ServingJob) -> ServingCosts:
    """Prompts of random tokens read and continued by metier's own decoder, alone and several together."""
    import torch

    from metier.artifacts import Model
    from metier.engines.train.resources import peak_memory_bytes
    from metier.models.precision import best_device, resolve_dtype

    base, model = _resident(), Model.open(job.folder)
    network = model.load(resolve_dtype(job.precision, best_device())).to(best_device())  # type: ignore[arg-type]
    tokenizer, vocabulary = model.tokenizer(), network.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(vocabulary, (job.rows, job.prompt_tokens), generator=generator).tolist()

    def seconds(rows: int, new: int) -> float:
        return _best(lambda: _decode(network, tokenizer, prompts[:rows], new))

    _decode(network, tokenizer, prompts[:1], 2)
    reading, alone = seconds(1, 1), seconds(1, MOST_NEW)
    many, together = seconds(job.rows, 1), seconds(job.rows, MOST_NEW)
    one = (alone - reading) / (MOST_NEW - 1)
    several = (together - many) / (MOST_NEW - 1)
    row = max(0.0, (several - one) / (job.rows - 1))
    speed = job.rows * job.prompt_tokens / many
    return ServingCosts(speed, max(0.0, one - row), row, base, peak_memory_bytes(), job.precision)


def _decode(network: Any, tokenizer: Any, prompts: Sequence[list[int]], new: int) -> None:
    import random

    from metier.engines.generate.backend import Sampling
    from metier.engines.generate.decode import Running, decode

    rows = [Running(list(prompt), new, random.Random(0)) for prompt in prompts]
    decode(network, tokenizer, rows, Sampling(new, 0.0, 1.0, (), 0), frozenset())


def _best(action: Callable[[], None], times: int = 2) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return min(found)


def _resident() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def main() -> None:
    """One job from stdin, its costs to stdout, both JSON."""
    import metier.artifacts.table  # what a run has loaded, too  # noqa: F401

    job = json.load(sys.stdin)
    kind = job.pop("kind")
    found = try_training(TrainingJob(**job)) if kind == "training" else try_serving(ServingJob(**job))
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main()
