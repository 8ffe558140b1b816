"""curate.thinking_augmented: through a real endpoint that thinks by a script, and sometimes badly."""

import logging

import pytest
import torch

from metier.artifacts import Corpus, Funnel
from metier.curate.thinking_augmented import thinking_augmented
from metier.curate.thinking_augmented.prompts import compose, escaped, has_wrong_sum, thought_in
from metier.curate.thinking_augmented.sequences import thinking_sequences
from metier.engines.generate.open import open_language_model
from metier.engines.generate.synthesis import Budget
from metier.engines.generate.verify import Rules
from metier.engines.text.pack import pack
from metier.engines.text.sequences import IGNORED, tokenize_texts
from metier.models.source import open_model

TEXT = (
    "The reactor in Delft was started in 1963. It delivers about 2 megawatts of thermal power to its users, who work with neutrons. "
    "Its pool holds ordinary water, which slows the neutrons down and carries the heat of the fuel elements away. "
    "Whoever looks into the pool sees a blue light: electrons that are faster than light is in water."
)
THOUGHT = (
    "So why does water serve two ends here? Slowing: hydrogen nuclei weigh as much as neutrons, so each collision takes about half of "
    "the energy. Cooling: heat of elements goes into the pool at 2 megawatts, which is 1 + 1 = 2. The light tells of fast electrons."
)


def good(asked):
    return f"<think>\n{THOUGHT}\n</think>"


def corpus(*texts, **columns):
    rows = [{"id": f"d{number}", "text": text, "source": "s"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[index] for name, values in columns.items()} for index, row in enumerate(rows)])


def run(table, writer, base=None, **settings):
    return {row["id"]: row for row in thinking_augmented(table, writer, base, **settings).frame().to_pylist()}


@pytest.fixture(scope="module")
def base():
    return open_model("tiny")


def test_a_document_is_followed_by_its_thought(server, writer, base):
    server.script = good
    [row] = run(corpus(TEXT), writer, base).values()
    assert row["text"] == f"{TEXT}\n\n<think>\n{THOUGHT}\n</think>"
    assert row["text"][row["thought_start"] : row["thought_end"]] == f"<think>\n{THOUGHT}\n</think>"
    assert (row["id"], row["source_id"], row["augmented"], row["finish_reason"]) == ("d0", "d0", True, "stop")
    count = [len(base.tokenizer()(part, add_special_tokens=False)["input_ids"]) for part in (TEXT, THOUGHT)]
    assert [row["doc_tokens"], row["thought_tokens"]] == count
    assert row["writer_tokens"] == len(good("").split())
    asked = server.seen[0]
    assert (asked["temperature"], asked["top_p"], asked["max_tokens"], asked["stop"]) == (0.6, 0.9, 8000, ["</think>"])
    [plain] = run(corpus(TEXT), writer, position="before", keep_tags=False).values()
    assert plain["text"] == f"{THOUGHT}\n\n{TEXT}"
    assert (plain["thought_start"], plain["thought_end"]) == (0, len(THOUGHT))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "failed"),
        ((f"<think>{THOUGHT}", "length"), "unfinished"),
        ("<think>\n\n</think>", "empty"),
        ("<think>I'm sorry, I can't help with that document.", "refusal"),
        ("<think>Waarom heeft water hier twee doelen? Het remt de neutronen af en het koelt de elementen, dat is alles wat telt.", "language"),
        ("<think>" + "the water slows the neutrons and " * 20, "repetition"),
        ("<think>A poem about cats and their grandmother, who was so fond of mice that she gave them cheese on Sundays.", "off topic"),
        (f"<think>{TEXT}", "copy"),
        (f"<think>{THOUGHT.replace('1 + 1 = 2', '1 + 1 = 3')}", "wrong sum"),
    ],
)  # fmt: skip
def test_a_bad_thought_is_counted_and_its_document_stays(server, writer, answer, reason, tmp_path):
    if answer == 500:
        writer.backend.http.attempts = 1
    server.script = lambda asked: good(asked) if "Second" in asked else answer
    table = corpus(TEXT, f"Second. {TEXT}")
    rows = run(table, writer)
    assert list(rows) == ["d0", "d0#thought", "d1"]
    assert rows["d0"]["text"] == TEXT and not rows["d0"]["augmented"] and rows["d1"]["augmented"]
    assert rows["d0#thought"]["drop_reason"] == f"thought: {reason}"
    assert thinking_augmented(table, writer).save(tmp_path / "out").funnel() == Funnel(3, 2, {f"thought: {reason}": 1})


def test_an_unfinished_thought_may_be_kept_and_says_so(server, writer):
    server.script = lambda asked: (f"<think>{THOUGHT}", "length")
    [row] = run(corpus(TEXT), writer, unfinished="keep").values()
    assert (row["augmented"], row["finish_reason"]) == (True, "length")


def test_sums_and_rules_can_be_left_unchecked(server, writer):
    server.script = lambda asked: f"<think>{THOUGHT.replace('1 + 1 = 2', '1 + 1 = 3')}"
    assert run(corpus(TEXT), writer, check_sums=False)["d0"]["augmented"]
    server.script = lambda asked: f"<think>{TEXT} "
    assert run(corpus(TEXT + " "), writer, rules=Rules(length=None, min_kept=0.0, copy_limit=1.0))["d0"]["augmented"]


def test_the_writer_is_shown_the_first_tokens_and_trained_is_the_whole(server, writer):
    server.script = good
    long = TEXT + " The end of a long document." * 100
    [row] = run(corpus(long), writer, doc_tokens=100).values()
    shown = server.seen[0]["messages"][0]["content"]
    document = shown.partition("<document>\n")[2].partition("\n</document>")[0]
    assert long.startswith(document) and 300 < len(document) <= 400  # four bytes a token
    assert row["text"].startswith(long)
    run(corpus(long), writer, doc_tokens=100, chat=False)
    assert server.seen[1]["prompt"].endswith("<think>\n")


def test_short_dropped_and_unread_documents_are_left_alone(server, writer, tmp_path):
    server.script = good
    table = corpus("Too short.", TEXT, TEXT, "", drop_reason=[None, "rule", None, None], error=[None, None, "binary: x", None])
    found = thinking_augmented(table, writer).save(tmp_path / "out")
    assert found.funnel() == Funnel(4, 2, {"rule": 1}, {"binary": 1})
    assert server.seen == []
    assert len(thinking_augmented(Corpus.from_rows([], ["id", "text", "source"]), writer)) == 0
    assert run(corpus("Too short."), writer, min_doc_tokens=1)["d0"]["augmented"]


def test_a_share_of_the_documents_is_augmented(server, writer):
    server.script = good
    rows = run(
        corpus(*[f"{TEXT} {number}" for number in range(200)]),
        writer,
        augment_share=0.3,
        rules=Rules(language=False, length=None, min_kept=0.0),
    )
    assert abs(sum(row["augmented"] for row in rows.values()) / 200 - 0.3) < 0.1  # three standard deviations


def test_plan_growth_and_budget(server, writer, caplog):
    server.script = good
    with pytest.raises(ValueError, match=r"1 calls would come to about .* more than max_tokens=1,000"):
        run(corpus(TEXT), writer, budget=Budget(max_tokens=1000))
    assert server.seen == []
    with caplog.at_level(logging.INFO):
        [row] = run(corpus(TEXT), writer, think_tokens=200).values()
    assert "1 calls" in caplog.text and "at most 200" in caplog.text
    assert f"grew {1 + row['thought_tokens'] / row['doc_tokens']:.2f}-fold" in caplog.text
    seen = len(server.seen)
    run(corpus(TEXT), writer, think_tokens=200)
    assert len(server.seen) == seen


def test_tags_in_a_document_are_escaped():
    text, start, end = compose("a <think> b </think>", "t", position="after", keep_tags=True)
    assert text == "a < think> b < /think>\n\n<think>\nt\n</think>"
    assert text[start:end] == "<think>\nt\n</think>"
    assert escaped("</document>") == "< /document>"
    assert thought_in("Sure! <think> x ") == thought_in("x") == "x"


def test_wrong_sums_are_told_from_algebra():
    for wrong in ("3 + 4 = 8", "So 12 * 3 = 35, and", "(2 + 3) * 4 = 21.", "a\n10 / 4 = 2.6\nb"):
        assert has_wrong_sum(wrong), wrong
    for right in (
        "3 + 4 = 7", "10 / 3 = 3.33", "2x + 3 = 7", "f(2) = 3", "x^2 + 3 = 7", "3 + 9 = 2 mod 10", "3 + 9 = 2 (mod 10)", "9 mod 4 + 1 = 2",
        "y = 2 + 3 = z", "2 + 3 = 4x", "1,000 + 1 = 1,001", "1/4 = 25%", "10 = 2", "log 2 + 3 = 9",
    ):  # fmt: skip
        assert not has_wrong_sum(right), right


def test_sequences_predict_the_part_that_is_asked_for(base):
    tokenizer = base.tokenizer()
    text, start, end = compose(TEXT, THOUGHT, position="after", keep_tags=True)
    row = {"text": text, "source": "s", "augmented": True, "thought_start": start, "thought_end": end}
    raw = {"text": TEXT, "source": "s", "augmented": False, "thought_start": 0, "thought_end": 0}
    every = list(thinking_sequences([row, raw], tokenizer, longest=2000))
    assert every == list(tokenize_texts([(text, "s"), (TEXT, "s")], tokenizer, longest=2000))
    document, own = thinking_sequences([row, raw], tokenizer, longest=2000, loss_on="document")
    [thought] = thinking_sequences([row], tokenizer, longest=2000, loss_on="thought")
    assert own == every[1]
    for one, other, both in zip(document.labels, thought.labels, every[0].labels):
        assert {one, other} <= {both, IGNORED}
        assert both == tokenizer.eos_token_id or both == IGNORED or (one == IGNORED) != (other == IGNORED)
    told = tokenizer.decode([label for label in thought.labels if label != IGNORED], skip_special_tokens=True)
    assert told == text[start:end]


def test_cut_sequences_keep_their_labels_and_are_counted(base, caplog):
    tokenizer = base.tokenizer()
    text, start, end = compose(TEXT, THOUGHT, position="after", keep_tags=True)
    row = {"text": text, "source": "s", "augmented": True, "thought_start": start, "thought_end": end}
    pieces = list(thinking_sequences([row], tokenizer, longest=64, loss_on="thought"))
    [whole] = thinking_sequences([row], tokenizer, longest=2000, loss_on="thought")
    assert [label for piece in pieces for label in piece.labels if label != IGNORED] == [x for x in whole.labels if x != IGNORED]
    assert "1 of 1 texts are longer than 64 tokens and cut" in caplog.text
    assert sum(len(found) for found in pack(pieces, sequence_length=128)) == len(pieces)


def test_the_loss_on_all_is_the_mean_over_every_token(base):
    tokenizer, model = base.tokenizer(), base.load(torch.float32)
    text, start, end = compose(TEXT[:100], THOUGHT[:100], position="after", keep_tags=True)
    row = {"text": text, "source": "s", "augmented": True, "thought_start": start, "thought_end": end}
    [sequence] = thinking_sequences([row], tokenizer)
    ids, labels = torch.tensor([sequence.input_ids]), torch.tensor(sequence.labels)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
        ours = torch.nn.functional.cross_entropy(logits, labels)
        theirs = model(input_ids=ids, labels=ids).loss
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_real_model_that_writes_nonsense_changes_nothing(base):
    rows = run(corpus(TEXT), open_language_model(base, cache=False), think_tokens=40)
    assert rows["d0"]["text"] == TEXT
    assert rows["d0#thought"]["drop_reason"].startswith("thought: ")


def test_bad_settings_are_named(writer):
    for settings, message in [
        ({"augment_share": 0}, "augment_share=0"),
        ({"doc_tokens": 0}, "doc_tokens=0"),
        ({"think_tokens": 0}, "max_new_tokens=0"),
        ({"top_p": 2.0}, "top_p=2.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(corpus(TEXT), writer, **settings)
