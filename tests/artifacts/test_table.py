"""Tables: rows come back as they were, in order, and every row is accounted for."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from daft.functions import when
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus, Examples, Funnel, Table

ROWS = [
    {"id": "b", "text": "Grüße, 世界 \N{SNAKE}", "source": "s", "drop_reason": None, "error": None},
    {"id": "a", "text": "plain", "source": "s", "drop_reason": "too short", "error": None},
    {"id": "c", "text": "raw", "source": "t", "drop_reason": None, "error": "not UTF-8: byte 0xff at offset 3"},
    {"id": "d", "text": "raw", "source": "t", "drop_reason": "too short", "error": "not UTF-8: byte 0xfe at offset 9"},
    {"id": "e", "text": "", "source": "t", "drop_reason": None, "error": None},
]


def test_save_puts_every_row_in_one_place_and_counts_it(tmp_path):
    stored = Corpus.from_rows(ROWS).save(tmp_path)
    assert list(stored.rows()) == [{name: ROWS[index][name] for name in ("id", "text", "source")} for index in (0, 4)]
    assert [row["id"] for row in pq.read_table(tmp_path / "dropped").to_pylist()] == ["a"]
    assert [row["id"] for row in pq.read_table(tmp_path / "quarantined").to_pylist()] == ["c", "d"]
    assert json.loads((tmp_path / "funnel.json").read_text()) == {
        "total": 5,
        "kept": 2,
        "dropped": {"too short": 1},
        "quarantined": {"not UTF-8": 2},
    }


def test_counts_are_the_same_before_and_after_saving(tmp_path):
    table = Corpus.from_rows(ROWS)
    assert table.funnel() == table.save(tmp_path).funnel() == Funnel(5, 2, {"too short": 1}, {"not UTF-8": 2})
    assert Corpus.from_rows([{"id": "a", "text": "x", "source": ""}]).funnel() == Funnel(1, 1)


def test_a_funnel_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="do not add up"):
        Funnel(3, 1, {"rule": 1})


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.sampled_from([None, "short", "twin"]),
            st.sampled_from([None, "empty: 0 bytes", "binary"]),
        )
    )
)
def test_in_is_kept_and_dropped_and_quarantined(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("table")
    named = [
        {"id": str(number), "text": text, "source": "s", "drop_reason": drop_reason, "error": error}
        for number, (text, drop_reason, error) in enumerate(rows)
    ]
    stored = Corpus.from_rows(named, ["id", "text", "source", "drop_reason", "error"]).save(folder)
    kept = [row for row in named if row["drop_reason"] is None and row["error"] is None]
    assert [row["text"] for row in stored.rows()] == [row["text"] for row in kept]
    assert stored.funnel().total == len(named)
    assert stored.funnel().kept == len(kept) == len(stored)


def test_no_rows_are_stored_and_opened_with_their_columns(tmp_path):
    stored = Corpus.from_rows([], ["id", "text", "source", "extra"]).save(tmp_path)
    assert stored.frame().column_names == ["id", "text", "source", "extra"]
    assert (len(stored), list(stored.rows()), stored.funnel()) == (0, [], Funnel(0, 0))


def test_all_rows_dropped_leaves_a_table_without_rows(tmp_path):
    stored = Corpus.from_rows([{"id": "a", "text": "x", "source": "s", "drop_reason": "rule"}]).save(tmp_path)
    assert stored.frame().column_names == ["id", "text", "source"]
    assert stored.funnel() == Funnel(1, 0, {"rule": 1})


def test_rows_with_different_columns_keep_them_all():
    table = Table.from_rows([{"a": 1}, {"a": 2, "b": ["x"]}, {"b": None, "c": []}])
    assert list(table.rows()) == [
        {"a": 1, "b": None, "c": None},
        {"a": 2, "b": ["x"], "c": None},
        {"a": None, "b": None, "c": []},
    ]


def test_order_holds_over_many_parts_and_filters(tmp_path):
    count = 0
    for part, rows in enumerate([1, 3000, 0, 40_000, 7, 12_345]):
        numbers = range(count, count + rows)
        table = pa.table({"id": [f"{n:06d}" for n in numbers], "text": ["é" * (n % 40) for n in numbers], "source": ["s"] * rows})
        pq.write_table(table, tmp_path / f"part-{part:05d}.parquet", row_group_size=1000)
        count += rows
    table = Corpus.open(tmp_path)
    frame = table.frame()
    odd = Corpus(frame.with_column("drop_reason", when(frame["text"].length() % 2 == 0, "even").otherwise(None)))
    stored = odd.save(tmp_path / "stored")
    assert [row["id"] for row in stored.rows()] == [f"{n:06d}" for n in range(count) if n % 40 % 2]
    assert stored.funnel().total == count


def test_converts_to_other_libraries():
    table = Corpus.from_rows(ROWS)
    assert table.arrow().column_names == ["id", "text", "source"]
    assert table.dataset()["id"][:] == table.pandas()["id"].tolist() == ["b", "e"]


def test_missing_columns_and_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"\['source'\] are missing"):
        Corpus.from_rows([{"id": "a", "text": "x"}])
    with pytest.raises(ValueError, match="prompt and completion"):
        Examples.from_rows([{"prompt": "a"}])
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        Corpus.open(tmp_path)
