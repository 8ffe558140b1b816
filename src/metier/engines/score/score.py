"""log p(continuation | context) and log p(text), as a stream of numbered scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metier.engines.score.encode import Piece, pair_piece, text_pieces
from metier.engines.score.forward import Forward
from metier.engines.score.loglikelihood import log_likelihoods
from metier.models.language_model import Score

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def score(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[tuple[str, str]],
    *,
    window: int,
    batch_tokens: int | None = None,
) -> Iterator[tuple[int, Score]]:
    """The score of each (context, continuation), numbered, in the order of computation. Empty contexts and spaces as in `encode`.

    Raises ValueError for an empty continuation, and for one longer than the window.
    Settings:
        window: most tokens the model reads at once; longer contexts lose tokens on their left
        batch_tokens: most tokens of a forward pass; None for what fits the free memory
    """
    for index, (context, continuation) in enumerate(requests):
        if not continuation:
            raise ValueError(
                f"request {index}: the continuation is empty, so there is nothing to score (context {context[-60:]!r})"
            )
    pieces = (pair_piece(tokenizer, index, *request, window) for index, request in enumerate(requests))
    for answer in log_likelihoods(forward, pieces, batch_tokens):
        num_bytes = len(requests[answer.index][1].encode())
        yield answer.index, Score(answer.logprob, answer.num_tokens, num_bytes, answer.is_greedy)


def score_texts(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    window: int,
    batch_tokens: int | None = None,
) -> Iterator[tuple[int, Score]]:
    """The score of each text, numbered, when its last window is computed. A text without tokens scores 0 with 0 tokens.

    Settings:
        window: tokens of a window; each token is scored once (see `text_pieces`)
        batch_tokens: most tokens of a forward pass; None for what fits the free memory
    """
    waiting: dict[int, int] = {}  # windows of a text that are still to come
    sums: dict[int, tuple[float, int]] = {}
    empty: list[int] = []

    def pieces() -> Iterator[Piece]:
        for index, text in enumerate(texts):
            windows = list(text_pieces(tokenizer, index, text, window))
            if windows:
                waiting[index], sums[index] = len(windows), (0.0, 0)
            else:
                empty.append(index)
            yield from windows

    for answer in log_likelihoods(forward, pieces(), batch_tokens):
        total, count = sums[answer.index]
        sums[answer.index] = (total + answer.logprob, count + answer.num_tokens)
        waiting[answer.index] -= 1
        if waiting[answer.index] == 0:
            del waiting[answer.index]
            yield answer.index, Score(*sums.pop(answer.index), len(texts[answer.index].encode()))
    for index in empty:
        yield index, Score(0.0, 0, len(texts[index].encode()))
