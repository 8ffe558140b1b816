"""curate.beancounter: submissions become the paragraphs that were put into them; copies are counted by form."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.artifacts import Corpus, Funnel
from metier.curate.beancounter import beancounter
from metier.curate.beancounter.submission import read_header, split_submission
from metier.curate.beancounter.tables import kind_of
from metier.curate.beancounter.text import readable_text

HEADER = """<SEC-DOCUMENT>0000320193-10-000012.txt : 20100125
<SEC-HEADER>0000320193-10-000012.hdr.sgml : 20100125
<ACCEPTANCE-DATETIME>{time}
ACCESSION NUMBER:\t\t{accession}
CONFORMED SUBMISSION TYPE:\t{form}
FILED AS OF DATE:\t\t20100125
\tCOMPANY CONFORMED NAME:\t\t\tA & B INC
\tCENTRAL INDEX KEY:\t\t\t0000320193
</SEC-HEADER>
"""
BLOB = "begin 644 a.jpg\n" + "M_]C_X``02D9)1@`!`0$`8`!@``#_VP!#``H'!P@'!@H(\"`@+\"@H+#A@0#@T-\n" * 3 + "`\nend\n"


def document(text, kind="10-K", name="d.txt", end="</TEXT>\n</DOCUMENT>\n"):
    return f"<DOCUMENT>\n<TYPE>{kind}\n<SEQUENCE>1\n<FILENAME>{name}\n<TEXT>\n{text}\n{end}"


def submission(*documents, form="10-K", time="20100125164521", accession="0000320193-10-000012"):
    return HEADER.format(form=form, time=time, accession=accession) + "".join(documents)


def corpus(texts, **columns):
    rows = [{"id": f"s{number}", "text": text, "source": "edgar"} for number, text in enumerate(texts)]
    return Corpus.from_rows([row | {name: values[place] for name, values in columns.items()} for place, row in enumerate(rows)])


def prose(generator, length=60):
    return " ".join(generator.choice(WORDS) for _ in range(length)).capitalize() + "."


WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "share",
    "market",
    "board",
    "agreement",
    "section",
    "holder",
    "notice",
    "party",
    "term",
]


def test_headers_and_documents_of_a_submission():
    text = submission(
        document("one", end=""), document("two", "EX-99.1", "e.htm"), document(BLOB, "GRAPHIC", "a.jpg"), form="10-K405/A"
    )
    assert read_header(text) == ("0000320193-10-000012", "10-K405/A", "A & B INC", "0000320193", "2010-01-25T16:45:21")
    found = split_submission(text)
    assert [(one.type_attachment, one.filename, one.content.strip(), one.reason) for one in found] == [
        ("10-K", "d.txt", "one", None),
        ("EX-99.1", "e.htm", "two", None),
        ("GRAPHIC", "a.jpg", "", "image"),
    ]
    assert read_header(text.replace("<ACCEPTANCE-DATETIME>20100125164521", "")).ts_accept == "2010-01-25"
    assert read_header("<SEC-DOCUMENT>0000320193-10-000012.txt\n").accession == "0000320193-10-000012"
    assert split_submission("no submission") == []


@pytest.mark.parametrize(
    ("content", "kind", "name", "reason"),
    [
        (BLOB, "EX-99", "x.txt", "binary"),
        ("<PDF>\n" + BLOB + "</PDF>", "10-K", "x.txt", "binary"),
        ("<XML>\n<?xml version='1.0'?><a/>\n</XML>", "4", "x", "data file"),
        ("x", "EX-101.INS", "x.txt", "machine exhibit"),
        ("x", "EX-27", "x.txt", "machine exhibit"),
        ("x", "EX-101.INS", "x.xml", "data file"),
        ("x", "ZIP", "x.zip", "binary"),
        ("", "10-K", "x.txt", "no text"),
        ("<XBRL>\n<?xml version='1.0'?><html><body>kept</body></html>\n</XBRL>", "10-K", "x.htm", None),
        ("before\n" + BLOB + "after", "10-K", "x.txt", None),
        ("begin 100 percent of prose\nwith small letters", "10-K", "x.txt", None),
    ],
)
def test_what_is_no_text_is_told_by_type_name_and_content(content, kind, name, reason):
    [found] = split_submission(submission(document(content, kind, name)))
    assert found.reason == reason
    assert ("M_]C" in found.content) is False
    if reason is None:
        assert readable_text(found.content, keep_tables=False)


NUMBERS = "<table><tr><td></td><td>2009</td></tr><tr><td>Sales</td><td>$</td><td>(1,200</td><td>)</td></tr><tr><td>Cost</td><td>12</td><td>%</td></tr></table>"


def test_a_page_becomes_its_paragraphs():
    page = f"""<html><head><title>no</title><style>no</style></head><body><div style='display:none'>no <div>no</div></div>
    <P>Caf&#233; &#147;one&#148; &amp; two<p align=center>- 5 -</p><hr><a href=x>Table of Contents</a><p>goes on.
    {NUMBERS}<table><tr><td><p>In a layout.</p><p>Second.{NUMBERS}</td></tr></table><table><tr><td>&#149;</td><td>A point.</td></tr></table>
    <table><tr><td>Jane</td><td>Chair</td></tr><tr><td>John</td><td>Clerk</td></tr></table></body></html>"""
    paragraphs = ["Café “one” & two goes on.", "In a layout.", "Second.", "• A point.", "Jane | Chair\nJohn | Clerk"]
    grid = "| 2009\nSales | $(1,200)\nCost | 12%"
    assert readable_text(page, keep_tables=False).split("\n\n") == paragraphs
    assert readable_text(page, keep_tables=True).split("\n\n") == [paragraphs[0], grid, *paragraphs[1:3], grid, *paragraphs[3:]]


PLAIN = """
                         ANNUAL REPORT
    A paragraph that is wrapped
and &lt;cut&gt; by a page that
<PAGE>  3
                                   -4-

goes on here.
    Another one begins.

<TABLE>
<CAPTION>
                  1997      1996
<S>               <C>       <C>
Sales          $ 1,000   $ 2,000
</TABLE>

Income ....... 12    13
Loss            5     -

ITEM 1. BUSINESS ............ 4
"""


def test_a_plain_filing_becomes_its_paragraphs():
    expected = ["ANNUAL REPORT", "A paragraph that is wrapped and <cut> by a page that goes on here.", "Another one begins."]
    assert readable_text(PLAIN, keep_tables=False).split("\n\n") == expected
    assert readable_text(f"<html><body><pre>{PLAIN}</pre></body></html>", keep_tables=False).split("\n\n") == expected
    kept = readable_text(PLAIN, keep_tables=True).split("\n\n")
    assert kept[:3] == expected
    assert kept[3] == "| 1997 | 1996\nSales | $ 1,000 | $ 2,000"
    assert readable_text(PLAIN.replace("</TABLE>", ""), keep_tables=False).split("\n\n")[:3] == expected


def test_kinds_of_tables():
    def rows(*lines):
        return [[[cell] if cell else [] for cell in line.split("|")] for line in lines]

    assert kind_of(rows("Sales|$|5", "Cost|$|6")) == "numbers"
    assert kind_of(rows("(1)|Of the first plan.", "(2)|Of the second plan.")) == "text"
    assert kind_of(rows("Item 1|Business|3", "Item 2|Risks|9", "Item 3|More|F-1")) == "contents"
    assert kind_of(rows("Item 1|Business|9", "Item 2|Risks|3", "Item 3|More|5")) == "numbers"
    assert kind_of(rows("word " * 41, "5")) == "layout"
    assert kind_of([[["a", "b"]]]) == "layout"
    assert kind_of(rows(" ".join(["long"] * 16) + "|5|6")) == "text"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/&;tabledrpngifx =\"'-._0159$ \n\f"), max_size=300))
def test_nothing_breaks_the_parsers(text):
    for content in (text, f"<html>{text}", f"<html><pre>{text}"):
        paragraphs = readable_text(content, keep_tables=True)
        assert "\f" not in paragraphs and "\n\n\n" not in paragraphs
    split_submission(submission(document(text)))


def test_tables_nest_deeper_than_the_stack():
    assert readable_text("<html>" + "<table><tr><td>" * 20_000 + "deep", keep_tables=False) == "deep"


def test_copies_are_counted_by_form_and_the_first_accepted_stays(tmp_path):
    generator = random.Random(3)
    texts = [prose(generator, 120) for _ in range(6)]
    made = [
        submission(document(text), time=f"2010010{9 - place}000000", accession=f"a{place}") for place, text in enumerate(texts)
    ]
    made += [
        submission(
            document(texts[0] + " And more.", "EX-99"), document("short"), form="8-K", time="20090101000000", accession="b0"
        ),
        submission(document(texts[1]), document(prose(generator)), form="8-K", time="20200101000000", accession="b1"),
        "no submission at all",
    ]
    given = corpus(made, error=[None] * len(made), path=[f"p{place}" for place in range(len(made))])
    found = beancounter(given, workdir=tmp_path / "work")
    rows = found.corpus.save(tmp_path / "saved").frame().to_pylist()
    assert [row["id"] for row in rows] == ["s6#0001", "s5#0001", "s4#0001", "s3#0001", "s2#0001", "s1#0001", "s7#0002"]
    assert [row["minhash_cluster_size"] for row in rows] == [2, 1, 1, 1, 1, 2, 1]
    assert rows[0]["path"] == "p6" and rows[0]["form_type"] == "8-K" and rows[0]["type_attachment"] == "EX-99"
    assert found.corpus.funnel() == Funnel(
        11, 7, {"near duplicate": 1, "exact duplicate": 1, "too short": 1, "no document": 1}, {}
    )
    forms = {row["form_type"]: row for row in found.forms.rows()}
    counts = {form: (row["num_filings"], row["num_documents"], row["num_duplicates"]) for form, row in forms.items()}
    assert counts == {"10-K": (6, 6, 1), "8-K": (2, 3, 1), "all": (8, 9, 2)}
    assert forms["8-K"]["share_words"] == 120 / 302
    assert forms["8-K"]["low"] <= 1 / 3 <= forms["8-K"]["high"]
    assert len(beancounter(given, threshold=None).corpus) == 9
    assert "too short" not in beancounter(given, min_chars=0, threshold=None).corpus.funnel().dropped


def test_rows_marked_before_and_no_rows_at_all():
    made = corpus([submission(document("x" * 300))] * 2, error=["broken: x", None], drop_reason=[None, "rule"])
    assert beancounter(made).corpus.funnel() == Funnel(2, 0, {"rule": 1}, {"broken": 1})
    empty = beancounter(Corpus.from_rows([], ["id", "text", "source"]))
    assert len(empty.corpus) == 0 and list(empty.forms.rows()) == []


def test_bad_settings_are_named():
    for arguments, message in [({"min_chars": -1}, "min_chars=-1"), ({"threshold": 1.5}, "threshold=1.5")]:
        with pytest.raises(ValueError, match=message):
            beancounter(corpus(["x"]), **arguments)
