"""The planner's formulas equal what is really allocated.

Contradicted if, for Llama's blocks (several heads, grouped heads, tied and untied), any of these is not equal to the byte: parameters, AdamW's
state after a step, what autograd saves (counted by its hooks, storages once, weights apart) in metier's engine with and without LoRA, in
fp32 and under bf16 autocast, and in transformers' own forward in fp32 and bf16, keys and values of a cache, LoRA's trainable numbers; or if
operations differ by more than 1% from FlopCounterMode's, or the counted activations of other families by more than 5% from measured ones.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, DynamicCache, GPT2Config, LlamaConfig, PretrainedConfig, Qwen3Config

from metier.core.evidence import Check, Evidence, exact
from metier.engines.text.sequences import TokenSequence
from metier.engines.train.adapter import Adapter
from metier.engines.train.batches import Collator
from metier.engines.train.packed_loss import lose_in_chunks
from metier.engines.train.schedule import Schedule
from metier.engines.train.segments import use_segments
from metier.engines.train.trainer import adamw
from metier.models.cache_argument import cache_argument
from metier.models.source import open_model
from metier.pretrain.efficiency_review.memory import (
    Training,
    activations,
    kept_activations,
    plain_activations,
    states,
    training_peak,
)
from metier.pretrain.efficiency_review.sizes import Sizes
from metier.pretrain.efficiency_review.trace import SavedBytes

LENGTHS = (20, 12, 31)
ARITHMETICS = {"float32": contextlib.nullcontext, "autocast": lambda: torch.autocast("cpu", torch.bfloat16)}
SMALL_INPUTS = 64  # bytes: borders of sequences and scalars, which no formula counts


def llama(heads: int = 4, kv_heads: int = 4, hidden: int = 64, tied: bool = True) -> LlamaConfig:
    """A small Llama's configuration."""
    return LlamaConfig(
        vocab_size=300, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=3, num_attention_heads=heads,
        num_key_value_heads=kv_heads, max_position_embeddings=512, tie_word_embeddings=tied,
    )  # fmt: skip


def prove(quick: bool) -> Evidence:
    """Three small models; the full one also SmolLM2-135M's own tensors, more lengths, and the peak of a process beside its estimate."""
    configs = {"MHA": llama(), "GQA untied": llama(8, 2, 128, tied=False), "GQA tied": llama(6, 2, 96)}
    checks = []
    for name, config in configs.items():
        checks += _model_checks(name, config) + _engine_checks(name, config)
        checks += _plain_checks(name, config, (64,) if quick else (64, 128, 256), (1, 2) if quick else (1, 2, 4))
    checks += _other_families()
    notes = "activations in bytes, differences relative to what was measured"
    if not quick:
        smollm2 = open_model("smollm2")
        checks += _model_checks("SmolLM2", smollm2.config()) + _engine_checks("SmolLM2", smollm2.config(), ("autocast",))
        notes += f"; {_peak_of_a_process()}"
    return exact(claim="memory and operations by formula equal what is allocated and done", metric="largest relative difference",
                 checks=checks, notes=notes)  # fmt: skip


def sheet_parameters(config: LlamaConfig) -> int:
    """V h (1 tied, 2) + L (2 h q + 2 h k + 3 h f + 2 h) + h."""
    h, f, q = config.hidden_size, config.intermediate_size, config.num_attention_heads * config.head_dim
    k = config.num_key_value_heads * config.head_dim
    embeddings = config.vocab_size * h * (1 if config.tie_word_embeddings else 2)
    return embeddings + config.num_hidden_layers * (2 * h * q + 2 * h * k + 3 * h * f + 2 * h) + h


def _model_checks(name: str, config: LlamaConfig) -> list[Check]:
    sizes = Sizes.of(config)
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=torch.float32)
    parameters = sum(weight.numel() for weight in network.parameters())
    ids = torch.randint(config.vocab_size, (2, 40))
    cache = DynamicCache(config=config)
    network.set_attn_implementation("eager")  # whose products the counter sees one by one
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(input_ids=ids, use_cache=True, **{cache_argument(network): cache})
    cached = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    optimizer = adamw(network, Schedule(epochs=1, rows_per_step=1, learning_rate=1e-3))
    network(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    moments = sum(state[part].nbytes for state in optimizer.state.values() for part in ("exp_avg", "exp_avg_sq"))
    held = moments + sum(weight.nbytes + weight.grad.nbytes for weight in network.parameters())
    adapted = Adapter(rank=4).put_on(network, seed=0)
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    return [
        _equal(f"{name}: parameters of the formula", sheet_parameters(config), parameters),
        _equal(f"{name}: parameters counted without storage", sizes.parameters, parameters),
        _equal(f"{name}: weights, gradients and AdamW's moments", states(sizes.parameters), held),
        _equal(f"{name}: keys and values", sizes.cache_bytes(40, rows=2, bytes_each=4), cached),
        _equal(f"{name}: trainable with LoRA", sizes.lora(4), trained),
        _equal(f"{name}: operations", sizes.costs.forward([40, 40], 80), counter.get_total_flops(), 0.01),
    ]


def _engine_checks(name: str, config: LlamaConfig, kinds: tuple[str, ...] = ("float32", "autocast")) -> list[Check]:
    found = []
    for kind in kinds:
        for rank in (None, 4):
            training = Training(kind, rank)  # type: ignore[arg-type]
            formula = activations(Sizes.of(config), sum(LENGTHS), sum(LENGTHS) - len(LENGTHS), training)
            found.append(
                _equal(
                    f"{name}: saved, {kind}, {'all weights' if rank is None else 'LoRA'}", formula, engine_saves(config, training)
                )
            )
    return found


def engine_saves(config: PretrainedConfig, training: Training) -> int:
    """What autograd keeps in metier's engine for a row of three sequences."""
    torch.manual_seed(0)
    network: Any = AutoModelForCausalLM.from_config(
        copy.deepcopy(config), dtype=torch.float32
    ).train()  # its attention is set below
    use_segments(network)
    lose_in_chunks(network)
    adapted = Adapter(rank=training.rank).put_on(network, seed=0) if training.rank is not None else network
    row = [TokenSequence.of_text(torch.randint(config.vocab_size, (length,)).tolist(), "x") for length in LENGTHS]
    batch = Collator(["x"])([row])
    batch.pop("sources")
    with SavedBytes(network) as saved, ARITHMETICS[training.arithmetic]():
        kept = adapted(**batch).loss
    del kept
    return saved.total


def _plain_checks(name: str, config: LlamaConfig, lengths: tuple[int, ...], batches: tuple[int, ...]) -> list[Check]:
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        network = AutoModelForCausalLM.from_config(copy.deepcopy(config)).to(dtype).train()
        for length, rows in _pairs(lengths, batches):
            ids = torch.randint(config.vocab_size, (rows, length))
            with SavedBytes(network) as saved:
                kept = network(input_ids=ids, labels=ids).loss
            del kept
            word = str(dtype).removeprefix("torch.")
            formula = plain_activations(Sizes.of(config), length, rows, word)  # type: ignore[arg-type]
            found.append(
                _equal(f"{name}: transformers' own, {word}, {rows} x {length}", formula, saved.total, SMALL_INPUTS / saved.total)
            )
    return found


def _other_families() -> list[Check]:
    shape = {"vocab_size": 300, "num_hidden_layers": 2, "num_attention_heads": 4}
    configs: list[PretrainedConfig] = [
        Qwen3Config(hidden_size=64, intermediate_size=192, num_key_value_heads=2, head_dim=16, **shape),
        GPT2Config(vocab_size=300, n_embd=64, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0),
    ]
    found = []
    for config in configs:
        for kind in ("float32", "autocast"):
            training = Training(kind)  # type: ignore[arg-type]
            counted = kept_activations(config, Sizes.of(config), sum(LENGTHS), sum(LENGTHS) - len(LENGTHS), training)
            found.append(_equal(f"{config.model_type}: saved, {kind}", counted, engine_saves(config, training), 0.05))
    return found


def _peak_of_a_process() -> str:
    """SmolLM2-135M in fp32, 256 tokens at once: reported, for a process holds more than its tensors."""
    from metier.pretrain.efficiency_review.calibrate import training_costs
    from metier.pretrain.efficiency_review.probe import TrainingJob

    model = open_model("smollm2")
    costs = training_costs(model, TrainingJob(str(model.path), 256, 4, "float32", None), fresh=True)
    parts = training_peak(model.config(), Sizes.of(model.config()), costs.tokens, 4 * 256 // costs.tokens, Training("float32"))
    formula = sum(parts.values()) + costs.base_bytes
    return (
        f"SmolLM2-135M, fp32, {costs.tokens} tokens at once: the process's peak was {costs.peak_bytes / 1e9:.2f} GB, by formula with the "
        f"{costs.base_bytes / 1e9:.2f} GB it had before {formula / 1e9:.2f} GB; 16 bytes a parameter would say "
        f"{16 * Sizes.of(model.config()).parameters / 1e9:.2f} GB"
    )


def _pairs(first: tuple[int, ...], second: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return ((one, other) for one in first for other in second)


def _equal(name: str, formula: float, measured: float, tolerance: float = 1e-12) -> Check:
    return Check(name, abs(formula - measured) / measured, tolerance)
