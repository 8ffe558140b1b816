"""Log-likelihoods of a stream of pieces: planned in chunks, computed in batches under a memory budget, answered as they are done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import psutil
import torch

from metier.engines.score.encode import Piece
from metier.engines.score.forward import Forward, PrefixCache
from metier.engines.score.head import target_logprobs
from metier.engines.score.plan import Row, plan

logger = logging.getLogger(__name__)

# Measured on a CPU with SmolLM2-135M: longer rows pay for masked attention, shorter ones repeat more of what they share.
ROW_TOKENS = 128
MIN_PREFIX = 32
CHUNK_TOKENS = 400_000
CHUNK_PIECES = 8_192
MAX_BATCH_TOKENS = {"cpu": 2_048, "cuda": 65_536}  # more is no faster


@dataclass(frozen=True)
class Answer:
    """The sum of the log-probabilities of a piece's targets, and whether each was the likeliest token."""

    index: int
    logprob: float
    num_tokens: int
    is_greedy: bool


def log_likelihoods(forward: Forward, pieces: Iterable[Piece], batch_tokens: int | None = None) -> Iterator[Answer]:
    """One answer a piece, in the order of computation. Holds one chunk of pieces at a time.

    batch_tokens: most tokens of a forward pass, padding included; None for what fits the memory that is free now
    """
    most = batch_tokens if batch_tokens is not None else batch_token_budget(forward)
    for chunk in _chunks(pieces):
        started, asked = time.perf_counter(), sum(len(piece.input_ids) for piece in chunk)
        runs = plan(chunk, row_tokens=ROW_TOKENS, min_prefix=MIN_PREFIX if forward.prefixes else None, share=forward.trees)
        plain = [row for run in runs if not run.prefix for row in run.rows]
        for prefix, rows in [((), plain), *((run.prefix, run.rows) for run in runs if run.prefix)]:
            cache = forward.prefix(prefix) if prefix else None
            for batch in _batches(rows, most, len(prefix)):
                yield from _answers(forward, chunk, batch, cache)
        computed = sum(run.num_tokens for run in runs)
        seconds = time.perf_counter() - started
        logger.debug(
            "scored %d sequences: %d tokens asked, %d computed (%.1f times fewer), %.0f computed tokens/s, %d prefixes apart",
            len(chunk), asked, computed, asked / computed, computed / seconds, sum(bool(run.prefix) for run in runs),
        )  # fmt: skip


def batch_token_budget(forward: Forward) -> int:
    """How many tokens a forward pass may have: activations in a quarter of the free memory, and at most what still makes it faster."""
    config = forward.model.config.get_text_config()
    if forward.model.device.type == "cuda":
        free = torch.cuda.mem_get_info(forward.model.device)[0]
    else:
        free = min(psutil.virtual_memory().available, 4 << 30)
    size = torch.finfo(forward.model.dtype).bits // 8
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    # Attention holds a mask row and, without a fused kernel, a score for each head: both are as long as the row.
    attention = config.num_attention_heads * 2 * ROW_TOKENS
    per_token = size * (12 * config.hidden_size + 4 * inner + attention)
    if forward.head is None:
        per_token += 8 * config.vocab_size
    return max(ROW_TOKENS, min(MAX_BATCH_TOKENS.get(forward.model.device.type, 2_048), int(free // 4 // per_token)))


def _chunks(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    chunk: list[Piece] = []
    tokens = 0
    for piece in pieces:
        chunk.append(piece)
        tokens += len(piece.input_ids)
        if tokens >= CHUNK_TOKENS or len(chunk) >= CHUNK_PIECES:
            yield chunk
            chunk, tokens = [], 0
    if chunk:
        yield chunk


def _batches(rows: Sequence[Row], most: int, num_prefix: int) -> Iterator[list[Row]]:
    """Rows of like length together, the longest first, so that what does not fit fails early."""
    batch: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        # The rows before are at least as long; each row also holds a copy of the prefix's keys and values.
        if batch and (len(batch) + 1) * (len(batch[0].ids) + num_prefix // 4) > most:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _answers(forward: Forward, pieces: Sequence[Piece], rows: list[Row], prefix: PrefixCache | None) -> Iterator[Answer]:
    try:
        found = _ask(forward, rows, prefix)
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise
        logger.warning("out of memory with %d rows of up to %d tokens: trying halves", len(rows), len(rows[0].ids))
        torch.cuda.empty_cache()
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            yield from _answers(forward, pieces, half, prefix)
        return
    for number, (logprob, greedy) in found.items():
        yield Answer(pieces[number].index, logprob, len(pieces[number].targets), greedy)


@torch.inference_mode()
def _ask(forward: Forward, rows: list[Row], prefix: PrefixCache | None) -> dict[int, tuple[float, bool]]:
    """Sum of log-probabilities and greediness of each piece that has its targets in these rows."""
    asked = sorted((b, index, token, number) for b, row in enumerate(rows) for index, token, number in row.targets)
    places = sorted({(b, index) for b, index, _, _ in asked})
    place_number = {place: number for number, place in enumerate(places)}
    device = forward.model.device
    hidden = forward.hidden(rows, prefix)
    b_N, t_N = torch.tensor(places, device=device).T
    logprobs, greedy = target_logprobs(
        hidden[b_N, t_N],
        forward.head if forward.head is not None else lambda logits: logits,
        forward.model.config.get_text_config().vocab_size,
        torch.tensor([place_number[b, index] for b, index, _, _ in asked], device=device),
        torch.tensor([token for _, _, token, _ in asked], device=device),
    )
    found: dict[int, tuple[float, bool]] = {}
    for (_, _, _, number), logprob, is_greedy in zip(asked, logprobs.tolist(), greedy.tolist(), strict=True):
        total, all_greedy = found.get(number, (0.0, True))
        found[number] = (total + logprob, all_greedy and is_greedy)
    return found
