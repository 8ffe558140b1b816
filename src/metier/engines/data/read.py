"""`data.read`: any files or URLs, or the documentation of Python itself, to a Corpus."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from metier.artifacts import Corpus, Funnel
from metier.artifacts.files import passing_folder
from metier.artifacts.table import read_parquet
from metier.engines.data.files import FORMATS, find_files
from metier.engines.data.formats import Bad, Wanted, documents
from metier.engines.data.parts import FIXED, PartsWriter
from metier.method import method
from metier.progress import track

STDLIB = "python:stdlib"
_RESERVED = {"id", "path", "error", "drop_reason", "text", "given_id"}

logger = logging.getLogger(__name__)


def fingerprint(*, source: str | list[str], **settings: Any) -> str:
    """A hash of name, size and time of every file that `source` means; of the interpreter's version for "python:stdlib"."""
    digest = hashlib.sha256()
    for one in [source] if isinstance(source, str) else source:
        if one == STDLIB:
            from metier.engines.data.stdlib import version

            digest.update(f"{version()}\n".encode())
        else:
            for file in find_files(one):
                digest.update(f"{file.location} {file.stamp} {file.problem}\n".encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:32]


@method(claim="reads any pile of documents, and says of each that it could not read why", fingerprint=fingerprint)
def read(
    *,
    source: str | list[str],
    text_column: str = "text",
    id_column: str = "id",
    html: Literal["text", "source"] = "text",
    limit: int | None = None,
    max_document_bytes: int = 256 << 20,
    workdir: Path | None = None,
) -> Corpus:
    """The documents of files, folders, globs and URLs in the order of their names: id, text, source, path and the input's own columns.

    .txt .md .rst, .html .htm, .warc .wet, .jsonl, .json (a list of objects, {"data": [...]}, or one object), .csv, .tsv and .parquet,
    each also as .gz or .zst. "python:stdlib" is the documentation of the running Python's standard library. Files are read as a stream.

    Of a crawl (.warc, .wet) the pages and plain texts become rows with url, crawl_date, media_type (of what the row holds) and, where a
    WET file says it, identified_language. What answers to requests but is no document is put apart, one row each and by kind: "HTTP
    status" (any but 200), "not text" (images, scripts, feeds, ...). Requests, metadata, revisits and robots.txt stand for nothing.
    Content codings are undone (brotli where the package is installed). A page that is not in the charset it declares gets the one
    that is detected. A damaged record, or one of wrong length, is put apart, and reading goes on with the next.

    id: the input's own (a record's WARC-Record-ID) where there is one and all are different, or path#number with the number of the
    record, line, row or object from 1.
    source: the input's own `source` column where it holds strings; or the top folder below what was named; or for files of rows
    that lie directly in it their name, and for others its own name. Columns whose names metier uses come as input_NAME.

    What can't be read becomes a row with `error` = "kind: detail" and `text` = its beginning, which `save` puts apart and counts:
    empty, binary, not UTF-8 (outside crawls and page sources nothing is guessed: a byte order mark or an HTML charset declares another
    encoding), truncated, broken JSON, without text, unknown format, ... Text with a NUL or a lone surrogate is not repaired but put apart. Blank lines of JSON
    lines, hidden files and those of version control stand for nothing. Line ends of text files become \\n.

    Raises FileNotFoundError for a source that doesn't exist, ValueError for one without files, or without anything readable.
    Settings:
        source: a file, folder, glob, fsspec URL, "python:stdlib", or a list of these
        text_column: column or key that holds the text, in formats that have columns
        id_column: column or key of the ids; url for those of a crawl
        html: "text" makes Markdown-like text of HTML; "source" keeps the page's source, decoded, with media_type "text/html"
        limit: most documents to read, from the first; null reads all
        max_document_bytes: largest single text file, page, JSON file or line, decompressed; larger ones are put apart. Whole files of
            lines may be of any size, unless they unpack to more than 500 times their own (beyond 64 MiB)
        workdir: where the rows are kept until saved; null makes a folder that lasts as long as the process
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} reads nothing: give a positive number, or null for all")
    if html not in ("text", "source"):
        raise ValueError(f'html={html!r} is unknown: give "text" or "source"')
    if max_document_bytes < 1:
        raise ValueError(f"max_document_bytes={max_document_bytes} admits no document: give a positive number")
    sources = [source] if isinstance(source, str) else list(source)
    if not sources:
        raise ValueError("source=[] names nothing to read: give a folder, a file, a glob or a URL")
    files = [one for one in sources if one != STDLIB]
    found = find_files(files[0] if len(files) == 1 else files) if files else []
    folder = passing_folder(workdir, "read")
    writer = PartsWriter(folder)
    count = 0
    rows = _stdlib_rows() if STDLIB in sources else iter(())
    for row, fields in _chained(rows, _file_rows(found, id_column, Wanted(text_column, max_document_bytes, html))):
        writer.add(row, fields)
        count += row["error"] is None
        if count == limit:
            break
    corpus = _with_ids(Corpus(read_parquet(writer.close())), id_column)
    if count == 0:
        raise ValueError(_nothing_readable(source, corpus, text_column))
    return corpus


Rows = Iterator[tuple[dict[str, str | None], dict[str, Any]]]


def _chained(*all_rows: Rows) -> Rows:
    for rows in all_rows:
        yield from rows


def _stdlib_rows() -> Rows:
    from metier.engines.data.stdlib import documents as stdlib_documents

    for document in track(stdlib_documents(), "reading the standard library", unit="document"):
        row = {"id": document["id"], "text": document["text"], "source": document["source"], "path": document["module"]}
        yield row | {"error": None, "given_id": None}, {name: value for name, value in document.items() if name not in row}


def _file_rows(found: list[Any], id_column: str, wanted: Wanted) -> Rows:
    for file in track(found, "reading", unit="file"):
        for document in documents(file, wanted):
            row: dict[str, str | None] = dict.fromkeys(FIXED)
            row |= {
                "id": f"{file.name}#{document.place}" if document.place else file.name,
                "source": file.group,
                "path": file.name,
            }
            if isinstance(document, Bad):
                known = {_column(name): value for name, value in (document.fields or {}).items() if name != "id"}
                yield row | {"text": document.snippet, "error": document.error}, known
                continue
            given = document.fields.get(id_column)
            fields = {_column(name): value for name, value in document.fields.items() if name != id_column}
            if isinstance(given, str | int) and not isinstance(given, bool) and given != "":
                row["given_id"] = str(given)
            if isinstance(fields.get("source"), str) and fields["source"]:
                row["source"] = fields.pop("source")
            elif "source" in fields:
                fields["input_source"] = fields.pop("source")
            yield row | {"text": document.text}, fields


def _column(name: str) -> str:
    """What a column of the input is called in the corpus."""
    name = str(name).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0") or "unnamed"
    return f"input_{name}" if name in _RESERVED else name


def _with_ids(corpus: Corpus, id_column: str) -> Corpus:
    """The corpus with the input's own ids if all are different; otherwise they stay beside, as `given_id`."""
    import pyarrow.compute as pc

    frame = corpus.frame()
    given = frame.where(frame["given_id"].not_null()).count_rows()
    if given == 0:
        return Corpus(frame.exclude("given_id"))
    ids = frame.where(frame["error"].is_null()).select(frame["given_id"].fill_null(frame["id"]).alias("id")).to_arrow()["id"]
    doubled = len(ids) - pc.count_distinct(ids).as_py()
    if doubled:
        logger.warning(
            "the column %r is no id, since %d values come again; ids are path#number, the column stays as given_id",
            id_column,
            doubled,
        )
        return Corpus(frame)
    return Corpus(frame.with_column("id", frame["given_id"].fill_null(frame["id"])).exclude("given_id"))


def _nothing_readable(source: str | list[str], corpus: Corpus, text_column: str) -> str:
    funnel: Funnel = corpus.funnel()
    first = next(iter(corpus.frame().limit(1).to_pylist()))
    counts = ", ".join(f"{kind} ({count})" for kind, count in funnel.quarantined.items())
    hint = f"formats read: {', '.join(FORMATS)}, each also .gz and .zst"
    if "no text column" in funnel.quarantined:
        hint = f"set text_column to the column that holds the text, which is now {text_column!r}"
    return f"nothing in {source} could be read: {counts}. The first: {first['path']}: {first['error']}; {hint}"
