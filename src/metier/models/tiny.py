"""Tiny random models with a real tokenizer, made in a second without any download: `tiny`, and variants of it for tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metier.artifacts import Model, atomic_folder
from metier.models.source import cache_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

Architecture = Literal["llama", "mistral", "gpt2", "gemma2"]

VERSION = 1  # part of the cache folder's name: raise it when a change below makes other models
VOCABULARY = 512
BOS, EOS, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# Merges are learnt from this text alone, so that the tokenizer is the same on every machine.
_TEXT = """
A model is a function of many numbers. It reads a sequence of tokens and says how likely each token is to come next. When it is wrong, the
numbers are changed a little, so that the next time it is less wrong. This is all there is to training; the rest is knowing what to read,
how much of it, in which order, and when to stop. The question is then whether the model has become better at the work that it was made for,
and whether it has forgotten what it knew before. There are two ways to find out: one can ask, or one can measure.
def mean(values): return sum(values) / len(values)
for index, value in enumerate(values): total = total + value * index if value is not None else total
Return the list of all items in the given order. Raises ValueError if the argument is not a string. The default is None, which means that
nothing was set. What is the answer to the question? The answer is that the first of them is the same as the other, and both are in the list.
"""


def cached_tiny() -> Model:
    """The model called `tiny`: a Llama of 1.6 million random parameters with grouped-query attention, made once into metier's cache."""
    folder = cache_folder() / "models" / f"tiny-{VERSION}"
    if not (folder / "config.json").is_file():
        with atomic_folder(folder) as partial:
            make_tiny(partial)
    return Model(folder)


def make_tiny(
    folder: Path,
    *,
    seed: int = 0,
    layers: int = 2,
    hidden_size: int = 256,
    heads: int = 4,
    kv_heads: int = 2,
    window: int = 2048,
    sliding_window: int | None = None,
    architecture: Architecture = "llama",
    std: float = 0.02,
) -> Model:
    """A random model in `folder`, the same for the same arguments. The caller's random numbers are not disturbed.

    kv_heads: equal to `heads` for plain multi-head attention; gpt2 has no other
    window: most positions
    sliding_window: how far mistral and gemma2 (in every second layer) look back, in tokens; None for everything
    std: of the random weights; larger ones make a model whose answers depend more on what it reads
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = _tokenizer(window)
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = _config(architecture, layers, hidden_size, heads, kv_heads, window, sliding_window, std, special)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return Model.of(model, tokenizer, folder, source="tiny", origin="made", seed=seed)


def _config(
    architecture: Architecture,
    layers: int,
    size: int,
    heads: int,
    kv_heads: int,
    window: int,
    sliding_window: int | None,
    std: float,
    special: dict[str, int],
) -> PretrainedConfig:
    from transformers import Gemma2Config, GPT2Config, LlamaConfig, MistralConfig

    if sliding_window is not None and architecture not in ("mistral", "gemma2"):
        raise ValueError(f"sliding_window={sliding_window}: {architecture} has none; choose mistral or gemma2")
    if architecture == "gpt2":
        return GPT2Config(
            vocab_size=VOCABULARY, n_positions=window, n_embd=size, n_layer=layers, n_head=heads, initializer_range=std,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **special,
        )  # fmt: skip
    shared = {
        **special,
        "vocab_size": VOCABULARY,
        "hidden_size": size,
        "intermediate_size": 8 * size // 3 // 16 * 16,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": size // heads,
        "max_position_embeddings": window,
        "initializer_range": std,
        "tie_word_embeddings": True,
    }
    if architecture == "mistral":
        return MistralConfig(**shared, sliding_window=sliding_window)
    if architecture == "gemma2":
        return Gemma2Config(**shared, sliding_window=sliding_window or window, query_pre_attn_scalar=size // heads)
    return LlamaConfig(**shared)


def _tokenizer(window: int) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXT.strip().splitlines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=window,
        clean_up_tokenization_spaces=False,
    )
