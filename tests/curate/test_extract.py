"""curate.extract: pages become their content, once; what has none is marked and keeps its source."""

import pytest

from metier.artifacts import Corpus, Funnel
from metier.curate.extract import extract

PROSE = "A paragraph of prose that is long enough to count, with <code>f(x)</code> and a comma. "
ARTICLE = f"<body><nav><a href=/>Home</a></nav><article><p>{PROSE * 4}</p><p><math><msup><mi>x</mi><mn>2</mn></msup></math> is a square.</p></article></body>"
ROWS = [
    {"id": "a", "text": ARTICLE, "source": "s", "url": "http://a.example/", "media_type": "text/html"},
    {
        "id": "b",
        "text": "<body><script>x = 1</script></body>",
        "source": "s",
        "url": "http://b.example/",
        "media_type": "text/html",
    },
    {"id": "c", "text": "<b>no page</b>", "source": "s", "url": None, "media_type": "text/plain"},
]


def test_pages_become_text_and_all_else_stays(tmp_path):
    pytest.importorskip("lxml")
    corpus = extract(Corpus.from_rows(ROWS), how="fast")
    plain = " ".join((PROSE * 4).replace("<code>", "").replace("</code>", "").split())
    assert corpus.frame().select("id", "text", "url", "media_type", "drop_reason").to_pylist() == [
        {
            "id": "a",
            "text": f"{plain}\n\nis a square.",
            "url": "http://a.example/",
            "media_type": "text/plain",
            "drop_reason": None,
        },
        {
            "id": "b",
            "text": ROWS[1]["text"],
            "url": "http://b.example/",
            "media_type": "text/html",
            "drop_reason": "no text in page",
        },
        {"id": "c", "text": "<b>no page</b>", "url": None, "media_type": "text/plain", "drop_reason": None},
    ]
    assert corpus.save(tmp_path).funnel() == Funnel(3, 2, {"no text in page": 1})
    again = extract(corpus, how="fast")
    assert again.frame().to_pylist() == corpus.frame().to_pylist()


def test_formulas_and_code_are_kept_where_asked_for():
    pytest.importorskip("lxml")
    text = next(extract(Corpus.from_rows(ROWS), how="fast", formulas=True, code=True).rows())["text"]
    assert "with `f(x)` and" in text
    assert text.endswith("${x}^{2}$ is a square.")


def test_careful_gives_what_trafilatura_gives():
    trafilatura = pytest.importorskip("trafilatura")
    rows = list(extract(Corpus.from_rows(ROWS), how="careful").rows())
    assert rows[0]["text"] == trafilatura.extract(ARTICLE, include_comments=False)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"how": "slow"}, "how='slow'"),
        ({"how": "careful", "formulas": True}, "formulas=True"),
        ({"how": "careful", "code": True}, "code=True"),
    ],
)
def test_settings_without_sense_are_refused_by_name(settings, error):
    with pytest.raises(ValueError, match=error):
        extract(Corpus.from_rows(ROWS), **settings)


def test_a_corpus_of_no_pages_is_refused():
    with pytest.raises(ValueError, match="media_type"):
        extract(Corpus.from_rows([{"id": "a", "text": "x", "source": "s"}]))
