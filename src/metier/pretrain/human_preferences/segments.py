"""Documents in scored segments as token sequences, with control tokens before the segments or without."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from metier.engines.text.sequences import IGNORED, border_tokens
from metier.pretrain.human_preferences.training import ScoredSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALIGNED, MISALIGNED = "<|aligned|>", "<|misaligned|>"
Unit = Literal["sentences", "lines"]

_SENTENCE_END = re.compile(r"""(?<=[.!?…。！？])["'”’)\]]*\s+|(?<=[。！？])""")


def split(text: str, unit: Unit) -> list[str]:
    """The text in sentences (which end in . ! ? and white space, or in a full stop of Chinese or Japanese) or lines; joined, it is again
    what it was. Segments of white space alone belong to the one before."""
    if unit == "lines":
        parts = text.splitlines(keepends=True)
    else:
        ends = [found.end() for found in _SENTENCE_END.finditer(text) if found.end()]
        parts = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    joined: list[str] = []
    for part in parts:
        if joined and not part.strip():
            joined[-1] += part
        elif part:
            joined.append(part)
    return joined


@dataclass(frozen=True)
class Tags:
    """Control tokens: before each segment `good` where its score is at most `threshold`, else `bad`; with probability `drop` neither."""

    good: int
    bad: int
    threshold: float
    drop: float = 0.0
    seed: int = 0


def tokenize_segments(
    rows: Iterable[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, *, longest: int, tags: Tags | None = None
) -> Iterator[ScoredSequence]:
    """Each document (columns segments, scores, source, id) between BOS and EOS, in pieces of at most `longest` tokens that share one.

    Segments are tokenised one by one, so that every token is of one of them and all objectives read the same tokens; what looks like a
    special token in a text is read as plain characters. Tags are predicted, too. The last token, which ends the document, has the score
    of its best segment: no objective is to unlearn ending.
    """
    begin, end = border_tokens(tokenizer)
    for row in rows:
        if not row["segments"]:
            continue
        generator = random.Random(f"{tags.seed} {row['id']}" if tags is not None else "")
        ids, scores = [begin], [min(row["scores"])]
        for segment, score in zip(row["segments"], row["scores"], strict=True):
            words = tokenizer(segment, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
            if tags is not None and generator.random() >= tags.drop:
                words = [tags.good if score <= tags.threshold else tags.bad, *words]
            ids += words
            scores += [score] * len(words)
        ids.append(end)
        scores.append(min(row["scores"]))
        for start in range(0, len(ids) - 1, longest - 1):
            part = ids[start : start + longest]
            yield ScoredSequence(part, [*part[1:], IGNORED], row["source"], scores[start : start + longest])


def measured(sequence: ScoredSequence, ignored: tuple[int, ...]) -> ScoredSequence:
    """The same without a loss on some tokens: held-out text with tags is measured on its words."""
    labels = [IGNORED if label in ignored else label for label in sequence.labels]
    return ScoredSequence(sequence.input_ids, labels, sequence.source, sequence.scores)
