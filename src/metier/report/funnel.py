"""What became of every row of every table: bars whose counts must add up, and examples of what was dropped."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metier.core.lineage import StageRecord
from metier.report.excerpt import Excerpt

NUM_EXAMPLES = 3  # of each rule
MOST_ROWS = 20_000  # looked at for examples
NOUNS = {"Corpus": "documents", "Examples": "examples", "Items": "items", "Scores": "scored answers"}


@dataclass(frozen=True)
class Part:
    """A piece of a bar: `width` in percent of the bar, `label` the rule or error, "" for what was kept."""

    kind: Literal["kept", "dropped", "quarantined"]
    label: str
    count: int
    width: float


@dataclass(frozen=True)
class Example:
    """A row that was not kept, with its reason: a rule's name, or why it could not be read."""

    where: str
    text: Excerpt


@dataclass(frozen=True)
class Bar:
    """One table. `width`: percent of the largest table of its kind. `warning`: where counts don't add up, else ""."""

    stage: str
    use: str
    field: str
    noun: str
    total: int
    kept: int
    parts: list[Part]
    width: float
    warning: str
    examples: dict[str, list[Example]]


def bars(records: Sequence[StageRecord], num_examples: int = NUM_EXAMPLES) -> list[Bar]:
    """The tables of all stages, in the order they were made, with at most so many examples of each rule."""
    tables = [(record, field, counts) for record in records for field, counts in _funnels(record).items()]
    largest: dict[str, int] = {}
    for record, field, counts in tables:
        noun = _noun(record, field)
        largest[noun] = max(largest.get(noun, 1), counts["total"])
    return [_bar(record, field, counts, largest[_noun(record, field)], num_examples) for record, field, counts in tables]


def vanished(records: Sequence[StageRecord]) -> list[str]:
    """A sentence for each stage that was given more documents than it accounts for."""
    by_folder = {record.folder: record for record in records}
    found = []
    for record in records:
        given = sum(_given(record, by_folder))
        out = sum(counts["total"] for field, counts in record.funnels().items() if _noun(record, field) == NOUNS["Corpus"])
        if out and given > out:
            found.append(f"{record.name}: {given:,} documents came in and only {out:,} are accounted for.")
    return found


def _funnels(record: StageRecord) -> dict[str, dict[str, Any]]:
    """The counts by field, in the order in which the method gives the fields."""
    found, order = record.funnels(), list(record.facts["result"].get("fields", {}))
    return dict(sorted(found.items(), key=lambda item: order.index(item[0]) if item[0] in order else -1))


def _given(record: StageRecord, by_folder: Mapping[Path, StageRecord]) -> Iterator[int]:
    """How many documents each input of the first parameter held; further parameters are what a method looks at, not what it turns over."""
    for reference in next(iter(record.facts["inputs"].values()), []):
        stage, _, field = reference.partition(".")
        source = by_folder.get(record.folder.parent / record.facts["input_folders"].get(stage, ""))
        if source is not None and _noun(source, field) == NOUNS["Corpus"] and field in source.funnels():
            yield source.funnels()[field]["kept"]


def _noun(record: StageRecord, field: str) -> str:
    result = record.facts["result"]
    kind = result.get("fields", {}).get(field) if field else result.get("type")
    return NOUNS.get(kind, "rows")


def _bar(record: StageRecord, field: str, counts: dict[str, Any], largest: int, num_examples: int) -> Bar:
    total, kept, dropped, quarantined = (counts[name] for name in ("total", "kept", "dropped", "quarantined"))
    parts = [("kept", "", kept), *(("dropped", *item) for item in dropped.items())]
    parts += [("quarantined", *item) for item in quarantined.items()]
    found = sum(count for _, _, count in parts)
    warning = (
        "" if found == total else f"The counts do not add up: {total:,} came in, and {found:,} were kept, dropped or unreadable."
    )
    return Bar(
        stage=record.name,
        use=str(record.facts["use"]),
        field=field,
        noun=_noun(record, field),
        total=total,
        kept=kept,
        parts=[Part(kind, label, count, 100 * count / max(found, 1)) for kind, label, count in parts if count],  # type: ignore[arg-type]
        width=100 * total / largest,
        warning=warning,
        examples=_examples(record.folder / field, num_examples),
    )


def _examples(folder: Path, most: int) -> dict[str, list[Example]]:
    """A random sample, the same each time, of the rows of each rule, in their order, of what the table put apart."""
    chosen: dict[str, list[tuple[int, Example]]] = {}
    seen: Counter[str] = Counter()
    generator = random.Random(0)
    for name, mark in (("dropped", "drop_reason"), ("quarantined", "error")):
        for number, row in enumerate(_rows(folder / name, mark)):
            rule = row[mark] if mark == "drop_reason" else row[mark].partition(":")[0]
            kept = chosen.setdefault(rule, [])
            place = len(kept) if len(kept) < most else generator.randrange(seen[rule] + 1)
            seen[rule] += 1
            if place < most:
                kept[place : place + 1] = [(number, _example(row, mark))]
    return {rule: [example for _, example in sorted(rows, key=lambda row: row[0])] for rule, rows in chosen.items() if rows}


def _example(row: dict[str, Any], mark: str) -> Example:
    where = row.get("url") or row.get("id") or row.get("source") or ""
    text = row.get("text") or row.get("prompt") or ""
    shown = text if mark == "drop_reason" else f"{row[mark]}\n{text}"
    return Example(str(where), Excerpt.of(shown, 300))


def _rows(folder: Path, mark: str) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    left = MOST_ROWS
    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            columns = [name for name in ("id", "url", "source", "text", "prompt", mark) if name in file.schema_arrow.names]
            # Small batches: a dropped document may well be tens of megabytes long, which is why it was dropped.
            for batch in file.iter_batches(batch_size=64, columns=columns):
                yield from batch.to_pylist()
                left -= batch.num_rows
                if left <= 0:
                    return
