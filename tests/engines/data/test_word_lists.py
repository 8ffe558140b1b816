"""Word lists: frequent words, and words of one language only."""

from collections import Counter

from metier.engines.data.word_lists import precise_words, stop_words


def test_stop_words_are_frequent_or_the_eight_most_frequent():
    counts = Counter({f"w{chr(97 + index)}": 10 for index in range(20)} | {"the": 500, "·": 400, "12": 300})
    assert "the" in stop_words(counts)
    assert len(stop_words(counts, share=0.3)) == 8  # the floor
    assert stop_words(counts, share=0.3) == {"the", "wa", "wb", "wc", "wd", "we", "wf", "wg"}
    assert len(stop_words(counts)) == 1 + 0 + 7  # only "the" has 0.8% of 1,400; marks and numbers are no words
    assert len(stop_words(counts, share=0.005)) == 21
    assert stop_words(Counter()) == frozenset()


def test_precise_words_are_frequent_and_hardly_occur_elsewhere():
    one = Counter({"own": 100, "shared": 100, "mostly": 90} | {f"rare{index}": 1 for index in range(57)})
    other = Counter({"shared": 50, "mostly": 10, "other": 80} | {f"few{index}": 1 for index in range(57)})
    lists = precise_words({"one": one, "other": other}, 0.85)
    assert lists == {"one": {"own", "mostly"}, "other": {"other"}}
    assert precise_words({"one": one, "other": other}, 0.95)["one"] == {"own"}
    assert precise_words({"one": one}, 0.85)["one"] == {"own", "shared", "mostly"}
    assert precise_words({"one": Counter()}, 0.85)["one"] == frozenset()
