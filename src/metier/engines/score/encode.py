"""Requests to token sequences, with the semantics of lm-evaluation-harness: who owns a space, what an empty context is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Piece:
    """One sequence to score for request `index`.

    input_ids: what the model reads, at most a window of it
    targets: the tokens whose log-probability is asked; the last one follows the last input, the one before follows the input before
    """

    index: int
    input_ids: tuple[int, ...]
    targets: tuple[int, ...]


def prefix_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """What an empty context is: the BOS token, or EOS where the tokenizer has none. Raises ValueError where it has neither."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise ValueError(
        "the tokenizer has neither a BOS nor an EOS token to stand for an empty context: set one of them and save it"
    )


def encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Token ids of context and continuation, both non-empty.

    White space at the end of the context belongs to the continuation. Both are tokenised as one text and split where the context
    alone would end. Where a token reaches across the whole continuation, so that nothing is left of it, it is tokenised alone.
    """
    stripped = context.rstrip()
    continuation = context[len(stripped) :] + continuation
    if not stripped:
        return _after_prefix(prefix_token(tokenizer), encode_text(tokenizer, continuation, special=False))
    context_ids = encode_text(tokenizer, stripped)
    continuation_ids = encode_text(tokenizer, stripped + continuation)[len(context_ids) :]
    return context_ids, continuation_ids or encode_text(tokenizer, continuation, special=False)


def pair_piece(tokenizer: PreTrainedTokenizerBase, index: int, context: str, continuation: str, window: int) -> Piece:
    """The piece of a (context, continuation) request; a context too long loses tokens on its left.

    Raises ValueError for a continuation longer than the window.
    """
    context_ids, continuation_ids = encode_pair(tokenizer, context, continuation)
    if len(continuation_ids) > window:
        raise ValueError(
            f"request {index}: its continuation has {len(continuation_ids)} tokens and the model's window {window}: "
            "score it with score_texts, which goes through long texts window by window"
        )
    whole = (context_ids + continuation_ids)[-(window + 1) :]
    return Piece(index, tuple(whole[:-1]), tuple(continuation_ids))


def text_pieces(tokenizer: PreTrainedTokenizerBase, index: int, text: str, window: int) -> Iterator[Piece]:
    """The windows of a text: each token once; the first follows the BOS token, the first of later windows the token before it.

    The last window reaches back over tokens already scored as far as the window allows, as context. Special tokens that the
    tokenizer would add are no part of the text.
    """
    ids = [prefix_token(tokenizer), *encode_text(tokenizer, text, special=False)]
    for start in range(0, len(ids) - 1, window):
        end = min(start + window, len(ids) - 1)
        yield Piece(index, tuple(ids[max(0, end - window) : end]), tuple(ids[start + 1 : end + 1]))


def _after_prefix(prefix: int, ids: list[int]) -> tuple[list[int], list[int]]:
    return (ids[:1], ids[1:]) if len(ids) > 1 and ids[0] == prefix else ([prefix], ids)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str, special: bool = True) -> list[int]:
    """Token ids of a text, with the special tokens that the tokenizer adds by itself unless `special` is False.

    A text that already begins with BOS gets no second one. Texts longer than the window come back whole.
    """
    bos = tokenizer.bos_token
    add = special and not (bos is not None and text.startswith(bos))
    return list(tokenizer(text, add_special_tokens=add, verbose=False)["input_ids"])
