"""Tokens on disk hold what tokenising in memory gives."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus
from metier.engines.text import shards
from metier.engines.text.pack import best_fit, pack
from metier.engines.text.sequences import tokenize_texts
from metier.engines.text.shards import content_key, packed_corpus, tokenized
from metier.models.source import open_model


def corpus(count=40, change=""):
    rows = [
        {"id": str(i), "text": f"Line {i}: " + "one more word " * (i % 9) + change, "source": "ab"[i % 2]} for i in range(count)
    ]
    rows[3]["text"] = ""
    return Corpus.from_rows(rows)


def in_memory(texts, length):
    tokenizer = open_model("tiny").tokenizer()
    return pack(
        list(tokenize_texts(((r["text"], r["source"]) for r in texts.rows()), tokenizer, longest=length)), sequence_length=length
    )


@pytest.mark.parametrize("length", [2, 17, 64, 1000])
def test_rows_on_disk_are_those_in_memory(length, tmp_path):
    found = packed_corpus(corpus(), open_model("tiny").tokenizer(), sequence_length=length, folder=tmp_path)
    expected = in_memory(corpus(), length)
    assert [list(row) for row in found] == expected
    assert found.num_tokens == sum(len(one) for row in expected for one in row)
    assert found.num_predicted == sum(one.num_predicted for row in expected for one in row)
    assert found.longest == max(sum(map(len, row)) for row in expected)
    assert found.sources == ["a", "b"]
    with pytest.raises(IndexError):
        found[len(found)]


def test_windows_pack_apart_and_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WINDOW", 7)
    found = packed_corpus(corpus(), open_model("tiny").tokenizer(), sequence_length=32, folder=tmp_path)
    expected = in_memory(corpus(), 32)
    pieces = sorted(tuple(one.input_ids) for row in found for one in row)
    assert pieces == sorted(tuple(one.input_ids) for row in expected for one in row)
    assert all(sum(map(len, row)) <= 32 for row in found)


def test_the_second_time_nothing_is_tokenised(tmp_path, monkeypatch):
    tokenizer = open_model("tiny").tokenizer()
    first = packed_corpus(corpus(), tokenizer, sequence_length=32, folder=tmp_path)
    monkeypatch.setattr(shards, "_tokenize", lambda *_: pytest.fail("tokenised again"))
    assert packed_corpus(corpus(), tokenizer, sequence_length=32, folder=tmp_path).fingerprint == first.fingerprint
    assert packed_corpus(corpus(), tokenizer, sequence_length=16, folder=tmp_path).fingerprint != first.fingerprint


def test_the_key_follows_texts_sources_and_tokenizer(tmp_path):
    tokenizer = open_model("tiny").tokenizer()
    key = content_key(corpus(), tokenizer)
    assert key == content_key(corpus(), tokenizer) != content_key(corpus(change="!"), tokenizer)
    renamed = Corpus.from_rows([row | {"source": "c"} for row in corpus().rows()])
    assert key != content_key(renamed, tokenizer)
    stored = corpus().save(tmp_path / "c")
    assert content_key(stored, tokenizer) == content_key(Corpus.open(tmp_path / "c"), tokenizer)
    tokenizer.add_tokens(["zebra"])
    assert key != content_key(corpus(), tokenizer)


def test_the_width_follows_the_vocabulary(tmp_path):
    tokenizer = open_model("tiny").tokenizer()
    tokenizer.add_tokens([f"<{number}>" for number in range(70_000)])
    text = Corpus.from_rows([{"id": "1", "text": "a <69999> b", "source": "s"}])
    store = tokenized(text, tokenizer, folder=tmp_path)
    assert json.loads((store / "about.json").read_text())["dtype"] == "uint32"
    assert tokenizer.convert_tokens_to_ids("<69999>") in np.fromfile(store / "tokens.bin", "uint32")


def test_no_documents_give_no_rows(tmp_path):
    assert len(packed_corpus(Corpus.from_rows([]), open_model("tiny").tokenizer(), sequence_length=8, folder=tmp_path)) == 0
    with pytest.raises(ValueError, match="sequence_length=1"):
        packed_corpus(corpus(), open_model("tiny").tokenizer(), sequence_length=1, folder=tmp_path)


def test_reading_holds_a_row_and_not_the_corpus(tmp_path):
    text = Corpus.from_rows([{"id": str(i), "text": f"{i} is a number. " * 200, "source": "s"} for i in range(200)])
    found = packed_corpus(text, open_model("tiny").tokenizer(), sequence_length=256, folder=tmp_path)
    size = 8 * found.num_tokens  # what the tokens alone would take as a list
    tracemalloc.start()
    for row in found:
        assert len(row)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_tokens > 200_000
    assert peak < size / 20


@given(st.lists(st.integers(1, 20), max_size=60))
def test_best_fit_places_each_piece_once_in_a_row_with_room(sizes):
    rows = best_fit(sizes, 20)
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in row) <= 20 and row == sorted(row) for row in rows)
    # Two rows that are at most half full would have been one.
    assert sum(sum(sizes[index] for index in row) <= 10 for row in rows) <= 1
