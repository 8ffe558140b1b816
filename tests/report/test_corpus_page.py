"""The page of a corpus: languages and clusters counted by hand, samples of every rule, and nothing of a document run as markup."""

import pytest

from metier.artifacts import Corpus
from metier.core.lineage import lineage
from metier.report.clusters import clusters
from metier.report.corpus_page import corpus_page
from metier.report.languages import languages


@pytest.fixture
def stages(tmp_path, run_in):
    """Twelve documents: two languages, one cluster of three and one of two, one page that is too short."""
    run = run_in(tmp_path)
    rows = [{"id": f"d{i}", "text": f"text {i} " * 3, "source": "web", "url": f"https://example.org/{i}"} for i in range(12)]
    docs = run.stage("docs", "data.read", {"": Corpus.from_rows(rows)})
    for i, row in enumerate(rows):
        row |= {"language": "eng_Latn" if i < 8 else "deu_Latn", "drop_reason": None}
    told = run.stage("told", "curate.language", {"": Corpus.from_rows(rows)}, inputs={"corpus": ["docs"]})
    for copy, original in ((1, 0), (2, 0), (9, 8)):
        rows[copy] |= {"drop_reason": "near duplicate", "duplicate_of": f"d{original}"}
    rows[5] |= {"drop_reason": "too short", "text": '<script>alert("x")</script>'}
    clean = run.stage("clean", "curate.duplicates", {"": Corpus.from_rows(rows)}, inputs={"corpus": ["told"]})
    assert docs != told != clean
    return clean


def test_languages_are_counted(stages):
    english, german = languages([Corpus.open(stages)], lineage(stages))
    assert (english.language, english.documents, english.dropped) == ("eng_Latn", 5, 3)
    assert english.rules == [("near duplicate", 2), ("too short", 1)]
    assert (german.language, german.documents, german.dropped) == ("deu_Latn", 3, 1)
    assert english.characters == 5 * len("text 0 " * 3)
    assert english.share + german.share == pytest.approx(100)


def test_clusters_are_counted_and_the_largest_shown(stages):
    (found,) = clusters(lineage(stages), 5)
    assert (found.stage, found.count, found.removed) == ("clean", 2, 3)
    assert found.sizes == [("2", 1, 1), ("3 to 4", 1, 2)]
    assert [(cluster.original, cluster.size) for cluster in found.largest] == [("d0", 3), ("d8", 2)]
    assert found.largest[1].text.short == ("text 9 " * 3).strip()


def test_the_page_shows_every_rule_and_runs_nothing(stages):
    html = corpus_page([Corpus.open(stages)]).html
    assert "8 documents of 12 that were read are in the corpus (66.7%)" in html
    for told in ("near duplicate", "too short", "eng_Latn", "deu_Latn", "2 documents", "https://example.org/5"):
        assert told in html
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_corpus_without_a_history_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no corpus that a stage made"):
        corpus_page([Corpus.from_rows([{"id": "1", "text": "t", "source": "s"}]).save(tmp_path / "x")])
