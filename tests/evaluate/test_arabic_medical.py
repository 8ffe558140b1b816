"""Reading Arabic answers, voting over them, and the tables, against closed forms and rows worked by hand."""

import csv
import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metier.artifacts import Scores
from metier.evaluate.arabic_medical import VOTE, arabic_medical
from metier.evaluate.arabic_medical.letters import FORMS, folded, meant
from metier.evaluate.arabic_medical.open_answers import bert_score, chrf, rouge_l, separation
from metier.evaluate.arabic_medical.questions import PLAIN, read_questions, right_option, split_options
from metier.evaluate.arabic_medical.summary import agreement, bias_effects, groups, oracle, separations, wilson
from metier.evaluate.arabic_medical.vote import Member, kappa, risk_coverage, vote
from metier.models.language_model import Completion
from metier.models.source import open_model

CITIES = ["القاهرة", "بغداد", "الرباط", "تونس", "مسقط"]
ABJAD, ALPHABET, LATIN = "أبجده", "أبتثج", "ABCDE"


def asked(letters=ABJAD, options=CITIES, stem="ما عاصمة العراق؟"):
    return "\n".join([stem, *(f"{letter}. {option}" for letter, option in zip(letters, options))])


class Member1:
    """A member that answers by a rule: what to write for the text of a prompt."""

    def __init__(self, name, rule):
        self.name, self.rule, self.asked = name, rule, 0

    def generate(self, prompts, **_):
        self.asked += len(prompts)
        return [Completion(self.rule(prompt if isinstance(prompt, str) else prompt[0]["content"])) for prompt in prompts]


def write_csv(file, header, rows):
    with file.open("w", encoding="utf-8-sig", newline="") as lines:
        csv.writer(lines, lineterminator="\r\n").writerows([header, *rows])


@pytest.mark.parametrize(("letters", "order"), [(ABJAD, "ابجد"), (ALPHABET, "ابتث"), (LATIN, "abcd")])
def test_letters_are_those_of_the_question_and_never_assumed(letters, order):
    stem, options, found = split_options(asked(letters))
    assert (stem, options, found[:4]) == ("ما عاصمة العراق؟", CITIES, order)
    for place, letter in enumerate(letters):
        assert meant(f"الإجابة: {letter}", options, found) == place
    assert meant("C", options, found) == 2  # Latin letters go by place
    assert meant("ج", options, found) == {ABJAD: 2, ALPHABET: 4, LATIN: None}[letters]


@given(
    place=st.integers(0, 4),
    order=st.sampled_from([ABJAD, ALPHABET, LATIN]),
    around=st.sampled_from(
        ["{}", "({})", "**{}**", "{}.", "\u200f{}", "الجواب: {}", "الإجـابة الصحيحة هي ({})", "\\boxed{{{}}}", "قطعًا.\n{}"]
    ),
    thought=st.sampled_from(["", "<think>ربما الإجابة: أ أو B</think>\n"]),
)
def test_a_letter_is_read_whatever_stands_around_it(place, order, around, thought):
    _, options, found = split_options(asked(order))
    assert meant(thought + around.format(order[place]), options, found) == place


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("قد تكون الإجابة أ لكن الإجابة النهائية: ب", 1),  # the last marker counts
        ("الجواب ليس أ. الجواب الصحيح: بغداد", 1),
        ("ب. بغداد", 1),
        ("بلا شك الإجابة: ب", 1),
        ("ليست الإجابة ب", None),
        ("Answer: B. Option C is wrong, and option A too.", 1),
        ("Answer: the option B, though option C is near.", 1),
        ("Option C is wrong. The correct option is B.", 1),
        ("الخيار الصحيح هو ب", 1),
        ("الجواب هو الخيار الصحيح ب", 1),
        ("بَغْدَاد", 1),  # diacritics
        ("إنها مدينة بغداد بلا شك", 1),
        ("بغداد أو تونس", None),
        ("أ. القاهرة\nب. بغداد", None),  # the options told again
        ("د. سامي يعرف ذلك", None),  # "doctor", not the fourth option
        ("I cannot answer a question like this", None),
        ("لا أستطيع الإجابة عن هذا السؤال", None),
        ("The answer is B because it is", 1),
        ("الإجابة: ز", None),  # no such option
        ("<think>الإجابة: ب", None),  # cut before it answered
        ("", None),
    ],
)
def test_what_an_answer_means(answer, place):
    _, options, order = split_options(asked())
    assert meant(answer, options, order) == place


def test_the_longest_option_counts_and_digits_and_letters_are_unified():
    assert meant("إنها أمريكا الجنوبية", ["أمريكا", "أمريكا الجنوبية"], "ابجدهوزح") == 1
    assert meant("١٧", ["7", "17", "8"], "ابجدهوزح") == 1
    assert meant("C", ["B6", "B12", "D", "C"], "ابجدهوزح") == 3  # an option's text before its letter
    assert folded("\u202bإِلـى  مدرسةٍ (٣)\u202c") == "الي مدرسة (3"
    assert folded("مدرسة", (*FORMS, "ta_marbuta")) == folded("مدرسه")
    assert folded("إلى", ()) != folded("الي", ())


@pytest.mark.parametrize(
    ("answer", "place"), [("ب. بغداد", 1), ("بغداد", 1), ("ب", 1), ("ب. بغداذ", None), ("حلب", None), ("د. بغداد", 1)]
)
def test_the_right_option_is_found_by_its_text_and_typos_are_told(answer, place):
    assert right_option(answer, CITIES, "ابجدهوزح", FORMS) == place


def test_an_option_over_two_lines_is_one_option():
    _, options, order = split_options("ما؟\nأ. سطر أول\nوثان\nب. غيره")
    assert options == ["سطر أول وثان", "غيره"]
    assert right_option("أ. سطر أول\nوثان", options, order, FORMS) == 0


def test_files_are_read_with_their_mark_returns_spaces_and_lines_within_cells(tmp_path):
    file = tmp_path / "multiple-choice-questions.csv"
    write_csv(file, ["\ufeffQuestion", "Answer", "Category"], [[asked() + "\r\n", "ب. بغداد \n", "x"], ["بلا خيارات", "أ", ""]])
    first, second = read_questions(file, "choice", FORMS)
    assert (first.id, first.gold, first.category, first.problem) == ("multiple-choice-questions/1", 1, "x", None)
    assert (second.gold, second.problem) == (None, "no options")
    blanks = tmp_path / "fill-in-the-blank-nochoices.csv"
    write_csv(blanks, ["Question - Arabic", "Answer - Arabic", "Question - English", "Answer - English"], [["س", "ج", "q", "a"]])
    assert [(one.text, one.answer) for one in read_questions(blanks, "open", FORMS)] == [("س", "ج")]
    write_csv(blanks, ["Something", "Answer"], [["س", "ج"]])
    with pytest.raises(ValueError, match="none of the columns"):
        read_questions(blanks, "open", FORMS)
    write_csv(blanks, ["Question", "Answer"], [])
    with pytest.raises(ValueError, match="no rows"):
        read_questions(blanks, "open", FORMS)


def test_majority_of_three_is_what_the_binomial_says():
    def won(right):
        return vote([0 if one else 1 for one in right], 2, rule="majority", tie="abstain").chosen == 0

    total = sum(math.prod(0.7 if one else 0.3 for one in right) for right in itertools.product([1, 0], repeat=3) if won(right))
    assert total == pytest.approx(0.784)


@given(st.lists(st.integers(0, 60), min_size=2, max_size=5), st.integers(2, 5), st.data())
def test_weighted_confidences_are_the_posterior_of_independent_members(corrects, size, data):
    members = [Member(correct, 60) for correct in corrects]
    votes = data.draw(st.lists(st.none() | st.integers(0, size - 1), min_size=len(members), max_size=len(members)))
    decision = vote(votes, size, rule="weighted", tie="first", members=members)
    likelihoods = [
        math.prod(
            m.accuracy if cast == place else (1 - m.accuracy) / (size - 1) for cast, m in zip(votes, members) if cast is not None
        )
        for place in range(size)
    ]
    assert decision.confidences == pytest.approx([one / sum(likelihoods) for one in likelihoods])
    assert (decision.chosen is None) or decision.chosen in range(size)


def test_ties_missing_votes_and_rules():
    good, bad = Member(50, 60), Member(20, 60)
    assert vote([0, 1], 3, rule="majority", tie="first").chosen == 0
    assert vote([0, 1], 3, rule="majority", tie="abstain").chosen is None
    assert vote([0, 1], 3, rule="majority", tie="best_dev", members=[bad, good]).chosen == 1
    assert vote([None, 2, None], 3, rule="majority", tie="abstain").chosen == 2
    assert vote([None, None], 3, rule="majority", tie="first").chosen is None
    assert vote([0, 0, 1], 4, rule="best", tie="first", members=[bad, bad, good]).chosen == 1
    assert vote([0, 0, None], 4, rule="best", tie="first", members=[bad, bad, good]).chosen == 0
    assert Member(0, 0).weight(2) == 0
    with pytest.raises(ValueError, match="give a dev file"):
        vote([0, 1], 2, rule="weighted", tie="first")
    with pytest.raises(ValueError, match="option 3 of 2"):
        vote([3], 2, rule="majority", tie="first")


def test_risk_falls_with_coverage_by_hand_and_kappa_is_the_textbooks():
    assert risk_coverage([0.9, 0.5, 0.5, 0.2], [True, True, False, False]) == [(0.25, 0.0), (0.75, 1 / 3), (1.0, 0.5)]
    pairs = [(0, 0)] * 20 + [(0, 1)] * 5 + [(1, 0)] * 10 + [(1, 1)] * 15
    assert kappa([a for a, _ in pairs] + [None], [b for _, b in pairs] + [0]) == pytest.approx(0.4)
    assert math.isnan(kappa([0, 0], [0, 0]))
    with pytest.raises(ValueError, match="no curve"):
        risk_coverage([], [])


def test_rouge_and_chrf_of_arabic():
    text = "الماء يغلي عند مئة درجة"
    assert rouge_l(text, text) == chrf(text, text) == 1
    assert rouge_l("الماء يغلي", text) == pytest.approx(2 * 2 / 7)
    # "ab" against "abc", by hand: 1-grams 2/2 and 2/3, 2-grams 1/1 and 1/2; the third length is missing on one side
    assert chrf("ab", "abc") == pytest.approx(5 * 1 * (7 / 12) / (4 * 1 + 7 / 12))
    assert rouge_l("", text) == chrf("", text) == chrf("سس", "طط") == 0
    assert separation([1, 3], [0, 2]) == pytest.approx(1 / math.sqrt(2))
    assert separation([1, 1], [0, 0]) == math.inf


def test_bert_score_is_greedy_matching_of_the_encoders_own_states(tmp_path, monkeypatch):
    monkeypatch.setenv("METIER_CACHE", str(tmp_path))
    from transformers import AutoModel

    model = open_model("tiny")
    network, tokenizer = AutoModel.from_pretrained(model.path), model.tokenizer()
    pair = ("a model of numbers", "the numbers of a model")
    a, b = (
        torch.nn.functional.normalize(
            network(torch.tensor([tokenizer(text)["input_ids"]]), output_hidden_states=True).hidden_states[1][0].detach(), dim=-1
        )
        for text in pair
    )
    precision = sum(max(float(x @ y) for y in b) for x in a) / len(a)
    recall = sum(max(float(x @ y) for x in a) for y in b) / len(b)
    found = bert_score([pair[0], pair[0], ""], [pair[1], pair[0], "x"], encoder="tiny", layer=1)
    assert found == pytest.approx([2 * precision * recall / (precision + recall), 1.0, 0.0], abs=1e-5)
    with pytest.raises(ValueError, match="layers 0 to 2"):
        bert_score(["x"], ["x"], encoder="tiny", layer=3)


@pytest.fixture
def folder(tmp_path):
    """Six choices (one that does not fit), their biased twins, two open questions."""
    stems = [f"السؤال رقم {number}؟" for number in range(5)] + ["كل ما يأتي صحيح ما عدا؟"]
    plain = [asked(ABJAD if number % 2 else ALPHABET, CITIES, stem) for number, stem in enumerate(stems)]
    right = [text.splitlines()[2] for text in plain[:5]] + ["ب. حلب"]
    rows = [[text, answer, "جغرافيا"] for text, answer in zip(plain, right)]
    write_csv(tmp_path / "multiple-choice-questions.csv", ["Question", "Answer", "Category"], rows)
    biased = [[*row, "recency", "رأيت أمس أن الجواب هو تونس. " + row[0]] for row in rows]
    write_csv(
        tmp_path / "multiple-choice-withbias.csv",
        ["Question", "Answer", "Category", "Bias Category", "Question with Bias"],
        biased,
    )
    write_csv(
        tmp_path / "patient-doctor-qa.csv", ["Question_description", "Answer_details"], [["أ؟", "اشرب ماء"], ["ب؟", "نم مبكرا"]]
    )
    write_csv(tmp_path / "dev.csv", ["Question", "Answer", "Category"], rows)
    return tmp_path


def follows_bias(text):
    return "تونس" if "رأيت أمس" in text else "ب"


def test_a_run_counts_everything_and_the_vote_is_the_members(folder):
    members = [
        Member1("good", lambda _: "الإجابة: ب"),
        Member1("led", follows_bias),
        Member1("shy", lambda _: "لا أستطيع الإجابة"),
    ]
    sets = ["multiple-choice-questions", "multiple-choice-withbias"]
    scores = arabic_medical(members, folder=folder, sets=sets, tie="first")
    found = {(one.model, one.task): one for one in groups(scores) if one.group == "all"}
    task, biased = sets
    assert [(found[name, biased].value, found[name, biased].num) for name in ("good", "led", "shy", VOTE)] == [
        (1, 5), (0, 5), (0, 5), (1, 5),
    ]  # fmt: skip
    assert (found["shy", task].num_unread, found["good", task].num_left_out) == (5, 1)
    assert {one.group for one in groups(scores)} == {"all", "جغرافيا", "recency"}
    effects = {one.model: one for one in bias_effects(scores)}
    assert (effects["led"].plain, effects["led"].biased, effects["led"].flips, effects["led"].toward) == (1, 0, 1, 1)
    assert (effects["led"].num, effects["led"].num_suggested, effects["led"].p) == (5, 5, 2 * 0.5**5)
    assert (effects["good"].flips, effects["good"].toward) == (0, 0)
    assert oracle(scores, biased) == 1
    assert agreement(scores, biased).keys() == {("good", "led"), ("good", "shy"), ("led", "shy")}
    labels = [one.task for one in scores.comparisons]
    assert "multiple-choice-questions: vote against good" in labels
    led = next(one for one in scores.comparisons if one.task == f"{biased}: led with bias against without")
    assert (led.base, led.candidate, led.p, led.num_items) == (1, 0, 2 * 0.5**5, 5)


def test_a_member_is_added_to_stored_scores_without_asking_the_others_again(folder, tmp_path):
    task = "multiple-choice-questions"
    first, second = Member1("a", lambda _: "ب"), Member1("b", lambda _: "ج")
    arabic_medical([first], folder=folder, sets=[task]).save(tmp_path / "scores")
    earlier = Scores.open(tmp_path / "scores")
    joined = arabic_medical([second], earlier, folder=folder, sets=[task], tie="first")
    afresh = arabic_medical([first, second], folder=folder, sets=[task], tie="first")
    assert list(joined.rows()) == list(afresh.rows())
    assert joined.comparisons == afresh.comparisons
    assert first.asked == 5 * 2
    with pytest.raises(ValueError, match="there twice"):
        arabic_medical([first], earlier, folder=folder, sets=[task], tie="first")
    with pytest.raises(ValueError, match="other questions"):
        arabic_medical([second], earlier, folder=folder, sets=["multiple-choice-withbias"], tie="first")


def test_dev_questions_decide_ties_and_count_nowhere(folder):
    def tutored(text):
        return "ب" if "السؤال رقم" in text else "أ"

    members = [Member1("weak", lambda _: "أ"), Member1("strong", tutored)]
    found = arabic_medical(members, folder=folder, sets=["multiple-choice-questions"], dev_file=folder / "dev.csv")
    votes = [row for row in found.rows() if row["model"] == VOTE and row["denominator"] > 0]
    assert [row["numerator"] for row in votes] == [1.0] * 5
    assert {one.task for one in groups(found)} == {"multiple-choice-questions"}


def test_open_answers_have_chrf_rouge_and_their_separation(folder):
    member = Member1("m", lambda text: "اشرب ماء" if "أ؟" in text else "نم مبكرا")
    scores = arabic_medical([member], folder=folder, sets=["patient-doctor-qa"])
    assert [(row["numerator"], row["rouge_l"], row["metric"]) for row in scores.rows()] == [(1, 1, "chrF")] * 2
    assert separations(scores, "patient-doctor-qa")["m", "ROUGE-L"] == math.inf


def test_negated_stems_stand_apart(folder):
    write_csv(
        folder / "fill-in-the-blank-choices.csv", ["Question", "Answer"], [[asked(stem="كلها عواصم ما عدا"), "ب"], [asked(), "ب"]]
    )
    scores = arabic_medical([Member1("m", lambda _: "ب")], folder=folder, sets=["fill-in-the-blank-choices"])
    assert [(one.group, one.num) for one in groups(scores)] == [("all", 2), ("negated", 1)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sets": ["x"]}, "no file of the benchmark"),
        ({"sets": []}, "nothing"),
        ({"sets": ["fill-in-the-blank-choices"]}, "lacks fill-in"),
        ({}, "needs a dev_file"),
        ({"vote": "weighted"}, "needs a dev_file"),
        ({"vote": "weighted", "dev_file": "dev.csv"}, "5 usable questions, too few"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_model_is_asked(folder, change, says):
    members = [Member1("a", lambda _: "ب"), Member1("b", lambda _: "ب")]
    settings = {"folder": folder, "sets": ["multiple-choice-questions"]} | change
    if "dev_file" in settings:
        settings["dev_file"] = folder / settings["dev_file"]
    with pytest.raises(ValueError, match=says):
        arabic_medical(members, **settings)
    assert members[0].asked == 0
    with pytest.raises(ValueError, match="no model to ask"):
        arabic_medical([], folder=folder, sets=["multiple-choice-questions"])


def test_the_interval_is_the_one_known_for_77_of_100():
    # by the formula: centre (p + z²/2n) / (1 + z²/n), half z sqrt(p(1-p)/n + z²/4n²) / (1 + z²/n)
    z, n, p = 1.959964, 100, 0.77
    half, centre = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)), p + z * z / (2 * n)
    assert wilson(77, 100) == pytest.approx(((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)), abs=1e-6)
    assert [round(end, 2) for end in wilson(77, 100)] == [0.68, 0.84]


def test_plain_twins_have_their_own_task(folder):
    found = read_questions(folder / "multiple-choice-withbias.csv", "choice", FORMS)
    assert [one.task for one in found[:2]] == ["multiple-choice-withbias" + PLAIN, "multiple-choice-withbias"]
    assert [CITIES[one.suggested] for one in found[1:10:2]] == ["تونس"] * 5
