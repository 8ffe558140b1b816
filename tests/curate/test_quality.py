"""curate.quality: each rule fires for what it is for, and for nothing that documentation holds."""

import pytest

from metier.artifacts import Corpus, Funnel
from metier.curate.quality import mark_quality, quality

KEPT = [
    "Return a new string with all occurrences of the old text replaced by new.",  # a docstring of a dozen words
    "os.getcwd()\n\nReturn the current directory.",
    "这个函数返回一个新的字符串，其中所有旧文本都被新文本替换。",
    "คืนค่าสตริงใหม่ที่แทนที่ข้อความเก่าทั้งหมด",
    "# Title\n=======\n\n- one point to make\n- another point\n\n-----\n\nAnd a closing line of text.",
    "def f(x):\n    return x + 1\n\nf(1)  # 2 is what comes out of it",
    "Line of text number one.\n" * 2
    + "A text of more lines follows, each of which says something else about the matter at hand.\n",
]

DROPPED = {
    "too short": ["", "one two three four", "??? !!!", "exception code"],
    "few words": ["12 13 14 15 16 17 18 and 19 20 21 22 23 24 25", "| 1 | 2 | 3 |\n| 4 | 5 | 6 | is a table\n"],
    "symbol run": ["a heading with a few words in it\n" + "=" * 150],
    "repeated lines": ["\n".join([f"line {n % 6} has its own words {'abcdef'[n % 6] * 4}" for n in range(30)])],
    "repeated phrases": ["buy cheap pills " * 30],
    "placeholder": ["Lorem ipsum dolor sit amet, consectetur adipiscing elit."],
}


def test_documentation_code_and_other_scripts_are_kept():
    assert mark_quality({"text": KEPT})["drop_reason"] == [None] * len(KEPT)


@pytest.mark.parametrize("rule", DROPPED)
def test_each_rule_names_what_it_is_for(rule):
    assert mark_quality({"text": DROPPED[rule]})["drop_reason"] == [rule] * len(DROPPED[rule])


def test_marks_and_removes_nothing(tmp_path):
    texts = [*KEPT, *(text for texts in DROPPED.values() for text in texts)]
    corpus = quality(Corpus.from_rows([{"id": str(n), "text": text, "source": "s"} for n, text in enumerate(texts)]))
    assert corpus.frame().to_pydict()["text"] == texts
    assert corpus.save(tmp_path).funnel() == Funnel(len(texts), len(KEPT), {rule: len(found) for rule, found in DROPPED.items()})


def test_an_earlier_reason_stands():
    assert mark_quality({"text": ["x", "x"], "drop_reason": ["twin", None]})["drop_reason"] == ["twin", "too short"]


@pytest.mark.parametrize(
    ("setting", "strict", "loose", "text"),
    [
        ("min_words", 6, 4, "one two three four five"),
        ("min_word_share", 0.7, 0.3, "one two three four five 1 2 3 4 5"),
        ("max_repeated_lines", 0.1, 0.6, "\n".join(f"this is line number {n % 7} of the text" for n in range(14))),
        (
            "max_repeated_ngrams",
            0.05,
            0.9,
            "the same phrase " * 5 + " ".join(f"word{chr(97 + n)}" for n in range(24)) + " end" * 20,
        ),
    ],
)
def test_each_setting_moves_its_rule(setting, strict, loose, text):
    assert mark_quality({"text": [text]}, **{setting: strict})["drop_reason"] != [None]
    assert mark_quality({"text": [text]}, **{"max_repeated_ngrams": 1, "max_repeated_lines": 1, setting: loose})[
        "drop_reason"
    ] == [None]


@pytest.mark.parametrize(
    "setting", [{"min_words": -1}, {"min_word_share": 2}, {"max_repeated_lines": -0.1}, {"max_repeated_ngrams": 7}]
)
def test_settings_without_sense_are_refused_by_name(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))}="):
        quality(Corpus.from_rows([{"id": "a", "text": "x", "source": "s"}]), **setting)
