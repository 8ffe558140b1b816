"""Tables that flow: Corpus, Examples, Items. Parquet on disk, a Daft DataFrame in the hand.

Rows that a rule drops or that could not be read stay in the table until it is saved, marked in two nullable string columns:
`drop_reason` (the rule's name) and `error` (why the row could not be read). `save` writes them apart and counts everything, so that
no row is ever lost silently: in = kept + dropped + quarantined.

The order of rows means something: of copies the first stays, and training sees them in turn. On one machine Daft keeps it. On a
cluster it does not, so there every table has a column `position` by which it is sorted whenever it is read; it is not part of a row.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from metier.artifacts.files import atomic_write

if TYPE_CHECKING:
    import daft
    import datasets
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

# Read by Daft when it is imported, which happens below where a table is used: the library prints nothing and calls nobody.
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")

Batch: TypeAlias = dict[str, list[Any]]  # rows as columns: what a step takes and gives

MARKS = ("drop_reason", "error")
POSITION = "position"
ROWS_PER_FILE, BYTES_PER_FILE = 100_000, 64 << 20  # whichever comes first; a file is what is read at once


@dataclass(frozen=True)
class Funnel:
    """What became of every row: `total` = `kept` + sum of `dropped` + sum of `quarantined`. Counts by rule and by error."""

    total: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.total != self.kept + sum(self.dropped.values()) + sum(self.quarantined.values()):
            raise ValueError(f"the counts of a funnel do not add up: {asdict(self)}")


class Table:
    """Rows with at least the columns in `required`, as a lazy Daft DataFrame."""

    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, frame: daft.DataFrame, path: Path | None = None) -> None:
        """`path`: the folder the rows are stored in, None for a table that is not stored yet."""
        missing = [name for name in self.required if name not in frame.column_names]
        if missing:
            kind = type(self).__name__
            raise ValueError(f"a {kind} needs the columns {list(self.required)}; {missing} are missing of {frame.column_names}")
        self._frame, self.path = frame, path

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The table saved in a folder (or in one Parquet file); its dropped and quarantined rows are not part of it."""
        path = Path(path)
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise FileNotFoundError(f"{path} holds no Parquet file")
        return cls(read_parquet(files), path)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Self:
        """A table of rows in memory, with every column that any row has (null where a row lacks it).

        `columns` names them for the case of no rows; they are strings then, as is a column that holds nothing but null.
        """
        import daft
        import pyarrow as pa

        rows = [dict(row) for row in rows]
        names = list(dict.fromkeys(name for row in rows for name in row)) or list(columns or cls.required)
        columns_ = {name: _typed(pa.array([row.get(name) for row in rows])) for name in names}
        return cls(
            daft.from_arrow(pa.table(columns_ | ({POSITION: pa.array(range(len(rows)), pa.int64())} if on_cluster() else {})))
        )

    def frame(self) -> daft.DataFrame:
        """All rows, marked ones included."""
        return self._frame

    def kept(self) -> daft.DataFrame:
        """The rows that no rule dropped and that could be read, without the two marks."""
        frame = self._frame
        for mark in MARKS:
            if mark in frame.column_names:
                frame = frame.where(frame[mark].is_null())
        return frame.exclude(*[mark for mark in MARKS if mark in frame.column_names])

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """All rows in order, marked ones included, as a stream; of some columns, or of all."""
        return in_order(self._frame, *columns)

    def all_rows(self) -> Iterator[dict[str, Any]]:
        """All rows one by one, in order, marked ones included, without holding them all."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def arrow(self) -> pa.Table:
        """The kept rows in memory."""
        import pyarrow as pa

        frame = self.kept()
        batches = list(in_order(frame))
        schema = batches[0].schema if batches else _without(frame.schema().to_pyarrow_schema(), POSITION)
        return pa.Table.from_batches(batches, schema)

    def dataset(self) -> datasets.Dataset:
        """The kept rows as a Hugging Face dataset (needs the `hub` extra)."""
        import datasets

        return datasets.Dataset(self.arrow())

    def pandas(self) -> pd.DataFrame:
        """The kept rows as a pandas DataFrame (needs pandas)."""
        return self.arrow().to_pandas()

    def rows(self) -> Iterator[dict[str, Any]]:
        """The kept rows one by one, in order, without holding them all."""
        for batch in in_order(self.kept()):
            yield from batch.to_pylist()

    def __len__(self) -> int:
        """How many rows are kept."""
        return int(self.kept().count_rows())

    def funnel(self) -> Funnel:
        """What became of every row; read from the folder when saved."""
        if self.path is not None and (self.path / "funnel.json").is_file():
            return Funnel(**json.loads((self.path / "funnel.json").read_text()))
        marks = [mark for mark in MARKS if mark in self._frame.column_names]
        if not marks:
            return Funnel(len(self), len(self))
        dropped: Counter[str] = Counter()
        quarantined: Counter[str] = Counter()
        total = kept = 0
        for batch in self._frame.select(*marks).to_arrow_iter():  # in any order
            for row in batch.to_pylist():
                total += 1
                if row.get("error") is not None:
                    quarantined[_kind(row["error"])] += 1
                elif row.get("drop_reason") is not None:
                    dropped[row["drop_reason"]] += 1
                else:
                    kept += 1
        return Funnel(total, kept, dict(dropped.most_common()), dict(quarantined.most_common()))

    def save(self, folder: Path) -> Self:
        """Writes kept rows to part-*.parquet, the others to dropped/ and quarantined/, the counts to funnel.json.

        One streaming pass; returns the stored table. funnel.json comes last, so a folder with it is whole.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        folder.mkdir(parents=True, exist_ok=True)
        kept, dropped, quarantined = (_Writer(folder / name) for name in ("", "dropped", "quarantined"))
        drop_counts: Counter[str] = Counter()
        error_counts: Counter[str] = Counter()
        total = 0
        schema = _without(self._frame.schema().to_pyarrow_schema(), *MARKS, POSITION)
        kept.declare(schema.append(pa.field(POSITION, pa.int64())) if on_cluster() else schema)
        for batch in self.batches():
            if on_cluster():
                batch = batch.append_column(POSITION, pa.array(range(total, total + batch.num_rows), pa.int64()))
            total += batch.num_rows
            if "error" in batch.schema.names:
                bad = batch.filter(pc.is_valid(batch["error"]))
                error_counts.update(_kind(error) for error in bad["error"].to_pylist())
                quarantined.write(bad)
                batch = batch.filter(pc.is_null(batch["error"]))
            if "drop_reason" in batch.schema.names:
                bad = batch.filter(pc.is_valid(batch["drop_reason"]))
                drop_counts.update(bad["drop_reason"].to_pylist())
                dropped.write(bad)
                batch = batch.filter(pc.is_null(batch["drop_reason"]))
            kept.write(batch.select([name for name in batch.schema.names if name not in MARKS]))
        for writer in (kept, dropped, quarantined):
            writer.close()
        funnel = Funnel(total, kept.count, dict(drop_counts.most_common()), dict(error_counts.most_common()))
        atomic_write(folder / "funnel.json", json.dumps(asdict(funnel), indent=1))
        return type(self).open(folder)


class Corpus(Table):
    """Documents: id (unique), text, source (where the text comes from: a package, a site; losses are kept per source)."""

    required = ("id", "text", "source")


class Examples(Table):
    """Training examples in TRL's columns: messages, or prompt and completion, or prompt, chosen and rejected."""

    required = ()

    def __init__(self, frame: daft.DataFrame, path: Path | None = None) -> None:
        super().__init__(frame, path)
        names = set(frame.column_names)
        if not ("messages" in names or {"prompt", "completion"} <= names or {"prompt", "chosen", "rejected"} <= names):
            raise ValueError(
                "Examples need the columns messages, or prompt and completion, or prompt, chosen and rejected; "
                f"these are {sorted(names)}"
            )


class Items(Table):
    """Evaluation items. Of three kinds:

    choice: `prompt`, `options` (list of strings), `gold` (index of the right option)
    generate: `prompt`, `answer` (what the model's words must equal, once normalised)
    text: `prompt` holds a text whose bits per byte are measured

    id: unique; task: the group that one number is given for; role: acquired (from training documents), held_out (from documents
    never trained on) or general (abilities to retain); chat: whether the prompt is a user's message for the chat template;
    source: the document it comes from, or "".

    Of generate items, where the columns are there: stop (list of strings that end an answer), max_new_tokens (0: room for the right
    answer), extract (a regular expression whose last match, its first group, is the answer; "": all of it), compare: "words" (equal once
    normalised) or "value" (equal as numbers or formulas).
    """

    required = ("id", "task", "role", "kind", "prompt", "options", "gold", "answer", "chat", "source")


class _Writer:
    """Parquet files of bounded size in one folder, made when the first row comes (or at `close` where a schema was declared)."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._in_file, self._bytes, self._number = folder, 0, 0, 0
        self._file: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self.count = 0

    def declare(self, schema: pa.Schema) -> None:
        self._schema = schema

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        if self._file is None:
            self._file = self._begin(batch.schema)
        self._file.write_batch(batch)
        self.count += batch.num_rows
        self._in_file += batch.num_rows
        self._bytes += batch.nbytes
        if self._in_file >= ROWS_PER_FILE or self._bytes >= BYTES_PER_FILE:
            self._end()

    def close(self) -> None:
        if self.count == 0 and self._schema is not None:
            self._file = self._begin(self._schema)
        self._end()

    def _begin(self, schema: pa.Schema) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        self._folder.mkdir(parents=True, exist_ok=True)
        return pq.ParquetWriter(self._folder / f"part-{self._number:05d}.parquet", schema, compression="zstd")

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file, self._in_file, self._bytes, self._number = None, 0, 0, self._number + 1


def _typed(array: pa.Array) -> pa.Array:
    """The array as strings, or lists of strings, where nothing in it tells its type."""
    import pyarrow as pa

    if pa.types.is_null(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_list(array.type) and pa.types.is_null(array.type.value_type):
        return array.cast(pa.large_list(pa.large_string()))
    return array


def read_parquet(files: Sequence[Path]) -> daft.DataFrame:
    """The rows of Parquet files of one schema, in their order, lazily."""
    _read_few_at_a_time()
    import daft

    return daft.read_parquet([str(file) for file in files])


@cache
def _read_few_at_a_time() -> None:
    # Daft reads eight files ahead, all of their rows; with fewer, steps are as fast and memory stays flat.
    import daft

    daft.set_execution_config(scantask_max_parallel=max(1, (os.cpu_count() or 1) // 4))


def on_cluster() -> bool:
    """Whether Daft runs on Ray (engines/data/cluster.py)."""
    runners = sys.modules.get("daft.runners")
    return runners is not None and runners.get_or_infer_runner_type() == "ray"


def positions(frame: daft.DataFrame) -> list[str]:
    """The column to select along with others from a table's frame so that what is made of it can be read by `in_order`."""
    return [POSITION] if POSITION in frame.column_names else []


def in_order(frame: daft.DataFrame, *columns: str) -> Iterator[pa.RecordBatch]:
    """The rows of a table's frame in their order as a stream, without `position`; of some columns, or of all.

    A frame whose `position` was lost on the way comes in whatever order the cluster gives.
    """
    wanted = list(columns) or [name for name in frame.column_names if name != POSITION]
    if POSITION not in frame.column_names or not on_cluster():
        yield from frame.select(*wanted).to_arrow_iter()
        return
    keys = [name for name in (POSITION, "id") if name in frame.column_names]  # repeated rows share a position
    for batch in frame.select(*dict.fromkeys([*wanted, *keys])).sort(keys).to_arrow_iter():
        yield batch.select(wanted)


def _without(schema: pa.Schema, *names: str) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([column for column in schema if column.name not in names])


def _kind(error: str) -> str:  # errors are counted by what stands before the first colon: "broken JSON: line 3 ..."
    return error.partition(":")[0]
