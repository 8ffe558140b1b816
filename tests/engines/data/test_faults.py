"""Whatever is broken, hostile or cut: that record is put apart with its reason, the rest is read, and nothing raises."""

import gzip
import json
import re
import tracemalloc
import uuid
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.engines.data.files import COMPRESSIONS, FORMATS
from metier.engines.data.read import read


def page(number, body=b"<p>hello</p>"):
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body + bytes(f"{number:05d}" * 500, "ascii")
    head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{uuid.UUID(int=number)}>\r\n"
    head += f"WARC-Target-URI: {number}\r\nContent-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def read_bytes(folder, name, content, **options):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return read(source=str(folder), **options).frame().to_pylist()


def found(rows):
    """Of each row its url, or the kind of error."""
    return [row["url"] if row["error"] is None else row["error"].partition(":")[0] for row in rows]


PAGES = [page(number) for number in range(5)]
WRONG = re.compile(rb"Content-Length: (\d+)")


def with_length(record, length):
    return WRONG.sub(b"Content-Length: " + length, record, count=1)


def damaged(packed):
    at = len(packed) - 6  # in the checksum, which is what tells most damage
    return packed[:at] + bytes([packed[at] ^ 255]) + packed[at + 1 :]


WHOLE = {
    "cut": (b"".join(PAGES)[:-100], ["0", "1", "2", "3", "truncated WARC"]),
    "cut in the headers": (b"".join(PAGES) + PAGES[0][:60], ["0", "1", "2", "3", "4", "broken WARC"]),
    "too short a length": (
        b"".join([*PAGES[:2], with_length(PAGES[2], b"70"), *PAGES[3:]]),
        ["0", "1", "wrong length", "3", "4"],
    ),
    "too long a length": (
        b"".join([*PAGES[:2], with_length(PAGES[2], b"4000"), *PAGES[3:]]),
        ["0", "1", "wrong length", "3", "4"],
    ),
    "an endless length": (
        b"".join([*PAGES[:2], with_length(PAGES[2], b"9" * 14), *PAGES[3:]]),
        ["0", "1", "too large", "3", "4"],
    ),
    "no length": (b"".join([*PAGES[:2], with_length(PAGES[2], b"x"), *PAGES[3:]]), ["0", "1", "broken WARC", "3", "4"]),
    "endless headers": (
        b"".join([*PAGES[:2], b"WARC/1.0\r\n", b"x: y\r\n" * 20_000, b"\r\n", *PAGES[3:]]),
        ["0", "1", "broken WARC", "3", "4"],
    ),
    "no crawl": (b"".join([b"hello\n", *PAGES]), ["broken WARC", "0", "1", "2", "3", "4"]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_broken_record_costs_itself(tmp_path, name):
    content, expected = WHOLE[name]
    assert found(read_bytes(tmp_path / "in", "a.warc", content)) == expected


@pytest.mark.parametrize("which", range(5))
def test_a_damaged_member_costs_its_record(tmp_path, which):
    packed = [gzip.compress(one) for one in PAGES]
    packed[which] = damaged(packed[which])
    expected = [str(number) if number != which else "broken .gz" for number in range(5)]
    assert found(read_bytes(tmp_path / "in", "a.warc.gz", b"".join(packed))) == expected


MEMBERS = {
    "cut": (lambda packed: b"".join(packed)[:-30], ["0", "1", "2", "3", "truncated .gz"]),
    "a wrong length": (
        lambda packed: b"".join([*packed[:2], gzip.compress(with_length(PAGES[2], b"9000")), *packed[3:]]),
        ["0", "1", "wrong length", "3", "4"],
    ),
    "junk at the end": (lambda packed: b"".join(packed) + b"junk", ["0", "1", "2", "3", "4", "broken .gz"]),
    "junk at the beginning": (lambda packed: b"".join([b"junk", *packed]), ["broken .gz", "0", "1", "2", "3", "4"]),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_broken_members(tmp_path, name):
    change, expected = MEMBERS[name]
    assert found(read_bytes(tmp_path / "in", "a.warc.gz", change([gzip.compress(one) for one in PAGES]))) == expected


def zeros(mebibytes, head=b""):
    """So many mebibytes of zeros as gzip, made by repeating a deflated one, which takes no time."""
    packer = zlib.compressobj(9, wbits=-15)
    first = packer.compress(head + b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    more = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first + more * (mebibytes - 1) + b"\3\0" + bytes(8)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.html.gz", "a.jsonl.gz", "a.csv.gz", "a.parquet.gz"])
def test_ten_gibibytes_of_zeros_stop_within_bounds(tmp_path, name):
    (tmp_path / "good.txt").write_text("good")
    rows = read_bytes(tmp_path, name, zeros(10 << 10))
    (error,) = [row["error"] for row in rows if row["error"] is not None]
    assert error.partition(":")[0] in ("compression bomb", "too large", "no text column")


def test_a_bomb_among_records_costs_its_record(tmp_path):
    packed = [gzip.compress(one) for one in PAGES]
    bomb = zeros(1 << 10, b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 200000000\r\n\r\n")
    tracemalloc.start()
    try:
        rows = read_bytes(tmp_path / "in", "a.warc.gz", b"".join([*packed[:2], bomb, *packed[3:]]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found(rows) == ["0", "1", "compression bomb", "3", "4"]
    assert peak < 300 << 20


def test_a_hundred_thousand_nested_tags(tmp_path):
    (tmp_path / "good.txt").write_text("good")
    rows = read_bytes(tmp_path, "deep.html", b"<div>" * 100_000 + b"<p>deep</p>")
    assert {row["path"]: row["text"] if row["error"] is None else "put apart" for row in rows} in (
        {"deep.html": "deep", "good.txt": "good"},
        {"deep.html": "put apart", "good.txt": "good"},
    )


def test_a_line_larger_than_allowed_is_not_held(tmp_path):
    good = '{"text": "good"}\n'
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "a.jsonl").open("w") as file:
        file.write(good + '{"text": "')
        for _ in range(64):
            file.write("x" * (1 << 20))
        file.write('"}\n' + good)
    tracemalloc.start()
    try:
        rows = read(source=str(tmp_path / "in"), max_document_bytes=1 << 20).frame().to_pylist()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row["error"] and row["error"].partition(":")[0] for row in rows] == [None, "too large", None]
    assert peak < 32 << 20


def test_halves_of_surrogates_and_nuls(tmp_path):
    lines = [
        r'{"text": "a\ud800"}',
        r'{"text": "a\udc00b"}',
        r'{"text": "\ud83d\ude00"}',
        r'{"text": "a\u0000"}',
        '{"text": "a\0"}',
    ]
    rows = read_bytes(tmp_path / "in", "a.jsonl", "\n".join(lines).encode())
    assert [row["error"] and row["error"].partition(":")[0] for row in rows] == [
        "lone surrogate",
        "lone surrogate",
        None,
        "NUL in text",
        "binary",
    ]


def _parquet():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["one", "two"], "n": [1, 2]}), sink)
    return sink.getvalue().to_pybytes()


VALID = {
    "text": b"Some text.\nMore.",
    "html": b'<html><meta charset="utf-8"><body><p>Some <b>text</b>.</p></body></html>',
    "warc": b"".join(PAGES[:2]),
    "jsonl": b'{"id": 1, "text": "one", "n": 2}\n{"text": "two"}\n',
    "json": json.dumps([{"text": "one"}, {"text": "two"}]).encode(),
    "csv": b'text,n\n"one, or",1\ntwo,2\n',
    "tsv": b"text\tn\none\t1\n",
    "parquet": _parquet(),
}
PACK = {"": lambda content: content, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
names = st.sampled_from([f"x{suffix}{packing}" for suffix in FORMATS for packing in ["", *COMPRESSIONS]])
changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=6)), max_size=5)


def mutated(content, edits):
    for share, kind, piece in edits:
        at = int(share * len(content))
        content = [
            content[:at] + piece + content[at:],
            content[:at] + piece + content[at + len(piece) :],
            content[:at],
            content[:at] + content[at + len(piece) :],
        ][kind]
    return content


QUIET = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def nothing_is_lost(folder, name, content, html):
    (folder / "a good.txt").write_text("good")
    for old in folder.glob("x*"):
        old.unlink()
    (folder / name).write_bytes(content)
    corpus = read(source=str(folder), html=html, workdir=folder / ".work")
    rows = corpus.frame().to_pylist()
    assert rows[0]["text"] == "good" and len(rows) >= 2
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["error"] is not None or row["text"].strip()
        row["text"].encode()


@QUIET
@given(names, st.binary(max_size=200), st.sampled_from(["text", "source"]))
def test_random_bytes_under_every_name(tmp_path, name, content, html):
    nothing_is_lost(tmp_path, name, content, html)


@QUIET
@given(names, changes, changes, st.sampled_from(["text", "source"]))
def test_files_of_every_kind_with_random_changes(tmp_path, name, inside, outside, html):
    packing = next((one for one in COMPRESSIONS if name.endswith(one)), "")
    content = VALID[FORMATS[name.removeprefix("x").removesuffix(packing)]]
    nothing_is_lost(tmp_path, name, mutated(PACK[packing](mutated(content, inside)), outside), html)
