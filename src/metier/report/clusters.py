"""Clusters of copies: how large they are, and what the largest repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.core.lineage import StageRecord
from metier.report.excerpt import Excerpt

_BOUNDS = (2, 3, 5, 10, 100, 1000)


@dataclass(frozen=True)
class Cluster:
    """Documents that are copies of each other: the id of the one that stayed, how many there are, and how one that went begins."""

    original: str
    size: int
    text: Excerpt


@dataclass(frozen=True)
class Clusters:
    """What one stage found. sizes: label, number of clusters, number of documents that went; largest: the largest ones."""

    stage: str
    count: int
    removed: int
    sizes: list[tuple[str, int, int]]
    largest: list[Cluster]


def clusters(records: Sequence[StageRecord], num_samples: int) -> list[Clusters]:
    """The clusters of every stage that marked copies (column `duplicate_of`)."""
    found = []
    for record in records:
        for field in record.funnels():
            copies = _copies(record.folder / field / "dropped")
            if copies:
                found.append(_clusters(record, field, copies, num_samples))
    return found


def _copies(folder: Path) -> Counter[str]:
    """How many copies of each original were dropped here."""
    import pyarrow.parquet as pq

    copies: Counter[str] = Counter()
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if "duplicate_of" in file.schema_arrow.names:
                for batch in file.iter_batches(columns=["duplicate_of"]):
                    copies.update(original for original in batch["duplicate_of"].to_pylist() if original is not None)
    return copies


def _clusters(record: StageRecord, field: str, copies: Counter[str], num_samples: int) -> Clusters:
    sizes = []
    for low, high in zip(_BOUNDS, [*_BOUNDS[1:], None], strict=True):
        inside = [count for count in copies.values() if count + 1 >= low and (high is None or count + 1 < high)]
        label = f"{low:,}" if high == low + 1 else f"{low:,} or more" if high is None else f"{low:,} to {high - 1:,}"
        if inside:
            sizes.append((label, len(inside), sum(inside)))
    top = sorted(copies.items(), key=lambda item: (-item[1], item[0]))[:num_samples]
    texts = _texts(record.folder / field / "dropped", {name for name, _ in top})
    largest = [Cluster(name, count + 1, Excerpt.of(texts[name], 300)) for name, count in top]
    name = f"{record.name}.{field}" if field else record.name
    return Clusters(name, len(copies), copies.total(), sizes, largest)


def _texts(folder: Path, originals: set[str]) -> dict[str, str]:
    """The text of one copy of each of these."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    wanted = pa.array(sorted(originals), pa.large_string())
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if "duplicate_of" not in file.schema_arrow.names:
                continue
            for batch in file.iter_batches(batch_size=64, columns=["duplicate_of", "text"]):
                for row in batch.filter(pc.is_in(batch["duplicate_of"].cast(pa.large_string()), wanted)).to_pylist():
                    found.setdefault(row["duplicate_of"], row["text"] or "")
            if len(found) == len(originals):
                break
    return found
