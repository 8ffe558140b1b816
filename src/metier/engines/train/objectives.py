"""What is predicted: the next token, tokens that were masked, or spans that were cut out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

from metier.artifacts import Model
from metier.artifacts.quiet import quiet_transformers
from metier.engines.text.rows import Row
from metier.engines.text.sequences import IGNORED, TokenSequence
from metier.engines.train.batches import Collator
from metier.engines.train.packed_loss import lose_before_the_head, lose_in_chunks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Name = Literal["causal", "masked", "masked_words", "spans"]


class Objective(Protocol):
    """What `fit` needs to know. Objects are frozen dataclasses of plain values, for they are part of a training's identity.

    load: the network of a model, in `dtype`; prepare: makes `network(**batch)` return a PackedLoss
    batch: rows as that input, with `sources` (one a predicted token, indices into `names`) besides. `places` are the rows' places in
        the whole order of training: what is random depends on them and on the seed, on nothing else
    """

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel: ...
    def prepare(self, network: PreTrainedModel) -> None: ...
    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Causal:
    """Labels as the sequences have them: in text each next token."""

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel:
        return model.load(dtype=dtype)

    def prepare(self, network: PreTrainedModel) -> None:
        lose_in_chunks(network)

    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        return Collator(names)(rows)


@dataclass(frozen=True)
class Masked:
    """BERT's (arXiv 1810.04805, section 3.1): of `share` of the tokens 80% become the mask, 10% another token at random, 10% stay; these
    are predicted, anew each time a row is read. At least one of a sequence is.

    special: never masked nor drawn; word_starts: by token id whether it begins a word, where whole words are masked, else empty
    first_position: of a sequence (RoBERTa's positions begin at 2)
    """

    mask: int
    vocabulary: int
    special: tuple[int, ...]
    seed: int = 0
    share: float = 0.15
    word_starts: tuple[bool, ...] = field(default=(), repr=False)
    first_position: int = 0

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel:
        from transformers import AutoModelForMaskedLM

        return _opened(AutoModelForMaskedLM, model, dtype)

    def prepare(self, network: PreTrainedModel) -> None:
        lose_before_the_head(network)

    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        masked = []
        for row, place in zip(rows, places, strict=True):
            generator = _generator(self.seed, place)
            masked.append([self.masked(sequence, generator) for sequence in row])
        found = Collator(names)(masked)
        return found | {"position_ids": found["position_ids"] + self.first_position}

    def masked(self, sequence: TokenSequence, generator: np.random.Generator) -> TokenSequence:
        """The sequence as the model sees it, with the tokens that it must find as labels."""
        ids = np.array(sequence.input_ids)
        open_ = ~np.isin(ids, self.special)
        if not open_.any():
            return TokenSequence(list(sequence.input_ids), [IGNORED] * len(ids), sequence.source)
        chosen = self._chosen(ids, open_, generator)
        labels = np.where(chosen, ids, IGNORED)
        fate = generator.random(len(ids))
        other = generator.integers(0, self.vocabulary, len(ids))
        while (bad := np.isin(other, self.special)).any():
            other[bad] = generator.integers(0, self.vocabulary, int(bad.sum()))
        ids = np.where(chosen & (fate < 0.8), self.mask, np.where(chosen & (fate >= 0.9), other, ids))
        return TokenSequence(ids.tolist(), labels.tolist(), sequence.source)

    def _chosen(self, ids: np.ndarray, open_: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Which places are predicted: a share of them in expectation, tokens apart or words whole."""
        if self.word_starts:
            starts = np.array(self.word_starts)[ids] | ~open_ | ~np.roll(open_, 1)
            starts[0] = True
            word = np.cumsum(starts) - 1
        else:
            word = np.arange(len(ids))
        drawn = generator.random(word[-1] + 1) < self.share
        chosen = drawn[word] & open_
        if not chosen.any():
            chosen = (word == word[generator.choice(np.flatnonzero(open_))]) & open_
        return np.asarray(chosen)


@dataclass(frozen=True)
class Spans:
    """T5's (arXiv 1910.10683, section 3.1.4): `share` of a sequence's tokens, in spans of `mean_span` on average, is cut out; each span
    leaves a sentinel, and the decoder writes sentinels with what stood there. Sequences are padded to the longest of a batch.
    """

    sentinels: tuple[int, ...] = field(repr=False)
    end: int
    pad: int
    seed: int = 0
    share: float = 0.15
    mean_span: float = 3.0

    def load(self, model: Model, dtype: torch.dtype) -> PreTrainedModel:
        from transformers import AutoModelForSeq2SeqLM

        return _opened(AutoModelForSeq2SeqLM, model, dtype)

    def prepare(self, network: PreTrainedModel) -> None:
        lose_before_the_head(network)

    def batch(self, rows: Sequence[Row], places: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
        pairs = []
        for row, place in zip(rows, places, strict=True):
            generator = _generator(self.seed, place)
            pairs += [self.cut(sequence, generator) for sequence in row]
        given = _padded([torch.tensor(pair.given) for pair in pairs], self.pad)
        return {
            "input_ids": given,
            "attention_mask": _padded([torch.ones(len(pair.given), dtype=torch.int64) for pair in pairs], 0),
            "labels": _padded([torch.tensor(pair.wanted) for pair in pairs], IGNORED),
            "sources": Collator(names).sources(pairs),
        }

    def cut(self, sequence: TokenSequence, generator: np.random.Generator) -> Pair:
        """What the encoder reads and the decoder must write; a text of one token is cut out whole."""
        ids = [token for token in sequence.input_ids if token != self.end]
        num_noise = min(max(1, round(len(ids) * self.share)), max(1, len(ids) - 1))
        num_spans = min(max(1, round(num_noise / self.mean_span)), max(1, len(ids) - num_noise), len(self.sentinels) - 1)
        if not ids:
            return Pair([self.end], [self.end], sequence.source)
        kept = _parts(len(ids) - num_noise, num_spans, generator)
        noise = _parts(num_noise, num_spans, generator)
        given: list[int] = []
        wanted: list[int] = []
        place = 0
        for sentinel, before, length in zip(self.sentinels, kept, noise, strict=False):
            given += [*ids[place : place + before], sentinel]
            wanted += [sentinel, *ids[place + before : place + before + length]]
            place += before + length
        return Pair([*given, self.end], [*wanted, self.sentinels[num_spans], self.end], sequence.source)


@dataclass(frozen=True)
class Pair:
    """given: what an encoder reads; wanted: what its decoder writes."""

    given: list[int]
    wanted: list[int]
    source: str

    @property
    def num_predicted(self) -> int:
        return len(self.wanted)


def objective_of(name: Name, tokenizer: PreTrainedTokenizerBase, *, seed: int = 0) -> Objective:
    """The objective of a name, with the tokens that this tokenizer has for it. Raises ValueError when it has none."""
    if name == "causal":
        return Causal()
    if name == "spans":
        return Spans(_sentinels(tokenizer), _needed(tokenizer, "eos"), _needed(tokenizer, "pad"), seed=seed)
    special, mask = tuple(sorted(tokenizer.all_special_ids)), _needed(tokenizer, "mask")
    starts = _word_starts(tokenizer) if name == "masked_words" else ()
    return Masked(mask, len(tokenizer), special, seed=seed, word_starts=starts)


def _needed(tokenizer: PreTrainedTokenizerBase, kind: str) -> int:
    found = getattr(tokenizer, f"{kind}_token_id")
    if found is None:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no {kind} token, which this objective needs: set one")
    return int(found)


def _sentinels(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    vocabulary = tokenizer.get_vocab()
    found: list[int] = []
    while (name := f"<extra_id_{len(found)}>") in vocabulary:
        found.append(vocabulary[name])
    if len(found) < 2:
        raise ValueError(f"the tokenizer {tokenizer.name_or_path!r} has no sentinels <extra_id_0>, ...: add some to it")
    return tuple(found)


def _word_starts(tokenizer: PreTrainedTokenizerBase) -> tuple[bool, ...]:
    """By token id, whether a token begins a word, by the marks of WordPiece (## goes on), byte-level BPE (Ġ) and SentencePiece (▁)."""
    names = [name or "" for name in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    if any(name.startswith("##") for name in names):
        return tuple(not name.startswith("##") for name in names)
    for mark in "Ġ▁":
        if any(name.startswith(mark) for name in names):
            return tuple(name.startswith(mark) or not any(map(str.isalnum, name)) for name in names)
    raise ValueError(f"the tokens of {tokenizer.name_or_path!r} do not tell where words begin: mask tokens instead of words")


def _opened(auto: Any, model: Model, dtype: torch.dtype) -> PreTrainedModel:
    with quiet_transformers():
        return auto.from_pretrained(model.path, dtype=dtype, use_safetensors=True, trust_remote_code=False).eval()  # type: ignore[no-any-return]


def _generator(seed: int, place: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed % (1 << 64), place % (1 << 64)]))


def _parts(total: int, count: int, generator: np.random.Generator) -> list[int]:
    """`total` things in `count` parts of at least one each, every way alike; no things in parts of none."""
    if total < count:
        return [0] * (count - 1) + [total]
    cuts = np.sort(generator.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff([0, *cuts, total]).tolist()  # type: ignore[no-any-return]


def _padded(parts: list[torch.Tensor], value: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)
