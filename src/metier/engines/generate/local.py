"""The backend that computes here, with transformers."""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import psutil
import torch

from metier.artifacts import Model
from metier.engines.generate.backend import Sampling
from metier.engines.generate.decode import Running, decode
from metier.engines.score.encode import encode_text, prefix_token
from metier.engines.score.forward import Forward, open_forward
from metier.engines.score.score import score, score_texts
from metier.models.language_model import Completion, Prompt, Score
from metier.models.precision import best_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

TEXT_WINDOW = 2048
MAX_ROWS = {"cpu": 32, "cuda": 256}
MAX_PROMPT_TOKENS = 16_384  # of all prompts read in one forward pass


@dataclass
class LocalBackend:
    """A model in a folder, loaded when the first question comes that the cache does not answer.

    max_length: window for score_texts in tokens; None for the model's window, at most TEXT_WINDOW
    """

    name: str
    source: Model
    dtype: torch.dtype
    max_length: int | None = None

    @cached_property
    def identity(self) -> str:
        return f"{self.source.fingerprint()} {self.dtype} {self.max_length}"

    @cached_property
    def model(self) -> PreTrainedModel:
        return self.source.load(self.dtype).to(best_device())

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.source.tokenizer()

    @cached_property
    def forward(self) -> Forward:
        return open_forward(self.model)

    @cached_property
    def window(self) -> int:
        """Most tokens the model reads at once."""
        known = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(known or min(self.tokenizer.model_max_length, TEXT_WINDOW))

    def score(self, requests: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Score]]:
        return score(self.forward, self.tokenizer, requests, window=self.window)

    def score_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Score]]:
        window = self.max_length or min(self.window, TEXT_WINDOW)
        if window > self.window:
            raise ValueError(f"max_length={self.max_length} is more than the {self.window} tokens that {self.name} reads at once")
        return score_texts(self.forward, self.tokenizer, texts, window=window)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        rows: dict[int, Running] = {}
        for number, prompt in enumerate(prompts):
            ids = self._encode(prompt)
            if len(ids) >= self.window:
                error = f"the prompt has {len(ids)} tokens and the model's window is {self.window}, which leaves no room for an answer"
                yield number, Completion("", error=error)
            else:
                limit = min(sampling.max_new_tokens, self.window - len(ids))
                rows[number] = Running(ids, limit, random.Random(_seed(prompt, sampling.seed)))
        for batch in self._batches(rows):
            yield from self._decode(rows, batch, sampling)

    def _decode(self, rows: dict[int, Running], batch: list[int], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        try:
            answers = decode(self.model, self.tokenizer, [rows[number] for number in batch], sampling, self.eos)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            logger.warning("out of memory with %d prompts: trying halves", len(batch))
            torch.cuda.empty_cache()
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                fresh = {number: Running(rows[number].ids, rows[number].limit, random.Random()) for number in half}
                for number, row in fresh.items():
                    row.uniform.setstate(rows[number].uniform.getstate())
                yield from self._decode(fresh, half, sampling)
            return
        yield from zip(batch, answers, strict=True)

    @cached_property
    def eos(self) -> frozenset[int]:
        """The tokens that end an answer: what the model's generation settings and its tokenizer say."""
        known = self.model.generation_config.eos_token_id if self.model.generation_config is not None else None
        tokens = list(known) if isinstance(known, list) else [known]
        return frozenset(int(token) for token in [*tokens, self.tokenizer.eos_token_id] if token is not None)

    def _encode(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return encode_text(self.tokenizer, prompt) or [prefix_token(self.tokenizer)]
        if self.tokenizer.chat_template is None:
            raise ValueError(
                f"{self.name} has no chat template, so it can't be asked with messages: give the prompt as a string, or set "
                "tokenizer.chat_template and save it beside the model"
            )
        text = self.tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=False)
        return encode_text(self.tokenizer, text, special=False)

    def _batches(self, rows: dict[int, Running]) -> Iterator[list[int]]:
        """Prompts of like length together, the longest first, within a memory budget for keys and values."""
        config, device = self.model.config.get_text_config(), self.model.device
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else min(psutil.virtual_memory().available, 8 << 30)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        per_token = 2 * config.num_hidden_layers * heads * head_size * (torch.finfo(self.dtype).bits // 8)
        budget = max(1, free // 3 // per_token)
        batch: list[int] = []
        for number in sorted(rows, key=lambda number: -len(rows[number].ids)):
            width = max((len(rows[other].ids) + rows[other].limit for other in [*batch[:1], number]), default=0)
            prompt_tokens = (len(batch) + 1) * len(rows[(batch or [number])[0]].ids)
            full = (
                (len(batch) + 1) * width > budget
                or prompt_tokens > MAX_PROMPT_TOKENS
                or len(batch) >= MAX_ROWS.get(device.type, 32)
            )
            if batch and full:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch


def _seed(prompt: Prompt, seed: int) -> int:
    content = json.dumps([seed, prompt if isinstance(prompt, str) else [dict(message) for message in prompt]], sort_keys=True)
    return int.from_bytes(hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:8])
