"""New merges for a byte-level BPE tokenizer: learnt over its own tokens, appended after its own merges.

The old merges run first and to their end, because their ranks are lower; so a text's new tokenisation is the old one, shortened by the
new merges alone. A text in whose old tokenisation no pair of a new merge stands side by side therefore keeps its tokens: pairs that
stand in protected texts are never merged.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.artifacts import atomic_write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pair = tuple[int, int]


@dataclass(frozen=True)
class Merge:
    """A new token: `left` and `right` are what it joins (ids, old or new), `pieces` the old tokens it consists of.

    saved: tokens that it saved where it was learnt
    """

    text: str
    left: str
    right: str
    pieces: tuple[int, ...]
    saved: int


def content(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE tokenizer. Raises TypeError for any other kind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TypeError(f"{type(tokenizer).__name__} is a slow tokenizer: convert it to the fast format (tokenizer.json) first")
    found: dict[str, Any] = json.loads(backend.to_str())
    if found["model"].get("type") != "BPE" or "ByteLevel" not in json.dumps([found["pre_tokenizer"], found["decoder"]]):
        kind = found["model"].get("type")
        raise TypeError(
            f"the tokenizer is a {kind} without byte-level pieces: here only byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) can get merges "
            "of its own; a SentencePiece or WordPiece model needs its own trainer"
        )
    return found


def words(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Counter[tuple[int, ...]]:
    """The words of the texts as the tokenizer splits them before it merges, each as its old tokens, with their counts."""
    backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    counts: Counter[str] = Counter()
    for text in texts:
        normal = backend.normalizer.normalize_str(text) if backend.normalizer is not None else text
        counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(normal))
    found: Counter[tuple[int, ...]] = Counter()
    for word, count in counts.items():
        found[tuple(token.id for token in backend.model.tokenize(word))] += count
    return found


def pairs(counted: Iterable[tuple[int, ...]]) -> set[Pair]:
    """All neighbours."""
    return {pair for word in counted for pair in itertools.pairwise(word)}


def learn(
    counted: Mapping[tuple[int, ...], int],
    names: Mapping[int, str],
    new_tokens: int,
    *,
    protected: set[Pair],
    ascii_pieces: bool,
    min_count: int,
) -> list[Merge]:
    """Up to `new_tokens` merges, each of the pair that stands most often side by side after the ones before it (ties: lowest ids).

    names: of old tokens by id; protected: pairs of old tokens that are never joined; ascii_pieces: whether pieces of ASCII characters
    alone may be made. Fewer come out where no pair stands `min_count` times.
    """
    sequences = [list(word) for word in counted]
    weights = list(counted.values())
    names, pieces = dict(names), dict[int, tuple[int, ...]]()
    taken = set(names.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(sequences):
        for pair in itertools.pairwise(word):
            counts[pair] += weights[number]
            places[pair].add(number)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    made: list[Merge] = []
    next_id = max(names, default=-1) + 1
    while heap and len(made) < new_tokens:
        negative, pair = heapq.heappop(heap)
        count = counts[pair]
        if count < min_count or pair in protected:
            continue
        if -negative != count:  # of before some merge: in again with what it is now
            heapq.heappush(heap, (-count, pair))
            continue
        text = names[pair[0]] + names[pair[1]]
        if text in taken or (not ascii_pieces and _is_ascii(text)):
            continue
        parts = sum((pieces.get(token, (token,)) for token in pair), ())
        joined = _join(sequences, weights, pair, next_id, counts, places)
        made.append(Merge(text, names[pair[0]], names[pair[1]], parts, count))
        names[next_id], pieces[next_id] = text, parts
        taken.add(text)
        for new in joined:
            heapq.heappush(heap, (-counts[new], new))
        next_id += 1
    return made


def extended(tokenizer: PreTrainedTokenizerBase, merges: list[Merge], folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer with the merges' tokens, ids from `first_free` on, stored in `folder` and read back."""
    from transformers import AutoTokenizer

    found, first = content(tokenizer), first_free(tokenizer)
    model = found["model"]
    for token in found["added_tokens"]:  # in the table as well, or it has holes
        model["vocab"].setdefault(token["content"], token["id"])
    model["vocab"] |= {merge.text: first + number for number, merge in enumerate(merges)}
    joined = [merge if isinstance(merge, list) else merge.split(" ") for merge in model["merges"]]
    model["merges"] = joined + [[merge.left, merge.right] for merge in merges]
    tokenizer.save_pretrained(folder)
    for stale in ("vocab.json", "merges.txt"):
        (folder / stale).unlink(missing_ok=True)
    atomic_write(folder / "tokenizer.json", json.dumps(found, ensure_ascii=False))
    reopened: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    vocabulary = reopened.get_vocab()
    if any(vocabulary.get(merge.text) != first + number for number, merge in enumerate(merges)):
        raise ValueError(
            f"{type(tokenizer).__name__} opens without the tokens that were stored: its class does not read tokenizer.json as it is; save "
            "it as PreTrainedTokenizerFast first"
        )
    return reopened


def first_free(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id after the last."""
    return int(max(tokenizer.get_vocab().values())) + 1


def _join(
    sequences: list[list[int]], weights: list[int], pair: Pair, token: int, counts: Counter[Pair], places: dict[Pair, set[int]]
) -> list[Pair]:
    """Replaces the pair by the token everywhere; the pairs that came into being, sorted."""
    born: set[Pair] = set()
    for number in sorted(places.pop(pair)):
        word, weight = sequences[number], weights[number]
        joined = _replaced(word, pair, token)
        if len(joined) == len(word):
            continue
        for old in itertools.pairwise(word):
            counts[old] -= weight
        for new in itertools.pairwise(joined):
            counts[new] += weight
            places[new].add(number)
            if token in new:
                born.add(new)
        sequences[number] = joined
    counts.pop(pair, None)
    return sorted(born)


def _replaced(word: list[int], pair: Pair, token: int) -> list[int]:
    joined: list[int] = []
    place = 0
    while place < len(word):
        if place + 1 < len(word) and (word[place], word[place + 1]) == pair:
            joined.append(token)
            place += 2
        else:
            joined.append(word[place])
            place += 1
    return joined


def _is_ascii(text: str) -> bool:
    """Whether a piece in the alphabet of byte-level BPE stands for ASCII characters alone: printable ones stand for themselves, the others
    are U+0100 to U+0121, and bytes from 128 on are all above."""
    return all(ord(character) < 128 or 256 <= ord(character) <= 289 for character in text)
