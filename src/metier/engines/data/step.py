"""A step (a pure function of a batch of columns) run over a table by Daft, lazily and in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from metier.artifacts import Batch, Table

if TYPE_CHECKING:
    import daft
    import pyarrow as pa

AnyTable = TypeVar("AnyTable", bound=Table)


def map_step(
    table: AnyTable, step: Callable[[Batch], Batch], batch_rows: int = 1000, *, types: Mapping[str, pa.DataType] | None = None
) -> AnyTable:
    """The table with `step` applied to every batch of at most `batch_rows` rows; nothing runs over all rows before they are asked for.

    The step gets all columns, among them `drop_reason` (added, all None, where the table had none), and gives back columns of the
    same length: changed, filled or added ones; a column it leaves out stays as it was. Rows that could not be read (`error` is
    set) are not shown to it; their new columns are null. It must not depend on how rows are batched, and must pickle.

    The types of the columns come from a trial on the first batch; a column that holds only None there is a string column. `types` gives
    them where no trial can tell (lists with empty places), for all columns that the step gives, and there is no trial then.
    Raises ValueError where the step gives columns of another length, or (later, when rows are asked for) of another type.
    """
    import daft

    frame = table.frame()
    if "drop_reason" not in frame.column_names:
        frame = frame.with_column("drop_reason", daft.lit(None).cast(daft.DataType.string()))
    names = frame.column_names
    schema = _schema_with(frame, types) if types is not None else _schema_after(frame, step, batch_rows)

    @daft.func.batch(return_dtype=daft.DataType.from_arrow_type(_struct(schema)), batch_size=batch_rows, unnest=True)
    def run(*columns: daft.Series) -> pa.Array:
        import pyarrow as pa

        batch = dict(zip(names, (column.to_pylist() for column in columns), strict=True))
        result = _applied(step, batch)
        arrays = [_array(result[field.name], field) for field in schema]
        return pa.StructArray.from_arrays(arrays, fields=list(schema))

    return type(table)(frame.select(run(*[frame[name] for name in names])))


def _schema_with(frame: daft.DataFrame, types: Mapping[str, pa.DataType]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema({field.name: field.type for field in frame.schema().to_pyarrow_schema()} | dict(types))


def _schema_after(frame: daft.DataFrame, step: Callable[[Batch], Batch], batch_rows: int) -> pa.Schema:
    import pyarrow as pa

    before = frame.schema().to_pyarrow_schema()
    trial = frame.limit(batch_rows).to_pydict()
    result = _applied(step, trial)
    fields = []
    for name, values in result.items():
        known = before.field(name).type if name in before.names else None
        if known is not None and not pa.types.is_null(known) and values == trial[name]:
            fields.append(pa.field(name, known))
            continue
        found = pa.array(values).type
        fallback = known if known is not None and not pa.types.is_null(known) else pa.large_string()
        fields.append(pa.field(name, fallback if pa.types.is_null(found) or name == "drop_reason" else _wide(found)))
    return pa.schema(fields)


def _applied(step: Callable[[Batch], Batch], batch: Batch) -> Batch:
    """The batch after the step, which saw only the rows that could be read."""
    errors = batch.get("error") or []
    readable = [row for row, error in enumerate(errors) if error is None]
    if len(readable) == len(errors):
        return _checked(step, batch)
    seen = _checked(step, {name: [values[row] for row in readable] for name, values in batch.items()})
    result = {name: list(batch.get(name, [None] * len(errors))) for name in seen}
    for name, values in seen.items():
        for row, value in zip(readable, values, strict=True):
            result[name][row] = value
    return result


def _checked(step: Callable[[Batch], Batch], batch: Batch) -> Batch:
    rows = len(next(iter(batch.values()), []))
    result = batch | step(dict(batch))
    wrong = {name: len(values) for name, values in result.items() if len(values) != rows}
    if wrong:
        raise ValueError(
            f"the step {getattr(step, '__name__', step)!r} was given {rows} rows and gave columns of {wrong}: "
            "a step marks rows in drop_reason and never removes or adds any"
        )
    return result


def _array(values: list, field: pa.Field) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"the column {field.name!r} is {field.type} in the first batch of the step, and later not: {error}"
        ) from error


def _struct(schema: pa.Schema) -> pa.DataType:
    import pyarrow as pa

    return pa.struct(list(schema))


def _wide(kind: pa.DataType) -> pa.DataType:  # 64-bit offsets: a batch may hold more than 2 GiB of text
    import pyarrow as pa

    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_list(kind):
        return pa.large_list(_wide(kind.value_type))
    return kind
