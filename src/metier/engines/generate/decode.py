"""Token by token: one batch of prompts continued until each has ended."""
# B rows still running, T tokens so far (padded on the left), V vocabulary

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

from metier.engines.generate.backend import Sampling
from metier.models.cache_argument import cache_argument
from metier.models.language_model import Completion

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Running:
    """A prompt and what has been written to it. limit: most tokens; uniform: the prompt's own stream of random numbers."""

    ids: list[int]
    limit: int
    uniform: random.Random
    written: list[int] = field(default_factory=list)
    ended: str | None = None


@torch.inference_mode()
def decode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Running], sampling: Sampling, eos: frozenset[int]
) -> list[Completion]:
    """One completion a row. Rows that have ended leave the batch, so that the others go on faster.

    What a row draws depends on its own random numbers alone; batches of other shape differ in rounding only.
    """
    active = list(rows)
    width = max(len(row.ids) for row in rows)
    device = model.device
    ids_BT = torch.tensor([[0] * (width - len(row.ids)) + row.ids for row in rows], device=device)
    mask_BT = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows], device=device)
    positions_BT = (mask_BT.cumsum(dim=-1) - 1).clamp_min(0)
    cache = DynamicCache(config=model.config)
    name = cache_argument(model)
    last_only = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    while True:
        output = model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            **{name: cache},
            use_cache=True,
            **last_only,
        )
        tokens = choose(output.logits[:, -1].float(), sampling, active)
        for row, token in zip(active, tokens, strict=True):
            _write(row, token, tokenizer, sampling, eos)
        keep = [number for number, row in enumerate(active) if row.ended is None]
        if not keep:
            return [_completion(row, tokenizer, sampling) for row in rows]
        kept = torch.tensor(keep, device=device)
        if len(keep) < len(active):
            cache.batch_select_indices(kept)
            active = [active[number] for number in keep]
        ids_BT = torch.tensor([[row.written[-1]] for row in active], device=device)
        mask_BT = torch.cat([mask_BT[kept], mask_BT.new_ones((len(active), 1))], dim=-1)
        positions_BT = positions_BT[kept, -1:] + 1


def choose(logits_BV: Tensor, sampling: Sampling, rows: Sequence[Running]) -> list[int]:
    """The next token of each row: the likeliest, or one drawn by inverting the distribution function at the row's next number."""
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1).tolist()  # type: ignore[no-any-return]
    probabilities_BV = torch.softmax(logits_BV / sampling.temperature, dim=-1)
    uniform_B1 = torch.tensor([[row.uniform.random()] for row in rows], device=logits_BV.device)
    if sampling.top_p == 1:
        cumulative_BV = probabilities_BV.double().cumsum(dim=-1)
        return _invert(cumulative_BV, uniform_B1 * cumulative_BV[:, -1:]).tolist()  # type: ignore[no-any-return]
    sorted_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True, stable=True)
    cumulative_BV = sorted_BV.double().cumsum(dim=-1)
    num_kept_B = (cumulative_BV - sorted_BV < sampling.top_p).sum(dim=-1, keepdim=True)
    kept_B1 = cumulative_BV.gather(-1, num_kept_B - 1)
    places_B = _invert(cumulative_BV, uniform_B1 * kept_B1)
    return order_BV.gather(-1, places_B[:, None])[:, 0].tolist()  # type: ignore[no-any-return]


def _invert(cumulative_BV: Tensor, at_B1: Tensor) -> Tensor:  # right=True: a number of exactly 0 picks no token of probability 0
    places = torch.searchsorted(cumulative_BV, at_B1.double(), right=True)[:, 0]
    return places.clamp_max(cumulative_BV.shape[-1] - 1)


def _write(row: Running, token: int, tokenizer: PreTrainedTokenizerBase, sampling: Sampling, eos: frozenset[int]) -> None:
    row.written.append(token)
    if token in eos or _has_stop(row.written, tokenizer, sampling.stop):
        row.ended = "stop"
    elif len(row.written) >= row.limit:
        row.ended = "length"


def _has_stop(written: list[int], tokenizer: PreTrainedTokenizerBase, stop: tuple[str, ...]) -> bool:
    # A token is at least a byte, so what ends here can't begin before these tokens.
    return any(text in tokenizer.decode(written[-len(text.encode()) - 4 :], skip_special_tokens=True) for text in stop)


def _completion(row: Running, tokenizer: PreTrainedTokenizerBase, sampling: Sampling) -> Completion:
    text = tokenizer.decode(row.written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    cuts = [place for place in (text.find(stop) for stop in sampling.stop) if place >= 0]
    return Completion(text[: min(cuts)] if cuts else text, len(row.written), row.ended or "length")
