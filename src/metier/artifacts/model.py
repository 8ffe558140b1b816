"""Model: a folder that from_pretrained opens, plus metier.json, which says how it was made."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from metier.artifacts.files import atomic_write
from metier.artifacts.quiet import quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Model:
    """A causal language model with its tokenizer, in a folder of safetensors."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The model in a folder. Raises FileNotFoundError where there is no config.json."""
        if not (Path(path) / "config.json").is_file():
            raise FileNotFoundError(f"{path} holds no model: config.json is missing")
        return cls(Path(path))

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, **facts: Any) -> Self:
        """Stores a model with its tokenizer; `facts` go into metier.json."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        atomic_write(folder / "metier.json", json.dumps(facts, indent=1, default=str))
        return cls(folder)

    def load(self, dtype: torch.dtype | None = None) -> PreTrainedModel:
        """The model in evaluation mode, in `dtype` (None: as stored), of the class its configuration names; a causal model where it
        names none. Safetensors only, no remote code."""
        import transformers

        config = self.config()
        _learn_form(config)
        name = (getattr(config, "architectures", None) or [""])[0]
        named = getattr(transformers, name, None) if name.endswith(_HEADS) else None
        with quiet_transformers():
            model = (named or transformers.AutoModelForCausalLM).from_pretrained(
                self.path, dtype=dtype if dtype is not None else "auto", use_safetensors=True, trust_remote_code=False
            )
        return model.eval()

    def config(self) -> PretrainedConfig:
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self.path, trust_remote_code=False)

    def stored_dtype(self) -> torch.dtype:
        """The dtype the weights are stored in."""
        import torch

        name = getattr(self.config(), "dtype", None) or torch.float32
        return getattr(torch, name) if isinstance(name, str) else name

    def tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)

    @property
    def facts(self) -> dict[str, Any]:
        """metier.json, or {} for a model that metier did not store."""
        file = self.path / "metier.json"
        return json.loads(file.read_text()) if file.is_file() else {}  # type: ignore[no-any-return]

    def fingerprint(self) -> str:
        """A hash that changes when configuration, tokenizer or weights do: content of files up to a mebibyte, and of larger ones
        the size and blocks of 4 KiB spread evenly, the first and the last among them. It keys caches of what the model answered."""
        digest = hashlib.sha256()
        for file in sorted(self.path.iterdir()):
            if file.suffix in {".json", ".safetensors", ".model", ".jinja", ".txt"} and file.name not in _NOT_THE_MODEL:
                size = file.stat().st_size
                digest.update(f"{file.name} {size} ".encode())
                with file.open("rb") as content:
                    for offset in _sampled(size):
                        content.seek(offset)
                        digest.update(content.read(_BLOCK))
        return digest.hexdigest()[:32]

    def save(self, folder: Path) -> Self:
        """Moves a model made in a stage's own folder to `folder`; links to the files of one that lives elsewhere."""
        folder.mkdir(parents=True, exist_ok=True)
        inside = folder.resolve() in self.path.resolve().parents
        for file in sorted(self.path.iterdir()):
            target = folder / file.name
            if not file.is_file() or target.exists() or file.name in _NOT_THE_MODEL - {"metier.json"}:
                continue
            if inside:
                shutil.move(file, target)
            else:
                target.symlink_to(file.resolve())
        return type(self)(folder)


_HEADS = ("ForMaskedLM", "ForConditionalGeneration", "ForPreTraining")  # other than causal ones, which Auto finds


def _learn_form(config: PretrainedConfig) -> None:
    """Lets transformers know the forms of weights that metier's own surgeries store."""
    form = getattr(config, "quantization_config", None)
    if isinstance(form, dict) and form.get("quant_method") == "sparse_low_rank":
        importlib.import_module("metier.pretrain.sparse_low_rank")  # by name: imports point downwards


_BLOCK, _WHOLE = 4 << 10, 1 << 20


def _sampled(size: int) -> list[int]:
    """Where the blocks begin that stand for a file of this size: all of a small one, every 64 KiB (or 16,384 in all) of a large one.

    Tuning changes whole matrices, and each is far longer than the gaps.
    """
    if size <= _WHOLE:
        return list(range(0, size, _BLOCK))
    return [*range(0, size, max(64 << 10, size // 16_384)), size - _BLOCK]


_NOT_THE_MODEL = {"metier.json", "stage.json", "metrics.jsonl", "log.txt"}
