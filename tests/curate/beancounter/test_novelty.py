"""curate.beancounter.novelty: counts the documents that the reference holds too."""

import pytest
from scipy import stats

from metier.artifacts import Corpus
from metier.curate.beancounter.novelty import novelty


def corpus(texts, **columns):
    rows = [{"id": f"s{number}", "text": text, "source": "made"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[place] for name, values in columns.items()} for place, row in enumerate(rows)])


def test_novelty_is_the_share_that_the_reference_holds():
    found = novelty(corpus(["One two, three!", "four five", "six"]), corpus(["one TWO three", "six seven"]))
    assert found[:3] == (3, 1, 1 / 3)
    assert found.share_words == 3 / 6
    assert found.low == pytest.approx(stats.beta.ppf(0.025, 1, 3))
    with pytest.raises(ValueError, match="holds no document"):
        novelty(Corpus.from_rows([], ["id", "text", "source"]), corpus(["x"]))
