"""The audit of a gain: prompts and parsing by hand, answers against the model's own logits, parts against their definition."""

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Corpus, Model
from metier.engines.generate.open import open_language_model
from metier.evaluate.adaptation_progress import adaptation_progress
from metier.evaluate.adaptation_progress.answers import Asked, Plan, plan_task
from metier.evaluate.adaptation_progress.audit import audit
from metier.evaluate.adaptation_progress.prompts import (
    CASES,
    LETTERS,
    OPTION_SPACES,
    SEPARATORS,
    Prompt,
    Template,
    candidate_prompts,
    parse_choice,
    sample_templates,
)
from metier.evaluate.adaptation_progress.search import Asker, search
from metier.evaluate.adaptation_progress.seen import seen_questions
from metier.evaluate.item import Item, items_table
from metier.models.tiny import make_tiny

ROW = {"id": "q", "prompt": "What barks?", "options": ["a cat", "a dog"], "gold": 1}


def questions(name, count, start=0):
    return items_table(
        Item(f"{name}{i}", name, "held_out", "choice", f"In {name}, what follows {i}?", [str(i + 1), str(i + 3)], i % 2)
        for i in range(start, start + count)
    )


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Answers are kept in a cache of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METIER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A base and a candidate of its shape with other weights; weights large enough for answers to depend on the prompt."""
    folder = tmp_path_factory.mktemp("pair")
    base, candidate = (make_tiny(folder / str(seed), seed=seed, hidden_size=64, std=0.6) for seed in (0, 5))
    return base, candidate


@pytest.fixture(scope="module")
def audited(pair):
    base, candidate = pair
    tasks = ["birds", "fish"]
    return adaptation_progress(
        candidate,
        base,
        [questions(task, 8) for task in tasks],
        [questions(task, 50, start=100) for task in tasks],
        Corpus.from_rows([{"id": "d", "text": "It says: in birds, what follows 3? 6. And more.", "source": "s"}]),
        num_shots=1,
        num_templates=1,
        num_shot_seeds=2,
        replicates=300,
        dtype="float32",
    )


def test_a_question_is_written_as_its_template_says():
    assert Prompt(Template()).text(ROW) == "Question: What barks?\nA. a cat\nB. a dog\nAnswer: "
    other = Template("upper", " - ", " || ", ", ", "", "Options", "Correct answer", "({})")
    shown = {**ROW, "prompt": "What purrs?", "gold": 0}
    assert Prompt(other, (shown,)).text(ROW) == (
        "What purrs? || OPTIONS - (A) a cat, (B) a dog || CORRECT ANSWER - A\n\n"
        "What barks? || OPTIONS - (A) a cat, (B) a dog || CORRECT ANSWER - "
    )
    assert Template().stop() == ["\nQuestion:"]
    assert other.stop() == ["\nOPTIONS -"]


def test_the_grammar_has_the_sheets_numbers_and_keeps_one_line_together():
    assert (len(SEPARATORS), len(OPTION_SPACES), len(CASES)) == (13, 8, 6)
    templates = sample_templates(300, seed=1)
    assert templates[0] == Template()
    assert len(set(templates)) == 301
    assert not [t for t in templates if "\n" not in t.block_space and "\n" in t.separator + t.option_space]
    assert {t.separator for t in templates} == set(SEPARATORS)
    assert templates[:11] == sample_templates(10, seed=1)


@given(num_shots=st.integers(0, 3), draws=st.integers(1, 4))
def test_eleven_templates_by_the_draws_of_examples(num_shots, draws):
    train = [{**ROW, "id": str(i)} for i in range(10)]
    found = candidate_prompts(sample_templates(10, 0), train, num_shots, draws, seed=0)
    assert len(found) == 11 * (draws if num_shots else 1)
    assert {len(prompt.shots) for prompt in found} == {num_shots}
    assert all(len({shot["id"] for shot in prompt.shots}) == num_shots for prompt in found)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("B", 1),
        (" (A)", 0),
        ("The answer is B.", 1),
        ("[B] a dog", 1),
        ("A or B", 0),
        ("AB", None),
        ("C", None),  # no such option
        ("a dog", 1),
        ("It is a Dog!", 1),
        ("a dogma", None),
        ("a cat or a dog", None),
        ("", None),
    ],
)
def test_words_name_an_option_or_none(text, chosen):
    assert parse_choice(text, ROW["options"]) == chosen


def test_constrained_is_the_full_softmax_restricted_to_the_letters(pair):
    base, _ = pair
    network, tokenizer = base.load(torch.float32), base.tokenizer()
    prompts = candidate_prompts(sample_templates(6, 3), [{**ROW, "gold": 0}], 1, 1, 0)
    found = Asker(open_language_model(base, dtype="float32")).answers([(prompt, ROW) for prompt in prompts], "constrained")
    for prompt, chosen in zip(prompts, found, strict=True):
        text = prompt.text(ROW)
        ids = [tokenizer(text + letter)["input_ids"] for letter in LETTERS[:2]]
        assert ids[0][:-1] == ids[1][:-1]
        probabilities = network(torch.tensor([ids[0][:-1]])).logits[0, -1].double().softmax(-1)
        assert chosen == int(probabilities[[ids[0][-1], ids[1][-1]]].argmax())


def test_a_chat_template_goes_around_the_question(pair):
    tokenizer = pair[0].tokenizer()
    context = Asker(open_language_model(pair[0]), tokenizer).context("Question: x\nAnswer: ")
    assert context == "<|im_start|>user\nQuestion: x\nAnswer:<|im_end|>\n<|im_start|>assistant\n"
    foreign = Asker(open_language_model(pair[0]), tokenizer, unknown=("<|im_start|>", "<|im_end|>"))
    assert foreign.context("x") == "user\nx\nassistant\n"


def test_the_first_of_the_best_prompts_is_kept(pair):
    rows = list(questions("birds", 12).rows())
    prompts = candidate_prompts(sample_templates(4, 0), rows, 0, 1, 0)
    asker = Asker(open_language_model(pair[0], dtype="float32"))
    found = search(asker, prompts, rows, "constrained")
    golds = [row["gold"] for row in rows]
    each = [asker.answers([(prompt, row) for row in rows], "constrained") for prompt in prompts]
    alone = [sum(map(int.__eq__, answers, golds)) / 12 for answers in each]
    assert found.accuracies == alone
    assert (found.best, found.number) == (prompts[alone.index(max(alone))], alone.index(max(alone)))
    assert not search(asker, prompts[:1], rows, "constrained").insensitive
    assert search(asker, prompts[:1] * 2, rows, "constrained").insensitive


def test_the_parts_are_differences_of_the_cells_and_add_up(audited):
    def mean(prompt_cell, decoding):
        part = [cell for cell in audited.cells if (cell.prompt_cell, cell.decoding) == (prompt_cell, decoding)]
        return sum(cell.difference for cell in part) / len(part)

    assert len(audited.cells) == 8
    assert audited.claimed.value == pytest.approx(mean("copied", "greedy"), abs=1e-12)
    assert audited.prompt.value == pytest.approx(mean("copied", "greedy") - mean("own", "greedy"), abs=1e-12)
    assert audited.format.value == pytest.approx(mean("own", "greedy") - mean("own", "constrained"), abs=1e-12)
    parts = (audited.prompt.value, audited.format.value, audited.remaining.value)
    assert sum(parts) == pytest.approx(audited.claimed.value, abs=1e-12)
    for cell in audited.cells:
        assert cell.difference == pytest.approx(cell.candidate - cell.base)
        assert cell.low <= cell.difference <= cell.high
    assert audited.remaining.low <= audited.remaining.value <= audited.remaining.high
    assert audited.interval_over == "rows"


def test_the_copied_prompt_is_the_candidates_and_the_candidates_answers_are_the_same_in_both_cells(audited):
    by_key = {(cell.task, cell.decoding, cell.prompt_cell): cell for cell in audited.cells}
    for task, decoding in {key[:2] for key in by_key}:
        own, copied = by_key[task, decoding, "own"], by_key[task, decoding, "copied"]
        assert copied.prompt_base == copied.prompt_candidate == own.prompt_candidate
        assert copied.candidate == own.candidate


def test_each_models_own_prompt_is_the_best_of_its_own_search(audited, pair):
    practice = list(questions("fish", 50, start=100).rows())
    plan = plan_task("fish", list(questions("fish", 8).rows()), practice, 1, 1, 2, 500, 0)
    assert (len(plan.validation), len(plan.candidates)) == (10, 4)
    assert {shot["id"] for prompt in plan.candidates for shot in prompt.shots}.isdisjoint(row["id"] for row in plan.validation)
    own, copied = (c for c in audited.cells if (c.task, c.decoding) == ("fish", "constrained"))
    askers = [Asker(open_language_model(model, dtype="float32"), model.tokenizer()) for model in pair]
    best = [search(asker, plan.candidates, plan.validation, "constrained").number for asker in askers]
    assert [own.prompt_base, own.prompt_candidate] == best
    assert best[0] != best[1]
    for cell, number in ((own, best[0]), (copied, best[1])):
        answers = askers[0].answers([(plan.candidates[number], row) for row in plan.rows], "constrained")
        assert cell.base == sum(answer == row["gold"] for answer, row in zip(answers, plan.rows, strict=True)) / 8
    assert own.base != copied.base


def test_each_part_is_the_step_between_two_cells():
    """Ten rows, all answers given: the candidate has 8 right, the base 3 by the copied prompt, 5 by its own, 7 constrained."""
    rows = [{"id": str(number), "prompt": "?", "options": ["x", "y"], "gold": 0} for number in range(10)]
    plan = Plan("t", rows, [], [])
    right = {
        ("greedy", "candidate"): 8,
        ("greedy", "copied"): 3,
        ("greedy", "own"): 5,
        ("constrained", "candidate"): 8,
        ("constrained", "copied"): 7,
        ("constrained", "own"): 7,
    }
    answers = {
        ("t", decoding, who): Asked([0] * count + [1] * (9 - count) + [None], 0) for (decoding, who), count in right.items()
    }
    found = audit([plan], answers, None, "pass", [], replicates=500, seed=0)
    parts = [part.value for part in (found.claimed, found.prompt, found.format, found.remaining)]
    assert parts == pytest.approx([0.5, 0.2, 0.2, 0.1])
    # each prints the base's unparsed share, a tenth, which is over 5%
    assert [cell.unparsed_base for cell in found.cells] == [0.1] * 4
    assert len(found.notes) == 4
    assert found.rates["copied, sign"] == {"win": 1.0, "tie": 0.0, "loss": 0.0}
    # five of ten rows changed, all for the better: McNemar's p is 1/16
    assert found.rates["copied, interval"] == {"win": 0.0, "tie": 1.0, "loss": 0.0}
    assert found.sentence.startswith("Of the claimed +50.0 points, 20.0 are prompt, 20.0 are format, 10.0 ± ")


def test_rates_checklist_and_what_was_seen(audited):
    assert set(audited.rates) == {"own, interval", "own, sign", "copied, interval", "copied, sign"}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in audited.rates.values())
    assert audited.checklist["same base"] == "pass"
    assert audited.checklist["test items disjoint from adaptation text"] == "fail"
    assert audited.num_seen == 1  # number 3 of birds, whose right answer is the second option, 6
    assert audited.unseen is not None
    # random weights name no option in their words, which a reader must know
    assert any("name no option" in note for note in audited.notes)


def test_a_model_against_itself_gains_nothing_by_any_way(pair):
    found = adaptation_progress(
        pair[0], pair[0], [questions("fish", 10)], [questions("fish", 12, start=50)], num_shots=0, num_templates=1, replicates=200
    )
    assert (found.claimed.value, found.prompt.value, found.format.value, found.remaining.value) == (0, 0, 0, 0)
    assert {(cell.outcome, cell.sign) for cell in found.cells} == {("tie", "tie")}
    assert found.sentence == "Of the claimed +0.0 points, 0.0 are prompt, 0.0 are format, 0.0 ± 0.0 remain."
    assert found.checklist["test items disjoint from adaptation text"] == "unknown"
    assert found.unseen is None


def test_a_base_without_chat_template_is_asked_both_ways(pair, tmp_path):
    shutil.copytree(pair[0].path, tmp_path / "plain")
    tokenizer = pair[0].tokenizer()
    tokenizer.chat_template = None
    for file in (tmp_path / "plain").glob("chat_template*"):
        file.unlink()
    tokenizer.save_pretrained(tmp_path / "plain")
    plain = Model.open(tmp_path / "plain")
    found = adaptation_progress(
        pair[1], plain, [questions("fish", 10)], [questions("fish", 12, start=50)], num_shots=0, num_templates=1, replicates=200
    )
    assert any("asked with the candidate's and without" in note for note in found.notes)
    by_hand = []
    rows = list(questions("fish", 10).rows())
    (cell,) = (c for c in found.cells if (c.prompt_cell, c.decoding) == ("copied", "constrained"))
    prompt = Prompt(sample_templates(1, 0)[cell.prompt_base])
    for chat in (None, pair[1].tokenizer()):
        answers = Asker(open_language_model(plain), chat).answers([(prompt, row) for row in rows], "constrained")
        by_hand.append(sum(a == row["gold"] for a, row in zip(answers, rows, strict=True)) / 10)
    assert cell.base == min(by_hand)


def test_another_size_is_no_parent_unless_forced(pair, tmp_path):
    small = make_tiny(tmp_path / "small", layers=1, hidden_size=64)
    arguments = (pair[1], small, [questions("fish", 10)], [questions("fish", 12, start=50)])
    with pytest.raises(ValueError, match=r"num_hidden_layers.*any_base"):
        adaptation_progress(*arguments, num_shots=0)
    found = adaptation_progress(*arguments, num_shots=0, num_templates=0, replicates=100, any_base=True)
    assert found.checklist["same base"] == "fail"


@pytest.mark.parametrize(
    ("practice", "settings", "message"),
    [
        (questions("fish", 12), {}, "practice question 'fish0' is test question 'fish0'"),
        (questions("fish", 12, start=50), {}, "12 practice questions leave 3 to choose a prompt on and 9 to show"),
        (questions("birds", 12, start=50), {}, "'fish': 0 practice questions"),
        (questions("fish", 12, start=50), {"max_validation": 3}, "max_validation=3"),
        (questions("fish", 12, start=50), {"num_shot_seeds": 0}, "num_shot_seeds=0"),
        (items_table([Item("t", "fish", "general", "text", "x")]), {}, "'t' of task 'fish' is no question with options"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_a_model_is_asked(pair, practice, settings, message):
    with pytest.raises(ValueError, match=message):
        adaptation_progress(pair[1], pair[0], [questions("fish", 10)], [practice], **settings)


def test_prompts_beyond_the_window_are_refused(tmp_path):
    short = make_tiny(tmp_path / "short", window=100)
    with pytest.raises(ValueError, match=r"task 'fish': a prompt has \d+ tokens.*reads 100"):
        adaptation_progress(short, short, [questions("fish", 10)], [questions("fish", 60, start=50)])


def test_eight_words_in_a_row_count_as_seen_and_short_questions_only_whole():
    rows = {
        "t": [
            {"id": "long", "prompt": "One two three four five six seven eight nine?", "options": ["x", "y"], "gold": 0},
            {"id": "short", "prompt": "One two?", "options": ["three", "nine"], "gold": 1},
        ]
    }

    def found(text):
        return seen_questions(rows, Corpus.from_rows([{"id": "d", "text": text, "source": "s"}]))

    assert found("ONE two three, four five six seven eight!") == {"long"}
    assert found("one two three four five six seven") == set()
    assert found("nine one two nine") == {"short"}
    assert found("") == set()
