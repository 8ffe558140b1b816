"""Rows made anew one by one, with columns of given types: lists in which some places are empty have no type that a trial could tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from metier.artifacts import Batch, Corpus
from metier.engines.data.step import map_step

if TYPE_CHECKING:
    import pyarrow as pa

Make = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
_ROWS_AT_ONCE = 64  # pages may be large


def with_columns(corpus: Corpus, make: Make, kinds: Mapping[str, str]) -> Corpus:
    """The corpus with the columns `kinds` (text, texts: a list with empty places, number, count) as `make` gives them, lazily.

    `make` gets the unmarked rows of a batch, all columns, and gives one row for each. In marked rows these columns stay as they were,
    and new ones are null.
    """
    return map_step(corpus, partial(_made, make=make, names=list(kinds)), _ROWS_AT_ONCE, types=_types(kinds))


def _made(batch: Batch, *, make: Make, names: Sequence[str]) -> Batch:
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    unmarked = [row for row in rows if row["drop_reason"] is None]
    result = iter(make(unmarked)) if unmarked else iter(())
    whole = [row | next(result) if row["drop_reason"] is None else row for row in rows]
    return {name: [row.get(name) for row in whole] for name in names}


def _types(kinds: Mapping[str, str]) -> dict[str, pa.DataType]:
    import pyarrow as pa

    text = pa.large_string()
    types = {"text": text, "texts": pa.large_list(text), "number": pa.float64(), "count": pa.int64()}
    return {name: types[kind] for name, kind in kinds.items()}
