"""What a WARC record holds: a page or text as a server sent it, out of its HTTP codings and its charset."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from metier.engines.data.content import MAX_RATIO, RATIO_FREE, UnreadableError, as_utf8, decoded
from metier.engines.data.warc import Record, headers_of

HTML = "text/html"
_HTML_TYPES = {HTML, "application/xhtml+xml", "application/vnd.wap.xhtml+xml"}
_TEXT_TYPES = {"text/plain", "text/markdown", "text/x-markdown", "text/x-rst"}
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})[^\r\n]*")
_BLANK = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_PARAMETER = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
DECLARED = re.compile(rb"""<(?:meta\b[^>]*?charset\s*=|\?xml\b[^>]*?encoding\s*=)\s*["']?\s*([A-Za-z0-9_:.-]+)""", re.IGNORECASE)
_NO_CHARSETS = {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "utf-7", "undefined"}  # Python's own, and unsafe ones
_PIECE = 1 << 14


class WebPage(NamedTuple):
    """A document of the web: its text (of HTML the source), and the columns that say where it came from."""

    text: str
    is_html: bool
    fields: dict[str, Any]


def web_page(record: Record, max_bytes: int) -> WebPage | None:
    """The document in a record; None for records that stand for none: requests, metadata, revisits, robots.txt, names looked up.

    Raises UnreadableError for answers that are no success ("HTTP status"), neither HTML nor plain text ("not text"), or damaged.
    """
    headers, kind = record.headers, record.headers.get("warc-type", "").lower()
    url = headers.get("warc-target-uri", "").strip("<>")
    if kind not in ("response", "resource", "conversion") or not _stands_for_a_document(url):
        return None
    content, media, charset = record.block, *_media(headers.get("content-type", ""))
    if kind == "response":
        content, media, charset = _answer(record.block, max_bytes)
    if kind == "conversion":
        media, charset = media or "text/plain", charset or "utf-8"
    if media not in _HTML_TYPES and media not in _TEXT_TYPES:
        raise UnreadableError(f"not text: {media or 'no media type'}", content)
    if not content.strip():
        raise UnreadableError(f"empty page: {len(content)} bytes")
    fields = {
        "id": headers.get("warc-record-id", "").strip("<>") or url,
        "url": url or None,
        "crawl_date": headers.get("warc-date"),
    }
    if "warc-identified-content-language" in headers:
        fields["identified_language"] = headers["warc-identified-content-language"]
    return WebPage(page_source(content, charset), media in _HTML_TYPES, fields)


def _stands_for_a_document(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    return parts.path != "/robots.txt" and parts.scheme not in ("dns", "metadata", "urn")


def _media(content_type: str) -> tuple[str, str | None]:
    """Media type and charset of a Content-Type."""
    declared = _PARAMETER.search(content_type)
    return content_type.partition(";")[0].strip().lower(), declared[1].lower() if declared is not None else None


def _answer(block: bytes, max_bytes: int) -> tuple[bytes, str, str | None]:
    """The content of a server's answer without its codings, its media type and its charset."""
    status = _STATUS.match(block)
    if status is None:
        raise UnreadableError("broken HTTP: it does not begin with a status", block)
    if status[1] != b"200":
        raise UnreadableError(f"HTTP status: {status[1].decode()}")
    end = _BLANK.search(block)
    lines, body = (block[: end.start()], block[end.end() :]) if end is not None else (block, b"")
    headers = headers_of(lines)
    media, charset = _media(headers.get("content-type", ""))
    if media in _HTML_TYPES or media in _TEXT_TYPES:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = _unchunked(body)
        for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
            body = _undone(body, coding.strip(), max_bytes)
    return body, media, charset


def _unchunked(body: bytes) -> bytes:
    """The chunks joined; a body that is none is one whose crawler joined them and left the header."""
    pieces: list[bytes] = []
    at = 0
    while (size := _CHUNK.match(body, at)) is not None:
        begin, length = size.end(), int(size[1], 16)
        if length == 0:
            return b"".join(pieces)
        if begin + length > len(body):
            break
        pieces.append(body[begin : begin + length])
        at = begin + length
        at += 2 if body.startswith(b"\r\n", at) else body.startswith(b"\n", at)
    if at == 0 and size is None:
        return body
    raise UnreadableError(f"broken HTTP: the chunks of the body break off after {at} of {len(body)} bytes", b"".join(pieces))


def _undone(body: bytes, coding: str, max_bytes: int) -> bytes:
    """The body out of one content coding; as it is where the crawler has undone it and left the header."""
    if coding in ("", "identity", "none"):
        return body
    if coding in ("gzip", "x-gzip"):
        return _unpacked(body, coding, lambda: zlib.decompressobj(31), max_bytes) if body.startswith(b"\x1f\x8b") else body
    if coding == "deflate":
        if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0:  # a header of zlib
            return _unpacked(body, coding, zlib.decompressobj, max_bytes)
        return body if body.lstrip().startswith(b"<") else _unpacked(body, coding, lambda: zlib.decompressobj(-15), max_bytes)
    if coding == "zstd":
        import zstandard

        packed = body.startswith(b"\x28\xb5\x2f\xfd")
        return _unpacked(body, coding, zstandard.ZstdDecompressor().decompressobj, max_bytes) if packed else body
    if coding == "br":
        return body if body.lstrip().startswith(b"<") else _unpacked(body, coding, _brotli, max_bytes)
    raise UnreadableError(f"unknown coding: {coding!r} of the content", body)


def _unpacked(body: bytes, coding: str, unpacker: Callable[[], Any], max_bytes: int) -> bytes:
    unpack, pieces, total = unpacker(), [], 0
    try:
        for begin in range(0, len(body), _PIECE):
            pieces.append(unpack.decompress(body[begin : begin + _PIECE]))
            total += len(pieces[-1])
            if total > max_bytes:
                raise UnreadableError(f"too large: a page of more than {max_bytes} bytes, unpacked from {coding}", pieces[0])
            if total > RATIO_FREE and total > MAX_RATIO * (begin + _PIECE):
                raise UnreadableError(f"compression bomb: {begin + _PIECE} bytes of {coding} have become {total}", pieces[0])
            if unpack.eof:
                return b"".join(pieces)
    except UnreadableError:
        raise
    except Exception as error:  # each library has its own
        raise UnreadableError(f"broken HTTP: content coded as {coding}: {error}", body) from error
    raise UnreadableError(f"broken HTTP: the content coded as {coding} breaks off", b"".join(pieces))


class _Brotli:
    """brotli's decoder in the shape of zlib's, within bounds however much a few bytes stand for."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    def decompress(self, piece: bytes) -> bytes:
        given = self._decoder.process(piece, output_buffer_limit=RATIO_FREE)
        while not self._decoder.can_accept_more_data() and len(given) <= RATIO_FREE:
            given += self._decoder.process(b"", output_buffer_limit=RATIO_FREE)
        return bytes(given)


def _brotli() -> _Brotli:
    try:
        import brotli  # type: ignore[import-untyped]
    except ImportError as error:
        raise UnreadableError("brotli: the page is coded with it; pip install brotli, 1.2 or later, and read again") from error
    return _Brotli(brotli.Decompressor())


def page_source(content: bytes, charset: str | None = None, *, guess: bool = True) -> str:
    """A page decoded: by its byte order mark, or as UTF-8 where it is that (whatever it says), or by `charset`, or by its own declaration.

    Where the declared charset is wrong and with `guess`: UTF-8 with a few broken bytes, then the charset that resiliparse detects
    (with the extra `web`); bytes that are not in it become U+FFFD, if these are a tenth at most of the characters beyond ASCII.
    Raises UnreadableError for binary content, and where nothing fits.
    """
    unmarked = b"".join(as_utf8(iter([content])))
    if unmarked != content:
        return decoded(unmarked)
    found = DECLARED.search(content[:4096])
    named = charset or (found[1].decode().lower() if found is not None else "utf-8")
    if charset is not None and charset.startswith(("utf-16", "utf-32")):
        return _in_utf_16(content, charset)
    codec, problem = _codec(named), UnreadableError(f"unknown charset: {named!r}", content)
    for name in filter(None, [codec] if codec is not None and _escapes(codec) else dict.fromkeys(["utf-8", codec])):
        try:
            return decoded(content, name)
        except UnreadableError as error:
            if error.error.startswith("binary: byte"):
                raise
            problem = error if codec is not None else problem
        except (LookupError, UnicodeError):  # a codec of Python's that is no charset
            problem = UnreadableError(f"unknown charset: {named!r}", content)
    guessed = _guessed(content) if guess else None
    if guessed is None:
        raise problem
    return guessed


def _in_utf_16(content: bytes, charset: str) -> str:
    try:
        return decoded(content.decode(charset).encode())  # without NULs
    except UnicodeError as error:
        raise UnreadableError(f"not {charset.upper()}: {error}", content) from error


def _codec(charset: str) -> str | None:
    """Python's codec of a charset that a page declares, as browsers understand it; None where there is none."""
    if charset.startswith("utf-16"):
        return "utf-8"  # the declaration could not be read otherwise
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    as_browsers = {"iso8859-1": "cp1252", "ascii": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "gb2312": "gb18030"}
    as_browsers |= {"gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "tis-620": "cp874"}
    return None if name in _NO_CHARSETS else as_browsers.get(name, name)


def _escapes(codec: str) -> bool:
    """Whether a charset writes all characters by bytes of ASCII, so that every text of it is UTF-8, too."""
    return codec.startswith("iso2022") or codec == "hz"


def _guessed(content: bytes) -> str | None:
    names = ["utf-8"]
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError:
        pass
    else:
        names += filter(None, [_codec(detect_encoding(content) or "")])
    for name in names:
        text = content.decode(name, "replace")
        beyond = len(text) - len(text.encode("ascii", "ignore"))
        if 10 * text.count("\ufffd") <= beyond:
            return text
    return None
