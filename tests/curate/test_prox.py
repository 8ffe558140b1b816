"""Refining a corpus: chunks, outcomes, columns and counts, through a real cache and a refiner that answers by a script."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus
from metier.curate.prox import prox
from metier.curate.prox.chunks import Chunk, Ruler, chunks_of, numbered
from metier.curate.prox.interpreter import ChunkProgram, execute
from metier.curate.prox.program import parse
from metier.engines.generate.asking import AskedModel
from metier.engines.generate.cache import AnswerCache
from metier.engines.generate.open import open_language_model
from metier.models.language_model import Completion, Score
from metier.models.source import open_model

PROSE = "The river is wide here and slow, and boats go up it twice a day in summer."


class Backend:
    """Answers each prompt by a function of it; a dict is an error. Counts what it was asked."""

    name = identity = "scripted"

    def __init__(self, answer, drop=lambda text: False):
        self.answer, self.drop, self.asked = answer, drop, []

    def complete(self, prompts, sampling):
        for number, prompt in enumerate(prompts):
            self.asked.append(prompt)
            yield number, self.answer(prompt)

    def score(self, requests):
        for number, (context, continuation) in enumerate(requests):
            likely = self.drop(context) == (continuation == "drop_doc()")
            yield number, Score(-0.5 if likely else -2.5, 1, 10)

    def score_texts(self, texts):
        raise NotImplementedError


def clean(prompt):
    """A program that removes the lines with a bar in them, and the string " [more]"."""
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
    calls = [f"remove_lines({int(n)}, {int(n)})" for n in re.findall(r"^\[(\d+)\].* \| ", text, re.MULTILINE)]
    calls += ['normalize(" [more]", "")'] if " [more]" in text else []
    return Completion("\n".join(calls) or "keep_chunk()", num_tokens=7)


def corpus(texts):
    return Corpus.from_rows({"id": f"d{n}", "text": text, "source": "s"} for n, text in enumerate(texts))


def rows_of(refined):
    return refined.corpus.frame().to_pylist()


def test_lines_and_strings_go_and_the_original_stays():
    texts = [f"Home | News | More\n{PROSE} [more]\n{PROSE}", PROSE, "Home | News"]
    refined = prox(corpus(texts), chunk_refiner=AskedModel(Backend(clean), None))
    first, second, third = rows_of(refined)
    assert first["text"] == f"{PROSE}\n{PROSE}" and first["raw_text"] == texts[0]
    assert (first["refine_status"], first["lines_removed"], first["strings_replaced"]) == ("refined", 1, 1)
    assert (second["text"], second["raw_text"], second["refine_status"]) == (PROSE, None, "unchanged")
    assert (third["text"], third["drop_reason"], third["chunk_program"]) == (texts[2], "prox: too few words", None)
    counts = refined.statistics
    assert (counts.documents, counts.status) == (3, {"refined": 1, "unchanged": 1, "dropped": 1})
    # 3 + 17 + 1 + 17, 17, and 2 words before; 34 and 17 after
    assert (counts.words_before, counts.words_after, counts.lines_removed, counts.strings_replaced) == (57, 51, 1, 1)
    assert counts.answer_tokens == 14
    funnel = refined.corpus.funnel()
    assert (funnel.total, funnel.kept, funnel.dropped) == (3, 2, {"prox: too few words": 1})


def test_what_was_written_can_be_executed_again():
    text = "\n".join([PROSE, "Home | News", PROSE, "a | b", PROSE])
    [row] = rows_of(prox(corpus([text]), chunk_refiner=AskedModel(Backend(clean), None), chunk_tokens=70))
    parts = re.split(r"# lines (\d+) to (\d+)\n", row["chunk_program"])[1:]
    again = [
        ChunkProgram(parse(said, "chunk"), int(start), int(last) + 1)
        for start, last, said in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]
    assert len(again) > 1 and execute(row["raw_text"], again).text == row["text"] == "\n".join([PROSE] * 3)


def test_a_document_refiner_drops_before_chunks_are_asked_for():
    def decide(prompt):
        return Completion("drop_doc()" if "casino" in prompt else "keep_doc()" if "river" in prompt else "A fine text.")

    backends = Backend(decide), Backend(clean)
    texts = [f"casino {PROSE}", PROSE, "Ten words without the magic one, nor any other of them."]
    refined = prox(corpus(texts), *(AskedModel(backend, None) for backend in backends))
    assert [row["drop_reason"] for row in rows_of(refined)] == ["prox: drop_doc", None, None]
    assert [row["doc_program"] for row in rows_of(refined)] == ["drop_doc()", "keep_doc()", "A fine text."]
    assert len(backends[0].asked) == 3 and len(backends[1].asked) == 2
    alone = prox(corpus(texts), AskedModel(backends[0], None))
    assert [row["refine_status"] for row in rows_of(alone)] == ["dropped", "unchanged", "no program"]


def test_a_decision_can_be_scored_and_its_threshold_moved():
    model = AskedModel(Backend(None, drop=lambda text: "casino" in text), None)
    texts = [f"casino {PROSE}", PROSE]
    # logits 2 apart: P(drop) = 1 / (1 + e^-2) = 0.8808 and 0.1192
    for threshold, dropped in ((0.5, 1), (0.9, 0), (0.1, 2), (0.12, 1), (1.0, 0)):
        refined = prox(corpus(texts), model, drop_above=threshold)
        assert refined.statistics.dropped.get("prox: drop_doc", 0) == dropped
    assert rows_of(refined)[0]["doc_program"] == "keep_doc()  # P(drop) 0.8808"


def test_a_document_that_was_mostly_noise_goes_and_one_with_errors_stays():
    menu = "\n".join(["Home | News | Sports | Contact | Jobs | Blog | About | Shop | Forum | Help"] * 40)
    broken = "remove_lines(0, 0)\nremove_lines(5, 2)\nremove_lines(99, 99)"

    def answer(prompt):
        return clean(prompt) if "Home" in prompt else Completion(broken if "river" in prompt else "It is all fine.")

    texts = [f"{menu}\n{PROSE}", f"{PROSE}\n{PROSE}", "Nothing is to be said of this text but that it is quite short."]
    found = rows_of(prox(corpus(texts), chunk_refiner=AskedModel(Backend(answer), None)))
    assert found[0]["drop_reason"] == "prox: mostly removed" and found[0]["text"] == texts[0]
    assert found[1]["refine_status"] == "errors" and found[1]["text"] == texts[1] and found[1]["lines_removed"] == 0
    assert found[1]["refine_problems"] == ["range: remove_lines(5, 2)", "lines not shown: remove_lines(99, 99)"]
    assert found[2]["refine_status"] == "no program"


def test_rows_marked_before_are_left_alone_and_a_second_pass_keeps_the_first_original():
    rows = [
        {"id": "a", "text": f"Home | x\n{PROSE}\n{PROSE}", "source": "s", "drop_reason": None, "error": None, "extra": 1},
        {"id": "b", "text": "bad | x", "source": "s", "drop_reason": "a rule", "error": None, "extra": 2},
        {"id": "c", "text": None, "source": "s", "drop_reason": None, "error": "binary: ?", "extra": 3},
    ]
    once = prox(Corpus.from_rows(rows), chunk_refiner=AskedModel(Backend(clean), None))
    found = rows_of(once)
    assert [row["drop_reason"] for row in found] == [None, "a rule", None] and [row["extra"] for row in found] == [1, 2, 3]
    assert [row["refine_status"] for row in found] == ["refined", None, None] and once.statistics.documents == 1

    def shorten(prompt):
        return Completion("remove_lines(0, 0)")

    twice = prox(once.corpus, chunk_refiner=AskedModel(Backend(shorten), None))
    assert rows_of(twice)[0]["text"] == PROSE and rows_of(twice)[0]["raw_text"] == rows[0]["text"]
    assert once.corpus.funnel() == twice.corpus.funnel()


def test_an_interrupted_run_asks_only_for_what_is_missing(tmp_path):
    texts = [f"Menu | {n}\n{n}: {PROSE}\n{PROSE}" for n in range(20)]
    cache = AnswerCache(tmp_path / "answers.sqlite")

    def dying(prompt):
        if len(backend.asked) > 12:
            raise KeyboardInterrupt
        return clean(prompt)

    backend = Backend(dying)
    with pytest.raises(KeyboardInterrupt):
        prox(corpus(texts), chunk_refiner=AskedModel(backend, cache), workdir=tmp_path / "work")
    rest = Backend(clean)
    refined = prox(corpus(texts), chunk_refiner=AskedModel(rest, cache), workdir=tmp_path / "work")
    assert len(rest.asked) == 8
    whole = prox(corpus(texts), chunk_refiner=AskedModel(Backend(clean), None))
    assert rows_of(refined) == rows_of(whole) and refined.statistics == whole.statistics


def test_what_gets_no_answer_stays_and_is_asked_for_again(tmp_path, caplog):
    texts = [f"Menu | {n}\n{PROSE}" for n in range(4)]
    cache = AnswerCache(tmp_path / "answers.sqlite")
    failing = Backend(lambda prompt: Completion("", error="down") if "| 2" in prompt else clean(prompt))
    refined = prox(corpus(texts), chunk_refiner=AskedModel(failing, cache))
    assert [row["refine_status"] for row in rows_of(refined)] == ["refined", "refined", "failed", "refined"]
    assert rows_of(refined)[2]["text"] == texts[2] and "1 documents got no answer" in caplog.text
    again = Backend(clean)
    assert prox(corpus(texts), chunk_refiner=AskedModel(again, cache)).statistics.status == {"refined": 4}
    assert len(again.asked) == 1


def test_an_instructed_model_writes_a_program_for_each_kind_of_noise():
    def answer(prompt):
        text = prompt[0]["content"]
        if "Score: N" in text:
            return Completion("It is about a river.\nScore: 2" if "gains" in text else "Clean.\n**Score: 4/5**")
        shown = text.rpartition("[doc]")[2]
        assert "[001] The river" in shown
        kind = next(kind for kind in ("navigation", "web addresses", "end of a page") if kind in text)
        return Completion(
            {"navigation": "remove_lines(0, 0)", "web addresses": 'normalize(" [more]")', "end of a page": "keep_chunk()"}[kind]
        )

    model = AskedModel(Backend(answer), None)
    [row] = rows_of(prox(corpus([f"Home\n{PROSE} [more]"]), model, model, asking="instructed"))
    assert row["text"] == PROSE and row["doc_program"] == "keep_doc()  # content 2, form 4"


def test_a_chat_prompt_holds_the_text_as_the_users_message():
    backend = Backend(clean)
    prox(corpus([f"a | b\n{PROSE}"]), chunk_refiner=AskedModel(backend, None), asking="chat")
    assert [message["role"] for message in backend.asked[0]] == ["system", "user"]
    assert backend.asked[0][1]["content"] == f"[doc]\n[000] a | b\n[001] {PROSE}\n[/doc]"


def test_an_answer_that_no_table_can_hold_is_told_all_the_same(tmp_path):
    backend = Backend(lambda prompt: Completion('normalize("\ud800")\0'))
    refined = prox(corpus([PROSE]), chunk_refiner=AskedModel(backend, None))
    assert rows_of(refined.corpus.save(tmp_path / "saved") and refined)[0]["refine_problems"] == ['syntax: normalize("?")?']


def test_a_real_model_is_asked(monkeypatch, tmp_path):
    """Random weights write prose: nothing changes, whatever they say."""
    tiny = open_model("tiny")
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    model = open_language_model(tiny, dtype="float32")
    refined = prox(corpus([PROSE, f"{PROSE}\n{PROSE}"]), model, model, tiny, max_new_tokens=4, chunk_tokens=60, drop_above=1.0)
    assert refined.statistics.status == {"no program": 2}
    assert [row["text"] for row in rows_of(refined)] == [PROSE, f"{PROSE}\n{PROSE}"]
    assert refined.statistics.answer_tokens <= 4 * 4


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"chunk_refiner": None}, "there is no refiner"),
        ({"asking": "chat", "drop_above": 0.5}, "drop_above=0.5 needs asking='plain'"),
        ({"drop_above": 1.5}, "drop_above=1.5 is no share"),
        ({"drop_ratio": -0.1}, "drop_ratio=-0.1 is no share"),
        ({"min_keep_ratio": 2}, "min_keep_ratio=2 is no share"),
        ({"document_tokens": 0}, "document_tokens=0"),
        ({"chunk_tokens": 0}, "chunk_tokens=0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_errors": 0}, "max_errors=0"),
        ({"min_words": -1}, "min_words=-1"),
    ],
)
def test_wrong_settings_are_refused_before_anyone_is_asked(settings, match):
    backend = Backend(clean)
    with pytest.raises(ValueError, match=re.escape(match)):
        prox(corpus([PROSE]), **({"chunk_refiner": AskedModel(backend, None)} | settings))
    assert not backend.asked


def test_numbers_run_over_the_document_and_grow():
    assert numbered(["a", ""], 9) == "[009] a\n[010] "
    assert numbered(["a", "b"], 999) == "[999] a\n[1000] b"


def test_the_documents_beginning_is_what_the_window_holds():
    tokenizer = open_model("tiny").tokenizer()
    for ruler in (Ruler(), Ruler(tokenizer)):
        text = "Äpfel und Birnen, 日本語 " * 50
        cut = ruler.cut(text, 40)
        assert text.startswith(cut) and 35 <= ruler.counts([cut], 1000)[0] <= 40
        assert ruler.cut("short", 40) == "short"


def test_a_huge_line_is_neither_tokenized_nor_shown():
    text = f"{PROSE}\n{'x' * 3_000_000}\n{PROSE}"
    ruler = Ruler(open_model("tiny").tokenizer())
    assert chunks_of(text, 100, ruler) == [Chunk(0, 1), Chunk(1, 2, too_long=True), Chunk(2, 3)]
    backend = Backend(clean)
    refined = prox(corpus([text]), chunk_refiner=AskedModel(backend, None), chunk_tokens=100)
    assert refined.statistics.lines_skipped == 1 and len(backend.asked) == 2 and not any("xx" in asked for asked in backend.asked)


@given(st.lists(st.text("ab \t", max_size=60), min_size=1, max_size=12), st.integers(4, 60))
def test_chunks_are_the_documents_lines_once_each_and_fit(lines, window):
    text, ruler = "\n".join(lines), Ruler()
    found = chunks_of(text, window, ruler)
    assert [number for chunk in found for number in range(chunk.start, chunk.stop)] == list(range(len(lines)))
    for chunk in found:
        size = ruler.counts([numbered(lines[chunk.start : chunk.stop], chunk.start)], 10_000)[0]
        assert size <= window or (chunk.too_long and chunk.stop == chunk.start + 1)
    fits = [chunk for chunk in found if not chunk.too_long]
    neighbours = [(a, b) for a, b in pairwise(fits) if a.stop == b.start]
    for a, b in neighbours:  # greedy: the next line would not have fitted
        counted = ruler.counts([f"[{n:03d}] {lines[n]}\n" for n in range(a.start, b.start + 1)], 10_000)
        assert sum(counted) > window


def test_statistics_add_up(tmp_path):
    texts = [PROSE, "", "short", f"a | b\n{PROSE}", "casino " * 20]
    decide = Backend(lambda prompt: Completion("drop_doc()" if "casino" in prompt else "keep_doc()"))
    refined = prox(corpus(texts), AskedModel(decide, None), AskedModel(Backend(clean), None))
    counts, funnel = refined.statistics, refined.corpus.save(tmp_path / "out").funnel()
    assert sum(counts.status.values()) == counts.documents == funnel.total == 5
    assert counts.dropped == funnel.dropped == {"prox: too few words": 2, "prox: drop_doc": 1}
    assert Counter(row["refine_status"] for row in rows_of(refined)) == counts.status
