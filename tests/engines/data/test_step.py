"""map_step: one step gives the same under Daft, under datasets.map and in plain Python."""

import datasets
import pytest

from metier.artifacts import Corpus
from metier.curate.quality import mark_quality
from metier.engines.data.step import map_step

TEXTS = [f"{'word ' * (number % 9)}number {number} \u00e9\u4e16" for number in range(257)]


def corpus(**columns):
    rows = [{"id": str(number), "text": text, "source": "s"} for number, text in enumerate(TEXTS)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def measure(batch):
    return {"characters": [len(text) for text in batch["text"]], "shout": [text.upper() for text in batch["text"]]}


@pytest.mark.parametrize("batch_rows", [1, 10, 256, 1000])
def test_equals_datasets_map_and_plain_python(batch_rows):
    rows = {"id": [str(number) for number in range(len(TEXTS))], "text": TEXTS, "source": ["s"] * len(TEXTS)}
    ours = map_step(corpus(), measure, batch_rows).kept().to_pydict()
    theirs = datasets.Dataset.from_dict(rows).map(measure, batched=True, batch_size=batch_rows)
    assert ours == theirs.to_dict() == rows | measure(rows)


def test_marks_and_keeps_order_and_earlier_reasons():
    before = ["earlier" if number % 50 == 0 else None for number in range(len(TEXTS))]
    marked = map_step(corpus(drop_reason=before), mark_quality, 16).frame().to_pydict()
    assert marked["drop_reason"] == mark_quality({"text": TEXTS, "drop_reason": before})["drop_reason"]
    assert marked["text"] == TEXTS
    assert {"earlier", "too short", None} == set(marked["drop_reason"])


def test_rows_that_could_not_be_read_are_not_shown_to_it():
    errors = ["binary: x" if number % 3 == 0 else None for number in range(len(TEXTS))]
    seen = []

    def spy(batch):
        seen.extend(batch["id"])
        return {"length": [len(text) for text in batch["text"]]}

    result = map_step(corpus(error=errors), spy, 20).frame().to_pydict()
    assert {int(name) % 3 for name in seen} == {1, 2}
    assert result["length"] == [None if error else len(text) for text, error in zip(TEXTS, errors)]
    assert result["error"] == errors


def test_a_table_without_rows_stays_one():
    empty = Corpus.from_rows([], ["id", "text", "source"])
    result = map_step(empty, mark_quality)
    assert result.frame().column_names == ["id", "text", "source", "drop_reason"]
    assert result.frame().to_pylist() == []


def test_removing_rows_is_refused():
    with pytest.raises(ValueError, match=r"was given 257 rows and gave columns of \{'text': 1\}"):
        map_step(corpus(), lambda batch: {"text": batch["text"][:1]})


def test_a_type_that_changes_later_is_named():
    def fickle(batch):
        return {"value": [1 if int(name) < 100 else "many" for name in batch["id"]]}

    with pytest.raises(Exception, match="'value' is int64 in the first batch"):
        map_step(corpus(), fickle, 50).frame().to_pydict()
