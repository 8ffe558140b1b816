"""Which pages are copies: nearly equal ones of a snapshot of the web and of the next, and those of one address and year."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from metier.artifacts import Batch, Corpus
from metier.artifacts.table import in_order
from metier.curate.duplicates import duplicates
from metier.engines.data.step import map_step

if TYPE_CHECKING:
    import daft

SAME_URL = "same address"
_DATES = ("crawl_date", "date", "snapshot")
_YEAR = re.compile(r"(?:19|20)\d\d")


def near_copies(corpus: Corpus, threshold: float, seed: int, workdir: Path | None) -> dict[str, str]:
    """The reason by id of each copy of an earlier page. With a column `snapshot`, pages are compared within each and with the next."""
    frame = corpus.kept()
    reasons: dict[str, str] = {}
    for part in _windows(frame):
        marked = duplicates(
            map_step(Corpus(part), partial(mark, reasons=reasons)), threshold=threshold, seed=seed, workdir=workdir
        ).frame()
        found = marked.where(marked["drop_reason"].not_null()).select("id", "drop_reason").to_pydict()
        reasons |= dict(zip(found["id"], found["drop_reason"], strict=True))
    return reasons


def same_address(corpus: Corpus, passed: dict[str, str]) -> dict[str, str]:
    """SAME_URL by id of the pages of which a later copy of the same address and year is there; pages in `passed` don't count.

    When is told by `crawl_date`, `date` or `snapshot`; of equal or unknown times the first page stays.
    """
    frame = corpus.kept()
    if "url" not in frame.column_names:
        return {}
    dates = next((name for name in _DATES if name in frame.column_names), None)
    latest: dict[tuple[str, str], tuple[str, str]] = {}
    reasons: dict[str, str] = {}
    for batch in in_order(frame, "id", "url", *([dates] if dates is not None else [])):
        for row in batch.to_pylist():
            if row["url"] is None or row["id"] in passed:
                continue
            date = str(row[dates] or "") if dates is not None else ""
            year = found[0] if (found := _YEAR.search(date)) is not None else ""
            before = latest.get((row["url"], year))
            if before is not None and before[0] >= date:
                reasons[row["id"]] = SAME_URL
                continue
            if before is not None:
                reasons[before[1]] = SAME_URL
            latest[row["url"], year] = (date, row["id"])
    return reasons


def mark(batch: Batch, *, reasons: Mapping[str, str]) -> Batch:
    """Fills `drop_reason` from `reasons`, by id; an earlier reason stands."""
    return {"drop_reason": [was or reasons.get(name) for name, was in zip(batch["id"], batch["drop_reason"], strict=True)]}


def _windows(frame: daft.DataFrame) -> list[daft.DataFrame]:
    """The pages of each two neighbouring snapshots, by name; all pages where there are not two."""
    frame = frame.select(*[name for name in ("id", "text", "source", "snapshot") if name in frame.column_names])
    if "snapshot" not in frame.column_names:
        return [frame]
    names = sorted({str(name) for name in frame.select("snapshot").distinct().to_pydict()["snapshot"] if name is not None})
    pairs = list(pairwise(names))
    inside = [frame.where(frame["snapshot"].cast("string").is_in(list(pair))) for pair in pairs]
    undated = [frame.where(frame["snapshot"].is_null())]
    return [*inside, *undated] if pairs else [frame]
