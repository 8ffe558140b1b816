"""GGUF files to folders of bf16 safetensors, converted once into metier's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.artifacts import Model, atomic_folder
from metier.artifacts.quiet import quiet_transformers
from metier.models.source import cache_folder, file_fingerprint

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_TRACES = (
    "quantization_config",
    "_name_or_path",
    "_model_name_or_path",
    "name_or_path",
    "dtype",
    "transformers_version",
    "unk_token_id",
)


def open_gguf(file: Path) -> Model:
    """The model in a GGUF file, as bf16 safetensors. Raises FileNotFoundError, or ValueError for a file that is no GGUF model."""
    if not file.is_file():
        raise FileNotFoundError(f"GGUF file {str(file)!r} does not exist")
    folder = cache_folder() / "models" / f"gguf-{file_fingerprint(file)}"
    if not (folder / "config.json").is_file():
        with atomic_folder(folder) as partial:
            convert(file, partial, source=f"gguf://{file}", origin="gguf")
    return Model(folder)


def convert(file: Path, folder: Path, **facts: Any) -> Model:
    """Dequantises a GGUF file into a folder that from_pretrained opens; `facts` go into metier.json with the quantisation it had."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    pretokenizer, quantisation = _header(file)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
            read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"transformers can't read the GGUF file {file}: {error}") from error
    # A model that came from GGUF refuses save_pretrained: its weights move to one built from a clean configuration.
    config = _clean(read.config)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in read.state_dict().items()}
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(weights)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    _repair(tokenizer, config, pretokenizer)
    return Model.of(model, tokenizer, folder, quantisation=quantisation, **facts)


def _header(file: Path) -> tuple[str | None, str]:  # the name of the pre-tokenizer; the tensor type of most parameters
    import gguf

    try:
        reader = gguf.GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise ValueError(f"{file} is no GGUF file ({error}); a broken download perhaps") from error
    field = reader.fields.get("tokenizer.ggml.pre")
    sizes: dict[str, int] = {}
    for tensor in reader.tensors:
        sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
    return field.contents() if field is not None else None, max(sizes, key=lambda name: sizes[name])


def _clean(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration without traces of the file it was read from, and with the epsilon that float32 storage bent."""
    kept = {name: value for name, value in config.to_dict().items() if name not in _TRACES}
    for name in ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"):
        if name in kept:
            kept[name] = float(f"{kept[name]:.6g}")
    clean = type(config)(**kept)
    clean.architectures = config.architectures
    return clean


def _repair(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, pretokenizer: str | None) -> None:
    """Sets what transformers' GGUF reader loses: the model's window, and digits split one by one where training did so."""
    from tokenizers import pre_tokenizers

    tokenizer.model_max_length = config.max_position_embeddings
    if pretokenizer == "smollm":
        # Digits come out the same without this, but blanks before a number become other tokens than the model was trained on.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
        )
