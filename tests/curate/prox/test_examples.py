"""Seed examples: each program gives the clean text back, all fit, and the two sets of templates share nothing."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus
from metier.curate.prox.chunks import Ruler
from metier.curate.prox.examples import examples
from metier.curate.prox.interpreter import ChunkProgram, execute
from metier.curate.prox.oracle import noise_alone, with_noise
from metier.curate.prox.program import parse, written
from metier.engines.text.chat import tokenize_example
from metier.models.source import open_model

SENTENCES = [f"Sentence number {n} says something quite ordinary about the weather." for n in range(12)]


def corpus(num_documents=5):
    rows = ({"id": f"d{n}", "text": "\n".join([f"Document {n}.", *SENTENCES]), "source": "s"} for n in range(num_documents))
    return Corpus.from_rows(rows)


@given(
    st.lists(st.text(max_size=40).filter(lambda line: "\n" not in line), min_size=1, max_size=6),
    st.integers(0, 2_000),
    st.integers(0, 9),
)
def test_the_oracles_program_gives_the_clean_lines_back(clean, seed, start):
    for part in ("train", "held_out"):
        noisy = with_noise(clean, part, random.Random(seed), start)
        program = parse(written(noisy.calls, "chunk"), "chunk")
        text = "\n".join([*[""] * start, *noisy.lines])
        done = execute(text, [ChunkProgram(program, start, start + len(noisy.lines))])
        assert not done.problems and not done.missed
        assert done.text.split("\n")[start:] == clean


def test_all_kinds_of_noise_come_and_some_chunks_are_left_clean():
    drawn = [with_noise(SENTENCES[:4], "train", random.Random(seed)) for seed in range(1_000)]
    counts = Counter(type(call).__name__ for noisy in drawn for call in noisy.calls)
    untouched = sum(noisy.lines == SENTENCES[:4] for noisy in drawn)
    # 0.6 menus + 0.6 footers + 0.4 buttons and 0.3 stuck strings in 85% of all; clean: 15%, and 0.85 * 0.4 * 0.4 * 0.6 * 0.7 besides
    assert counts["RemoveLines"] == pytest.approx(1_360, abs=80)
    assert counts["Normalize"] == pytest.approx(255, abs=50)
    assert untouched == pytest.approx(207, abs=45)
    assert not any(call.first == 5 for noisy in (with_noise(SENTENCES[:4], "train", random.Random(s), 5) for s in range(200)) for call in noisy.calls
                   if hasattr(call, "first")), "menus stand at the beginning of documents only"  # fmt: skip


def test_held_out_noise_shares_no_line_with_that_of_training():
    def lines(part):
        found = (line for seed in range(400) for line in noise_alone(part, random.Random(seed)))
        return {re.sub(r"\d+", "0", line) for line in found}

    train, held_out = lines("train"), lines("held_out")
    assert len(train) > 100 and len(held_out) > 100 and not train & held_out


def test_examples_fit_are_checked_and_alternate():
    tiny = open_model("tiny")
    rows = list(examples(corpus(), tiny, num_examples=60, max_tokens=200).rows())
    assert [row["level"] for row in rows] == ["document", "chunk"] * 30
    assert len({row["id"] for row in rows}) == 60
    shown = [row["prompt"].partition("[doc]\n")[2].rpartition("\n[/doc]")[0] for row in rows]
    assert max(Ruler(tiny.tokenizer()).counts(shown, 10_000)) <= 200
    decisions = Counter(row["completion"] for row in rows if row["level"] == "document")
    assert set(decisions) == {"keep_doc()", "drop_doc()"} and min(decisions.values()) >= 5
    for row in rows[1::2]:
        assert not parse(row["completion"], "chunk").problems
        assert f"[{row['start']:03d}] " in row["prompt"] and row["prompt"].endswith("[/doc]\nprogram:\n")
    sequence = tokenize_example(rows[1], tiny.tokenizer())
    assert tiny.tokenizer().decode([token for token in sequence.labels if token >= 0]).startswith(rows[1]["completion"])


def test_the_same_seed_makes_the_same_examples_and_another_makes_others():
    def texts(**settings):
        return [row["prompt"] for row in examples(corpus(), num_examples=20, level="chunk", **settings).rows()]

    assert texts(seed=1) == texts(seed=1) and len(set(texts(seed=1)) & set(texts(seed=2))) <= 2
    assert not set(texts(seed=1)) & set(texts(seed=1, templates="held_out")) - {text for text in texts() if "|" not in text}


def test_a_chat_answers_the_users_message():
    [row] = examples(corpus(1), num_examples=1, level="chunk", form="chat").rows()
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert [message["role"] for message in row["completion"]] == ["assistant"]


def test_short_and_long_texts_are_cut_to_what_fits():
    rows = [{"id": "a", "text": "two words", "source": "s"}, {"id": "b", "text": "word " * 5_000, "source": "s"}]
    made = list(examples(Corpus.from_rows(rows), num_examples=20, max_tokens=50).rows())
    assert max(Ruler().counts([row["text"] for row in made], 10_000)) <= 50


@pytest.mark.parametrize(("settings", "match"), [({"num_examples": 0}, "num_examples=0"), ({"max_tokens": 49}, "max_tokens=49")])
def test_wrong_settings_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        examples(corpus(), **settings)


def test_a_corpus_without_words_makes_no_examples():
    with pytest.raises(ValueError, match="no text of two words"):
        examples(Corpus.from_rows([{"id": "a", "text": "word", "source": "s"}]))
