"""Rows made anew one by one, with columns of given types: lists in which some places are empty have no type that a trial could tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from metier.artifacts import Corpus

if TYPE_CHECKING:
    import daft
    import pyarrow as pa

_ROWS_AT_ONCE = 64  # pages may be large


def with_columns(
    corpus: Corpus, make: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], kinds: Mapping[str, str]
) -> Corpus:
    """The corpus with the columns `kinds` (text, texts: a list with empty places, number, count) as `make` gives them, lazily.

    `make` gets the unmarked rows of a batch, all columns, and gives one row for each. In marked rows these columns stay as they were,
    and new ones are null.
    """
    import daft

    frame = corpus.frame()
    for mark in ("drop_reason", "error"):
        if mark not in frame.column_names:
            frame = frame.with_column(mark, daft.lit(None).cast(daft.DataType.string()))
    names = frame.column_names

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(_struct(kinds)), batch_size=_ROWS_AT_ONCE)
    def made(*columns: daft.Series) -> pa.Array:
        import pyarrow as pa

        rows = [dict(zip(names, values)) for values in zip(*(column.to_pylist() for column in columns), strict=True)]
        unmarked = [row for row in rows if row["drop_reason"] is None and row["error"] is None]
        result = iter(make(unmarked)) if unmarked else iter(())
        whole = [row | next(result) if row["drop_reason"] is None and row["error"] is None else row for row in rows]
        return pa.array([{name: row.get(name) for name in kinds} for row in whole], _struct(kinds))

    others = [name for name in names if name not in kinds]
    frame = frame.select(*others, made(*[frame[name] for name in names]).alias("_made"))
    return Corpus(frame.select(*others, *[frame["_made"][name].alias(name) for name in kinds]))


def _struct(kinds: Mapping[str, str]) -> pa.DataType:
    import pyarrow as pa

    text = pa.large_string()
    types = {"text": text, "texts": pa.large_list(text), "number": pa.float64(), "count": pa.int64()}
    return pa.struct([pa.field(name, types[kind]) for name, kind in kinds.items()])
