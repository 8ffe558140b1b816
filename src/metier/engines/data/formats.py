"""A found file as documents: one reader per format. What can't be read comes as Bad, in its place; nothing is raised."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from metier.engines.data.content import UnreadableError, as_utf8, blocks, decoded, lines, snippet, text_problem, whole
from metier.engines.data.files import Found

if TYPE_CHECKING:
    from metier.engines.data.web_page import WebPage


class Document(NamedTuple):
    """A text, its place in the file ("" for a whole file, or the number of its line, row or object from 1), and other fields."""

    place: str
    text: str
    fields: dict[str, Any]


class Bad(NamedTuple):
    """What could not be read: its place, "kind: detail", how it begins, and what else is known of it."""

    place: str
    error: str
    snippet: str
    fields: dict[str, Any] | None = None


class Wanted(NamedTuple):
    """How to read: the column of the text, the bytes of the largest document, and what is wanted of HTML, its text or its source."""

    text_column: str
    max_bytes: int
    html: Literal["text", "source"] = "text"


Read: TypeAlias = Iterator[Document | Bad]


def documents(found: Found, wanted: Wanted) -> Read:
    """The documents of a file in order, and what of it could not be read."""
    if found.problem is not None or found.format is None:
        yield Bad("", found.problem or "unknown format", "")
        return
    count = 0
    try:
        for row in _READERS[found.format](found, wanted):
            count += 1
            yield row
        if count == 0:
            yield Bad("", "empty file: it holds no document", "")
    except UnreadableError as error:
        yield Bad("", error.error, error.snippet)
    except OSError as error:
        yield Bad("", f"unreadable: {error.strerror or error}", "")
    except Exception as error:  # noqa: BLE001  the one place where whatever a library raises about a file becomes a quarantined row
        yield Bad("", f"unreadable: {type(error).__name__}: {error}", "")


def _text(found: Found, wanted: Wanted) -> Read:
    content = whole(as_utf8(blocks(found)), wanted.max_bytes)
    if not content.strip():
        yield Bad("", f"empty file: {len(content)} bytes", "")
        return
    yield Document("", _with_plain_line_ends(decoded(content)), {})


def _with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _html(found: Found, wanted: Wanted) -> Read:
    from metier.engines.data.web_page import page_source

    content = whole(blocks(found), wanted.max_bytes)
    if not content.strip():
        yield Bad("", f"empty file: {len(content)} bytes", "")
        return
    yield _page("", page_source(content, guess=wanted.html == "source"), {}, wanted)


def _page(place: str, source: str, fields: dict[str, Any], wanted: Wanted) -> Document | Bad:
    """A page as what is wanted of it."""
    if wanted.html == "source":
        return Document(place, source, fields | {"media_type": "text/html"})
    from metier.engines.data.html import html_text

    text = html_text(source)
    if text:
        return Document(place, text, fields)
    return Bad(place, "no text: the page holds nothing but markup", snippet(source), fields)


def _warc(found: Found, wanted: Wanted) -> Read:
    """Pages and texts of a crawl."""
    from metier.engines.data.warc import Broken, records
    from metier.engines.data.web_page import web_page

    for record in records(found, wanted.max_bytes):
        place = str(record.number)
        fields = {"url": record.headers.get("warc-target-uri"), "crawl_date": record.headers.get("warc-date")}
        if isinstance(record, Broken):
            yield Bad(place, record.error, record.snippet, fields)
            continue
        try:
            page = web_page(record, wanted.max_bytes)
        except UnreadableError as error:
            yield Bad(place, error.error, error.snippet, fields)
            continue
        if page is not None:
            yield _web_document(place, page, wanted)


def _web_document(place: str, page: WebPage, wanted: Wanted) -> Document | Bad:
    problem = text_problem(page.text)
    if problem is not None:
        return Bad(place, problem, snippet(page.text), page.fields)
    fields = page.fields | {"media_type": "text/plain"}  # of what the row holds, which a page's source changes
    if page.is_html:
        return _page(place, page.text, fields, wanted)
    return Document(place, _with_plain_line_ends(page.text), fields)


def _jsonl(found: Found, wanted: Wanted) -> Read:
    return _json_lines(as_utf8(blocks(found)), wanted)


def _json_lines(content: Iterator[bytes], wanted: Wanted) -> Read:
    """Documents of JSON lines; blank lines stand for nothing."""
    for number, line in enumerate(lines(content, wanted.max_bytes), start=1):
        if isinstance(line, UnreadableError):
            yield Bad(str(number), line.error, line.snippet)
        elif line.strip():
            try:
                value = _parsed(line)
            except UnreadableError as error:
                yield Bad(str(number), error.error, error.snippet)
            else:
                yield _from_object(str(number), value, wanted.text_column)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(decoded(content))
    except json.JSONDecodeError as error:
        raise UnreadableError(f"broken JSON: {error.msg} at character {error.pos}", content) from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; brackets nested without end
        raise UnreadableError(f"broken JSON: {error}", content) from error


def _json(found: Found, wanted: Wanted) -> Read:
    """Documents of a list of objects, of {"data": [...]}, of one object, or of JSON lines that go by this name."""
    content = whole(as_utf8(blocks(found)), wanted.max_bytes)
    if not content.strip():
        yield Bad("", f"empty file: {len(content)} bytes", "")
        return
    try:
        value = _parsed(content)
    except UnreadableError as error:
        if "Extra data" not in error.error:
            raise
        yield from _json_lines(iter([content]), wanted)
        return
    if isinstance(value, dict) and wanted.text_column not in value and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, list):
        for number, item in enumerate(value, start=1):
            yield _from_object(str(number), item, wanted.text_column)
    else:
        yield _from_object("", value, wanted.text_column)


def _from_object(place: str, value: Any, text_column: str) -> Document | Bad:
    if not isinstance(value, dict):
        return Bad(place, f"not an object: {_kind(value)}", snippet(_shown(value)))
    if text_column not in value:
        return Bad(place, f"no text column: {text_column!r} is not among {_names(value)}", snippet(_shown(value)))
    text = value[text_column]
    if not isinstance(text, str):
        return Bad(place, f"text is not a string: {_kind(text)}", snippet(_shown(value)))
    problem = text_problem(text)
    if problem is not None:
        return Bad(place, problem, snippet(_shown(value)))
    for name, field in value.items():
        problem = text_problem(field) if isinstance(field, str) and field.strip() else None
        if problem is not None:
            return Bad(place, f"{problem} of column {name!r}", snippet(_shown(value)))
    return Document(place, text, {name: field for name, field in value.items() if name != text_column})


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "a string" if isinstance(value, str) else type(value).__name__)


def _names(columns: Any) -> str:
    listed = [repr(name) for name in columns]
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "") or "no columns"


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:1000]
    except RecursionError:
        return ""


def _csv(found: Found, wanted: Wanted) -> Read:
    return _separated(found, wanted, ",")


def _tsv(found: Found, wanted: Wanted) -> Read:
    return _separated(found, wanted, "\t")


def _separated(found: Found, wanted: Wanted, delimiter: str) -> Read:
    # Python's bound on a field is one for the whole process; it is raised and never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), wanted.max_bytes))
    text_column = wanted.text_column
    content = io.TextIOWrapper(cast("IO[bytes]", _Stream(as_utf8(blocks(found)))), "utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(content, delimiter=delimiter, strict=True)
    header = next(reader, None)
    if header is None:
        return
    if text_column not in header:
        yield Bad("", f"no text column: {text_column!r} is not among {_names(header)}", snippet(delimiter.join(header)))
        return
    names = _distinct(header)
    number = 0
    while True:
        number += 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Bad(str(number), f"broken CSV: {error} (near line {reader.line_num})", "")
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(names):
            yield Bad(
                str(number), f"broken CSV: {len(row)} fields, and the header has {len(names)}", snippet(delimiter.join(row))
            )
            continue
        yield _from_fields(str(number), dict(zip(names, row, strict=True)), text_column)


def _from_fields(place: str, fields: dict[str, str], text_column: str) -> Document | Bad:
    for name, value in fields.items():
        for character in value if not value.isascii() else "":
            if "\udc80" <= character <= "\udcff":
                error = f"not UTF-8: byte 0x{ord(character) - 0xDC00:02x} in column {name!r}"
                return Bad(place, error, snippet(value.encode("utf-8", "surrogateescape")))
    return _from_object(place, fields, text_column)


def _distinct(header: list[str]) -> list[str]:
    """Column names, with a number after those that came before; the first one stays."""
    names: list[str] = []
    for position, name in enumerate(header, start=1):
        name = name or f"column_{position}"
        names.append(name if name not in names else f"{name}_{position}")
    return names


class _Stream(io.BufferedIOBase):
    """Blocks of bytes as a readable file."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def read1(self, size: int | None = -1) -> bytes:
        return next((block for block in self._content if block), b"")

    read = read1


def _parquet(found: Found, wanted: Wanted) -> Read:
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = found.filesystem.open(found.location, "rb")
    with opened if found.compression is None else io.BytesIO(whole(blocks(found), wanted.max_bytes)) as file:
        number = 0
        try:
            table = pq.ParquetFile(file)
            names = table.schema_arrow.names
            if wanted.text_column not in names:
                yield Bad("", f"no text column: {wanted.text_column!r} is not among {_names(names)}", "")
                return
            for batch in table.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield _from_object(str(number), row, wanted.text_column)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            yield Bad("", f"broken Parquet: after row {number}: {error}", "")


_READERS = {
    "text": _text,
    "html": _html,
    "warc": _warc,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
}
