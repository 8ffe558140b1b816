"""Crawls: each record as a row, as fastwarc finds them, out of every coding and charset."""

import gzip
import io
import uuid
import zlib

import brotli
import fsspec
import pytest
import zstandard

from metier.artifacts import Funnel
from metier.engines.data.read import read

HTML = "<html><head><title>T</title></head><body><p>Grüße aus Zürich, 世界.</p></body></html>"


def record(kind, url, block, content_type="application/http", **headers):
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {url}')}>"]
    lines += ["WARC-Date: 2024-05-06T07:08:09Z", f"Content-Type: {content_type}", f"Content-Length: {len(block)}"]
    lines += [f"WARC-Target-URI: {url}"] if url else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def answer(url, body=HTML, media="text/html; charset=utf-8", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {media}"] if media else [])]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    body = body.encode() if isinstance(body, str) else body
    return record("response", url, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def rows_of(folder, content, name="a.warc", **settings):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return read(source=str(folder), **settings).frame().to_pylist()


PAGES = [
    record("warcinfo", "", b"software: test\r\n", "application/warc-fields"),
    record("request", "http://a/1", b"GET /1 HTTP/1.1\r\n\r\n"),
    answer("http://a/1"),
    record("metadata", "http://a/1", b"fetchTimeMs: 5\r\n", "application/warc-fields"),
    answer("http://a/robots.txt", "User-agent: *", "text/plain"),
    answer("http://a/2", "plain\r\ntext", "text/plain"),
    answer("http://a/3", b"\x89PNG\0", "image/png"),
    answer("http://a/4", "gone", status="404 Not Found"),
    record("revisit", "http://a/1", b"HTTP/1.1 200 OK\r\n\r\n"),
    record("resource", "http://a/5", HTML.encode(), "text/html"),
    record("response", "dns:a", b"20240506\na. 1 IN A 127.0.0.1", "text/dns"),
]


def each(compress):
    return b"".join(map(compress, PAGES))


PACKED = {
    "a.warc": each(lambda one: one),
    "a.warc.gz": each(gzip.compress),
    "whole.warc.gz": gzip.compress(b"".join(PAGES)),
    "a.warc.zst": each(zstandard.ZstdCompressor().compress),
    "padded.warc.gz": each(gzip.compress) + b"\0" * 40_000,
}


@pytest.mark.parametrize("name", PACKED)
def test_pages_texts_and_what_is_put_apart(tmp_path, name):
    rows = rows_of(tmp_path / "in", PACKED[name], name)
    text = "# T\n\nGrüße aus Zürich, 世界."
    assert [(row["url"], row["error"] or row["text"]) for row in rows] == [
        ("http://a/1", text),
        ("http://a/2", "plain\ntext"),
        ("http://a/3", "not text: image/png"),
        ("http://a/4", "HTTP status: 404"),
        ("http://a/5", text),
    ]
    first = rows[0]
    assert first["id"] == f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'response http://a/1')}"
    assert (first["crawl_date"], first["media_type"], first["path"]) == ("2024-05-06T07:08:09Z", "text/plain", name)
    assert rows[2]["id"] == f"{name}#7"
    saved = read(source=str(tmp_path / "in")).save(tmp_path / "out")
    assert saved.funnel() == Funnel(5, 3, {}, {"not text": 1, "HTTP status": 1})


def test_the_source_of_pages_is_kept_when_asked(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.html").write_bytes(HTML.encode())
    rows = rows_of(tmp_path / "in", PACKED["a.warc"], html="source")
    assert {row["path"] + (row["url"] or ""): (row["text"], row["media_type"]) for row in rows if row["error"] is None} == {
        "a.warchttp://a/1": (HTML, "text/html"),
        "a.warchttp://a/2": ("plain\ntext", "text/plain"),
        "a.warchttp://a/5": (HTML, "text/html"),
        "b.html": (HTML, "text/html"),
    }
    with pytest.raises(ValueError, match="html='raw'"):
        read(source=str(tmp_path / "in"), html="raw")


def test_wet_files_give_text_url_and_language(tmp_path):
    wet = record("warcinfo", "", b"x: y", "application/warc-fields") + record(
        "conversion", "http://a/1", "Grüße.\n".encode(), "text/plain", WARC_Identified_Content_Language="deu,eng"
    )
    (row,) = rows_of(tmp_path / "in", gzip.compress(wet), "a.warc.wet.gz")
    assert (row["text"], row["url"], row["identified_language"]) == ("Grüße.\n", "http://a/1", "deu,eng")


def test_urls_as_ids_over_a_file_system_of_fsspec():
    fsspec.filesystem("memory").pipe({"/crawl/x/a.warc.gz": PACKED["a.warc.gz"]})
    rows = list(read(source="memory://crawl", id_column="url").rows())
    assert [row["id"] for row in rows] == ["http://a/1", "http://a/2", "http://a/5"]


def test_the_same_records_as_fastwarc_finds(tmp_path):
    from fastwarc.warc import ArchiveIterator

    from metier.engines.data.files import find_files
    from metier.engines.data.warc import records

    for name in PACKED.keys() - {"padded.warc.gz"}:  # at which fastwarc ends with an error
        content = PACKED[name]
        (tmp_path / name).write_bytes(content)
        theirs = [(one.record_id, one.reader.read()) for one in ArchiveIterator(io.BytesIO(content), parse_http=False)]
        ours = [(one.headers["warc-record-id"], one.block) for one in records(find_files(str(tmp_path / name))[0], 1 << 20)]
        assert [block for _, block in ours] == [block for _, block in theirs]
        assert [one.strip("<>") for one, _ in ours] == [one.strip("<>") for one, _ in theirs]


def chunked(body):
    parts = [body[:10], body[10:]]
    return b"".join(b"%x;ext\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def raw_deflate(body):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


B = HTML.encode()
CODED = {
    "gzip": (gzip.compress(B), {"Content_Encoding": "gzip"}),
    "x-gzip": (gzip.compress(B), {"Content_Encoding": "x-gzip"}),
    "zlib": (zlib.compress(B), {"Content_Encoding": "deflate"}),
    "deflate": (raw_deflate(B), {"Content_Encoding": "deflate"}),
    "brotli": (brotli.compress(B), {"Content_Encoding": "br"}),
    "zstd": (zstandard.compress(B), {"Content_Encoding": "zstd"}),
    "chunked": (chunked(B), {"Transfer_Encoding": "chunked"}),
    "chunked gzip": (chunked(gzip.compress(B)), {"Transfer_Encoding": "chunked", "Content_Encoding": "gzip"}),
    "two codings": (gzip.compress(zlib.compress(B)), {"Content_Encoding": "deflate, gzip"}),
    **{f"undone {coding}": (B, {"Content_Encoding": coding}) for coding in ("gzip", "br", "deflate", "zstd", "identity")},
    "undone chunks": (B, {"Transfer_Encoding": "chunked"}),
}


@pytest.mark.parametrize("name", CODED)
def test_content_codings_are_undone(tmp_path, name):
    body, headers = CODED[name]
    (row,) = rows_of(tmp_path / "in", answer("http://a", body, **headers), html="source")
    assert (row["text"], row["error"]) == (HTML, None)


BROKEN = {
    "gzip cut": (
        answer("u", gzip.compress(B)[:-20], Content_Encoding="gzip"),
        "broken HTTP: the content coded as gzip breaks off",
    ),
    "brotli damaged": (answer("u", b"\x8b\xff" * 20, Content_Encoding="br"), "broken HTTP: "),
    "unknown": (answer("u", Content_Encoding="sdch"), "unknown coding: 'sdch'"),
    "chunks cut": (answer("u", chunked(B)[:40], Transfer_Encoding="chunked"), "broken HTTP: the chunks of the body break off"),
    "no status": (record("response", "u", b"hello"), "broken HTTP: it does not begin with a status"),
    "no type": (answer("u", media=""), "not text: no media type"),
    "empty": (answer("u", " "), "empty page: 1 bytes"),
    "binary": (answer("u", b"%PDF\0\xff"), "binary: byte 0x00"),
    "markup": (answer("u", "<script>x()</script>"), "no text: "),
    "large": (answer("u", b"x" * 3000), "too large: a record of 3"),
    "unpacks large": (
        answer("u", gzip.compress(b"x" * 3000), Content_Encoding="gzip"),
        "too large: a page of more than 2000 bytes",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_pages_that_cannot_be_read_are_put_apart(tmp_path, name):
    page, error = BROKEN[name]
    rows = rows_of(tmp_path / "in", answer("http://a/1") + page + answer("http://a/2"), max_document_bytes=2000)
    assert [row["url"] for row in rows] == ["http://a/1", "u", "http://a/2"]
    assert rows[1]["error"].startswith(error) and rows[0]["error"] is rows[2]["error"] is None


LONG = "Grüße aus der Äußeren Straße, schöne Häuser und größere Gärten für alle Übermütigen. " * 5
RUSSIAN = "Дети играют в саду, потому что сегодня очень хорошая погода и нет дождя. " * 5
CHARSETS = {
    "by the server": (LONG.encode("latin-1"), "text/html; charset=ISO-8859-1", LONG),
    "by the page": (b'<meta charset="windows-1251">' + RUSSIAN.encode("cp1251"), "text/html", RUSSIAN),
    "UTF-8 that says it is Latin": (b'<meta charset="iso-8859-1">' + LONG.encode(), "text/html", LONG),
    "Cyrillic that says it is UTF-8": (RUSSIAN.encode("cp1251"), "text/html; charset=utf-8", RUSSIAN),
    "Japanese undeclared": (
        "日本語の文章です。今日はとても天気がいいので、庭で遊びます。".encode("euc_jp") * 9,
        "text/html",
        "日本語の文章です。",
    ),
    "unknown charset": (LONG.encode("cp1252"), "text/html; charset=klingon", LONG),
    "UTF-8 cut within a character": (LONG.encode() + "ü".encode()[:1], "text/html; charset=utf-8", LONG),
    "UTF-16 by the server": (LONG.encode("utf-16-le"), "text/html; charset=utf-16le", LONG),
    "a byte order mark": (LONG.encode("utf-16"), "text/html", LONG),
    "escapes": ("日本語の文章です。".encode("iso2022_jp"), "text/html; charset=iso-2022-jp", "日本語の文章です。"),
}


@pytest.mark.parametrize("name", CHARSETS)
def test_charsets(tmp_path, name):
    body, media, text = CHARSETS[name]
    (row,) = rows_of(tmp_path / "in", answer("http://a", body, media), html="source")
    assert row["error"] is None and text in row["text"]


def test_of_local_pages_only_what_is_utf_8_in_truth_is_read_against_its_declaration(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.html").write_bytes(b'<meta charset="iso-8859-1"><p>' + LONG.encode())
    (tmp_path / "in" / "b.html").write_bytes(b'<meta charset="utf-8"><p>' + LONG.encode("cp1252"))
    rows = read(source=str(tmp_path / "in")).frame().to_pylist()
    assert rows[0]["text"] == LONG.strip() and rows[1]["error"].startswith("not UTF-8: byte 0xfc")
    assert read(source=str(tmp_path / "in"), html="source").frame().to_pylist()[1]["text"].endswith(LONG)


def test_the_hub_out_of_reach_says_what_to_do(monkeypatch):
    from huggingface_hub import HfFileSystem

    def unreachable(*arguments, **settings):
        raise ConnectionError("no network")

    monkeypatch.setattr(HfFileSystem, "info", unreachable)
    with pytest.raises(OSError, match=r"hf://datasets/o/n cannot be reached: ConnectionError.*HF_TOKEN"):
        read(source="hf://datasets/o/n")
