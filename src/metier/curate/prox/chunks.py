"""Documents as a refiner sees them: cut to its window, lines numbered over the whole document, packed into chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BYTES_PER_TOKEN = 3  # without a tokenizer: fewer than any usual one has on prose, so that what is counted fits
_MOST_CHARACTERS = 64  # of a token: beyond so many a text is longer than the window, and need not be tokenized to know


@dataclass(frozen=True)
class Chunk:
    """Lines start to stop - 1 of a document. too_long: a single line beyond the window, which is shown to nobody."""

    start: int
    stop: int
    too_long: bool = False


@dataclass(frozen=True)
class Ruler:
    """Counts tokens with a tokenizer, or, without one, three bytes of UTF-8 as a token."""

    tokenizer: PreTrainedTokenizerBase | None = None

    def counts(self, texts: Sequence[str], at_most: int) -> list[int]:
        """Tokens of each text; at_most + 1 for those that are surely longer."""
        surely = [len(text) > at_most * _MOST_CHARACTERS for text in texts]
        some = [text for text, long in zip(texts, surely, strict=True) if not long]
        if self.tokenizer is None:
            found = iter([math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN) for text in some])
        else:
            ids = self.tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"] if some else []
            found = iter(list(map(len, ids)))
        return [at_most + 1 if long else next(found) for long in surely]

    def cut(self, text: str, at_most: int) -> str:
        """The longest beginning of `text` of so many tokens, in whole characters."""
        text = text[: at_most * _MOST_CHARACTERS]
        if self.tokenizer is None:
            return text.encode("utf-8", "surrogatepass")[: at_most * BYTES_PER_TOKEN].decode("utf-8", "ignore")
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) <= at_most:
            return text
        return str(self.tokenizer.decode(ids[:at_most], clean_up_tokenization_spaces=False)).rstrip("\ufffd")


def numbered(lines: Sequence[str], start: int = 0) -> str:
    """The lines below each other, each after its number in brackets: three digits, four and more beyond 999."""
    return "\n".join(f"[{number:03d}] {line}" for number, line in enumerate(lines, start))


def chunks_of(text: str, window: int, ruler: Ruler) -> list[Chunk]:
    """The document's lines in order, as many together as make at most `window` tokens with their numbers.

    A line that is longer by itself is a chunk of its own, marked. Tokens are counted line by line (with its line break), and never
    fewer than the whole chunk has but for the few that merge across a line break.
    """
    counts = ruler.counts([f"[{number:03d}] {line}\n" for number, line in enumerate(text.split("\n"))], window)
    chunks: list[Chunk] = []
    start = size = 0
    for number, count in enumerate(counts):
        if number > start and size + count > window:
            chunks.append(Chunk(start, number))
            start, size = number, 0
        if count > window:
            chunks.append(Chunk(number, number + 1, too_long=True))
            start, size = number + 1, 0
        else:
            size += count
    if start < len(counts):
        chunks.append(Chunk(start, len(counts)))
    return chunks
