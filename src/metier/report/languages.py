"""The languages of a corpus, and how much of each the rules removed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from metier.artifacts import Corpus
from metier.core.lineage import StageRecord

MOST_LANGUAGES = 60


@dataclass(frozen=True)
class LanguageRow:
    """One language: documents and characters kept, documents that any stage dropped after their language was known.

    share: of the kept characters, in percent; rules: the commonest reasons with their counts
    """

    language: str
    documents: int
    characters: int
    share: float
    dropped: int
    rules: list[tuple[str, int]]


def languages(of: Sequence[Corpus], records: Sequence[StageRecord]) -> list[LanguageRow]:
    """The languages by characters kept, the largest first; empty where no stage told languages. The last row may sum up the rest."""
    documents: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    for corpus in of:
        if "language" in corpus.frame().column_names:
            frame = corpus.kept()
            frame = frame.select(
                frame["language"].fill_null("unknown").alias("language"), frame["text"].length().alias("characters")
            )
            for batch in frame.to_arrow_iter():
                for row in batch.to_pylist():
                    documents[row["language"]] += 1
                    characters[row["language"]] += row["characters"] or 0
    reasons = _dropped(records)
    rows = [
        LanguageRow(
            name,
            documents[name],
            characters[name],
            100 * characters[name] / max(1, characters.total()),
            reasons[name].total(),
            reasons[name].most_common(3),
        )
        for name in sorted({*documents, *reasons}, key=lambda name: (-characters[name], -reasons[name].total(), name))
    ]
    return rows if len(rows) <= MOST_LANGUAGES else [*rows[: MOST_LANGUAGES - 1], _rest(rows[MOST_LANGUAGES - 1 :])]


def _dropped(records: Sequence[StageRecord]) -> defaultdict[str, Counter[str]]:
    import pyarrow.parquet as pq

    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        for field in record.funnels():
            for path in sorted((record.folder / field / "dropped").glob("*.parquet")):
                with pq.ParquetFile(path) as file:
                    if "language" not in file.schema_arrow.names:
                        continue
                    for batch in file.iter_batches(columns=["language", "drop_reason"]):
                        for row in batch.to_pylist():
                            found[row["language"] or "unknown"][row["drop_reason"]] += 1
    return found


def _rest(rows: Sequence[LanguageRow]) -> LanguageRow:
    rules: Counter[str] = Counter()
    for row in rows:
        rules.update(dict(row.rules))
    return LanguageRow(
        f"{len(rows)} more",
        sum(row.documents for row in rows),
        sum(row.characters for row in rows),
        sum(row.share for row in rows),
        sum(row.dropped for row in rows),
        rules.most_common(3),
    )
