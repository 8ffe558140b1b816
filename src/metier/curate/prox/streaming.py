"""A corpus refined block by block and kept in Parquet while it is: memory holds one block, whatever the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.artifacts import Corpus
from metier.artifacts.files import passing_folder
from metier.artifacts.table import read_parquet
from metier.curate.prox.refine import Refining, Statistics, refine
from metier.progress import task

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 256  # documents asked about at once


def refine_corpus(corpus: Corpus, how: Refining, workdir: Path | None) -> tuple[Corpus, Statistics]:
    """All rows in order, with the columns of `prox`, in part-*.parquet of `workdir`/refined (None: a folder that lasts as long as the
    process), and the counts."""
    import pyarrow.parquet as pq

    folder, statistics = passing_folder(workdir, "refined"), Statistics()
    before = corpus.frame().schema().to_pyarrow_schema()
    schema = _schema(before)
    file = folder / "part-00000.parquet"
    with pq.ParquetWriter(file, schema, compression="zstd") as writer, task("refining", unit="document") as progress:
        for batch in _blocks(corpus):
            writer.write_batch(_refined(batch, schema, how, statistics))
            progress.advance(batch.num_rows)
    return Corpus(read_parquet([file])), statistics


def _added() -> dict[str, pa.DataType]:
    """Columns that are written here, some of which may have been there."""
    import pyarrow as pa

    strings = ("text", "drop_reason", "raw_text", "doc_program", "chunk_program", "refine_status")
    counts = ("lines_removed", "strings_replaced")
    problems = {"refine_problems": pa.large_list(pa.large_string())}
    return dict.fromkeys(strings, pa.large_string()) | dict.fromkeys(counts, pa.int64()) | problems


def _schema(before: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return pa.schema({field.name: field.type for field in before} | _added())


def _blocks(corpus: Corpus) -> Iterator[pa.RecordBatch]:
    for batch in corpus.batches():
        for start in range(0, batch.num_rows, _BLOCK):
            yield batch.slice(start, _BLOCK)


def _refined(batch: pa.RecordBatch, schema: pa.Schema, how: Refining, statistics: Statistics) -> pa.RecordBatch:
    import pyarrow as pa

    texts, reasons, errors, raw = (_column(batch, name) for name in ("text", "drop_reason", "error", "raw_text"))
    rows: list[dict[str, Any]] = [
        {"text": text, "drop_reason": reason, "raw_text": was} for text, reason, was in zip(texts, reasons, raw, strict=True)
    ]
    readable = [place for place in range(len(rows)) if reasons[place] is None and errors[place] is None]
    for place, outcome in zip(readable, refine([texts[place] or "" for place in readable], how), strict=True):
        before = texts[place] or ""
        statistics.add(before, outcome)
        original = raw[place] if raw[place] is not None else before
        rows[place] = {
            "text": outcome.text,
            "drop_reason": outcome.drop_reason,
            "raw_text": original if original != outcome.text else None,
            "doc_program": outcome.doc_program,
            "chunk_program": outcome.chunk_program,
            "refine_status": outcome.status,
            "lines_removed": outcome.lines_removed,
            "strings_replaced": outcome.strings_replaced,
            "refine_problems": outcome.problems,
        }
    added = _added()
    arrays = [
        pa.array([row.get(field.name) for row in rows], field.type)
        if field.name in added
        else batch.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.record_batch(arrays, schema=schema)


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    return list(batch.column(name).to_pylist()) if name in batch.schema.names else [None] * batch.num_rows
