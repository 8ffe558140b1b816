"""`curate.decontaminate`: marks documents that hold words of an examination."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from metier.artifacts import Batch, Corpus, Items
from metier.artifacts.table import in_order, positions
from metier.engines.data.step import map_step
from metier.engines.data.word_hashes import lower_words, ngram_hashes, word_hashes
from metier.method import method
from metier.progress import task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Ints = npt.NDArray[np.int64]
    Hashes = npt.NDArray[np.uint64]

CONTAMINATED = "contaminated"
_BATCH_ROWS = 1000
_TEMPLATE_ITEMS = 10  # with fewer, half of a task's items may well share a passage
_LONGEST_NGRAM = 100

logger = logging.getLogger(__name__)


class Decontaminated(NamedTuple):
    """The corpus with its marks, and the items with what was found of each.

    The items' new columns: num_ngrams (that were looked for; 0 for an item too short to be looked for), num_documents (that hold one of
    them), num_near_documents (that hold a run of `near_ngram` words), documents (ids of the first three of these).
    """

    corpus: Corpus
    items: Items


@method(
    paper="Language Models are Few-Shot Learners, arXiv 2005.14165, appendix C",
    claim="no kept document holds 13 words in a row of a question, or all words of a shorter one",
)
def decontaminate(
    corpus: Corpus,
    items: list[Items],
    texts: list[Corpus] | None = None,
    *,
    ngram: int = 13,
    near_ngram: int = 8,
    min_words: int = 5,
) -> Decontaminated:
    """The corpus with documents marked "contaminated" that share a run of `ngram` words with an item or a text of `texts`.

    An item is its prompt, alone and with the right answer after it. One of fewer words than `ngram` is looked for as a whole, down to
    `min_words`; a shorter one cannot be told from chance (`num_ngrams` 0, and a warning). Case and punctuation don't count. Left
    out of an item: runs of words that most items of its task share (instructions, worked examples), where the task has ten items or more; and
    a short prompt that several items share, which is nobody's own. `contaminated_by` lists the items by id, `near_contaminated_by`
    those that share `near_ngram` words, which marks nothing, and `shared_words` the first run that was found. Unlike the paper, whole
    documents are marked, not 200 characters around; and a document is marked however many others hold the same words.
    Documents marked before stay as they are. Items are compared by 64-bit hashes of their words: chance matches are rare (2^-64 a pair).
    Raises ValueError where two items or texts have the same id.
    Settings:
        ngram: words in a row that mark a document, 2 to 100; 13 as in the paper
        near_ngram: words in a row that are reported only, 2 to `ngram`; 8 as in the paper for its shortest sets
        min_words: words of the shortest item that is looked for as a whole, 1 to `near_ngram`
    """
    if not 2 <= ngram <= _LONGEST_NGRAM:
        raise ValueError(f"ngram={ngram} is no run of words to look for: give 2 to {_LONGEST_NGRAM}, such as 13")
    if not 2 <= near_ngram <= ngram:
        raise ValueError(f"near_ngram={near_ngram} marks less than ngram={ngram} does: give 2 to {ngram}")
    if not 1 <= min_words <= near_ngram:
        raise ValueError(f"min_words={min_words} is not between 1 and near_ngram={near_ngram}")
    rows = _rows(items, texts or [])
    asked = [_Asked.of(row) for row in rows]
    exact, near = (Grams.of(asked, size, min_words) for size in (ngram, near_ngram))
    sought = exact.num_by_item(len(rows))
    if 0 in sought:
        logger.warning("%d of %d items are too short or too common to be looked for: see num_ngrams", sought.count(0), len(rows))
    found = _search(corpus, exact, near)
    ids = [row["id"] for row in rows]
    marked = map_step(corpus, partial(mark_contaminated, found=found, items=ids))
    return Decontaminated(marked, _counted(rows, sought, found, items))


class Found(NamedTuple):
    """Of a document: the items it shares words with (their positions), those it shares shorter runs with, and the first shared run."""

    items: list[int]
    near: list[int]
    words: str | None


def mark_contaminated(batch: Batch, *, found: Mapping[str, Found], items: list[str]) -> Batch:
    """Fills `drop_reason`, `contaminated_by`, `near_contaminated_by` and `shared_words` by id; an earlier reason stands."""
    nothing = Found([], [], None)
    rows = [
        found.get(name, nothing) if was is None else nothing for name, was in zip(batch["id"], batch["drop_reason"], strict=True)
    ]
    reasons = [was or (CONTAMINATED if row.items else None) for row, was in zip(rows, batch["drop_reason"], strict=True)]
    return {
        "drop_reason": reasons,
        "contaminated_by": [[items[index] for index in row.items] for row in rows],
        "near_contaminated_by": [[items[index] for index in row.near] for row in rows],
        "shared_words": [row.words for row in rows],
    }


@dataclass(frozen=True)
class _Asked:
    """The words of an item's prompt and of both prompt and right answer (the same where it has none)."""

    task: str
    prompt: str
    whole: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Asked:
        answer = row["answer"] or ""
        if row["kind"] == "choice" and row["options"]:
            answer = row["options"][row["gold"]]
        prompt = lower_words(row["prompt"])
        answer = lower_words(answer)
        return cls(row["task"], prompt, f"{prompt} {answer}".strip())


@dataclass(frozen=True)
class Grams:
    """Runs of words to look for: their hashes (sorted, distinct), and the items that have each (items[starts[i] : starts[i + 1]]).

    sizes: numbers of words that runs have; table: true at the upper bits of each hash
    """

    keys: Hashes
    starts: Ints
    items: Ints
    sizes: tuple[int, ...]
    table: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, asked: list[_Asked], size: int, min_words: int) -> Grams:
        import numpy as np

        sizes: set[int] = set()
        grams = []
        for one in asked:
            found, used = _grams(one, size, min_words)
            grams.append(found)
            sizes |= used
        pairs = _own(asked, grams, size)
        order = np.lexsort((pairs[1], pairs[0]))
        hashes, items = pairs[0][order], pairs[1][order].astype(np.int64)
        keys, starts = np.unique(hashes, return_index=True)
        bits = min(24, max(8, len(keys).bit_length() + 4))
        table = np.zeros(1 << bits, bool)
        table[(keys >> np.uint64(64 - bits)).astype(np.int64)] = True
        return cls(keys, np.append(starts, len(items)), items, tuple(sorted(sizes)), table)

    def num_by_item(self, count: int) -> list[int]:
        import numpy as np

        return [int(number) for number in np.bincount(self.items, minlength=count)]

    def look(self, texts: list[str]) -> Iterator[tuple[int, int, int, list[int]]]:
        """For each run found in these texts (of words joined by spaces): the text, the run's first word, its size, its items."""
        import numpy as np

        hashes, ends = word_hashes(texts)
        bits = np.uint64(64 - (len(self.table).bit_length() - 1))
        for size in self.sizes:
            runs, run_ends = ngram_hashes(hashes, ends, size)
            likely = np.flatnonzero(self.table[(runs >> bits).astype(np.int64)])
            places = np.minimum(np.searchsorted(self.keys, runs[likely]), len(self.keys) - 1)
            hits = likely[self.keys[places] == runs[likely]] if len(self.keys) else likely[:0]
            of_text = np.searchsorted(run_ends, hits, "right")
            for hit, text in zip(hits.tolist(), of_text.tolist(), strict=True):
                place = int(np.searchsorted(self.keys, runs[hit]))
                first = hit - (int(run_ends[text - 1]) if text else 0)
                yield text, first, size, self.items[self.starts[place] : self.starts[place + 1]].tolist()


def _grams(asked: _Asked, size: int, min_words: int) -> tuple[dict[int, bool], set[int]]:
    """The hashes of an item's runs, each with whether it is a whole short prompt without its answer; and their numbers of words."""
    found: dict[int, bool] = {}
    sizes: set[int] = set()
    for words in (asked.whole, asked.prompt):
        count = words.count(" ") + 1 if words else 0
        if count < min_words:
            continue
        runs, _ = ngram_hashes(*word_hashes([words]), size)
        whole_prompt = count < size and words != asked.whole
        for run in runs.tolist():
            found.setdefault(run, whole_prompt)
        sizes.add(min(count, size))
    return found, sizes


def _own(asked: list[_Asked], grams: list[dict[int, bool]], size: int) -> tuple[Hashes, Hashes]:
    """The runs that say which item they are of, and the item's number, in two arrays; without templates and shared short prompts."""
    import numpy as np

    of_task: dict[str, Counter[int]] = defaultdict(Counter)
    prompts: Counter[int] = Counter()
    for one, found in zip(asked, grams, strict=True):
        of_task[one.task].update(list(found))
        prompts.update(run for run, whole_prompt in found.items() if whole_prompt)
    num_items = Counter(one.task for one in asked)
    runs, items = [], []
    for number, (one, found) in enumerate(zip(asked, grams, strict=True)):
        most = num_items[one.task] / 2 if num_items[one.task] >= _TEMPLATE_ITEMS else len(asked)
        for run, whole_prompt in found.items():
            if of_task[one.task][run] <= most and not (whole_prompt and prompts[run] > 1):
                runs.append(run)
                items.append(number)
    return np.array(runs, np.uint64), np.array(items, np.uint64)


def _rows(items: Iterable[Items], texts: Iterable[Corpus]) -> list[dict[str, Any]]:
    """All items, and the texts as items of the kind `text`."""
    rows = [row for table in items for row in table.rows()]
    for table in texts:
        for row in table.rows():
            rows.append(
                {
                    "id": row["id"],
                    "task": row["source"],
                    "role": "held_out",
                    "kind": "text",
                    "prompt": row["text"],
                    "options": None,
                }
                | {"gold": None, "answer": "", "chat": False, "source": row["id"]}
            )
    doubled = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if doubled:
        raise ValueError(f"{doubled[0]!r} is the id of two items or texts: give each its own, so that a mark says which")
    return rows


def _search(corpus: Corpus, exact: Grams, near: Grams) -> dict[str, Found]:
    """What was found of each document that shares words with an item; one pass over the kept documents."""
    found: dict[str, Found] = {}
    with task("looking for items", unit="document") as progress:
        for batch in _hits(corpus, exact, near):
            progress.advance(batch.num_rows)
            for row in batch.filter(batch["near"].is_valid()).to_pylist():
                found[row["id"]] = Found(row["items"], row["near"], row["words"])
    return found


def _hits(corpus: Corpus, exact: Grams, near: Grams) -> Iterator[pa.RecordBatch]:
    """Columns id, items, near (null where nothing is shared) and words, in order."""
    import daft

    numbers, text = daft.DataType.list(daft.DataType.int64()), daft.DataType.string()

    @daft.func.batch(
        return_dtype=daft.DataType.struct({"items": numbers, "near": numbers, "words": text}), unnest=True, batch_size=_BATCH_ROWS
    )
    def run(texts: daft.Series) -> pa.Array:
        return _looked(texts.to_pylist(), exact, near)

    frame = corpus.kept()
    yield from in_order(frame.select("id", *positions(frame), run(frame["text"])))


def _looked(texts: list[str], exact: Grams, near: Grams) -> pa.Array:
    import pyarrow as pa

    words = [lower_words(text) for text in texts]
    found: list[list[set[int]]] = [[set(), set()] for _ in texts]
    firsts: list[tuple[int, int] | None] = [None] * len(texts)
    for number, grams in enumerate((exact, near)):
        runs: dict[int, tuple[int, int]] = {}
        for text, first, size, items in grams.look(words):
            found[text][number].update(items)
            runs[text] = min(runs.get(text, (first, size)), (first, size))
        for text, place in runs.items():
            firsts[text] = firsts[text] or place
    shown = [
        " ".join(text.split(" ")[place[0] : place[0] + place[1]]) if place is not None else None
        for text, place in zip(words, firsts, strict=True)
    ]
    lists = pa.list_(pa.int64())
    columns = [
        pa.array([sorted(both[0]) if place is not None else None for both, place in zip(found, firsts, strict=True)], lists),
        pa.array(
            [sorted(both[0] | both[1]) if place is not None else None for both, place in zip(found, firsts, strict=True)], lists
        ),
        pa.array(shown, pa.large_string()),
    ]
    return pa.StructArray.from_arrays(columns, ["items", "near", "words"])


def _counted(rows: list[dict[str, Any]], sought: list[int], found: Mapping[str, Found], items: list[Items]) -> Items:
    exact: Counter[int] = Counter()
    documents: dict[int, list[str]] = defaultdict(list)
    for name, hit in found.items():
        exact.update(hit.items)
        for index in hit.near:
            documents[index].append(name)
    columns = list(dict.fromkeys([*Items.required, *(name for table in items for name in table.frame().column_names)]))
    return Items.from_rows(
        [
            row
            | {"num_ngrams": sought[index], "num_documents": exact[index], "num_near_documents": len(documents[index])}
            | {"documents": documents[index][:3]}
            for index, row in enumerate(rows)
        ],
        [*columns, "num_ngrams", "num_documents", "num_near_documents", "documents"],
    )
