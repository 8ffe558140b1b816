"""A lazy table computed once: what costs much is not computed again for each pass over its rows."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from metier.artifacts import Corpus
from metier.artifacts.table import POSITION, on_cluster


def stored(corpus: Corpus, workdir: Path | None, name: str) -> Corpus:
    """The same rows, marked ones too, read from NAME.parquet in `workdir`, or in a folder that lasts as long as the process."""
    import daft
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = workdir
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="metier-stored-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.parquet"
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
    return Corpus(daft.read_parquet(str(file)))
