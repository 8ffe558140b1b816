"""What a training or a service takes, before it is begun: what fits, what binds, how long, on which settings.

sizes.py counts a model, memory.py and traffic.py are the closed forms, trace.py counts what no formula knows, probe.py tries the real thing
on this machine and calibrate.py keeps what came out; training.py, serving.py and cluster.py make plans of these.
"""

from __future__ import annotations

import math

from metier.artifacts import Corpus, Model
from metier.method import method
from metier.pretrain.efficiency_review.plans import TrainPlan

DOCUMENT_TOKENS = 256.0


@method(
    paper="Achieving Peak Performance for Large Language Models: A Systematic Review, arXiv 2409.04833; closed forms of ZeRO (1910.02054), "
    "Megatron-LM (1909.08053, 2205.05198), LoRA (2106.09685), QLoRA (2305.14314)",
    claim="says before a training begins how long it takes and how much memory, and what limits it",
)
def efficiency_review(
    model: Model,
    corpus: Corpus | None = None,
    *,
    tokens: int | None = None,
    sequence_length: int = 1024,
    batch_tokens: int = 4096,
    rank: int | None = None,
    precision: str = "auto",
    gpu: str | None = None,
    devices: int = 1,
    mfu: float = 0.4,
    fresh: bool = False,
) -> TrainPlan:
    """The plan of a training by pretrain.continued with the same settings: steps, seconds, bytes, and what binds.

    For this machine it does a few steps of the training itself (at most two minutes, kept per host in metier's cache); for GPUs that are
    not at hand it reckons from documented peaks and says how uncertain that is. Documents of a corpus count with their real lengths;
    without one they are taken to have 256 tokens. Raises ValueError when nothing fits, with the smallest change that would.
    Settings:
        tokens: to train on; null for the corpus once
        sequence_length: tokens of a row, as in pretrain.continued
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        rank: of a LoRA adapter on all linear layers; null trains every weight
        precision: auto, float32 or bfloat16 (only that on a GPU of the table)
        gpu: a GPU of the table to plan for, such as H100; null for this machine
        devices: how many of that GPU, in one machine
        mfu: share of the GPU's peak that training is taken to reach; replace it by what you measured
        fresh: measure again what the cache holds
    """
    from metier.pretrain.efficiency_review.cluster import plan_elsewhere
    from metier.pretrain.efficiency_review.training import Work, plan_here

    if sequence_length < 2 or batch_tokens < 1:
        raise ValueError(f"sequence_length={sequence_length}, batch_tokens={batch_tokens}: give at least 2 and 1")
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision={precision!r} is none that is trained in: auto, float32 or bfloat16")
    if (tokens is not None and tokens < 1) or (tokens is None and corpus is None):
        raise ValueError(f"tokens={tokens} is nothing to plan for: give a number of tokens, or a corpus")
    if devices < 1 or (gpu is None and devices > 1):
        raise ValueError(f"devices={devices} without a GPU's name: give gpu, or leave devices at 1")
    length = min(sequence_length, getattr(model.config().get_text_config(), "max_position_embeddings", None) or sequence_length)
    squares, found, places = _documents(corpus, model, length)
    rows = max(1, math.ceil(batch_tokens / length))
    read = tokens if not found or tokens is None else round(tokens / found * places)  # rows are not all full
    work = Work(read or places, length, rows, squares, precision, rank)  # type: ignore[arg-type]
    return plan_here(model, work, fresh=fresh) if gpu is None else plan_elsewhere(model, work, gpu, devices, mfu)


def _documents(corpus: Corpus | None, model: Model, length: int) -> tuple[float, int, int]:
    """The mean over tokens of their piece's length, of up to 2,000 rows; all predicted tokens; and the places for tokens in all rows."""
    if corpus is None:
        return min(DOCUMENT_TOKENS, float(length)), 0, 0
    from metier.engines.text.shards import lesson

    rows = lesson(corpus, model.tokenizer(), sequence_length=length)
    sizes = [len(sequence) for number in range(0, len(rows), max(1, len(rows) // 2000)) for sequence in rows[number]]
    return sum(size * size for size in sizes) / sum(sizes), rows.num_predicted, len(rows) * length
