"""Rows of whatever columns, written as Parquet parts of one schema while they come."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.artifacts.table import POSITION, on_cluster

if TYPE_CHECKING:
    import pyarrow as pa

FIXED = ("id", "text", "source", "path", "error", "given_id")
_ROWS, _CHARACTERS = 20_000, 32 << 20  # a part's bounds, whichever comes first
_MAX_COLUMNS = 100
_INTEGERS = range(-(1 << 63), 1 << 63)

logger = logging.getLogger(__name__)


class PartsWriter:
    """Takes rows (`FIXED` columns of strings, and `fields`) and writes them to part-*.parquet of a folder.

    Of the fields, columns of one type stay as they are: booleans, integers, numbers, strings, bytes, lists of strings. Integers and
    fractions together become fractions; any other mixture, and all other types, become strings (JSON, where a value is none).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[tuple[dict[str, str | None], dict[str, Any]]] = []
        self._characters, self._parts, self._written = 0, 0, 0
        self._kinds: dict[str, str | None] = {}
        self._refused: set[str] = set()

    def add(self, row: dict[str, str | None], fields: dict[str, Any]) -> None:
        """One row. Columns beyond the first hundred that come are left out, which `close` logs."""
        kept = {}
        for name, value in fields.items():
            if name not in self._kinds and len(self._kinds) >= _MAX_COLUMNS:
                self._refused.add(name)
                continue
            self._kinds[name] = _merged(self._kinds.get(name), _kind(value))
            kept[name] = value
        self._rows.append((row, kept))
        self._characters += len(row["text"] or "") + sum(len(value) for value in kept.values() if isinstance(value, str))
        if len(self._rows) >= _ROWS or self._characters >= _CHARACTERS:
            self._write()

    def close(self) -> list[Path]:
        """The parts in order, all of one schema."""
        import pyarrow.parquet as pq

        self._write()
        if self._refused:
            logger.warning(
                "%d columns beyond the first %d are left out: %s", len(self._refused), _MAX_COLUMNS, sorted(self._refused)[:10]
            )
        schema = _schema(self._kinds)
        parts = sorted(self._folder.glob("part-*.parquet"))
        for part in parts:
            if not pq.read_schema(part).equals(schema):
                table = pq.read_table(part)
                pq.write_table(_cast(table, schema), part, compression="zstd")
        return parts

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        schema = _schema(self._kinds)
        columns = [pa.array([row.get(name) for row, _ in self._rows], pa.large_string()) for name in FIXED]
        for name in self._kinds:
            values = [_converted(fields.get(name), self._kinds[name]) for _, fields in self._rows]
            columns.append(pa.array(values, schema.field(name).type))
        if on_cluster():
            columns.append(pa.array(range(self._written, self._written + len(self._rows)), pa.int64()))
        self._written += len(self._rows)
        pq.write_table(pa.table(columns, schema=schema), self._folder / f"part-{self._parts:05d}.parquet", compression="zstd")
        self._rows, self._characters, self._parts = [], 0, self._parts + 1


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    for kind, types in (("bool", bool), ("float", float), ("string", str), ("bytes", bytes)):
        if isinstance(value, types):
            return kind
    if isinstance(value, int) and value in _INTEGERS:
        return "int"
    if isinstance(value, list) and all(isinstance(item, str) and item.isprintable() for item in value):
        return "strings"
    return "json"


def _merged(one: str | None, other: str | None) -> str | None:
    if one is None or other is None or one == other:
        return one if one is not None else other
    return "float" if {one, other} == {"int", "float"} else "json"


def _converted(value: Any, kind: str | None) -> Any:
    if value is None or kind in ("bool", "int", "string", "bytes", "strings"):
        return value
    return float(value) if kind == "float" else _as_text(value)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _plain(value: Any) -> str:  # dates and decimals as they are written, bytes as hexadecimal digits
    return value.hex() if isinstance(value, bytes) else str(value)


def _schema(kinds: dict[str, str | None]) -> pa.Schema:
    import pyarrow as pa

    text = pa.large_string()
    types = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "bytes": pa.large_binary(),
        "strings": pa.large_list(text),
    }
    fields = [(name, text) for name in FIXED] + [(name, types.get(kind or "", text)) for name, kind in kinds.items()]
    return pa.schema(fields + ([(POSITION, pa.int64())] if on_cluster() else []))


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table[field.name]
        if not column.type.equals(field.type):
            values = column.to_pylist()
            number = pa.types.is_floating(field.type)
            column = pa.array(
                [None if value is None else float(value) if number else _as_text(value) for value in values], field.type
            )
        columns.append(column)
    return pa.table(columns, schema=schema)
