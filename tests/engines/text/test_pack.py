import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.text.pack import num_tokens, pack
from metier.engines.text.sequences import IGNORED, TokenSequence, tokenize_texts
from metier.models.source import open_model

lengths = st.lists(st.integers(1, 40), max_size=60)


@given(lengths)
def test_every_sequence_stands_once_in_a_row_that_has_room(sizes):
    sequences = [TokenSequence([number] * size, [IGNORED] * size, str(number)) for number, size in enumerate(sizes)]
    rows = pack(sequences, sequence_length=40)
    assert sorted(int(sequence.source) for row in rows for sequence in row) == list(range(len(sizes)))
    assert all(num_tokens(row) <= 40 for row in rows)
    # Best fit leaves at most one row half empty or emptier, since two such would have been joined.
    assert sum(num_tokens(row) <= 20 for row in rows) <= 1


def test_packs_a_toy_as_by_hand_and_keeps_the_order_within_rows():
    sequences = [
        TokenSequence([0] * size, [IGNORED] * size, name) for name, size in (("a", 3), ("b", 6), ("c", 4), ("d", 7), ("e", 5))
    ]
    rows = pack(sequences, sequence_length=10)
    assert [[sequence.source for sequence in row] for row in rows] == [["a", "d"], ["b", "c"], ["e"]]


def test_a_sequence_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match="sequence 0 has 5 tokens and a row 4"):
        pack([TokenSequence([1] * 5, [1] * 5)], sequence_length=4)


@given(st.lists(st.text(max_size=80), max_size=5), st.integers(2, 30))
def test_every_token_of_a_text_is_predicted_once_however_it_is_cut(texts, longest):
    tokenizer = open_model("tiny").tokenizer()
    pieces = list(tokenize_texts(((text, "s") for text in texts), tokenizer, longest=longest))
    predicted = [label for piece in pieces for label in piece.labels if label != IGNORED]
    expected = [
        token
        for text in texts
        if text
        for token in [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ]
    assert predicted == expected
    assert all(len(piece) <= longest for piece in pieces)
