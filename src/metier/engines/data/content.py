"""The content of a found file: decompressed within bounds, as UTF-8, whole or line by line."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from metier.engines.data.files import Found

BLOCK = 1 << 20
MAX_RATIO = 500  # text rarely shrinks a hundredfold; a bomb of zeros does a thousandfold and more
RATIO_FREE = 64 << 20  # bytes up to which no ratio is too large
_SNIPPET = 200
_WIDE = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class UnreadableError(Exception):
    """Why something can't be read, as "kind: detail", with the beginning of it where there is one."""

    def __init__(self, error: str, content: bytes | str = b"") -> None:
        super().__init__(error)
        self.error, self.snippet = error, snippet(content)


def snippet(content: bytes | str) -> str:
    """The first characters of a content that may be anything, fit to be stored."""
    text = content[: 4 * _SNIPPET].decode("utf-8", "replace") if isinstance(content, bytes) else content[:_SNIPPET]
    return text[:_SNIPPET].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def blocks(found: Found) -> Iterator[bytes]:
    """The decompressed bytes in blocks. Raises UnreadableError for a truncated, damaged or absurdly compressed file."""
    with found.filesystem.open(found.location, "rb") as file:
        if found.compression is None:
            while block := file.read(BLOCK):
                yield block
            return
        counted = _Counted(file)
        total = 0
        for block in _gunzipped(counted) if found.compression == "gz" else _unzstd(counted):
            total += len(block)
            if total > RATIO_FREE and total > MAX_RATIO * counted.count:
                raise UnreadableError(
                    f"compression bomb: {counted.count} bytes have become {total}, more than {MAX_RATIO} times as many", block
                )
            yield block


class _Counted:
    """A file that counts the bytes read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.count = file, 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.count += len(block)
        return block


def _gunzipped(file: Any) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as content:
            while block := content.read1(BLOCK):  # unlike read, it gives what stands before a break
                yield block
    except EOFError as error:
        raise UnreadableError(f"truncated .gz: it breaks off after {file.count} bytes") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError(f"broken .gz: {error}") from error


def _unzstd(file: Any) -> Iterator[bytes]:
    import zstandard

    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
    try:
        while piece := file.read(4096):  # small, since each may become a hundred mebibytes at once
            while piece:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                begun = True
                block = frame.decompress(piece)
                piece = frame.unused_data if frame.eof else b""
                if block:
                    yield block
    except zstandard.ZstdError as error:
        raise UnreadableError(f"broken .zst: {error}") from error
    if begun and not frame.eof:
        raise UnreadableError(f"truncated .zst: it breaks off after {file.count} bytes")


def whole(content: Iterable[bytes], max_bytes: int) -> bytes:
    """All blocks joined. Raises UnreadableError beyond `max_bytes`."""
    pieces, total = [], 0
    for block in content:
        pieces.append(block)
        total += len(block)
        if total > max_bytes:
            raise UnreadableError(
                f"too large: a single document of more than {max_bytes} bytes; cut it, or set max_document_bytes", pieces[0]
            )
    return b"".join(pieces)


def as_utf8(content: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a byte order mark; UTF-16 and UTF-32, which begin with one, become UTF-8."""
    first = next(content, b"")
    while 0 < len(first) < 4 and (more := next(content, b"")):
        first += more
    wide = next((name for mark, name in _WIDE.items() if first.startswith(mark)), None)
    if wide is None:
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from content
        return
    decoder = codecs.getincrementaldecoder(wide)()
    try:
        yield decoder.decode(first).encode()
        for block in content:
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not {wide.upper()}: {error.reason}") from error


def lines(content: Iterator[bytes], max_bytes: int) -> Iterator[bytes | UnreadableError]:
    """Lines without their ends. One of more than `max_bytes` comes as UnreadableError and is not held."""
    pieces: list[bytes] = []
    size = 0
    for block in content:
        begin = 0
        while (end := block.find(b"\n", begin)) >= 0:
            yield _line(pieces, block[begin:end], size, max_bytes)
            pieces, size, begin = [], 0, end + 1
        size += len(block) - begin
        if size <= max_bytes or not pieces:
            pieces.append(block[begin:])
    if size:
        yield _line(pieces, b"", size, max_bytes)


def _line(pieces: list[bytes], last: bytes, size: int, max_bytes: int) -> bytes | UnreadableError:
    if size + len(last) > max_bytes:
        error = f"too large: a line of {size + len(last)} bytes, and max_document_bytes is {max_bytes}"
        return UnreadableError(error, (pieces or [last])[0])
    return b"".join([*pieces, last])


_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\v\b\x1b"))


def decoded(content: bytes, encoding: str = "utf-8") -> str:
    """The text of bytes. Raises UnreadableError for binary data, and for bytes that are not in the encoding."""
    nul = content.find(b"\0")
    if nul >= 0:
        raise UnreadableError(f"binary: byte 0x00 at offset {nul}", content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        head = content[:8192]
        if len(head) - len(head.translate(None, _CONTROL)) > 0.05 * len(head):
            raise UnreadableError("binary: control characters, and no UTF-8", content) from error
        kind = f"not {encoding.upper()}"
        raise UnreadableError(f"{kind}: byte 0x{content[error.start]:02x} at offset {error.start}", content) from error


_SURROGATE = re.compile("[\ud800-\udfff]")


def text_problem(text: str) -> str | None:
    """Why a string is no text, as "kind: detail": empty, a NUL or a lone surrogate in it. None where it is one."""
    if not text or text.isspace():
        return "empty text: nothing but white space"
    if (nul := text.find("\0")) >= 0:
        return f"NUL in text: at character {nul}"
    if not text.isascii() and (found := _SURROGATE.search(text)) is not None:
        return f"lone surrogate: U+{ord(found[0]):04X} at character {found.start()}"
    return None
