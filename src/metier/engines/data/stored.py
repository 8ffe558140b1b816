"""A lazy table computed once: what costs much is not computed again for each pass over its rows."""

from __future__ import annotations

from pathlib import Path

from metier.artifacts import Corpus
from metier.artifacts.files import passing_folder
from metier.artifacts.table import POSITION, on_cluster, read_parquet


def stored(corpus: Corpus, workdir: Path | None, name: str) -> Corpus:
    """The same rows, marked ones too, read from the folder `name` of `workdir`, or from one that lasts as long as the process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = passing_folder(workdir, name) / "part-00000.parquet"
    schema = corpus.frame().schema().to_pyarrow_schema()
    names = [name for name in schema.names if name != POSITION]
    schema = pa.schema([schema.field(name) for name in names] + ([pa.field(POSITION, pa.int64())] if on_cluster() else []))
    count = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in corpus.batches(*names):
            columns = [column.cast(schema.field(name).type) for name, column in zip(names, batch.columns, strict=True)]
            if on_cluster():
                columns.append(pa.array(range(count, count + batch.num_rows), pa.int64()))
            count += batch.num_rows
            writer.write_batch(pa.record_batch(columns, schema=schema))
    return Corpus(read_parquet([file]))
