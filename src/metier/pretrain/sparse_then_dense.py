"""Sparse pretraining for dense fine-tuning: most weights wait at zero while the model is pretrained, and learn when it is tuned."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from metier.artifacts import Corpus, Model
from metier.artifacts.files import atomic_write
from metier.engines.text.rows import Rows
from metier.engines.text.shards import held_out_rows, lesson
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.engines.train.flops import Costs
from metier.engines.train.processes import gathered
from metier.method import method
from metier.pretrain import sparse_masks
from metier.pretrain.fresh_weights import looks_trained
from metier.pretrain.sparse_masks import Masked, Pattern, Watchman

logger = logging.getLogger(__name__)


@method(
    paper="SPDF: Sparse Pre-training and Dense Fine-tuning for Large Language Models, arXiv 2303.10464",
    claim="pretraining with three quarters of the weights at exactly zero, which hardware that skips them does for 40% of the FLOPs at 1.3B",
)
def sparse_then_dense(
    model: Model,
    corpus: Corpus,
    held_out: Corpus | None = None,
    *,
    sparsity: float = 0.75,
    pattern: Pattern = "random",
    rescale: bool = False,
    epochs: float = 1.0,
    tokens: int | None = None,
    learning_rate: float = 1e-3,
    sequence_length: int = 512,
    batch_tokens: int = 16_384,
    weight_decay: float = 0.1,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """The model pretrained with a share of each matrix held at exactly zero, an ordinary model to be tuned densely afterwards.

    Masked are the linear layers of all blocks, each alike, once and for good; embeddings, head, norms and biases are dense. The result
    opens anywhere, and any training of it (adapt.supervised, pretrain.continued) is dense: its zeros are weights like others, and learn.
    A LoRA adapter does not fill them. Training again here goes on under the masks in its folder (sparse_masks.safetensors), where
    `sparsity` and `pattern` must be the same. metier.json tells flops as they were spent and flops_with_zeros_skipped: ordinary CPUs and
    GPUs multiply by zeros as fast as by anything else, so nothing is gained here on the clock.

    `random` and `2:4` are for a new model: a mask at random damages a trained one, which is refused; `magnitude` is for those.
    Settings:
        sparsity: share of each matrix that is zero, from 0 (dense) up to but not 1; the paper's 0.75 and 0.5
        pattern: random as in the paper; 2:4 keeps two of four successive inputs, which recent GPUs can skip; magnitude the largest weights
        rescale: multiplies the kept weights by 1 / sqrt(1 - sparsity), so that a layer's output has the variance of a dense one's
        epochs: how often the corpus is read, whole or in part; ignored when `tokens` is given
        tokens: how many tokens are read, null for `epochs`; the paper's 20 a weight, zeros counted
        learning_rate: the peak of a cosine after a short warm-up; the paper has the same for sparse and dense
        sequence_length: tokens of a row; longer documents are cut into pieces
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        weight_decay: of matrices, the paper's 0.1
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    _check(sparsity, pattern, batch_tokens)
    with gathered() as processes:
        workdir = processes.folder(workdir, "sparse")
        folder = workdir / "initial"
        if processes.first and not (folder / "metier.json").is_file():  # which is written last
            _begin(model, folder, sparsity=sparsity, pattern=pattern, rescale=rescale, seed=seed)
        processes.meet()
        start = Masked(folder)
        masks = sparse_masks.stored(folder)
        tokenizer = start.tokenizer()
        rows = lesson(corpus, tokenizer, sequence_length=sequence_length)
        schedule = Schedule(
            epochs=epochs if tokens is None else tokens / rows.num_predicted,
            rows_per_step=max(1, math.ceil(batch_tokens / sequence_length)),
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            final=0.1,
        )
        trained = fit(
            start,
            rows,
            held_out_rows(held_out, tokenizer, sequence_length=sequence_length),
            schedule,
            adapter=None,
            precision=precision,
            checkpoint_seconds=checkpoint_seconds,
            seed=seed,
            workdir=workdir,
            method="pretrain.sparse_then_dense",
            watch=Watch(on_step=Watchman(masks)),
        )
        if processes.first:
            sparse_masks.store(masks, trained.path, sparsity=sparsity, pattern=pattern, seed=seed)
            _account(trained, masks, rows, schedule, sparsity)
        processes.meet()
    return trained


@dataclass(frozen=True)
class Flops:
    """Operations of a training: dense, and with those skipped that multiply by a masked weight."""

    dense: int
    sparse: int

    @property
    def saving(self) -> float:
        """How many times fewer."""
        return self.dense / self.sparse


def flops(
    config: PretrainedConfig, *, sparsity: float, lengths: Sequence[int], predicted: int | None = None, dense_share: float = 0.0
) -> Flops:
    """What a pass over sequences of `lengths` tokens costs, forward and backward, for any decoder; predicted: None for every token.

    dense_share: the share of the tokens that is read without masks at the end. Only hardware made for it skips zeros anywhere; 2:4
    halves the products on recent GPUs; an ordinary machine pays for `dense`.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    dense = Costs.of(model).training(lengths, predicted if predicted is not None else sum(lengths))
    masked = sum(
        layer.weight.numel() - round((1 - sparsity) * layer.weight.numel()) for layer in sparse_masks.maskable(model).values()
    )
    return Flops(dense, dense - round(6 * masked * sum(lengths) * (1 - dense_share)))


def _check(sparsity: float, pattern: Pattern, batch_tokens: int) -> None:
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity={sparsity} is no share to leave out: give a number from 0 up to but not 1")
    if pattern == "2:4" and sparsity != 0.5:
        raise ValueError(f"pattern='2:4' leaves out half of the weights, and sparsity={sparsity}: give 0.5")
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens} trains nothing: give at least one row's")


def _begin(model: Model, folder: Path, *, sparsity: float, pattern: Pattern, rescale: bool, seed: int) -> None:
    """The masked model with its masks in `folder`."""
    network = model.load()
    folder.mkdir(parents=True, exist_ok=True)
    if (model.path / sparse_masks.FILE).is_file():
        masks = sparse_masks.stored(model.path)
        zeros, entries = sum(int((~mask).sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
        if abs(zeros / entries - sparsity) > 0.01:
            raise ValueError(f"{model.path} has masks of sparsity {zeros / entries:.2f}, and sparsity={sparsity}: give the same")
    else:
        _check_new(model, network, sparsity, pattern)
        masks = sparse_masks.drawn(network, sparsity=sparsity, pattern=pattern, seed=seed)
        sparse_masks.apply(network, masks, scale=(1 - sparsity) ** -0.5 if rescale else 1.0)
    sparse_masks.store(masks, folder, sparsity=sparsity, pattern=pattern, seed=seed)
    Model.of(network, model.tokenizer(), folder, **model.facts | {"sparsity": sparsity})


def _check_new(model: Model, network: PreTrainedModel, sparsity: float, pattern: Pattern) -> None:
    for name, layer in sparse_masks.maskable(network).items():
        zeros = float((layer.weight == 0).float().mean())
        if sparsity > 0 and 0.9 * sparsity < zeros < 1:
            raise ValueError(
                f"{zeros:.0%} of {name} are zeros, but {model.path} has no {sparse_masks.FILE}: it was trained under masks that are lost, "
                "and other ones would destroy it; take the folder that pretrain.sparse_then_dense made, or tune it densely"
            )
        if sparsity > 0 and pattern != "magnitude" and looks_trained(layer.weight):
            raise ValueError(
                f"{name} of {model.path} looks trained, and a mask at random would damage it: begin with a new model, or give "
                "pattern='magnitude'"
            )


def _account(trained: Model, masks: sparse_masks.Masks, rows: Rows, schedule: Schedule, sparsity: float) -> None:
    """Adds to metier.json what the masks would have saved. Rows are taken to be of their mean length, as whole epochs are."""
    facts: dict[str, Any] = trained.facts
    at_once = min(schedule.rows_per_step, len(rows))
    epochs, rest = divmod(facts["steps"], math.ceil(len(rows) / at_once))
    tokens = rows.num_tokens / len(rows) * (epochs * len(rows) + rest * at_once)
    masked = sum(int((~mask).sum()) for mask in masks.values())
    skipped = facts["flops"] - round(6 * masked * tokens)
    facts |= {"sparsity": sparsity, "masked_weights": masked, "flops_with_zeros_skipped": skipped}
    logger.info("%d weights at zero; hardware that skips them does %.2f times fewer FLOPs", masked, facts["flops"] / skipped)
    atomic_write(trained.path / "metier.json", json.dumps(facts, indent=1, default=str))
