"""At equal FLOPs a stack of four copies of a briefly trained shallow model has a lower held-out loss than the deep model from scratch.

Contradicted if the 95% interval of the paired difference over seeds lies above 0; "not shown" if it holds 0. Scratch gets its learning
rate tuned, of three, on a seed that is no part of the comparison; both trainings of the stack use that one, untuned. The base has a quarter
of the layers and is trained for a quarter of the steps, on the course of the full length cut short, as in the paper.
"""

from __future__ import annotations

import functools
import json
import pydoc_data.topics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from metier.artifacts import Model
from metier.core.evidence import Evidence, paired
from metier.engines.text.pack import pack
from metier.engines.text.rows import Row
from metier.engines.text.sequences import tokenize_texts
from metier.engines.train.fit import Schedule, Watch, fit
from metier.engines.train.flops import Costs
from metier.models.source import open_model
from metier.pretrain.depth_stacking.speed_up import curve, speed_up
from metier.pretrain.depth_stacking.stack import arrangement, stacked

GROWTH, LENGTH, ROWS, TUNING_SEED = 4, 128, 8, 1000


@dataclass(frozen=True)
class Setup:
    """The sizes of the experiment: layers of the target, hidden size, steps of scratch, held-out tokens measured."""

    layers: int
    width: int
    steps: int
    rates: tuple[float, ...]
    measured: int


FULL, QUICK = Setup(8, 64, 240, (1e-3, 3e-3, 6e-3), 4096), Setup(4, 32, 20, (3e-3, 6e-3), 512)


def prove(quick: bool) -> Evidence:
    """Python's language topics; a Llama of eight layers, grown from two."""
    setup = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rate = min(setup.rates, key=lambda one: _held_out(_scratch(setup, one, TUNING_SEED, work / f"tune-{one}")))
        settings = {"setup": setup, "rate": rate, "work": work}
        found = paired(
            lambda setup, rate, seed, work: _held_out(_stack(setup, rate, seed, work)),
            lambda setup, rate, seed, work: _held_out(_scratch(setup, rate, seed, work / f"scratch-{seed}")),
            claim="a stack of copies of a briefly trained shallow model reaches a lower loss than the deep model at equal FLOPs",
            metric="held-out nats per token at equal FLOPs",
            better="lower",
            seeds=range(3),
            settings=settings,
        )
        gained = _equal_loss(work, found.seeds)
    plain = {"layers": setup.layers, "hidden_size": setup.width, "steps": setup.steps, "learning_rate": rate, "growth": GROWTH}
    return replace(found, settings=plain, notes=gained)


def _equal_loss(work: Path, seeds: list[int]) -> str:
    grown, scratch = [], []
    for seed in seeds:
        lines = [json.loads(line) for line in (work / f"base-{seed}" / "metrics.jsonl").read_text().splitlines()]
        before = max(line.get("flops", 0) for line in lines)
        grown.append(curve(work / f"grown-{seed}", before=before))
        scratch.append(curve(work / f"scratch-{seed}"))
    try:
        found = speed_up(grown, scratch)
    except ValueError as error:
        return f"no loss is crossed by every curve, so there is no speed-up at equal loss: {error}"
    text = f"FLOPs of scratch over those of the stack at a loss of {found.loss:.3f}, less 1: {found.value:.2f}"
    return f"{text} (95% interval {found.low:.2f} to {found.high:.2f} over seeds)"


def _scratch(setup: Setup, rate: float, seed: int, folder: Path, *, layers: int | None = None, cut: int = 0) -> Path:
    """Trains a new model and gives the folder. cut: steps of the course that are left out at its end."""
    tokenizer = open_model("tiny").tokenizer()
    config = _config(setup, layers or setup.layers)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config)
    _train(Model.of(network, tokenizer, folder / "initial"), setup, setup.steps - cut, rate, seed, folder, after=cut)
    return folder


def _stack(setup: Setup, rate: float, seed: int, work: Path) -> Path:
    """Trains the base for a quarter of the steps, grows it, and trains on with what is left of scratch's FLOPs."""
    layers, steps = setup.layers // GROWTH, setup.steps // 4
    base = _scratch(setup, rate, seed, work / f"base-{seed}", layers=layers, cut=setup.steps - steps)
    small, large = (_step_flops(_config(setup, depth)) for depth in (layers, setup.layers))
    network = Model.open(base / "model").load()
    grown = stacked(network, arrangement(layers, setup.layers, "stack"))
    folder = work / f"grown-{seed}"
    start = Model.of(grown, open_model("tiny").tokenizer(), folder / "initial")
    _train(start, setup, int(setup.steps - steps * small / large), rate, seed + 100, folder, after=0)
    return folder


def _train(start: Model, setup: Setup, steps: int, rate: float, seed: int, folder: Path, after: int) -> None:
    rows, held_out = _rows()
    schedule = Schedule(epochs=1, steps=steps, after=after, rows_per_step=ROWS, learning_rate=rate, weight_decay=0.1, final=0.1)
    fit(
        start, rows, held_out, schedule, adapter=None, precision="float32", checkpoint_seconds=1e9, seed=seed, workdir=folder,
        method="proof", watch=Watch(evaluations=10, held_out_tokens=setup.measured),
    )  # fmt: skip


def _held_out(folder: Path) -> float:
    return curve(folder)[-1][1]


def _config(setup: Setup, layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(open_model("tiny").tokenizer()), hidden_size=setup.width, intermediate_size=8 * setup.width // 3,
        num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
    )  # fmt: skip


def _step_flops(config: LlamaConfig) -> int:
    return Costs.of_config(config).training([LENGTH] * ROWS, ROWS * LENGTH)


@functools.cache
def _rows() -> tuple[list[Row], list[Row]]:
    """Every tenth topic is held out."""
    tokenizer = open_model("tiny").tokenizer()
    texts = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    parts: tuple[list[str], list[str]] = (
        [text for number, text in enumerate(texts) if number % 10],
        [text for number, text in enumerate(texts) if not number % 10],
    )
    train, held_out = (
        pack(list(tokenize_texts(((text, "topics") for text in part), tokenizer, longest=LENGTH)), sequence_length=LENGTH)
        for part in parts
    )
    return train, held_out
