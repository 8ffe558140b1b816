"""curate.webmath_interleaved: parts of pages in their order, thresholds that keep their promise, stages that do what they say."""

import logging
import random
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

pytest.importorskip("resiliparse", reason="needs the extra web")

from metier.artifacts import Corpus
from metier.curate.webmath_interleaved import webmath_interleaved
from metier.curate.webmath_interleaved.images import check_aligned
from metier.curate.webmath_interleaved.interleave import interleaved
from metier.curate.webmath_interleaved.prepare import prepared, without_formulas
from metier.curate.webmath_interleaved.rating import rate
from metier.curate.webmath_interleaved.rules import failed_rule, punctuation_share
from metier.curate.webmath_interleaved.threshold import threshold_for_recall
from metier.models.language_model import Completion

PAGE = """<html><head><base href="/b/"></head><body><nav><img src="menu.png">Menu</nav>
<p>First <math><mfrac><mi>a</mi><mi>b</mi></mfrac></math> text.</p><img src="x.png"><p>Second.</p>
<script type="math/tex; mode=display">e=mc^2</script>
<p>Lazy <img src="data:image/gif;base64,R0lG" data-src="//c.org/l.png"><noscript><img src="//c.org/l.png"></noscript> here.</p>
<p>Alt <img class="math" src="eq.gif" alt="x^{2}"> end, <img src="e.png" alt="\\frac{1"> next.</p>
<img srcset="s.png 1x, m.png 2x"><img src="data:image/png;base64,AAAA"></body></html>"""


def test_parts_come_in_order_with_formulas_and_addresses():
    page = interleaved(PAGE, "https://h.org/a/p.html")
    parts = [text if text is not None else image for text, image in zip(page.texts, page.images)]
    assert [re.sub(r"\s+", " ", part) for part in parts] == [
        r"First $\frac{a}{b}$ text.",
        "https://h.org/b/x.png",
        "Second. $$e=mc^2$$ Lazy",
        "https://c.org/l.png",
        "here. Alt $x^{2}$ end,",
        "https://h.org/b/e.png",
        "next.",
        "https://h.org/b/m.png",
    ]
    check_aligned(page.texts, page.images, "page")
    assert (page.num_formulas, page.num_bad_formulas, page.num_bad_images) == (3, 0, 1)


def test_pages_without_text_address_or_markup():
    assert interleaved("<img src=https://a.org/1.png>").images == ["https://a.org/1.png"]
    assert interleaved("<img src=1.png>") == interleaved("", None).__class__([], [], 0, 0, 1)
    assert interleaved("plain").texts == ["plain"]
    assert interleaved("").texts == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<p>ab</p>", "<img src=https://a.org/x.png>", "<math><mi>x</mi></math>", "<div>", "</p>", "<img>", "&amp;"]
        )
    )
)
def test_one_of_two_stands_at_every_place(pieces):
    page = interleaved("".join(pieces))
    check_aligned(page.texts, page.images, "page")
    assert not any(one is not None and one == other for one, other in zip(page.images, page.images[1:]))
    assert all(text is None or text.strip() for text in page.texts)


def test_misaligned_lists_are_refused():
    for texts, images in [(["a"], ["b"]), ([None], [None]), (["a"], [])]:
        with pytest.raises(ValueError, match="holds one of the two"):
            check_aligned(texts, images, "p")


def test_words_are_prepared():
    assert prepared("Theorems 3.14 and 2,000 -- proved: ___ running, classes of bus {{x}}!") == (
        "theorem <num> and <num> prov run class of bus"
    )
    assert prepared("是数学 x1") == "是数 数学 x1"
    assert prepared("a" * 101) == "" and prepared("<b> <num>") == "b <num>"
    assert without_formulas("Let $x$ be $$y\nz$$ done") == "Let   be   done"


def test_rules():
    none = frozenset()
    assert failed_rule("Lorem ipsum dolor", "eng", 0.3, none) == "placeholder text"
    assert failed_rule("lorem ipsum " + "word " * 200, "eng", 0.3, none) is None
    assert failed_rule("a.b.c", "eng", 0.3, none) == "punctuation" and failed_rule("a.b.c", "zho", 0.3, none) is None
    assert punctuation_share("a. $b") == 2 / 4
    assert failed_rule("Some bad word here", "eng", 0.3, frozenset({"bad"})) == "unsafe words"
    assert failed_rule("badly put", "eng", 0.3, frozenset({"bad"})) is None
    assert failed_rule("donâ€™t", "eng", 1, none) == failed_rule("a\ufffd", "eng", 1, none) == "broken characters"
    assert failed_rule("Ångström São Â", "eng", 1, none) is None


def test_a_threshold_is_the_largest_that_keeps_its_promise():
    scores = [place / 200 for place in range(200)]
    place = round(threshold_for_recall(scores, 0.9) * 200) + 1  # the k-th smallest
    # P(at most k - 1 of 200 lie among the lowest tenth) is the chance that the k-th smallest lies beyond: the promise breaks
    assert stats.binom.cdf(place - 1, 200, 0.1) <= 0.05 < stats.binom.cdf(place, 200, 0.1)
    assert threshold_for_recall(scores[:59], 0.95) == 0
    with pytest.raises(ValueError, match="give 59 or more"):
        threshold_for_recall(scores[:58], 0.95)
    with pytest.raises(ValueError, match="recall=1"):
        threshold_for_recall(scores, 1)


@dataclass
class Ruled:
    """A language model that follows a rule: points by a word of the page, and now and then nothing to read."""

    name: str = "ruled"
    asked: list = field(default_factory=list)

    def generate(self, prompts, **settings):
        self.asked += prompts
        pages = [prompt[0]["content"] for prompt in prompts]
        return [Completion("no idea" if "silent" in page else f"Good. Score: {8 if 'proof' in page else 3}") for page in pages]


def test_ratings_are_read_or_null():
    assert rate(["a proof", "chat", "silent", "x"], Ruled(), "mathematics") == [8, 3, None, 3]
    with pytest.raises(RuntimeError, match="no score for 2 of 3"):
        rate(["silent", "silent", "x"], Ruled(), "mathematics")
    model = Ruled()
    rate(["{subject} stays"], model, "law")
    assert "student of law" in model.asked[0][0]["content"] and "{subject} stays" in model.asked[0][0]["content"]


MATH = "theorem lemma integral matrix vector equation polynomial convergence algebra derivative function limit sum".split()
OTHER = "recipe kitchen travel football weather music holiday garden shop price fashion dinner movie".split()
COMMON = "the of and with this that from which when about after every their other first also".split()


def prose(words, number, length=80):
    generator = random.Random(number)
    sentences = [" ".join(generator.choices(words + COMMON * 2, k=10)).capitalize() + "." for _ in range(length // 10)]
    return " ".join(sentences)


def corpus(texts, **columns):
    rows = [{"id": f"d{place:03d}", "text": text, "source": "web"} for place, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[place] for name, values in columns.items()} for place, row in enumerate(rows)])


def mined(pages, judge=None, **arguments):
    good = corpus([prose(MATH, 1000 + place) for place in range(80)])
    other = corpus([prose(OTHER, 2000 + place) for place in range(80)])
    return webmath_interleaved(pages, good, other, judge, **arguments)


def reasons(result):
    table = result.corpus.frame().to_pydict()
    return dict(zip(table["id"], table["drop_reason"]))


def html(text, *images):
    return f"<html><body><p>{text}</p>{''.join(f'<img src={url}>' for url in images)}<p>Fin.</p></body></html>"


def test_stages_mark_in_order_and_counts_add_up(tmp_path):
    texts = [prose(MATH, place) for place in range(30)]
    pages = [
        html(text, f"https://a.org/{place}.png", "https://a.org/same.png", "https://a.org/logo.png", "http://a.org/x.png")
        for place, text in enumerate(texts)
    ]
    pages += [
        html(prose(OTHER, 50)),
        html("Ceci est une page en français sur les mathématiques et les théorèmes."),
        "<html></html>",
    ]
    pages += [pages[0], html(texts[1] + " Lorem ipsum."), html(prose(MATH, 60) + " xxx"), html(prose(MATH, 61) + " ?!;:" * 60)]
    urls = [f"https://h.org/{place}" for place in range(len(pages))]
    urls[2] = urls[3]
    dates = ["2023-05-01"] * len(pages)
    dates[3] = "2023-06-01"
    given = corpus(pages, url=urls, crawl_date=dates)
    result = mined(given, workdir=tmp_path / "work")
    found = reasons(result)
    assert {name: reason for name, reason in found.items() if reason is not None} == {
        "d002": "same address",
        "d030": "not of the subject",
        "d031": "language",
        "d032": "no text",
        "d033": "exact duplicate",
        "d034": "near duplicate",
        "d035": "unsafe words",
        "d036": "punctuation",
    }
    stages = {row["stage"]: (row["before"], row["after"]) for row in result.stages.rows()}
    assert stages == {
        "text": (37, 36),
        "language": (36, 35),
        "subject": (35, 34),
        "near copies": (34, 32),
        "addresses": (32, 31),
        "rules": (31, 29),
    }
    saved = result.corpus.save(tmp_path / "saved")
    rows = list(saved.rows())
    assert len(rows) == 29 and rows[0]["images"] == [None, "https://a.org/0.png", None] and rows[0]["quality_score"] is None
    assert rows[0]["texts"] == [texts[0], None, "Fin."] and rows[0]["text"] == f"{texts[0]}\n\nFin."
    kinds = {row["url"]: (row["num_places"], row["drop_reason"]) for row in result.images.frame().to_pylist()}
    assert kinds["https://a.org/same.png"] == (29, "repeated") and kinds["https://a.org/0.png"] == (1, None)
    assert "https://a.org/same.png" not in {row["url"] for row in result.images.rows()}
    few = mined(corpus(pages[:5], url=urls[:5]), max_repeats=5, max_per_page=4, blocked=("same",))
    kinds = {row["url"].rpartition("/")[2]: row["drop_reason"] for row in few.images.frame().to_pylist()}
    assert kinds["x.png"] == "not https" and kinds["same.png"] == "named as decoration" and kinds["logo.png"] is None
    crowded = mined(corpus(pages[:2]), max_per_page=3)
    assert {row["drop_reason"] for row in crowded.images.frame().to_pylist()} == {"page of many images"}


def test_snapshots_are_compared_with_themselves_and_the_next():
    text = html(prose(MATH, 1))
    found = reasons(mined(corpus([text] * 4, snapshot=["2020-05", "2020-10", "2021-04", "2022-01"], url=["a", "b", "c", "d"])))
    assert list(found.values()) == [None, "exact duplicate", None, "exact duplicate"]


def test_plain_text_and_marked_rows_pass_and_nothing_is_mined_of_nothing():
    texts = [prose(MATH, 1), html(prose(MATH, 2)), "x", "y"]
    marks = {
        "media_type": ["text/plain", "text/html", None, None],
        "drop_reason": [None, None, "rule", None],
        "error": [None] * 3 + ["bad: y"],
    }
    result = mined(corpus(texts, **marks))
    assert result.corpus.funnel().dropped == {"rule": 1} and result.corpus.funnel().quarantined == {"bad": 1}
    assert [row["text"].partition(".")[0] for row in result.corpus.rows()] == [
        prose(MATH, place).partition(".")[0] for place in (1, 2)
    ]
    assert len(mined(Corpus.from_rows([], ["id", "text", "source"])).corpus) == 0


def test_a_second_classifier_learns_what_the_judge_likes(caplog):
    proofs = [html(prose([*MATH, *["proof"] * 6], place)) for place in range(40)]
    gossip = [html(prose([*MATH[:4], *OTHER[:3]], 100 + place)) for place in range(40)]
    with caplog.at_level(logging.WARNING):
        result = mined(corpus(proofs + gossip), Ruled(), recall_threshold=0.05, num_rated=60)
    ratings = {row["id"]: row["points"] for row in result.ratings.rows()}
    assert len(ratings) == 60 and all(points == (8 if name < "d040" else 3) for name, points in ratings.items())
    kept = [row["id"] for row in result.corpus.rows()]
    assert sum(name < "d040" for name in kept) == 40
    assert "the stage 'subject' dropped 0 of 80" in caplog.text
    with pytest.raises(ValueError, match="0 of 60 rated pages have score_cut=9"):
        mined(corpus(proofs + gossip), Ruled(), recall_threshold=0.05, num_rated=60, score_cut=9)


def test_a_threshold_is_set_where_none_is_given():
    pages = corpus([html(prose(MATH, place)) for place in range(5)])
    good = corpus([prose(MATH, 1000 + place) for place in range(300)])
    other = corpus([prose(OTHER, 2000 + place) for place in range(80)])
    result = webmath_interleaved(pages, good, other, recall_threshold=None, languages=["eng"])
    threshold = {row["stage"]: row["threshold"] for row in result.stages.rows()}["subject"]
    assert 0.5 < threshold < 1
    with pytest.raises(ValueError, match="give 59 or more"):
        mined(pages, recall_threshold=None)


def test_bad_settings_are_named():
    pages = corpus([html("x")])
    for arguments, message in [
        ({"recall_threshold": 2}, "recall_threshold=2"),
        ({"punctuation_max": -1}, "punctuation_max=-1"),
        ({"score_cut": 11}, "score_cut=11"),
        ({"num_rated": 5}, "num_rated=5"),
        ({"max_repeats": -1}, "max_repeats=-1"),
        ({"max_per_page": -1}, "max_per_page=-1"),
    ]:
        with pytest.raises(ValueError, match=message):
            mined(pages, **arguments)
    with pytest.raises(ValueError, match=r"positives and negatives \(80 and 0 texts\)"):
        webmath_interleaved(
            pages, corpus([prose(MATH, place) for place in range(80)]), Corpus.from_rows([], ["id", "text", "source"])
        )
