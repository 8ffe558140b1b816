"""data.read: what can be read is read exactly, what can't is put apart with its reason, and the counts add up."""

import gzip
import http.server
import json
import logging
import os
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Funnel
from metier.engines.data.read import fingerprint, read

TEXT = "Grüße aus Zürich, 世界.\nSecond line."


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def texts(corpus):
    return {row["id"]: row["text"] for row in corpus.rows()}


def errors(corpus):
    return {row["id"]: row["error"] for row in corpus.frame().to_pylist() if row["error"] is not None}


def rows_file(path):
    pq.write_table(pa.table({"text": [TEXT, "two"], "year": [1999, 2001]}), path)
    return path.read_bytes()


ROWS = {
    "jsonl": f"{json.dumps({'text': TEXT, 'year': 1999})}\n\n{json.dumps({'text': 'two', 'year': 2001})}\r\n",
    "json": json.dumps([{"text": TEXT, "year": 1999}, {"text": "two", "year": 2001}], indent=2),
    "csv": f'year,text\r\n1999,"{TEXT}"\r\n2001,two\r\n',
    "tsv": f'year\ttext\n1999\t"{TEXT}"\n2001\ttwo\n',
    "parquet": b"",
}
WRAPS = {"": lambda content: content, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("suffix", WRAPS)
@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_every_format_and_compression(tmp_path, kind, suffix):
    content = ROWS[kind].encode() if kind != "parquet" else rows_file(tmp_path / "made")
    folder = tmp_path / "in"
    write(folder, {f"wiki.{kind}{suffix}": WRAPS[suffix](content)})
    rows = list(read(source=str(folder)).rows())
    places = ("1", "3") if kind == "jsonl" else ("1", "2")
    years = ("1999", "2001") if kind in ("csv", "tsv") else (1999, 2001)
    path = f"wiki.{kind}{suffix}"
    assert rows == [
        {"id": f"{path}#{place}", "text": text, "source": "in" if kind == "json" else "wiki", "path": path, "year": year}
        for place, text, year in zip(places, (TEXT, "two"), years, strict=True)
    ]


@pytest.mark.parametrize("suffix", WRAPS)
@pytest.mark.parametrize("kind", ["txt", "md"])
def test_texts_are_one_document_each_with_plain_line_ends(tmp_path, kind, suffix):
    content = TEXT.replace("\n", "\r\n").encode()
    corpus = read(source=write(tmp_path, {f"api/a.{kind}{suffix}": WRAPS[suffix](content), f"b.{kind}": b"\xef\xbb\xbftop"}))
    assert list(corpus.rows()) == [
        {"id": f"api/a.{kind}{suffix}", "text": TEXT, "source": "api", "path": f"api/a.{kind}{suffix}"},
        {"id": f"b.{kind}", "text": "top", "source": tmp_path.name, "path": f"b.{kind}"},
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_declares_the_encoding(tmp_path, encoding):
    files = {"a.txt": TEXT, "b.jsonl": json.dumps({"text": TEXT}, ensure_ascii=False), "c.csv": f'text\n"{TEXT}"\n'}
    source = write(tmp_path, {name: content.encode(encoding) for name, content in files.items()})
    assert texts(read(source=source)) == {"a.txt": TEXT, "b.jsonl#1": TEXT, "c.csv#1": TEXT}


def test_json_objects_alone_under_data_and_as_lines(tmp_path):
    files = {"one.json": {"text": "alone"}, "data.json": {"version": 2, "data": [{"text": "under"}]}}
    source = write(
        tmp_path, {name: json.dumps(content) for name, content in files.items()} | {"lines.json": '{"text":"a"}\n{"text":"b"}'}
    )
    assert texts(read(source=source)) == {"one.json": "alone", "data.json#1": "under", "lines.json#1": "a", "lines.json#2": "b"}


BAD = {
    "empty.txt": (b"", "empty file: 0 bytes"),
    "blank.md": (b" \n\n", "empty file: 3 bytes"),
    "empty.jsonl": (b"\n\n", "empty file: it holds no document"),
    "empty.json": (b"", "empty file: 0 bytes"),
    "header.csv": (b"text,label\n", "empty file: it holds no document"),
    "empty.html": (b"", "empty file: 0 bytes"),
    "markup.html": (b"<html><script>x()</script></html>", "no text: the page holds nothing but markup"),
    "image.txt": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary: byte 0x00 at offset 8"),
    "noise.txt": (bytes(range(1, 32)) * 4 + b"\xff", "binary: control characters, and no UTF-8"),
    "latin.txt": ("Grüße".encode("latin-1"), "not UTF-8: byte 0xfc at offset 2"),
    "cut.txt.gz": (gzip.compress(os.urandom(3000))[:1000], "truncated .gz: it breaks off after 1000 bytes"),
    "cut.txt.zst": (
        zstandard.ZstdCompressor().compress(os.urandom(3000))[:1000],
        "truncated .zst: it breaks off after 1000 bytes",
    ),
    "no.txt.gz": (b"not compressed", "broken .gz: Not a gzipped file (b'no')"),
    "no.txt.zst": (b"not compressed", "broken .zst: "),
    "broken.json": (b'[{"text": "a"},', "broken JSON: "),
    "deep.json": (b"[" * 100_000, "broken JSON: "),
    "number.json": (b"42", "not an object: a number"),
    "none.csv": (b"body,label\nx,y\n", "no text column: 'text' is not among 'body', 'label'"),
    "broken.parquet": (b"PAR1 nothing", "broken Parquet: "),
    "tool.xyz": (b"?", "unknown format: .xyz"),
    "LICENSE": (b"?", "unknown format: no extension"),
    "half.txt": ("\ufeffabc".encode("utf-16-le") + b"\x00", "not UTF-16: truncated data"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_read_is_put_apart_with_its_reason(tmp_path, name):
    content, error = BAD[name]
    corpus = read(source=write(tmp_path / "in", {"good.txt": "good", name: content}))
    found = errors(corpus)
    assert next(iter(found)).partition("#")[0] == name and len(found) == 1
    assert found[next(iter(found))].startswith(error)
    assert texts(corpus) == {"good.txt": "good"}
    kind = error.partition(":")[0]
    assert corpus.save(tmp_path / "out").funnel() == Funnel(2, 1, {}, {kind: 1})


BAD_LINES = {
    '{"text": ': "broken JSON: ",
    '{"body": "x"}': "no text column: 'text' is not among 'body'",
    '{"text": 42}': "text is not a string: a number",
    '{"text": null}': "text is not a string: null",
    '{"text": ["x"]}': "text is not a string: a list",
    '{"text": "  "}': "empty text: ",
    "[1, 2]": "not an object: a list",
    '"x"': "not an object: a string",
    r'{"text": "a\u0000b"}': "NUL in text: at character 1",
    r'{"text": "ab\ud800"}': "lone surrogate: U+D800 at character 2",
    r'{"text": "a", "title": "\udfff"}': "lone surrogate: U+DFFF at character 0 of column 'title'",
    '{"text": "a", "n": ' + "9" * 5000 + "}": "broken JSON: ",
    "[" * 50_000: "broken JSON: ",
}


def test_bad_lines_are_put_apart_and_the_others_go_on(tmp_path):
    lines = [line for bad in BAD_LINES for line in (bad, '{"text": "good"}')]
    raw = "\n".join(lines).encode() + b'\n{"text": "\xff"}\n{"text": "last"}'
    corpus = read(source=write(tmp_path, {"a.jsonl": raw}))
    expected = {f"a.jsonl#{2 * number + 1}": error for number, error in enumerate(BAD_LINES.values())}
    expected[f"a.jsonl#{len(lines) + 1}"] = "not UTF-8: byte 0xff at offset 10"
    found = errors(corpus)
    assert found.keys() == expected.keys()
    assert {name: error for name, error in found.items() if not error.startswith(expected[name])} == {}
    assert list(texts(corpus).values()) == ["good"] * len(BAD_LINES) + ["last"]


def test_bad_rows_of_csv_are_put_apart_and_the_others_go_on(tmp_path):
    raw = b'text,label\ngood,1\nshort\na,b,c\n\xff,2\n"x"y,3\n,4\nfine,5\n"never closed,6\nrest,7\n'
    corpus = read(source=write(tmp_path, {"a.csv": raw}))
    assert texts(corpus) == {"a.csv#1": "good", "a.csv#7": "fine"}
    assert {name: error.partition(" (")[0] for name, error in errors(corpus).items()} == {
        "a.csv#2": "broken CSV: 1 fields, and the header has 2",
        "a.csv#3": "broken CSV: 3 fields, and the header has 2",
        "a.csv#4": "not UTF-8: byte 0xff in column 'text'",
        "a.csv#5": "broken CSV: ',' expected after '\"'",
        "a.csv#6": "empty text: nothing but white space",
        "a.csv#8": "broken CSV: unexpected end of data",
    }


def test_what_stands_before_the_end_of_a_cut_file_of_lines_is_kept(tmp_path):
    lines = [json.dumps({"text": f"{number} {os.urandom(20).hex()}"}) for number in range(5000)]
    packed = gzip.compress("\n".join(lines).encode())
    corpus = read(source=write(tmp_path, {"a.jsonl.gz": packed[: len(packed) // 2]}))
    kept = list(texts(corpus).values())
    assert kept == [json.loads(line)["text"] for line in lines[: len(kept)]] and len(kept) > 1000
    assert list(errors(corpus).values()) == [f"truncated .gz: it breaks off after {len(packed) // 2} bytes"]


@given(st.lists(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps({"text": text}).encode()), max_size=12))
def test_no_line_of_bytes_raises(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("lines")
    content = b"\n".join([b'{"text": "first"}', *lines])
    corpus = read(source=write(folder, {"a.jsonl": content}), workdir=folder)
    rows = corpus.frame().to_pylist()
    assert len(rows) == len([line for line in content.split(b"\n") if line.strip()])
    assert len({row["id"] for row in rows}) == len(rows)


def test_a_document_of_50_megabytes_in_one_line(tmp_path):
    long = "word " * 10_000_000
    source = write(tmp_path, {"a.txt": long, "b.jsonl": json.dumps({"text": long}), "c.csv": f"text\n{long}\n"})
    assert {name: len(text) for name, text in texts(read(source=source)).items()} == dict.fromkeys(
        ["a.txt", "b.jsonl#1", "c.csv#1"], len(long)
    )


def test_documents_larger_than_allowed_are_put_apart(tmp_path):
    source = write(
        tmp_path, {"a.txt": "x" * 101, "b.txt": "x" * 100, "c.jsonl": json.dumps({"text": "x" * 200}) + '\n{"text": "y"}'}
    )
    corpus = read(source=source, max_document_bytes=100)
    assert texts(corpus) == {"b.txt": "x" * 100, "c.jsonl#2": "y"}
    assert [error.partition(":")[0] for error in errors(corpus).values()] == ["too large", "too large"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compression_bomb_is_refused_before_it_unpacks(tmp_path, suffix):
    bomb = WRAPS[suffix](b" " * (300 << 20))
    corpus = read(source=write(tmp_path, {"good.txt": "good", f"bomb.jsonl{suffix}": bomb, f"bomb.txt{suffix}": bomb}))
    assert [error.partition(":")[0] for error in errors(corpus).values()] == ["compression bomb"] * 2


def test_unreadable_files_pipes_and_dead_links_are_put_apart(tmp_path):
    source = write(tmp_path, {"good.txt": "good", "locked.txt": "x"})
    (tmp_path / "dead.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "locked.txt").chmod(0)
    corpus = read(source=source)
    found = errors(corpus)
    if os.geteuid() != 0:  # root reads everything
        assert found.pop("locked.txt").startswith("unreadable: Permission denied")
    assert found == {"dead.txt": "unreadable: No such file or directory", "pipe.txt": "not a file: a pipe, socket or device"}
    assert texts(corpus)["good.txt"] == "good"


def test_hidden_files_and_version_control_are_passed_over(tmp_path):
    source = write(tmp_path, {"a.txt": "a", ".b.txt": "b", ".git/c.txt": "c", "CVS/d.txt": "d"})
    assert texts(read(source=source)) == {"a.txt": "a"} and errors(read(source=source)) == {}


def test_ids_of_the_input_are_kept_when_all_differ(tmp_path, caplog):
    unique = write(tmp_path / "a", {"a.jsonl": '{"id": 7, "text": "x"}\n{"id": "é", "text": "y"}\n{"text": "z"}'})
    assert texts(read(source=unique)) == {"7": "x", "é": "y", "a.jsonl#3": "z"}
    doubled = write(tmp_path / "b", {"a.jsonl": '{"key": 7, "text": "x"}\n{"key": 7, "text": "y"}'})
    with caplog.at_level(logging.WARNING):
        rows = list(read(source=doubled, id_column="key").rows())
    assert [(row["id"], row["given_id"]) for row in rows] == [("a.jsonl#1", "7"), ("a.jsonl#2", "7")]
    assert "'key' is no id, since 1 values come again" in caplog.text


def test_columns_of_the_input_are_kept_with_one_type_each(tmp_path):
    lines = [
        {
            "text": "a",
            "n": 1,
            "x": 1,
            "mixed": "s",
            "tags": ["p", "q"],
            "source": "site",
            "path": "p",
            "nested": {"k": [1]},
            "flag": True,
        },
        {"text": "b", "n": 2, "x": 0.5, "mixed": 3, "tags": [], "source": 5, "error": "e"},
    ]
    rows = list(read(source=write(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, lines))})).rows())
    one = {
        "n": 1,
        "x": 1.0,
        "mixed": "s",
        "tags": ["p", "q"],
        "source": "site",
        "input_path": "p",
        "nested": '{"k": [1]}',
        "flag": True,
    }
    two = {"n": 2, "x": 0.5, "mixed": "3", "tags": [], "source": "a", "input_path": None, "nested": None, "flag": None}
    ours = {"id": "a.jsonl#1", "text": "a", "path": "a.jsonl"}, {"id": "a.jsonl#2", "text": "b", "path": "a.jsonl"}
    extra = {"input_error": None, "input_source": None}, {"input_error": "e", "input_source": 5}
    assert rows == [ours[0] | one | extra[0], ours[1] | two | extra[1]]


def test_columns_get_one_type_over_many_parts(tmp_path):
    lines = [json.dumps({"text": "t", "value": number if number < 30_000 else f"v{number}"}) for number in range(45_000)]
    rows = list(read(source=write(tmp_path, {"a.jsonl": "\n".join(lines)})).rows())
    assert [row["value"] for row in rows] == [str(number) if number < 30_000 else f"v{number}" for number in range(45_000)]
    assert [row["id"] for row in rows] == [f"a.jsonl#{number + 1}" for number in range(45_000)]


def test_another_text_column(tmp_path):
    source = write(tmp_path, {"a.jsonl": '{"body": "x", "text": "label"}'})
    assert list(read(source=source, text_column="body").rows()) == [
        {"id": "a.jsonl#1", "text": "x", "source": "a", "path": "a.jsonl", "input_text": "label"}
    ]


def test_limit_stops_after_so_many_documents_that_could_be_read(tmp_path):
    source = write(tmp_path, {"a.txt": b"", "b.txt": "b", "c.jsonl": '{"text": "c1"}\n{"text": "c2"}', "d.txt": "d"})
    assert list(texts(read(source=source, limit=2)).values()) == ["b", "c1"]


def test_files_globs_and_lists(tmp_path):
    source = write(tmp_path, {"x/a.txt": "xa", "x/b.md": "xb", "y/a.txt": "ya", "y/deep/c.txt": "yc", "odd[1].txt": "odd"})
    assert texts(read(source=f"{source}/x/a.txt")) == {"a.txt": "xa"}
    assert texts(read(source=f"{source}/odd[1].txt")) == {"odd[1].txt": "odd"}
    assert texts(read(source=f"{source}/*/*.txt")) == {"x/a.txt": "xa", "y/a.txt": "ya"}
    assert texts(read(source=f"{source}/**/*.txt")).keys() == {"x/a.txt", "y/a.txt", "y/deep/c.txt", "odd[1].txt"}
    both = read(source=[f"{source}/x", f"{source}/y", f"{source}/y/a.txt"])
    assert texts(both) == {"x/a.txt": "xa", "x/b.md": "xb", "y/a.txt": "ya", "y/deep/c.txt": "yc"}
    assert [row["source"] for row in both.rows()] == ["x", "x", "y", "deep"]


def test_urls_of_memory_file_and_http(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe({"/pile/a.txt": b"a", "/pile/sub/b.jsonl": b'{"text": "b"}', "/pile/.hidden.txt": b"no"})
    assert texts(read(source="memory://pile")) == {"a.txt": "a", "sub/b.jsonl#1": "b"}
    assert texts(read(source="memory://pile/*.txt")) == {"a.txt": "a"}
    write(tmp_path, {"a b.txt": TEXT, "page": "<p>hello"})
    assert texts(read(source=f"file://{tmp_path}/a%20b.txt")) == {"a b.txt": TEXT}
    with serving(tmp_path) as address:
        assert texts(read(source=f"{address}/a%20b.txt")).popitem()[1] == TEXT
        with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist"):
            read(source=f"{address}/nowhere.txt")
    with pytest.raises(OSError, match="cannot be reached"):
        read(source=f"{address}/a.txt")
    with pytest.raises(ValueError, match="nosuch://x is no source that can be read"):
        read(source="nosuch://x")


class serving:  # noqa: N801  reads as a verb
    def __init__(self, folder):
        class Files(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()


def test_a_source_that_does_not_exist_suggests_the_nearest(tmp_path):
    write(tmp_path, {"documents/a.txt": "a"})
    with pytest.raises(FileNotFoundError, match=r"did you mean .*documents"):
        read(source=f"{tmp_path}/document")
    with pytest.raises(FileNotFoundError, match="has no 'zzz'"):
        read(source=f"{tmp_path}/zzz/deeper")


def test_nothing_to_read_and_nothing_readable_are_errors_that_say_why(tmp_path):
    with pytest.raises(ValueError, match="holds no files"):
        read(source=str(tmp_path))
    with pytest.raises(ValueError, match="holds no files"):
        read(source=f"{tmp_path}/*.txt")
    with pytest.raises(ValueError, match="names nothing"):
        read(source=[])
    write(tmp_path, {"a.txt": b"", "b.xyz": "x"})
    with pytest.raises(
        ValueError, match=r"nothing in .* could be read: empty file \(1\), unknown format \(1\). The first: a.txt: empty file"
    ):
        read(source=str(tmp_path))
    write(tmp_path / "rows", {"a.csv": "body\nx\n"})
    with pytest.raises(ValueError, match="'text' is not among 'body'; set text_column"):
        read(source=f"{tmp_path}/rows")


@pytest.mark.parametrize("setting", [{"limit": 0}, {"max_document_bytes": 0}])
def test_settings_without_sense_are_refused_by_name(tmp_path, setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))}=0"):
        read(source=str(tmp_path), **setting)


def test_the_fingerprint_changes_with_the_files_and_only_then(tmp_path):
    source = write(tmp_path, {"a.txt": "a", "b.txt": "b"})
    first = fingerprint(source=source, limit=3)
    assert fingerprint(source=source) == first
    (tmp_path / "a.txt").write_text("a longer one")
    second = fingerprint(source=source)
    (tmp_path / "c.txt").write_text("c")
    third = fingerprint(source=source)
    os.utime(tmp_path / "c.txt", ns=(1, 1))
    assert len({first, second, third, fingerprint(source=source), fingerprint(source="python:stdlib")}) == 5


def test_reading_again_into_the_same_folder_leaves_nothing_of_before(tmp_path):
    many = write(tmp_path / "many", {"a.jsonl": "\n".join(['{"text": "t"}'] * 20_001)})
    few = write(tmp_path / "few", {"a.txt": "a"})
    assert len(read(source=many, workdir=tmp_path / "work")) == 20_001
    assert texts(read(source=few, workdir=tmp_path / "work")) == {"a.txt": "a"}
