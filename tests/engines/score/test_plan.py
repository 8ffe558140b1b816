"""A plan computes each sequence exactly, and shared beginnings once."""

from hypothesis import given
from hypothesis import strategies as st

from metier.engines.score.encode import Piece
from metier.engines.score.plan import plan


def sequence_to(row, prefix, index):
    """The tokens that the token at `index` of a row sees, in order of position."""
    seen = [j for j in range(index + 1) if index < row.ends[j]]
    assert [row.positions[j] for j in seen] == list(range(len(prefix), len(prefix) + len(seen)))
    return [*prefix, *(row.ids[j] for j in seen)]


@st.composite
def pieces(draw):
    words = draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=14), min_size=1, max_size=12))
    return [Piece(i, tuple(word), tuple(range(draw(st.integers(1, len(word)))))) for i, word in enumerate(words)]


@given(pieces(), st.integers(1, 30), st.none() | st.integers(1, 6), st.booleans())
def test_every_target_is_asked_once_where_its_sequence_ends(asked, row_tokens, min_prefix, share):
    found = {}
    for run in plan(asked, row_tokens=row_tokens, min_prefix=min_prefix, share=share):
        assert min_prefix is None or not run.prefix or (len(run.prefix) >= min_prefix and len(run.rows) > 1)
        for row in run.rows:
            assert share or row.is_chain()
            for index, target, number in row.targets:
                found.setdefault(number, []).append((len(sequence_to(row, run.prefix, index)), target))
                depth = len(sequence_to(row, run.prefix, index))
                assert sequence_to(row, run.prefix, index) == list(asked[number].input_ids[:depth])
    for number, piece in enumerate(asked):
        first = len(piece.input_ids) - len(piece.targets) + 1
        assert sorted(found[number]) == [(first + k, target) for k, target in enumerate(piece.targets)]


def test_one_row_holds_each_node_of_the_trie_once():
    words = ["abcd", "abce", "abx", "abcd", "q"]
    asked = [Piece(i, tuple(map(ord, word)), (0,)) for i, word in enumerate(words)]
    [run] = plan(asked, row_tokens=100, min_prefix=None)
    [row] = run.rows
    assert len(row.ids) == len({word[:k] for word in words for k in range(1, len(word) + 1)}) == 7


def test_a_long_prefix_of_many_rows_is_computed_apart():
    prefix = tuple(range(100, 160))
    asked = [Piece(i, (*prefix, i, i + 1, i + 2), (0,)) for i in range(50)]
    [run] = plan(asked, row_tokens=10, min_prefix=32)
    assert run.prefix == prefix
    assert run.num_tokens == 60 + 50 * 3


def test_prefixes_of_two_tasks_are_found_apart():
    asked = [Piece(i, (*(range(100, 150) if i < 20 else range(200, 260)), 7, i), (0,)) for i in range(40)]
    runs = plan(asked, row_tokens=4, min_prefix=32)
    assert [len(run.prefix) for run in runs] == [51, 61]  # the 7 is shared too
