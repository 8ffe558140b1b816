"""`data.split`: one part to train on, one to hold out, with nothing in the second that stands in the first."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metier.artifacts import Batch, Corpus
from metier.engines.data.minhash import banding_for, fingerprint
from metier.engines.data.similar import candidates_across, shingles
from metier.engines.data.step import map_step
from metier.method import method

TWIN = "twin in training"
_TWIN_SHARE = 0.8
_CANDIDATE_SIMILARITY = 0.5  # a held-out text that lies whole in a training text twice as long

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """The two parts; together they hold every row of the corpus once."""

    train: Corpus
    held_out: Corpus


@method(claim="no held-out text has a twin in training, and the share of characters held out is met closely")
def split(corpus: Corpus, *, held_out: float = 0.1, by: str | None = "source", seed: int = 0) -> Split:
    """The corpus in two parts, order kept: whole groups of equal `by` go to one side, until `held_out` of all characters are held out.

    A held-out text of which four fifths of the word 5-grams stand in one training text (or that differs from one only in a title line)
    stays in the held-out part, marked "twin in training". Rows marked before (dropped, unreadable) go to `train`, with their marks.
    Groups are drawn by a hash of seed and name. held_out=0 holds out nothing.
    Raises ValueError for a corpus too small to split, for a single group, and where every held-out text has a twin.
    Settings:
        held_out: share of the characters to hold out, 0 up to but not including 1
        by: column whose equal values stay together, as source (package, folder, site); null splits by document
    """
    if not 0 <= held_out < 1:
        raise ValueError(
            f"held_out={held_out} is no share to hold out: give a number from 0 up to, not including, 1, such as 0.1"
        )
    names, sizes, documents = _groups(corpus, by)
    chosen: set[str] = set()
    if held_out > 0:
        _check(names, held_out, by)
        chosen = _chosen(names, sizes, held_out, seed)
        share = sum(size for name, size in zip(names, sizes, strict=True) if name in chosen) / max(1, sum(sizes))
        if abs(share - held_out) > 0.5 * held_out:
            logger.warning("held_out=%g could be met only as %.3f: the groups of %r are too large", held_out, share, by)
    held = {name for name, group in documents.items() if group in chosen}
    train = map_step(corpus, partial(mark_side, held=held, keep_held=False))
    twins = _twins(corpus, held, seed) if held else set()
    if held and len(twins) == len(held):
        raise ValueError(
            f"each of the {len(held)} held-out documents has a twin in training: run curate.duplicates before data.split"
        )
    marked = map_step(corpus, partial(mark_side, held=held, keep_held=True, twins=twins))
    return Split(_side(train, unread=True), _side(marked, unread=False))


def mark_side(batch: Batch, *, held: set[str], keep_held: bool, twins: set[str] | frozenset[str] = frozenset()) -> Batch:
    """Adds `_here`: whether a row belongs to this side; fills `drop_reason` of twins."""
    marked = batch["drop_reason"]
    here = [(was is None and name in held) == keep_held for name, was in zip(batch["id"], marked, strict=True)]
    reasons = [was or (TWIN if name in twins else None) for name, was in zip(batch["id"], marked, strict=True)]
    return {"_here": here, "drop_reason": reasons}


def _side(corpus: Corpus, unread: bool) -> Corpus:
    """The rows of this side; `unread`: whether those that a step doesn't see, since they could not be read, are among them."""
    frame = corpus.frame()
    return Corpus(frame.where(frame["_here"].fill_null(unread)).exclude("_here"))


def _groups(corpus: Corpus, by: str | None) -> tuple[list[str], list[int], dict[str, str]]:
    """Names and characters of the groups, and the group of each kept document."""
    frame = corpus.kept()
    if by is not None and by not in frame.column_names:
        raise ValueError(f"by={by!r} is no column of the corpus; it has {frame.column_names}. null splits by document")
    column = frame[by].cast("string").fill_null("") if by is not None else frame["id"]
    table = frame.select(frame["id"], column.alias("group"), frame["text"].length().alias("size")).to_pydict()
    totals: dict[str, int] = {}
    for group, size in zip(table["group"], table["size"], strict=True):
        totals[group] = totals.get(group, 0) + (size or 0)
    return list(totals), list(totals.values()), dict(zip(table["id"], table["group"], strict=True))


def _chosen(names: list[str], sizes: list[int], share: float, seed: int) -> set[str]:
    """Groups in an order drawn by hash, each taken that still fits, and one more where that is nearer; at least one, and never all."""
    target = share * sum(sizes)
    order = sorted(zip(names, sizes, strict=True), key=lambda group: _draw(seed, group[0]))
    chosen: set[str] = set()
    total = 0
    for name, size in order:
        if total + size <= target and len(chosen) < len(order) - 1:
            chosen.add(name)
            total += size
    left = [group for group in order if group[0] not in chosen]
    name, size = min(left, key=lambda group: abs(total + group[1] - target))
    if len(left) > 1 and (not chosen or abs(total + size - target) < abs(total - target)):
        chosen.add(name)
    return chosen


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode(), digest_size=16).digest()


def _check(names: list[str], held_out: float, by: str | None) -> None:
    if not names:
        raise ValueError("the corpus holds no document: there is nothing to split")
    if len(names) == 1 and by is None:
        raise ValueError(f"a corpus of one document can't be split: give more documents, or held_out=0 instead of {held_out}")
    if len(names) == 1:
        raise ValueError(
            f"all documents have the same {by!r}, {names[0]!r}, so none can be held out: set by: null to split by document"
        )


def _twins(corpus: Corpus, held: set[str], seed: int) -> set[str]:
    """Ids of the held-out documents that stand, for the most part, in a training document."""
    with tempfile.TemporaryDirectory(prefix="split-") as folder:
        found = fingerprint(corpus, banding_for(_CANDIDATE_SIMILARITY), Path(folder), seed=seed)
        side = np.array([name in held for name in found.ids()])
        pairs = candidates_across(found, side)
        hashes = shingles(corpus, found, np.unique(pairs), Path(folder) / "shingles.u64")
        near = pairs[hashes.shared(pairs) >= _TWIN_SHARE * hashes.sizes(pairs[:, 0]), 0]
        equal = np.flatnonzero(side & np.isin(found.part, found.part[~side]))
        return set(found.ids(np.union1d(near, equal)))
