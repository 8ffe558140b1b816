"""WARC files record by record, as a stream: what is damaged costs its own record, and reading goes on with the next one.

Written here rather than taken from fastwarc, which ends at the first damaged member and gives a cut record out as a whole one.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from metier.engines.data.content import BLOCK, MAX_RATIO, RATIO_FREE, UnreadableError, snippet
from metier.engines.data.files import Found

_PIECE = 1 << 14  # compressed bytes unpacked at once: they become 16 MiB at most
_MAX_HEAD = 1 << 16
_PROBE = 1 << 10
_BLANK = re.compile(rb"\r?\n\r?\n")
_RECORD = re.compile(rb"\r?\n(?=WARC/1\.\d\r?\n)")
_LENGTH = re.compile(r"\d{1,15}")


class Record(NamedTuple):
    """A record: its number in the file from 1, its headers by name in small letters, and all that follows them."""

    number: int
    headers: dict[str, str]
    block: bytes


class Broken(NamedTuple):
    """Where no whole record could be read: its number, why as "kind: detail", how it begins, and what is known of its headers."""

    number: int
    error: str
    snippet: str
    headers: dict[str, str]


def records(found: Found, max_bytes: int) -> Iterator[Record | Broken]:
    """The records of a file, plain or compressed (whole, or record by record as is usual), in order.

    A block of more than `max_bytes` is passed over and not held. After a damaged or truncated record, or one whose Content-Length
    is wrong, the next record is sought: the next compressed member that begins one, or the next line that begins one.
    """
    stream = _Stream(_pieces(found))
    number = 0
    while stream.at_something():
        number += 1
        yield stream.record(number, max_bytes)


_Pieces: TypeAlias = Iterator[bytes | UnreadableError | None]
"""Unpacked bytes; None before each compressed member; an error where one is damaged, after which the next sound member follows."""


class _Stream:
    """Pieces with look-ahead. It stops at a break, and before a member that begins a record, until these are passed."""

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces
        self._data, self._at = b"", 0
        self._next: bytes | UnreadableError | None = (
            None  # the first piece of a member that begins a record, or that none can be had
        )
        self._broken: UnreadableError | None = None

    def at_something(self) -> bool:
        """Goes to the next record, or to what stands in its place. False at the end."""
        self._skip_newlines()
        if self._at == len(self._data) and self._broken is None and self._next is not None:
            if isinstance(self._next, UnreadableError):
                self._broken, self._next = self._next, None
            else:
                self._data, self._at, self._next = self._next, 0, None
        return self._at < len(self._data) or self._broken is not None

    def record(self, number: int, max_bytes: int) -> Record | Broken:
        """The record at this place; afterwards the stream stands behind it."""
        headers: dict[str, str] = {}
        begin = self._data[self._at : self._at + 400]
        try:
            headers = self._head()
            length = _LENGTH.fullmatch(headers.get("content-length", ""))
            if length is None:
                raise UnreadableError(f"broken WARC: Content-Length is {headers.get('content-length')!r}", begin)
            return Record(number, headers, self._block(int(length[0]), max_bytes))
        except UnreadableError as error:
            problem = error
        if self._broken is not None:
            problem, self._broken = self._broken, None
            self._data, self._at = b"", 0
        else:
            self._seek_record()
        return Broken(number, problem.error, problem.snippet or snippet(begin), headers)

    def _head(self) -> dict[str, str]:
        while (end := _BLANK.search(self._data, self._at, self._at + _MAX_HEAD)) is None:
            if len(self._data) - self._at > _MAX_HEAD or not self._more():
                break
        if end is None or not self._data.startswith(b"WARC/", self._at):
            begins = self._data.startswith(b"WARC/", self._at)
            self._at = min(self._at + 5, len(self._data))  # or the same line would be found again
            raise UnreadableError(f"broken WARC: {'the headers do not end' if begins else 'no record begins here'}")
        lines = self._data[self._at : end.start()]
        self._at = end.end()
        return headers_of(lines)

    def _block(self, length: int, max_bytes: int) -> bytes:
        """The next `length` bytes, when a record ends behind them."""
        if length > max_bytes:
            self._pass_over(length)
            raise UnreadableError(f"too large: a record of {length} bytes, and max_document_bytes is {max_bytes}")
        pieces, missing = [], length
        while missing:
            piece = self._data[self._at : self._at + missing]
            pieces.append(piece)
            missing -= len(piece)
            self._at += len(piece)
            if missing:
                self._data, self._at = b"", 0
                if not self._more():
                    break
        block = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._skip_newlines()
        if self._broken is not None and (missing or not self._broken.error.startswith("truncated")):
            raise self._broken
        if missing or not self._data.startswith(b"WARC/"[: len(self._data) - self._at], self._at):
            raise self._of_wrong_length(block, length, missing)
        return block

    def _of_wrong_length(self, block: bytes, length: int, missing: int) -> UnreadableError:
        begins = _RECORD.search(block)
        if begins is not None:
            self._data, self._at = block[begins.start() :] + self._data[self._at :], 0
            return UnreadableError(f"wrong length: Content-Length is {length}, and the next record begins before", block)
        if missing and self._next is None:
            return UnreadableError(f"truncated WARC: a record breaks off after {length - missing} of {length} bytes", block)
        where = f"ends after {length - missing} bytes" if missing else "goes on"
        return UnreadableError(f"wrong length: Content-Length is {length}, and the record {where}", block)

    def _pass_over(self, length: int) -> None:
        """Leaves the next `length` bytes behind, or those up to the next record where it begins sooner."""
        while length > 0 and (self._at < len(self._data) or self._more()):
            begins = _RECORD.search(self._data, self._at, self._at + length + 16)
            if begins is not None:
                self._at = begins.start()
                return
            step = min(length, len(self._data) - self._at)
            length -= step
            self._at += step

    def _seek_record(self) -> None:
        """Goes to the next line that begins a record, or to the next member that does, or to the end."""
        self._at = max(0, self._at - 2)
        while (begins := _RECORD.search(self._data, self._at)) is None:
            self._at = max(self._at, len(self._data) - 16)  # the line may go on in the next piece
            if not self._more():
                self._data, self._at = b"", 0
                return
        self._at = begins.end()

    def _skip_newlines(self) -> None:
        while True:
            while self._at < len(self._data) and self._data[self._at] in b"\r\n":
                self._at += 1
            if self._at < len(self._data) or not self._more():
                return

    def _more(self) -> bool:
        """Takes another piece. False at a break, before a member that begins a record, and at the end."""
        if self._broken is not None or self._next is not None:
            return False
        begins = False
        for piece in self._pieces:
            if piece is None:
                begins = True
            elif begins and (isinstance(piece, UnreadableError) or piece.startswith(b"WARC/")):
                self._next = piece
                return False
            elif isinstance(piece, UnreadableError):
                self._broken = piece
                return False
            else:
                self._data, self._at = self._data[self._at :] + piece, 0
                return True
        return False


def headers_of(lines: bytes) -> dict[str, str]:
    """Headers by their names in small letters, without the first line; of several of one name the first."""
    text = lines.decode("utf-8", "replace").replace("\0", "\ufffd")
    headers: dict[str, str] = {}
    for line in re.sub(r"\r?\n[ \t]+", " ", text).split("\n")[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return headers


class _Packing(NamedTuple):
    """How members are told and unpacked: `unpacker()` gives an object like zlib's decompressobj."""

    name: str
    magic: bytes
    unpacker: Callable[[], Any]
    errors: type[Exception]


def _pieces(found: Found) -> _Pieces:
    with found.filesystem.open(found.location, "rb") as file:
        if found.compression == "gz":
            yield from _members(file, b"", _Packing(".gz", b"\x1f\x8b\x08", lambda: zlib.decompressobj(31), zlib.error))
        elif found.compression == "zst":
            yield from _members(file, *_zstd(file))
        else:
            while piece := file.read(BLOCK):
                yield piece


def _members(file: Any, held: bytes, packing: _Packing) -> _Pieces:
    """Unpacks member after member; `held` are bytes already read. Sought anew after a damaged one and after a bomb."""
    begun = False
    while held := held or file.read(_PIECE):
        if begun and not (held := held.lstrip(b"\0")):  # zeros may pad a file
            continue
        begun = True
        yield None
        unpacker, taken, given = packing.unpacker(), 0, 0
        try:
            while not unpacker.eof:
                held = held or file.read(_PIECE)
                if not held:
                    yield UnreadableError(f"truncated {packing.name}: a member breaks off after {taken} bytes")
                    return
                piece = unpacker.decompress(held)
                taken, given, held = taken + len(held), given + len(piece), unpacker.unused_data
                if given > RATIO_FREE and given > MAX_RATIO * taken:
                    raise UnreadableError(
                        f"compression bomb: {taken} bytes have become {given}, more than {MAX_RATIO} times as many"
                    )
                if piece:
                    yield piece
        except (packing.errors, UnreadableError) as error:
            yield error if isinstance(error, UnreadableError) else UnreadableError(f"broken {packing.name}: {error}")
            held = _next_member(file, held[taken == 0 :], packing)  # not the same one again


def _next_member(file: Any, held: bytes, packing: _Packing) -> bytes:
    """The compressed bytes from the next member on that begins a record, as far as read; b"" where there is none."""
    while True:
        at = held.find(packing.magic)
        if at < 0:
            held = held[len(held) - len(packing.magic) + 1 :] if len(held) >= len(packing.magic) else held
        elif len(held) - at >= _PROBE and _begins_record(held[at : at + _PROBE], packing):
            return held[at:]
        elif len(held) - at >= _PROBE:
            held = held[at + 1 :]
            continue
        more = file.read(_PIECE)
        if not more:
            return held[at:] if at >= 0 and _begins_record(held[at:], packing) else b""
        held = held[max(at, 0) :] + more


def _begins_record(held: bytes, packing: _Packing) -> bool:
    try:
        return b"WARC/".startswith(packing.unpacker().decompress(held)[:5])
    except packing.errors:
        return False


def _zstd(file: Any) -> tuple[bytes, _Packing]:
    """The bytes read, and the packing, with the dictionary that a first skippable frame may hold."""
    import zstandard

    head, dictionary = file.read(8), None
    if head.startswith(b"\x5d\x2a\x4d\x18") and len(head) == 8:
        content, head = file.read(struct.unpack("<I", head[4:])[0]), b""
        if content.startswith(b"\x28\xb5\x2f\xfd"):
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=1 << 26)
        dictionary = zstandard.ZstdCompressionDict(content)
    unpack = zstandard.ZstdDecompressor(dict_data=dictionary)
    return head, _Packing(".zst", b"\x28\xb5\x2f\xfd", unpack.decompressobj, zstandard.ZstdError)
