"""curate.reading_comprehension: whole runs with a real tokenizer; a writer that knows the answers stands in for a large model."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metier.artifacts import Corpus, Funnel
from metier.curate.reading_comprehension import passage_of, reading_comprehension
from metier.engines.generate.open import open_language_model
from metier.models.language_model import Completion
from metier.models.source import open_model

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "curate" / "reading-comprehension"
BODY = (
    "This is the opening sentence of the document. "
    "The enzyme loses all of its activity above a temperature of sixty degrees. "
    "Therefore, the reaction is carried out in a cooled vessel by most laboratories today. "
    "A closing sentence about electrophoresis, chromatography and spectroscopy follows here."
)


@pytest.fixture(scope="module")
def base():
    return open_model("tiny")


def corpus(*texts, **columns):
    rows = [{"id": f"d{number}", "text": text, "source": "s"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def run(table, base, *flows, **settings):
    return reading_comprehension(table, base, *flows, domain="biology", **settings).frame().to_pylist()


class Oracle:
    """Answers requests with what `told` says of the passage, and questions asked again with "sixty degrees"."""

    name = "oracle"

    def __init__(self, told):
        self.told, self.asked = told, []

    def generate(self, prompts, **settings):
        self.asked += prompts
        texts = [prompt if isinstance(prompt, str) else prompt[0]["content"] for prompt in prompts]
        return [Completion("At sixty degrees", 3) if "\nQuestion: " in text else self.told(text) for text in texts]


def pairs(*found):
    return Completion(json.dumps([{"question": question, "answer": answer} for question, answer in found]), num_tokens=40)


def test_a_document_becomes_passage_and_exercises(base):
    row = run(corpus(f"On enzymes\n{BODY}"), base)[0]
    assert row["source_id"] == row["id"] == "d0"
    assert row["way"] == "mined"
    counts = row["exercises"]
    assert (counts["nli"], counts["cause"], counts["paraphrase"], counts["words"], counts["written"]) == (1, 1, 0, 0, 0)
    assert "closing sentence about electrophoresis" in row["text"]
    assert set(row) == {"id", "text", "source", "drop_reason", "source_id", "way", "exercises"}


def test_domain_words_are_frequent_long_words_of_the_corpus(base):
    rows = run(corpus(*[f"Title {number}\n{BODY}" for number in range(5)]), base)
    assert [row["exercises"]["words"] for row in rows] == [1] * 5
    asked = next(line for line in rows[0]["text"].split("\n") if "electrophoresis, chromatography, spectroscopy" in line)
    assert asked
    few = run(corpus(*[f"Title {number}\n{BODY}" for number in range(4)]), base)  # in too few documents
    assert [row["exercises"]["words"] for row in few] == [0] * 4


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample documents of AdaptLLM are not beside the checkout")
def test_a_domain_vocabulary_gives_the_authors_kinds_of_words(base):
    texts = [(SAMPLES / f"{number}.txt").read_text() for number in range(12)]
    rows = run(corpus(*texts), base, domain_vocabulary=SAMPLES / "domain.spm")
    totals = {kind: sum(row["exercises"][kind] for row in rows) for kind in ("nli", "cause", "paraphrase")}
    assert totals == {"nli": 11, "cause": 5, "paraphrase": 11}
    assert sum(row["exercises"]["words"] for row in rows) >= 25  # `base` knows fewer words than the authors' model
    assert all(row["way"] == "mined" for row in rows)


def test_dropped_unread_and_empty_rows(base, tmp_path):
    table = corpus("x", BODY, BODY, "", drop_reason=["rule", None, None, None], error=[None, "binary: x", None, None])
    found = reading_comprehension(table, base, domain="biology")
    rows = {row["id"]: row for row in found.frame().to_pylist()}
    assert rows["d0"]["text"] == "x"
    assert rows["d1"]["text"] == BODY
    assert rows["d3"]["way"] == "raw"
    assert found.save(tmp_path).funnel() == Funnel(4, 2, {"rule": 1}, {"binary": 1})
    assert run(Corpus.from_rows([], ["id", "text", "source"]), base) == []


def test_long_documents_are_cut_after_a_sentence(base):
    tokenizer = base.tokenizer()
    text = " ".join(f"Sentence number {number} of a long document." for number in range(200))
    parts = passage_of(text, tokenizer=tokenizer, max_tokens=100).sentences
    joined = "".join(parts)
    assert text.startswith(joined.strip())
    assert joined.strip().endswith("document.")
    assert 50 < len(tokenizer(joined, add_special_tokens=False)["input_ids"]) <= 100
    endless = passage_of("word " * 1000, tokenizer=tokenizer, max_tokens=50).text
    assert 0 < len(tokenizer(endless, add_special_tokens=False)["input_ids"]) <= 50
    row = run(corpus(text), base, max_tokens=300)[0]
    assert "number 199" not in row["text"]


def test_a_writer_adds_what_the_passage_bears_out(base):
    writer = Oracle(
        lambda text: pairs(("When does it lose activity?", "above sixty degrees"), ("Why?", "Pure invention about nothing"))
    )
    rows = run(corpus(f"On enzymes\n{BODY}", "Short text."), base, writer)
    assert [row["way"] for row in rows] == ["mined, written", "raw"]
    assert rows[0]["exercises"]["written"] == 1
    assert rows[0]["rejected"] == {
        "failed": 0, "no pair": 0, "empty": 0, "same": 0, "twice": 0, "unsupported": 1, "answered otherwise": 0,
    }  # fmt: skip
    assert rows[1]["rejected"]["unsupported"] == 2
    assert [row["writer_tokens"] for row in rows] == [40, 40]
    assert re.search(r"When does it lose activity\?(\nAnswer:)? Above sixty degrees", rows[0]["text"])
    assert "invention" not in rows[0]["text"]
    trusting = run(corpus(f"On enzymes\n{BODY}"), base, writer, min_support=0.0)
    assert trusting[0]["exercises"]["written"] == 2


def test_failures_and_answers_that_differ_the_second_time_are_counted(base):
    broken = run(corpus(BODY), base, Oracle(lambda text: Completion("", error="gone")))[0]
    assert (broken["rejected"]["failed"], broken["exercises"]["written"], broken["way"]) == (1, 0, "mined")
    writer = Oracle(
        lambda text: pairs(("At which temperature?", "above sixty degrees"), ("Where?", "in a cooled vessel by laboratories"))
    )
    row = run(corpus(BODY), base, writer, ask_again=True)[0]
    assert row["exercises"]["written"] == 1
    assert row["rejected"]["answered otherwise"] == 1
    assert row["writer_tokens"] == 40 + 3 + 3
    assert "Where?" not in row["text"]


def test_the_writer_is_asked_for_as_many_tasks_as_set(base):
    writer = Oracle(lambda text: pairs())
    run(corpus(BODY), base, writer, tasks_per_passage=2)
    assert writer.asked[0][0]["content"].count("Ask") == 2
    run(corpus(BODY), base, writer, chat=False)
    assert writer.asked[1].endswith("Question:")


def test_a_real_model_that_writes_nonsense_leaves_what_was_mined(base):
    row = run(corpus(f"On enzymes\n{BODY}"), base, open_language_model(base), chat=False, tasks_per_passage=1)[0]
    assert row["way"] == "mined"
    assert sum(row["rejected"].values()) >= 1


def test_a_document_depends_on_its_id_and_the_seed_alone(base):
    texts = [f"Title {number}\n{BODY}" for number in range(6)]
    whole = {row["id"]: row["text"] for row in run(corpus(*texts), base)}
    other = {row["id"]: row["text"] for row in run(corpus(*texts), base, seed=1)}
    assert whole != other
    reverse = Corpus.from_rows(reversed(list(corpus(*texts).rows())))
    assert {row["id"]: row["text"] for row in run(reverse, base)} == whole


def test_hash_seeds_change_nothing():
    program = (
        "import random; from metier.engines.data.reading import compose; from metier.engines.data.exercises import *\n"
        f"text = {('First. ' + BODY + ' ')!r}\n"
        "found = mined_pairs(text) + word_sentences(sentences(text), str.split, frozenset(text.split()), random.Random(0))\n"
        "print(compose('T', sentences(text), found, 'b', random.Random(3)))"
    )
    outputs = {
        hashlib.sha256(
            subprocess.run(
                [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
            ).stdout
        ).hexdigest()
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_bad_settings_are_named(base):
    table = corpus(BODY)
    for settings, message in [
        ({"domain": " "}, "domain is empty"),
        ({"max_tokens": 200}, "max_tokens=200 leaves no room"),
        ({"tasks_per_passage": 8}, "tasks_per_passage=8"),
        ({"min_support": 1.5}, "min_support=1.5 is no share"),
        ({"domain_vocabulary": Path("none.spm")}, "domain_vocabulary='none.spm' is no file"),
    ]:
        with pytest.raises(ValueError, match=message):
            reading_comprehension(table, base, **{"domain": "biology"} | settings)
