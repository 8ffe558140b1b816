"""A lazy table computed once: what costs much is not computed again for each pass over its rows."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from metier.artifacts import Corpus


def stored(corpus: Corpus, workdir: Path | None, name: str) -> Corpus:
    """The same rows, marked ones too, read from NAME.parquet in `workdir`, or in a folder that lasts as long as the process."""
    import daft
    import pyarrow.parquet as pq

    folder = workdir
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="metier-stored-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.parquet"
    frame = corpus.frame()
    with pq.ParquetWriter(file, frame.schema().to_pyarrow_schema(), compression="zstd") as writer:
        for batch in frame.to_arrow_iter():
            writer.write_batch(batch.cast(writer.schema))
    return Corpus(daft.read_parquet(str(file)))
