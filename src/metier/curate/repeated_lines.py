"""`curate.repeated_lines`: lines or paragraphs that many documents share, taken out of their texts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from metier.artifacts import Batch, Corpus
from metier.artifacts.table import in_order, positions
from metier.engines.data.minhash import keys_of
from metier.engines.data.similar import equal_groups
from metier.engines.data.step import map_step
from metier.engines.data.word_hashes import lower_words
from metier.method import method
from metier.progress import task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

Unit: TypeAlias = Literal["line", "paragraph"]
Keep: TypeAlias = Literal["first", "none"]
LOST = "repeated lines"
_BATCH_ROWS = 1000
_BETWEEN = {"line": re.compile(r"(\n)"), "paragraph": re.compile(r"(\n[^\S\n]*\n\s*?(?=\S|\Z))")}
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)


@method(
    paper="CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data, arXiv 1911.00359, section 3.1",
    claim="takes out the menus and notices that pages share, and nothing that stands in fewer documents than it says",
)
def repeated_lines(
    corpus: Corpus,
    *,
    unit: Unit = "line",
    keep: Keep = "first",
    min_documents: int = 2,
    min_words: int = 5,
    max_lost: float = 0.5,
    workdir: Path | None = None,
) -> Corpus:
    """The corpus without lines that stand in several documents; `removed_lines` has what was taken out of each text.

    `removed_line_documents` has, for each of these lines, the number of documents it stands in; `lost_share` the share of the text's
    characters that they are, 0 to 1. A document that loses more than `max_lost`, or all its words, is marked "repeated lines" and keeps its
    whole text. Lines are the same where their words are, in any case and punctuation; unlike in CCNet other numbers and accents make other
    lines, and lines of fewer than `min_words` words and fenced code blocks stay: a language's "Returns:" or `return None` is no boilerplate.
    A line that stands twice in one document counts once. Where the first document with a line is marked itself, that line is in none.
    Documents marked before stay as they are and count for nothing.

    Deduplicating a whole crawl this way made models worse in FineWeb's trials (arXiv 2406.17557, section 3.4): use it within
    a site or a dump, or with a high `min_documents`.
    The corpus is read twice, and no text is held: 16 bytes a line that repeats are. Lines' hashes lie in `workdir` meanwhile, or where
    temporary files do, 16 bytes a line; two of a billion different lines are taken for equal with a probability of 3%.
    Settings:
        unit: what is compared, line or paragraph (between blank lines)
        keep: first leaves a repeated line in the first document that has it, as CCNet does; none takes it out everywhere
        min_documents: documents that a line stands in at least to be taken out, 2 or more; 2 as in CCNet
        min_words: words of the shortest line that is taken out, 1 or more; FineWeb tried 10
        max_lost: share of a text's characters that may be taken out, 0 to 1
    """
    _check(unit, keep, min_documents, min_words, max_lost)
    with tempfile.TemporaryDirectory(prefix="lines-", dir=workdir) as folder:
        repeated = _repeated(corpus, unit, min_documents, min_words, Path(folder))
    return map_step(
        corpus, partial(remove_lines, repeated=repeated, unit=unit, keep=keep, min_words=min_words, max_lost=max_lost)
    )


@dataclass(frozen=True)
class Repeated:
    """Lines that repeat, by the key of their words (sorted): the key of the first document's id, and in how many documents they stand."""

    keys: Hashes
    owners: Hashes
    documents: Ints

    def find(self, keys: Hashes) -> Ints:
        """Where each key stands in `keys`, -1 for a line that doesn't repeat."""
        import numpy as np

        if len(self.keys) == 0:
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)


def remove_lines(batch: Batch, *, repeated: Repeated, unit: Unit, keep: Keep, min_words: int, max_lost: float) -> Batch:
    """Takes repeated lines out of `text`; fills `drop_reason`, `removed_lines`, `removed_line_documents`, `lost_share`."""
    texts, reasons, removed, documents, lost = [], [], [], [], []
    for text, was, owner in zip(batch["text"], batch["drop_reason"], keys_of(batch["id"]), strict=True):
        pieces = list(_pieces(text, unit, min_words)) if was is None else []
        compared = [index for index, (_, _, words) in enumerate(pieces) if words]
        places = repeated.find(keys_of([pieces[index][2] for index in compared])).tolist()
        out = {
            index: place
            for index, place in zip(compared, places, strict=True)
            if place >= 0 and (keep == "none" or repeated.owners[place] != owner)
        }
        left = _without(pieces, out) if out else text
        share = sum(len(pieces[index][0]) for index in out) / max(1, len(text))
        dropped = bool(out) and (share > max_lost or not lower_words(left))
        texts.append(text if dropped else left)
        reasons.append(LOST if dropped else was)
        removed.append([pieces[index][0] for index in out])
        documents.append([int(repeated.documents[place]) for place in out.values()])
        lost.append(share)
    return {
        "text": texts,
        "drop_reason": reasons,
        "removed_lines": removed,
        "removed_line_documents": documents,
        "lost_share": lost,
    }


def _pieces(text: str, unit: Unit, min_words: int) -> Iterator[tuple[str, str, str]]:
    """Each line or paragraph, what separates it from the next, and its words where it is compared ("" otherwise)."""
    parts = _BETWEEN[unit].split(text)
    fenced = False
    for index in range(0, len(parts), 2):
        fences = len(_FENCE.findall(parts[index]))
        protected = fenced or fences > 0
        fenced ^= fences % 2 == 1
        words = "" if protected else lower_words(parts[index])
        enough = words and words.count(" ") + 1 >= min_words
        yield parts[index], parts[index + 1] if index + 1 < len(parts) else "", words if enough else ""


def _without(pieces: list[tuple[str, str, str]], out: dict[int, int]) -> str:
    """The text without these pieces; of the blank lines around one, those before it stay."""
    kept: list[str] = []
    gap = False  # whether a piece was taken out, and nothing but blank lines came since
    for index, (piece, separator, _) in enumerate(pieces):
        if index in out:
            gap = True
        elif gap and not piece.strip() and (len(kept) == 0 or kept[-1].endswith("\n\n") or kept[-1] == "\n"):
            continue
        else:
            gap = False
            kept.append(piece + separator)
    return "".join(kept).rstrip("\n") + _last_breaks(pieces)


def _last_breaks(pieces: list[tuple[str, str, str]]) -> str:
    text = "".join(piece + separator for piece, separator, _ in pieces[-2:])
    return text[len(text.rstrip("\n")) :]


def _repeated(corpus: Corpus, unit: Unit, min_documents: int, min_words: int, folder: Path) -> Repeated:
    import numpy as np

    lines_file, owners_file = folder / "lines.u64", folder / "owners.u64"
    lines = 0
    with lines_file.open("wb") as lines_sink, owners_file.open("wb") as owners_sink, task("lines", unit="document") as progress:
        for batch in _line_batches(corpus, unit, min_words):
            found = batch["lines"].flatten().to_numpy(zero_copy_only=False)
            found.tofile(lines_sink)
            np.repeat(batch["key"].to_numpy(), np.diff(batch["lines"].offsets.to_numpy())).tofile(owners_sink)
            lines += len(found)
            progress.advance(batch.num_rows)
    empty = np.zeros(0, np.uint64)
    all_keys: Hashes = np.memmap(lines_file, np.uint64, "r") if lines else empty
    all_owners: Hashes = np.memmap(owners_file, np.uint64, "r") if lines else empty
    keys, firsts, counts = [empty], [empty], [np.zeros(0, np.int64)]
    for order, starts in equal_groups(all_keys):
        documents = np.diff(starts, append=len(order))
        first = order[starts[documents >= min_documents]]
        keys.append(np.asarray(all_keys[first]))
        firsts.append(np.asarray(all_owners[first]))
        counts.append(documents[documents >= min_documents])
    return Repeated(np.concatenate(keys), np.concatenate(firsts), np.concatenate(counts))


def _line_batches(corpus: Corpus, unit: Unit, min_words: int) -> Iterator[pa.RecordBatch]:
    """Columns key (of the id) and lines (keys of the distinct ones that are compared) of the kept documents, in order."""
    import daft

    number = daft.DataType.uint64()

    @daft.func.batch(
        return_dtype=daft.DataType.struct({"key": number, "lines": daft.DataType.list(number)}),
        unnest=True,
        batch_size=_BATCH_ROWS,
    )
    def run(ids: daft.Series, texts: daft.Series) -> pa.Array:
        return _line_keys(ids.to_pylist(), texts.to_pylist(), unit, min_words)

    frame = corpus.kept()
    yield from in_order(frame.select(*positions(frame), run(frame["id"], frame["text"])))


def _line_keys(ids: list[str], texts: list[str], unit: Unit, min_words: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    distinct = [list(dict.fromkeys(words for _, _, words in _pieces(text, unit, min_words) if words)) for text in texts]
    ends = np.cumsum([0, *map(len, distinct)])
    lists = pa.LargeListArray.from_arrays(ends, pa.array(keys_of([words for lines in distinct for words in lines])))
    return pa.StructArray.from_arrays([pa.array(keys_of(ids)), lists], ["key", "lines"])


def _check(unit: str, keep: str, min_documents: int, min_words: int, max_lost: float) -> None:
    if unit not in _BETWEEN:
        raise ValueError(f"unit={unit!r} is neither 'line' nor 'paragraph'")
    if keep not in ("first", "none"):
        raise ValueError(f"keep={keep!r} is neither 'first' nor 'none'")
    if min_documents < 2:
        raise ValueError(f"min_documents={min_documents} would take out lines that stand nowhere else: give 2 or more")
    if min_words < 1:
        raise ValueError(f"min_words={min_words} would compare lines without words: give 1 or more")
    if not 0 <= max_lost <= 1:
        raise ValueError(f"max_lost={max_lost} is no share: give a number between 0 and 1, such as 0.5")
