"""A folder with a model in it: what it must hold before anything loads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metier.artifacts import Model

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")


def check_folder(path: Path) -> Model:
    """The model in a folder, once it is sure that transformers can open it without pickle and without remote code.

    Raises FileNotFoundError (no folder, config, weights or tokenizer) or ValueError (pickle weights only, remote code), saying what
    to do about it.
    """
    if not path.exists():
        raise FileNotFoundError(f"model path {str(path)!r} does not exist{_perhaps_hub(path)}")
    if path.is_file():
        hint = f"; write gguf://{path}" if path.suffix == ".gguf" else "; give the folder that holds config.json"
        raise FileNotFoundError(f"model path {str(path)!r} is a file, not a folder with a model{hint}")
    config = _config(path)
    _check_weights(path)
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise FileNotFoundError(
            f"{path} holds no tokenizer (none of {', '.join(_TOKENIZERS)}): save it there with tokenizer.save_pretrained"
        )
    _check_code(path, config)
    return Model(path)


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        ggufs = sorted(path.glob("*.gguf"))
        if (path / "adapter_config.json").is_file():
            hint = (
                "it holds an adapter only; merge it into its base (merge_and_unload, then save_pretrained) and give that folder"
            )
        elif ggufs:
            hint = f"it holds a GGUF file; write gguf://{ggufs[0]}"
        else:
            hint = "give a folder that save_pretrained wrote"
        raise FileNotFoundError(f"{path} holds no model: config.json is missing; {hint}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}): restore it from where the model came from") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} holds no JSON object: restore it from where the model came from")
    return config


def _check_weights(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if not (path / shard).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{path} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}: download it again"
            )
        return
    if any(path.glob("*.safetensors")):
        return
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern) if file.name != "training_args.bin")
    if pickles:
        raise ValueError(
            f"{path} holds pickle weights only ({', '.join(pickles[:3])}), which can run any code when loaded; metier opens safetensors. "
            "If you trust the file, convert it once: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder), "
            "and the same for its tokenizer"
        )
    raise FileNotFoundError(f"{path} holds no weights: no *.safetensors file beside config.json")


def _check_code(path: Path, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    model_type = config.get("model_type")
    if model_type in CONFIG_MAPPING:
        return
    if "auto_map" in config:
        raise ValueError(
            f"{path}: model type {model_type!r} comes as Python code inside its folder, and metier runs no code of a model's. "
            "Use an architecture that transformers itself has"
        )
    raise ValueError(f"{path}: transformers has no model type {model_type!r}; a newer version of it may")


def _perhaps_hub(path: Path) -> str:
    parts = path.parts
    return (
        f"; a hub repository is written hf://{path}"
        if len(parts) == 2 and not path.is_absolute() and parts[0] not in (".", "..", "~")
        else ""
    )
