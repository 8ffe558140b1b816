"""curate.decontaminate: finds what a comparison of all runs of words finds, short items too, and says which item it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.artifacts import Corpus, Funnel, Items
from metier.curate.decontaminate import decontaminate

LONG = "A train leaves the station at nine and drives for three hours at eighty kilometres per hour before it stops"


def corpus(texts, **columns):
    rows = [{"id": f"d{number}", "text": text, "source": "s"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def item(name, prompt, answer="", options=(), gold=None, task="t"):
    kind = "choice" if options else "generate"
    return {"id": name, "task": task, "role": "general", "kind": kind, "prompt": prompt, "options": list(options), "gold": gold,
            "answer": answer, "chat": False, "source": ""}  # fmt: skip


def marks(texts, rows, **settings):
    found = decontaminate(corpus(texts), [Items.from_rows(rows)], **settings)
    return found.corpus.frame().to_pydict(), found.items.frame().to_pydict()


def words(start, stop):
    return " ".join(LONG.split()[start:stop])


def test_thirteen_words_mark_and_eight_are_reported():
    texts = [f"xx {words(2, 15)}, yy", f"xx {words(2, 14)} yy", f"xx {words(2, 10).upper()}! yy", f"xx {words(2, 9)} yy"]
    documents, items = marks(texts, [item("q", LONG)])
    assert documents["drop_reason"] == ["contaminated", None, None, None]
    assert documents["contaminated_by"] == [["q"], [], [], []]
    assert documents["near_contaminated_by"] == [["q"], ["q"], ["q"], []]
    assert documents["shared_words"] == [words(2, 15).lower(), words(2, 10).lower(), words(2, 10).lower(), None]
    assert (items["num_ngrams"], items["num_documents"], items["num_near_documents"]) == ([len(LONG.split()) - 12], [1], [3])
    assert items["documents"] == [["d0", "d1", "d2"]]


def test_short_items_are_found_whole_with_and_without_their_answer():
    rows = [item("france", "What is the capital of France?", "Paris"), item("sum", "2 + 2 + 3 = ?", "7"),
            item("faust", "Who wrote the Faust?", options=["Mann", "Goethe"], gold=1)]  # fmt: skip
    texts = ["They asked: what is the capital of France, and he left.", "2 + 2 + 3 = 7", "Who wrote the Faust: Goethe", "Who wrote the Faust? Mann",
             "What is the capital of Spain?"]  # fmt: skip
    documents, items = marks(texts, rows)
    assert documents["contaminated_by"] == [["france"], [], ["faust"], [], []]
    assert items["num_ngrams"] == [2, 0, 1], "four numbers are too few words to look for"
    assert marks(texts, rows, min_words=4)[0]["contaminated_by"] == [["france"], ["sum"], ["faust"], ["faust"], []]


def test_instructions_that_a_task_shares_and_prompts_of_several_items_mark_nothing():
    instruction = "Read the following question with care and give the letter of the one right answer only please"
    rows = [item(f"q{number}", f"{instruction}: what has the number {number}?", "it") for number in range(10)]
    documents, items = marks([f"{instruction}!", f"{rows[3]['prompt']}"], rows)
    assert documents["contaminated_by"][0] == [] and "q3" in documents["contaminated_by"][1]
    same = [item("a", "Which of these statements is true?", options=["grass is green", "no"], gold=0),
            item("b", "Which of these statements is true?", options=["water is wet", "no"], gold=0)]  # fmt: skip
    documents, items = marks(["Which of these statements is true?", "which of these statements is true: water is wet"], same)
    assert documents["contaminated_by"] == [[], ["b"]] and items["num_ngrams"] == [1, 1]


def test_given_texts_are_looked_for_and_bad_ids_refused():
    held_out = Corpus.from_rows([{"id": "page", "text": LONG, "source": "site"}])
    found = decontaminate(corpus([LONG, "other"]), [], [held_out])
    assert found.corpus.frame().to_pydict()["contaminated_by"] == [["page"], []]
    assert found.items.frame().to_pydict()["num_documents"] == [1]
    with pytest.raises(ValueError, match="'page' is the id of two"):
        decontaminate(corpus(["x"]), [], [held_out, held_out])


def test_marked_rows_stay_and_counts_add_up(tmp_path):
    rows = corpus([LONG] * 4, drop_reason=["rule", None, None, None], error=[None, None, None, "binary: x"])
    found = decontaminate(rows, [Items.from_rows([item("q", LONG)])])
    assert found.corpus.save(tmp_path).funnel() == Funnel(4, 0, {"contaminated": 2, "rule": 1}, {"binary": 1})
    assert found.items.frame().to_pydict()["num_documents"] == [2]
    nothing = decontaminate(Corpus.from_rows([], ["id", "text", "source"]), [])
    assert (len(nothing.corpus), len(nothing.items)) == (0, 0)


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=0, max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=5), st.lists(WORDS, min_size=1, max_size=4))
def test_agrees_with_comparing_all_runs(documents, prompts):
    def runs(tokens, size):
        return {tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)}

    expected = []
    for document in documents:
        shared = [min(4, len(prompt)) for prompt in prompts]
        expected.append([
            f"q{number}" for number, (prompt, size) in enumerate(zip(prompts, shared))
            if size >= 2 and runs(document, size) & runs(prompt, size)
        ])  # fmt: skip
    found, _ = marks([" ".join(one) for one in documents], [item(f"q{number}", " ".join(one)) for number, one in enumerate(prompts)],
                     ngram=4, near_ngram=3, min_words=2)  # fmt: skip
    assert found["contaminated_by"] == expected


@pytest.mark.parametrize(
    ("setting", "message"), [({"ngram": 1}, "ngram=1"), ({"near_ngram": 14}, "near_ngram=14"), ({"min_words": 9}, "min_words=9")]
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        marks(["x"], [item("q", LONG)], **setting)
