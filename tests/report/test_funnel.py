import json
import shutil

import pytest

from metier.artifacts import Corpus
from metier.core.lineage import StageRecord, lineage
from metier.report.funnel import bars, vanished


@pytest.fixture
def records(finished, tmp_path):
    """The records of a copy of the run, to spoil."""
    copy = tmp_path / "run"
    shutil.copytree(finished.run.folder, copy)
    return lineage(copy / "stages" / finished.scores.path.name)


def test_every_table_is_there_in_order_and_adds_up(records):
    found = bars(records)
    assert [f"{bar.stage}.{bar.field}".rstrip(".") for bar in found if bar.noun == "documents"] == [
        "docs", "unique", "clean", "parts.train", "parts.held_out", "lesson",
    ]  # fmt: skip
    for bar in found:
        assert sum(part.count for part in bar.parts) == bar.total
        assert sum(part.width for part in bar.parts) == pytest.approx(100)
        assert bar.warning == ""
        assert 0 < bar.width <= 100
    assert vanished(records) == []


def test_counts_that_do_not_add_up_are_told(records):
    clean = next(record for record in records if record.name == "clean")
    counts = json.loads((clean.folder / "funnel.json").read_text())
    (clean.folder / "funnel.json").write_text(json.dumps(counts | {"total": counts["total"] + 3}))
    (warned,) = [bar for bar in bars(records) if bar.warning]
    assert warned.stage == "clean"
    assert f"{counts['total'] + 3:,} came in, and {counts['total']:,} were" in warned.warning


def test_documents_that_vanish_between_stages_are_told(records):
    clean = next(record for record in records if record.name == "clean")
    unique = next(record for record in records if record.name == "unique").funnels()[""]["kept"]
    (clean.folder / "funnel.json").write_text(json.dumps({"total": 5, "kept": 5, "dropped": {}, "quarantined": {}}))
    assert vanished(records)[0] == f"clean: {unique:,} documents came in and only 5 are accounted for."


def test_a_corpus_that_is_only_looked_at_need_not_come_out_again(tmp_path, run_in):
    run = run_in(tmp_path)
    for name, count in (("docs", 5), ("exam", 9)):
        run.stage(name, "data.read", {"": Corpus.from_rows([{"id": str(i), "text": "t", "source": "s"} for i in range(count)])})
    clean = Corpus.from_rows([{"id": str(i), "text": "t", "source": "s"} for i in range(5)])
    folder = run.stage("clean", "curate.apart", {"": clean}, inputs={"corpus": ["docs"], "against": ["exam"]})
    assert vanished(lineage(folder)) == []


def test_examples_are_a_sample_of_the_rows_that_the_rule_dropped(records):
    bar = next(bar for bar in bars(records) if bar.stage == "clean")
    folder = next(record for record in records if record.name == "clean").folder
    dropped = Corpus.open(folder / "dropped").frame().to_pylist()
    assert set(bar.examples) == {"too short", "repeated lines", "symbol run"}
    for rule, examples in bar.examples.items():
        texts = {row["id"]: row["text"].strip() for row in dropped if row["drop_reason"] == rule}
        shown = [example.where for example in examples]
        assert len(set(shown)) == len(shown) == min(3, len(texts))
        assert shown == sorted(shown, key=list(texts).index)
        assert all((example.text.full or example.text.short) == texts[example.where] for example in examples)
    assert [bar.examples for bar in bars(records)] == [bar.examples for bar in bars(records)]
    assert all(bar.examples == {} for bar in bars(records, 0))


def test_each_row_is_as_likely_to_be_shown(tmp_path):
    rows = [{"id": str(i), "text": "t", "source": "s", "drop_reason": "r", "error": None} for i in range(2000)]
    Corpus.from_rows(rows).save(tmp_path)
    facts = {"stage": "clean", "use": "curate.quality", "result": {"type": "Corpus"}, "inputs": {}, "input_folders": {}}
    (bar,) = bars([StageRecord(tmp_path, facts)], 400)
    shown = [int(example.where) for example in bar.examples["r"]]
    assert len(set(shown)) == 400
    assert abs(sum(shown) / 400 - 999.5) < 4 * (2000 / 12**0.5) / 20  # four standard errors of a mean of uniform places


def test_unreadable_rows_are_shown_with_their_reason(records):
    bar = next(bar for bar in bars(records) if bar.stage == "docs")
    assert [part.label for part in bar.parts if part.kind == "quarantined"] == ["not UTF-8"]
    assert bar.examples["not UTF-8"][0].text.short.startswith("not UTF-8: byte 0xff at 12\ncaf")


def test_an_empty_table_is_a_bar_of_no_width(tmp_path):
    Corpus.from_rows([]).save(tmp_path)
    facts = {"stage": "docs", "use": "data.read", "result": {"type": "Corpus"}, "inputs": {}, "input_folders": {}}
    (bar,) = bars([StageRecord(tmp_path, facts)])
    assert (bar.total, bar.kept, bar.parts, bar.width) == (0, 0, [], 0)


def test_a_very_long_dropped_document_is_cut(tmp_path):
    row = {"id": "1", "text": "word " * 200_000, "source": "s", "drop_reason": "too long", "error": None}
    Corpus.from_rows([row]).save(tmp_path)
    facts = {"stage": "clean", "use": "curate.quality", "result": {"type": "Corpus"}, "inputs": {}, "input_folders": {}}
    (bar,) = bars([StageRecord(tmp_path, facts)])
    text = bar.examples["too long"][0].text
    assert len(text.short) <= 302
    assert (len(text.full), text.num_characters, text.left_out) == (12_000, 999_999, 987_999)
