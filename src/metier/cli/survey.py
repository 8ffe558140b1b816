"""A bounded look at a pile of documents: how many of which format, how long, which column holds the text, what repeats.

At most 200 files are opened, and of each at most the first mebibyte is read, so that the answer takes seconds for any pile; what is
said of the whole is an estimate from that sample.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metier.engines.data.files import Found

MAX_FILES = 200
HEAD_BYTES = 1 << 20
HTML_BYTES = 1 << 18  # markup is slow to read
MAX_ROWS = 500
ROW_FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")
_COLUMNS_SHOWN = 4
_BETWEEN = re.compile(r"[\s,]*")  # items of a JSON list


@dataclass
class Survey:
    """What was seen, and what follows from it for the whole.

    files: how many by format; unreadable: how many by reason (of the sampled ones, but for those of unknown format)
    documents, characters: estimates for the whole; tokens are about a quarter of the characters
    columns: by name the mean characters of its texts, longest in sum first; text_column: the first of them, None without columns
    columnless: sampled files of rows without the text column
    groups: size by what `source` will be, in bytes of files or characters of rows
    copies: sampled documents that are exact copies of another one; sampled: all sampled documents seen whole
    """

    source: str
    files: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0
    documents: float = 0
    characters: float = 0
    shortest: int = 0
    longest: int = 0
    columns: dict[str, float] = field(default_factory=dict)
    text_column: str | None = None
    columnless: list[str] = field(default_factory=list)
    groups: Counter[str] = field(default_factory=Counter)
    sampled: int = 0
    copies: int = 0

    @property
    def tokens(self) -> float:
        return self.characters / 4


@dataclass(frozen=True)
class _Sample:
    """The beginning of a file: its rows (a text stands in the column ""), and the share of the file, 0 to 1, that they are."""

    file: Found
    size: int
    rows: list[dict[str, Any]]
    share: float


def survey(source: str) -> Survey:
    """Looks at a folder, file, glob or URL.

    Raises FileNotFoundError where it doesn't exist, ValueError where it holds no files, or nothing readable in those looked at.
    """
    from metier.engines.data.files import find_files

    found = Survey(source)
    by_format: dict[str, list[tuple[Found, int]]] = {}
    for file in find_files(source):
        if file.problem is not None or file.format is None:
            found.unreadable[file.problem or "unknown format"] += 1
        else:
            size = _size(file)
            found.files[file.format] += 1
            by_format.setdefault(file.format, []).append((file, size))
    samples = {kind: list(_samples(found, files, len(by_format))) for kind, files in by_format.items()}
    _choose_column(found, [sample for kind in ROW_FORMATS for sample in samples.get(kind, [])])
    seen: set[bytes] = set()
    for kind, files in by_format.items():
        sources = _count(found, samples[kind], files, seen)
        if not sources:  # the rows name none
            for file, size in files:
                sources[file.group] += size
        found.groups += sources
    if found.sampled == 0:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in found.unreadable.most_common(5))
        named = f"; no column of {', '.join(found.columnless[:3])} holds texts" if found.columnless else ""
        raise ValueError(f"nothing in {source} could be read as documents: {reasons or 'all files are empty'}{named}")
    return found


def _size(file: Found) -> int:
    try:
        return int(file.filesystem.size(file.location) or 0)
    except OSError:
        return 0


def _samples(found: Survey, files: list[tuple[Found, int]], formats: int) -> Iterator[_Sample]:
    """Beginnings of files of one format, drawn at random, the same each time."""
    wanted = min(len(files), max(1, MAX_FILES // formats))
    for position in sorted(random.Random(0).sample(range(len(files)), wanted)):
        file, size = files[position]
        found.looked_at += 1
        try:
            rows, share = _parquet(file) if file.format == "parquet" else _readable(file, size)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            found.unreadable[str(error).partition(":")[0]] += 1
            rows, share = [], 1.0
        yield _Sample(file, size, rows, share)


def _readable(file: Found, size: int) -> tuple[list[dict[str, Any]], float]:
    content, share = _head(file, size, HTML_BYTES if file.format == "html" else HEAD_BYTES)
    if file.format == "html":
        from metier.engines.data.html import html_text

        return [{"": html_text(content)}], share
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content[: len(content) // 2 * 2].decode("utf-16", "replace")
    if "\0" in text or text.count("\ufffd") > 0.01 * len(text):
        raise ValueError("binary, or not UTF-8")
    if not text.strip():
        raise ValueError("empty file")
    match file.format:
        case "jsonl":
            return _json_lines(text, share)
        case "json":
            return _json(text, share)
        case "csv" | "tsv":
            return _separated(text, share, "," if file.format == "csv" else "\t")
        case _:
            return [{"": text}], share


def _head(file: Found, size: int, limit: int) -> tuple[bytes, float]:
    """At most `limit` bytes from the beginning, decompressed, and the share of the file that they are."""
    with file.filesystem.open(file.location, "rb") as opened:
        raw = opened.read(limit)
    if file.compression == "gz":
        unpacker = zlib.decompressobj(wbits=47)
        content = unpacker.decompress(raw, limit)
        used = len(raw) - len(unpacker.unconsumed_tail)
    elif file.compression == "zst":
        import zstandard

        packed = io.BytesIO(raw)
        try:
            content = zstandard.ZstdDecompressor().stream_reader(packed, read_size=4096).read(limit)
        except zstandard.ZstdError as error:
            raise ValueError(f"broken .zst: {error}") from error
        used = packed.tell()
    else:
        content, used = raw, len(raw)
    return content, used / size if size else 1.0


def _json_lines(text: str, share: float) -> tuple[list[dict[str, Any]], float]:
    lines = text.split("\n")
    if share < 1 and len(lines) > 1:
        lines.pop()  # cut off in the middle
    full = [line for line in lines if line.strip()]
    rows = [value for line in full[:MAX_ROWS] if isinstance(value := _parsed(line), dict)]
    if not rows:
        raise ValueError("broken JSON lines")
    return rows, share * min(1, MAX_ROWS / len(full))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _json(text: str, share: float) -> tuple[list[dict[str, Any]], float]:
    value = _parsed(text)
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict):
        return [value], share
    if value is None and not (text.lstrip().startswith("[") or share < 1):
        return _json_lines(text, share)  # JSON lines that go by this name
    rows, seen = (value, len(text)) if value is not None else _items(text)
    rows = [row for row in rows if isinstance(row, dict)]
    if not rows:
        raise ValueError("broken JSON, or no objects in it")
    return rows[:MAX_ROWS], share * seen / len(text) * min(1, MAX_ROWS / len(rows))


def _items(text: str) -> tuple[list[Any], int]:
    """The first items of a JSON list that breaks off, and how many characters they take."""
    decoder, rows, position = json.JSONDecoder(), [], text.find("[") + 1
    while position > 0:
        try:
            row, position = decoder.raw_decode(text, _BETWEEN.match(text, position).end())  # type: ignore[union-attr]
        except (ValueError, RecursionError):
            break
        rows.append(row)
        if len(rows) == MAX_ROWS:
            break
    return rows, position


def _separated(text: str, share: float, delimiter: str) -> tuple[list[dict[str, Any]], float]:
    csv.field_size_limit(max(csv.field_size_limit(), HEAD_BYTES))
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise ValueError(f"broken CSV: {error}") from error
    if share < 1 and len(rows) > 1:
        rows.pop()
    full = [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
    return full[:MAX_ROWS], share * min(1, MAX_ROWS / max(1, len(full)))


def _parquet(file: Found) -> tuple[list[dict[str, Any]], float]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.compression is not None:
        raise ValueError("compressed Parquet, not looked into")
    with file.filesystem.open(file.location, "rb") as opened:
        try:
            table = pq.ParquetFile(opened)
            total = table.metadata.num_rows
            batch = next(table.iter_batches(batch_size=MAX_ROWS), None)
        except pa.ArrowException as error:
            raise ValueError(f"broken Parquet: {error}") from error
    rows = batch.to_pylist() if batch is not None else []
    return rows, len(rows) / total if total else 1.0


def _choose_column(found: Survey, samples: list[_Sample]) -> None:
    """The column with the most text in it; addresses don't count, and neither does a column of numbers."""
    lengths: dict[str, list[int]] = {}
    for sample in samples:
        for row in sample.rows:
            for name, value in row.items():
                if isinstance(value, str) and not _is_no_text(value):
                    lengths.setdefault(name, []).append(len(value))
    ranked = sorted(lengths, key=lambda name: -sum(lengths[name]))
    found.columns = {name: sum(lengths[name]) / len(lengths[name]) for name in ranked[:_COLUMNS_SHOWN]}
    found.text_column = ranked[0] if ranked else None
    for sample in samples:
        if sample.rows and not any(found.text_column in row for row in sample.rows):
            found.columnless.append(sample.file.name)


def _is_no_text(value: str) -> bool:
    return not any(map(str.isalpha, value[:1000])) or value.startswith(("http://", "https://"))


def _count(found: Survey, samples: list[_Sample], files: list[tuple[Found, int]], seen: set[bytes]) -> Counter[str]:
    """Adds one format's documents, scaled from the samples to all files of the format; the characters by the `source` that rows name."""
    sources: Counter[str] = Counter()
    by_bytes = sum(size for _, size in files) / max(1, sum(sample.size for sample in samples))
    by_files = len(files) / max(1, len(samples))
    for sample in samples:
        column = found.text_column if sample.file.format in ROW_FORMATS else ""
        for row in sample.rows:
            text = row.get(column)  # type: ignore[arg-type]
            if not isinstance(text, str) or not text.strip():
                continue
            in_rows = column != ""
            whole = in_rows or sample.share >= 1
            length = len(text) if whole else len(text) / sample.share
            characters = by_bytes * (length / sample.share if in_rows and sample.share > 0 else length)
            source = row.get("source") if in_rows else None
            found.documents += characters / length if in_rows else by_files
            found.characters += characters
            if isinstance(source, str) and source:
                sources[source] += round(characters)
            found.shortest = min(found.shortest or round(length), round(length))
            found.longest = max(found.longest, round(length))
            found.sampled += 1
            digest = hashlib.blake2b(" ".join(text.lower().split()).encode("utf-8", "replace"), digest_size=16).digest()
            found.copies += whole and digest in seen
            seen.add(digest)
    return sources
