import pytest

from metier.artifacts import Corpus
from metier.evaluate.held_out_text import held_out_text


def corpus(count, size=30):
    return Corpus.from_rows([{"id": str(i), "text": chr(97 + i) * size, "source": "s"} for i in range(count)])


def test_texts_fill_the_budget_and_long_ones_are_cut():
    texts = [row["prompt"] for row in held_out_text(corpus(10), characters=90, longest=25).rows()]
    assert [len(text) for text in texts] == [25, 25, 25, 15]
    assert len({text[0] for text in texts}) == 4


def test_the_seed_draws_and_a_small_corpus_is_taken_whole():
    first, again, other = (
        [row["source"] for row in held_out_text(corpus(10), characters=60, seed=seed).rows()] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert sorted(row["source"] for row in held_out_text(corpus(3)).rows()) == ["0", "1", "2"]


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="holds no text"):
        held_out_text(corpus(0))
    with pytest.raises(ValueError, match="both must be positive"):
        held_out_text(corpus(1), characters=0)
