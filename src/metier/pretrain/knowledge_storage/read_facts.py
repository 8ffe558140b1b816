"""A table of facts from a file of one's own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metier.artifacts import Table
from metier.method import method

COLUMNS = ("entity", "attribute", "value")


@method(
    claim="every row of the file is a fact, or an error that names it",
    fingerprint=lambda *, path, **_: (
        f"{Path(path).stat().st_size} {Path(path).stat().st_mtime_ns}" if Path(path).is_file() else ""
    ),
)
def read_facts(*, path: Path) -> Table:
    """The facts of a CSV file with a header, or of JSON lines: entity, attribute, value, as strings; other columns are left out.

    Raises FileNotFoundError, and ValueError for a file of another kind and for a row in which one of the three is missing or empty.
    Settings:
        path: a file that ends in .csv or .jsonl, in UTF-8
    """
    rows = []
    for number, row in enumerate(_rows(path), start=1):
        missing = [name for name in COLUMNS if row.get(name) in (None, "")]
        if missing:
            raise ValueError(f"{path}: row {number} has no {missing[0]}: give {', '.join(COLUMNS)} in each")
        rows.append({name: str(row[name]) for name in COLUMNS})
    return Table.from_rows(rows, columns=COLUMNS)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix not in (".csv", ".jsonl"):
        raise ValueError(f"{path} is neither .csv nor .jsonl: give one of them")
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
        else:
            yield from (json.loads(line) for line in file if line.strip())
