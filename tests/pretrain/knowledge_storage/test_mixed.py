import re

import pytest
from scipy import stats

from metier.artifacts import Examples
from metier.engines.text.sequences import TokenSequence
from metier.models.source import open_model
from metier.pretrain.knowledge_storage.biographies import biographies
from metier.pretrain.knowledge_storage.mixed import mixed, mixed_rows


def test_rows_are_of_one_kind_in_the_share_asked_for():
    documents, questions = ([TokenSequence.of_text([1] * size, kind) for size in (3, 5)] for kind in ("text", "questions"))
    rows = list(mixed_rows(documents, questions, 1000, qa_ratio=0.8, sequence_length=16, seed=0))
    kinds = [{sequence.source for sequence in row} for row in rows]
    assert all(len(kind) == 1 for kind in kinds) and all(11 < sum(map(len, row)) <= 16 for row in rows)
    assert stats.binomtest(sum(kind == {"questions"} for kind in kinds), 1000, 0.8).pvalue > 0.001


def test_a_model_reads_both(tmp_path):
    made = biographies(people=4, augmentation="single", seed=0)
    found = mixed(
        open_model("tiny"),
        made.corpus,
        made.questions,
        tokens=4096,
        batch_tokens=1024,
        sequence_length=256,
        qa_ratio=0.5,
        workdir=tmp_path,
    )
    assert found.facts["steps"] == 4
    sources = set(re.findall(r'"(biography|questions)":', (tmp_path / "metrics.jsonl").read_text()))
    assert sources == {"biography", "questions"}
    for change, message in (({"qa_ratio": 1.5}, "qa_ratio=1.5"), ({"tokens": 0}, "tokens=0")):
        with pytest.raises(ValueError, match=message):
            mixed(open_model("tiny"), made.corpus, made.questions, **change)
    with pytest.raises(ValueError, match="0 questions"):
        mixed(open_model("tiny"), made.corpus, Examples.from_rows([], columns=["prompt", "completion"]))
