"""Pretraining from scratch: a new model of given sizes, with a tokenizer of its own or a given one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml

from metier.artifacts import Corpus, Model
from metier.engines.text.shards import held_out_rows, lesson
from metier.engines.train.fit import Precision, Schedule, Watch, fit
from metier.engines.train.objectives import Name, objective_of
from metier.engines.train.processes import gathered
from metier.engines.train.series import Series
from metier.engines.train.spikes import Spikes
from metier.method import method

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

END, PAD, MASK = "<|end|>", "<|pad|>", "<|mask|>"
SENTINELS = 100  # T5's number
TOKENIZER_CHARACTERS = 50_000_000  # more texts do not change the merges of common words


@dataclass(frozen=True)
class Size:
    """A transformer's sizes. kv_heads: of grouped-query attention, None for as many as heads; intermediate_size: of the feed-forward
    layers, None for 8/3 of the hidden size rounded up to 64 (gated, Llama and T5) or 4 times (BERT); T5 has `layers` twice."""

    layers: int = 6
    hidden_size: int = 384
    heads: int = 6
    kv_heads: int | None = None
    intermediate_size: int | None = None
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"size {name}={getattr(self, name)} makes no model: give 1 or more")
        if self.hidden_size % self.heads:
            raise ValueError(f"size hidden_size={self.hidden_size} can't be shared by {self.heads} heads: give a multiple")
        if self.kv_heads is not None and (self.kv_heads < 1 or self.heads % self.kv_heads):
            raise ValueError(f"size kv_heads={self.kv_heads} can't be shared by {self.heads} heads: give a divisor")


@method(
    paper="Language Models are Unsupervised Multitask Learners (GPT-2), section 2; architecture of Llama, arXiv 2302.13971, section 2.2",
    claim="a new model of any size learns to model a corpus, and the same call gives the same model",
)
def from_scratch(
    corpus: Corpus,
    held_out: Corpus | None = None,
    tokenizer: Model | None = None,
    *,
    size: Size | None = None,
    config: Path | None = None,
    vocabulary: int = 8192,
    objective: Name = "causal",
    epochs: float = 1.0,
    tokens: int | None = None,
    learning_rate: float = 1e-3,
    sequence_length: int = 512,
    batch_tokens: int = 16_384,
    warmup: float = 0.02,
    lr_scheduler_type: str = "cosine",
    weight_decay: float = 0.1,
    spikes: Spikes | None = None,
    series: Series | None = None,
    precision: Precision = "auto",
    checkpoint_seconds: float = 120.0,
    seed: int = 0,
    workdir: Path | None = None,
) -> Model:
    """A new model after reading the corpus, documents packed without attending to each other, weights in float32.

    Its kind follows the objective: a Llama, a BERT or a T5, or what `config` says. The tokenizer is that of the model `tokenizer`, or a
    byte-level BPE learnt from the corpus. Losses are kept per `source`, and measured on `held_out` where it is given. The learning rate
    ends at a tenth of its peak. Under `accelerate launch` or torchrun several processes share the work.
    Settings:
        size: such as {layers: 8, hidden_size: 256, heads: 4}; null for 6 layers of 384; tied shares the embedding with the head
        config: a YAML or JSON file in transformers' form with a model_type, instead of `size`
        vocabulary: tokens of a tokenizer learnt here
        objective: causal predicts each next token; masked (masked_words: whole words) makes a BERT, spans a T5
        epochs: how often the corpus is read, whole or in part; ignored when `tokens` is given
        tokens: how many tokens are read, null for `epochs`; 20 a weight is what a budget is spent best on (arXiv 2203.15556)
        learning_rate: the peak; 1e-3 suits some ten million weights, a billion wants 3e-4
        sequence_length: tokens of a row; longer documents are cut into pieces; also the model's window
        batch_tokens: tokens of an optimiser step, rounded to whole rows
        warmup: share of the steps in which the learning rate rises
        lr_scheduler_type: its course afterwards: cosine, linear, constant, or wsd (constant, then down over the last fifth)
        weight_decay: of matrices; biases and norms have none
        spikes: such as {threshold: 10}: where the loss leaps, training goes back and leaves those rows out; null for never
        series: checkpoints to keep as models in series/ beside the result, such as {every: 100} or {spaced: 12} (on a logarithmic scale)
        precision: of the arithmetic; auto is bfloat16 where the machine is fast at it
        checkpoint_seconds: how often the state is saved for a resume; changes nothing in the result
    """
    if size is not None and config is not None:
        raise ValueError("size and config both say how large the model is: give one of them")
    if batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens} trains nothing: give at least one row's {sequence_length}")
    with gathered() as processes:
        workdir = processes.folder(workdir, "pretrain")
        folder = workdir / "initial"
        if processes.first and not (folder / "metier.json").is_file():  # which is written last
            words = tokenizer.tokenizer() if tokenizer is not None else train_tokenizer(_texts(corpus), vocabulary, objective)
            made = _config(words, size or Size(), config, objective, sequence_length)
            _new(made, words, objective, seed, folder)
        processes.meet()
        start = Model.open(folder)
        words = start.tokenizer()
        rows = lesson(corpus, words, sequence_length=sequence_length)
        schedule = Schedule(
            epochs=epochs if tokens is None else tokens / rows.num_predicted,
            rows_per_step=max(1, math.ceil(batch_tokens / sequence_length)),
            learning_rate=learning_rate,
            warmup=warmup,
            shape=lr_scheduler_type,
            weight_decay=weight_decay,
            final=0.1,
        )
        return fit(
            start,
            rows,
            held_out_rows(held_out, words, sequence_length=sequence_length),
            schedule,
            adapter=None,
            precision=precision,
            checkpoint_seconds=checkpoint_seconds,
            seed=seed,
            workdir=workdir,
            method="pretrain.from_scratch",
            objective=objective_of(objective, words, seed=seed),
            watch=Watch(spikes=spikes, series=series),
        )


def train_tokenizer(texts: Iterable[str], vocabulary: int, objective: Name = "causal") -> PreTrainedTokenizerBase:
    """A byte-level BPE of at most `vocabulary` tokens, digits apart, with the special tokens that the objective needs.

    Documents begin and end with END. Raises ValueError where the vocabulary does not hold the 256 bytes and the special tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [END, PAD] + ([MASK] if objective.startswith("masked") else [])
    special += [f"<extra_id_{number}>" for number in range(SENTINELS)] if objective == "spans" else []
    if vocabulary < 256 + len(special):
        raise ValueError(f"vocabulary={vocabulary} does not hold 256 bytes and {len(special)} special tokens: give more")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_first(texts, TOKENIZER_CHARACTERS), trainer)
    names = {"bos_token": END, "eos_token": END, "pad_token": PAD} | ({"mask_token": MASK} if MASK in special else {})
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **names)


def _texts(corpus: Corpus) -> Iterable[str]:
    return (row["text"] for row in corpus.rows() if row["text"])


def _first(texts: Iterable[str], characters: int) -> Iterable[str]:
    for text in texts:
        if characters <= 0:
            return
        yield text
        characters -= len(text)


def _config(tokenizer: PreTrainedTokenizerBase, size: Size, file: Path | None, objective: Name, window: int) -> PretrainedConfig:
    from transformers import AutoConfig, BertConfig, LlamaConfig, T5Config

    tokens: dict[str, Any] = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    tokens |= {"vocab_size": len(tokenizer), "tie_word_embeddings": size.tied}
    if file is not None:
        given = yaml.safe_load(file.read_text())  # JSON is YAML
        if not isinstance(given, dict) or "model_type" not in given:
            raise ValueError(f"{file} is no configuration: it needs a model_type, such as llama, beside its sizes")
        tokens.pop("tie_word_embeddings")
        return AutoConfig.for_model(**(given | tokens))
    gated = size.intermediate_size or -(-8 * size.hidden_size // 3 // 64) * 64
    if objective == "causal":
        return LlamaConfig(
            **tokens,
            hidden_size=size.hidden_size,
            intermediate_size=gated,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.kv_heads or size.heads,
            max_position_embeddings=window,
        )
    if size.kv_heads is not None:
        raise ValueError(f"size kv_heads={size.kv_heads}: only a causal model has grouped-query attention; leave it out")
    if objective == "spans":
        return T5Config(
            **tokens,
            d_model=size.hidden_size,
            d_kv=size.hidden_size // size.heads,
            d_ff=gated,
            num_layers=size.layers,
            num_heads=size.heads,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    return BertConfig(
        **tokens,
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size or 4 * size.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=window,
        hidden_dropout_prob=0.0,  # one epoch does not overfit (arXiv 2212.14034, section 4.2)
        attention_probs_dropout_prob=0.0,
    )


def _new(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, objective: Name, seed: int, folder: Path) -> Model:
    """A random model in `folder`; the caller's random numbers are not disturbed."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    auto = {"causal": AutoModelForCausalLM, "spans": AutoModelForSeq2SeqLM}.get(objective, AutoModelForMaskedLM)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = auto.from_config(config, dtype=torch.float32)
    return Model.of(network, tokenizer, folder, source="from scratch", weights=network.num_parameters(), seed=seed)
