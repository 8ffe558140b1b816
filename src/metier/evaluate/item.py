"""An evaluation item, as the modules of this family build it; artifacts.Items is the table of many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from metier.artifacts import Items
from metier.artifacts.comparison import Role

Answer: TypeAlias = Literal["words", "value"]

SCHEMA = pa.schema(
    [
        *((name, pa.large_string()) for name in ("id", "task", "role", "kind", "prompt")),
        ("options", pa.large_list(pa.large_string())),
        ("gold", pa.int64()),
        ("answer", pa.large_string()),
        ("chat", pa.bool_()),
        ("source", pa.large_string()),
        ("stop", pa.large_list(pa.large_string())),
        ("max_new_tokens", pa.int64()),
        ("extract", pa.large_string()),
        ("compare", pa.large_string()),
    ]
)


@dataclass(frozen=True)
class Item:
    """One thing to ask (artifacts.Items says what each kind uses). Raises ValueError for a choice without two options or a gold."""

    id: str
    task: str
    role: Role
    kind: Literal["choice", "generate", "text"]
    prompt: str
    options: list[str] = field(default_factory=list)
    gold: int = -1
    answer: str = ""
    chat: bool = False
    source: str = ""
    stop: list[str] = field(default_factory=list)
    max_new_tokens: int = 0
    extract: str = ""
    compare: Answer = "words"

    def __post_init__(self) -> None:
        if self.kind == "choice" and (len(self.options) < 2 or not 0 <= self.gold < len(self.options)):
            raise ValueError(f"item {self.id!r}: {len(self.options)} options and gold {self.gold} make no question")


def items_table(items: Iterable[Item]) -> Items:
    """The items as a table, in order. Raises ValueError when two have the same id."""
    import daft

    rows = [asdict(item) for item in items]
    if len({row["id"] for row in rows}) != len(rows):
        raise ValueError("two items have the same id, so they could not be paired")
    return Items(daft.from_arrow(pa.Table.from_pylist(rows, schema=SCHEMA)))


def in_full(items: Items) -> pa.Table:
    """The items with every column of SCHEMA, in its order; a column that they lack, or a null in it, is the field's default."""
    rows: list[dict[str, Any]] = []
    for row in items.rows():
        known = {name: row[name] for name in SCHEMA.names if row.get(name) is not None}
        rows.append(asdict(Item(**known)))
    return pa.Table.from_pylist(rows, schema=SCHEMA)
