"""Token sequences with what is predicted at each of their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100


@dataclass(frozen=True)
class TokenSequence:
    """A sequence whose tokens attend only to each other.

    labels[t] is the token predicted at place t, which is the token after it, or -100 where nothing is predicted; as many as input_ids
    source: what its loss is counted under
    """

    input_ids: list[int]
    labels: list[int]
    source: str = ""

    @classmethod
    def of_text(cls, input_ids: list[int], source: str = "") -> TokenSequence:
        """A text of which every token after the first is predicted."""
        return cls(input_ids, [*input_ids[1:], IGNORED], source)

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def num_predicted(self) -> int:
        return sum(label != IGNORED for label in self.labels)


def tokenize_texts(
    texts: Iterable[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, *, longest: int
) -> Iterator[TokenSequence]:
    """Each (text, source) between BOS and EOS, cut into pieces of at most `longest` tokens.

    Pieces of one text share a token (the last of one is the first of the next), so that every token of the text is predicted once.
    A tokenizer without BOS begins with EOS, as models trained on packed text expect. An empty text gives nothing.
    """
    if longest < 2:
        raise ValueError(f"sequence_length={longest} leaves nothing to predict: give 2 or more")
    begin, end = border_tokens(tokenizer)
    for text, source in texts:
        if not text:
            continue
        ids = [begin, *tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], end]
        for start in range(0, len(ids) - 1, longest - 1):
            yield TokenSequence.of_text(ids[start : start + longest], source)


def border_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """What a document begins and ends with: BOS (or EOS where there is none) and EOS; CLS and SEP of tokenizers like BERT's."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.cls_token_id
    begin = begin if begin is not None else end
    if end is None or begin is None:
        raise ValueError(
            f"the tokenizer {tokenizer.name_or_path!r} has no EOS token, so documents would run into each other: set one"
        )
    return int(begin), int(end)
