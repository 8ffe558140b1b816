"""The content of web pages: the article and not the site, by any parser's worst input."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lxml")

from metier.engines.data.content import UnreadableError
from metier.engines.data.extract import extract

LEAD = "The first paragraph of the article says what has happened, where, and to whom, so that one may stop here."
SECOND = "The second paragraph, which goes on with the story, adds what was said by those who were there on that day."
THIRD = "The third one closes the story with what comes next, and nobody reads it, though it was the hardest to write."
PAGE = f"""<!doctype html><html><head><title>T</title><script type="application/ld+json">{{"articleBody": "never looked at"}}</script></head>
<body class="has-sidebar"><nav><ul><li><a href=/>Home</a></li></ul></nav>
<div class="sidebar"><p>{"Something else that is popular on this site, and quite long. " * 2}</p></div>
<div class="page-content"><h1>The title</h1><span class="byline">By Someone</span>
<article><p>{LEAD}</p><figure><img src=x><figcaption>A caption.</figcaption></figure><h2>A heading</h2><p>{SECOND}</p>
<ul><li><a href=1>A related story</a></li><li><a href=2>Another one</a></li></ul><p>Advertisement</p><p>{THIRD}<br>And a line.</p>
<p><a href=x>Read more: something else</a></p></article>
<div id="comments"><p>{"I disagree with all of this, and will say so at length. " * 5}</p></div></div>
<footer>Imprint, and all rights reserved.</footer></body></html>"""
ARTICLE = f"{LEAD}\n\nA heading\n\n{SECOND}\n\n{THIRD}\nAnd a line."


def test_the_article_comes_without_the_site():
    assert extract(PAGE, how="fast") == ARTICLE
    assert extract(PAGE.encode()) == ARTICLE  # two steps: the first has found enough


def test_metadata_for_machines_is_not_looked_at():
    page = '<script type="application/ld+json">{"@type": "Article", "articleBody": "%s"}</script><p>Hi.</p>' % (LEAD * 9)
    assert "first paragraph" not in extract(page, how="fast")


def test_the_careful_way_comes_in_where_the_fast_one_finds_little():
    trafilatura = pytest.importorskip("trafilatura")
    page = "<body><article>" + "".join(f"<p>Item {n} is short</p>" for n in range(40)) + "</article></body>"
    assert extract(page, how="fast") == ""
    assert extract(page) == extract(page, how="careful") == trafilatura.extract(page, include_comments=False)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<math><mfrac><mi>a</mi><msqrt><mi>b</mi></msqrt></mfrac></math>", r"$\frac{a}{\sqrt{b}}$"),
        (
            "<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>\\alpha_1</annotation></semantics></math>",
            r"$\alpha_1$",
        ),
        ("<math display=block alttext='E=mc^2'><mi>E</mi></math>", "$$E=mc^2$$"),
        ("<script type='math/tex; mode=display'>\\int f</script>", r"$$\int f$$"),
        ("<span class='MathJax'>rendered</span><script type='math/tex'>y</script>", "$y$"),
        ("<img class='latex' alt='x &lt; 1'>", "$x < 1$"),
        (
            "<span class=katex><span class=katex-mathml><math><semantics><mi>k</mi><annotation encoding='application/x-tex'>k</annotation>"
            "</semantics></math></span><span class=katex-html aria-hidden=true>k</span></span>",
            "$k$",
        ),
        (
            "<math><munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover><mi>sin</mi></math>",
            r"${\sum }_{i}^{n}\operatorname{sin}$",
        ),
        ("<math><mroot><mi>x</mi><mn>3</mn></mroot></math>", r"$\sqrt[3]{x}$"),
    ],
)
def test_formulas_become_latex(markup, text):
    page = f"<body><p>{LEAD}</p><p>Here is {markup} for all to see, in a paragraph that goes on after it.</p></body>"
    assert f"Here is {text} for all" in extract(page, how="fast", formulas=True)
    assert text not in extract(page, how="fast")


def test_code_keeps_its_lines():
    page = f"<body><p>{LEAD}</p><pre><code>def f(x):\n    return x\n</code></pre><p>{SECOND} Use <code>f</code>.</p></body>"
    assert extract(page, how="fast", code=True) == f"{LEAD}\n\n```\ndef f(x):\n    return x\n```\n\n{SECOND} Use `f`."
    assert extract(page, how="fast") == f"{LEAD}\n\ndef f(x):\n    return x\n\n{SECOND} Use f."


@pytest.mark.parametrize(
    "content",
    [
        LEAD.replace("first", "größte").encode(),
        b"<meta charset=iso-8859-1>" + LEAD.replace("first", "größte").encode("cp1252"),
        b"<meta charset=utf-8>" + (LEAD.replace("first", "größte").encode("cp1252")),
        LEAD.replace("first", "größte").encode("utf-16"),
    ],
)
def test_bytes_are_decoded_whatever_they_say_of_themselves(content):
    pytest.importorskip("resiliparse")
    assert extract(content, how="fast") == LEAD.replace("first", "größte")


@pytest.mark.parametrize("tag", ["div", "b", "p", "table", "ul", "a", "unheard-of"])
def test_nesting_without_end_is_read_flat(tag):
    page = f"<p>{LEAD}</p>" + f"<{tag}>" * 100_000 + SECOND + f"</{tag}>" * 100_000 + f"<p>{THIRD}</p>"
    text = extract(page, how="fast")
    assert THIRD in text or tag == "a"  # the end of the page lies within a link, and so is no prose
    assert LEAD in text


def test_a_line_of_megabytes_is_read():
    words = " ".join(random.Random(0).choices(["alpha", "beta", "gamma,", "delta."], k=500_000)) + "."
    assert extract(f"<p>{words}</p>") == words


@pytest.mark.parametrize("page", ["", "   ", "<!-- only a comment -->", "<", "<html></html>", b"", "\0", "<p></p>"])
def test_nothing_gives_nothing(page):
    assert extract(page, how="fast") in ("", "\ufffd")


def test_what_no_charset_holds_is_an_error_with_a_name():
    with pytest.raises(UnreadableError, match="binary"):
        extract(b"<p>a\0b")
    assert extract(f"<p>{LEAD}\0\ud800</p>", how="fast").startswith(LEAD)


PIECES = st.sampled_from(["<p>", "</p>", "<div class=share>", "</div>", "<a href=x>", "<table><td>", "<!--", "-->", "<br>", "<math>", "<pre>", "&#0;", "&amp", "<![CDATA[", "<script>", LEAD, "\ud800", "\0"])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES | st.text(max_size=8), max_size=25), st.booleans())
def test_any_markup_gives_text_that_can_be_written(pieces, rich):
    text = extract("".join(pieces), how="fast", formulas=rich, code=rich)
    assert "\0" not in text
    text.encode()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_text_or_an_error_with_a_name(content):
    try:
        extract(content, how="fast").encode()
    except UnreadableError as error:
        assert error.error


def test_bad_settings_are_refused_by_name():
    with pytest.raises(ValueError, match="how='best'"):
        extract("", how="best")
    with pytest.raises(ValueError, match="formulas=True"):
        extract("", how="careful", formulas=True)
