"""Documents with thoughts as training sequences, the loss on all of them or on one part."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from metier.engines.text.sequences import IGNORED, TokenSequence, tokenize_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LossOn = Literal["all", "document", "thought"]

logger = logging.getLogger(__name__)


def thinking_sequences(
    rows: Iterable[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, *, longest: int = 8192, loss_on: LossOn = "all"
) -> Iterator[TokenSequence]:
    """The rows that curate.thinking_augmented gave, for text.pack: BOS, text, EOS, cut into pieces of at most `longest` tokens.

    With `loss_on` document or thought only the tokens that begin in that part are predicted (EOS in either), and pieces without any
    are left out; "all", the paper's way, gives what `tokenize_texts` gives. How many texts had to be cut is logged at the end, for a
    thought cut off from its document is read without it. Needs a tokenizer that tells offsets (a fast one).
    """
    num_texts = num_cut = 0
    for row in rows:
        pieces = list(tokenize_texts([(row["text"], row["source"])], tokenizer, longest=longest))
        num_texts, num_cut = num_texts + 1, num_cut + (len(pieces) > 1)
        if loss_on == "all":
            yield from pieces
            continue
        wanted = [True, *_in_part(row, tokenizer, loss_on), True]  # BOS, which nothing predicts, and EOS
        for number, piece in enumerate(pieces):
            start = number * (longest - 1)
            kept = [
                label if label != IGNORED and wanted[start + place + 1] else IGNORED for place, label in enumerate(piece.labels)
            ]
            if any(label != IGNORED for label in kept):
                yield replace(piece, labels=kept)
    if num_cut:
        logger.warning(
            "%d of %d texts are longer than %d tokens and cut: give longer rows, or shorter thoughts", num_cut, num_texts, longest
        )


def _in_part(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, part: LossOn) -> list[bool]:
    """For each token of the text whether it begins in the part."""
    offsets = tokenizer(row["text"], add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    begin, end = (row["thought_start"], row["thought_end"]) if row["augmented"] else (0, 0)
    return [(begin <= start < end) == (part == "thought") for start, _ in offsets]
