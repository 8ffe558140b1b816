"""Word and n-gram hashes: the same words the same number, others others, in texts of any length and number."""

from hypothesis import given, settings
from hypothesis import strategies as st

from metier.engines.data import word_hashes as module
from metier.engines.data.word_hashes import lower_words, ngram_hashes, word_hashes
from metier.engines.data.words import words

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "b", "ab", "ba", "é", "中", ""]), min_size=1, max_size=8).map(" ".join), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_runs_have_equal_hashes_where_their_words_are_equal(texts, n):
    hashes, ends = ngram_hashes(*word_hashes(texts), n)
    runs = [
        [tuple(text.split(" ")[start : start + n]) for start in range(max(1, len(text.split(" ")) - n + 1))] for text in texts
    ]
    assert ends.tolist() == [sum(map(len, runs[: index + 1])) for index in range(len(runs))]
    flat = [run for of_text in runs for run in of_text]
    assert len(set(zip(flat, hashes.tolist()))) == len(set(flat)) == len(set(hashes.tolist()))


def test_runs_of_different_sizes_can_be_compared():
    long, _ = ngram_hashes(*word_hashes(["x a b c y"]), 3)
    short, _ = ngram_hashes(*word_hashes(["a b c"]), 13)
    assert short[0] == long[1]


def test_pieces_change_nothing(monkeypatch):
    texts = ["one two " * 50 + "x" * 300, "three", "é" * 77 + " four"]
    whole = word_hashes(texts)[0].tolist()
    monkeypatch.setattr(module, "_PIECE_BYTES", 16)
    monkeypatch.setattr(module, "_kept_powers", [])
    assert word_hashes(texts)[0].tolist() == whole


def test_numbers_are_the_same_in_every_process():
    assert word_hashes(["metier"])[0].tolist() == [KNOWN]


@given(st.text(st.characters(max_codepoint=127)) | st.text())
def test_lower_words_are_the_words_in_lower_case(text):
    assert lower_words(text) == " ".join(words(text.lower()))


KNOWN = 14870284202964234561
