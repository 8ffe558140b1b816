"""curate.language: labels, what is kept, and settings without sense."""

import pytest

from metier.artifacts import Corpus
from metier.curate.language import language

TEXTS = {
    "en": "The children are playing in the garden because the weather is nice.",
    "de": "Die Kinder spielen im Garten, weil das Wetter heute so schön ist.",
    "ru": "Дети играют в саду, потому что сегодня хорошая погода.",
    "none": "12 34",
}


def corpus(**extra):
    return Corpus.from_rows([{"id": name, "text": text, "source": "s"} | extra for name, text in TEXTS.items()])


def test_columns_are_added_and_nothing_is_dropped_unless_asked():
    rows = language(corpus()).frame().to_pylist()
    assert [row["language"] for row in rows] == ["eng_Latn", "deu_Latn", "rus_Cyrl", "und_Zyyy"]
    assert all(0.8 < row["language_score"] <= 1 for row in rows[:3]) and rows[3]["language_score"] == 0
    assert [row["drop_reason"] for row in rows] == [None] * 4


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [(["en"], {"en"}), (["deu", "rus_Cyrl"], {"de", "ru"}), (["rus_Latn", "en"], {"en"}), (["und"], {"none"})],
)
def test_wanted_languages_are_kept(tmp_path, wanted, kept):
    saved = language(corpus(), languages=wanted).save(tmp_path)
    assert {row["id"] for row in saved.rows()} == kept
    assert saved.funnel().dropped == {"other language": 4 - len(kept)}


def test_low_scores_are_dropped_and_an_earlier_reason_stands():
    rows = language(corpus(), min_score=0.5).frame().to_pylist()
    assert [row["drop_reason"] for row in rows] == [None, None, None, "language score"]
    rows = language(corpus(drop_reason="before"), languages=["en"]).frame().to_pylist()
    assert {row["drop_reason"] for row in rows} == {"before"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_score": 2}, "min_score=2"),
        ({"languages": []}, r"languages=\[\]"),
        ({"languages": "en"}, "languages='en'"),
        ({"languages": ["english"]}, "'english' is no language"),
        ({"languages": ["eng_latin"]}, "'eng_latin' has no script"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        language(corpus(), **settings)
