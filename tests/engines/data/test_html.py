"""HTML to text: what a reader sees stays, in order; what a site wraps around it goes."""

import pytest

from metier.engines.data.content import UnreadableError
from metier.engines.data.html import html_text

PAGE = """<!doctype html><html><head><title>Sockets &amp; pipes</title><style>p {color: red}</style><script>var x = "<p>no</p>";</script></head>
<body><header>Site name</header><nav><ul><li>Home</li></ul></nav>
<div role="navigation">crumbs</div><div hidden>hidden</div><!-- a comment -->
<h1>Sockets<a class="headerlink" href="#s">¶</a></h1>
<p>A <b>socket</b> is   an
endpoint.<br>Use <code>recv</code>.</p>
<h2>Code</h2><pre><span>def f(x):</span>
    return x  # two  spaces
</pre>
<ol><li>one<ul><li>inner</li><li>second</li></ul></li><li>two</li></ol>
<table><tr><th>name</th><th>value</th></tr><tr><td>a</td><td>1</td></tr></table>
<dl><dt>term</dt><dd>meaning</dd></dl>
<button>Click</button><footer>Imprint</footer></body></html>"""

TEXT = """# Sockets

A socket is an endpoint.
Use `recv`.

## Code

```
def f(x):
    return x  # two  spaces
```
1. one
  - inner
  - second
2. two
name | value
a | 1

term
meaning"""


def test_structure_is_kept_and_boilerplate_dropped():
    assert html_text(PAGE.encode()) == TEXT


def test_the_main_part_is_taken_where_there_is_one():
    page = "<body><div>menu</div><main><header><h1>T</h1></header><p>x</p><footer>f</footer></main><p>outside</p></body>"
    assert html_text(page.encode()) == "# T\n\nx"
    assert html_text(page.replace("main", "article").encode()) == "# T\n\nx"
    assert html_text(b"<main></main><p>outside</p>") == "outside"


def test_a_page_without_heading_begins_with_its_title():
    assert html_text(b"<title>Name\n of it</title><p>text") == "# Name of it\n\ntext"
    assert html_text(b"<title>Only a title</title>") == ""


@pytest.mark.parametrize(
    "content",
    [
        "<p>Grüße".encode(),
        b"<meta charset=iso-8859-1><p>Gr\xfc\xdfe",
        b'<?xml version="1.0" encoding="windows-1252"?><p>Gr\xfc\xdfe',
        '<meta charset="utf-8"><p>Grüße'.encode(),
        "<p>Grüße".encode("utf-16"),
        "<meta charset=latin-1><p>Grüße".encode("utf-8-sig"),
    ],
)
def test_the_charset_is_what_the_page_declares(content):
    assert html_text(content) == "Grüße"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"<p>Gr\xfc\xdfe", "not UTF-8: byte 0xfc at offset 5"),
        (b"<meta charset=utf-99><p>x", "unknown charset: 'utf-99'"),
        (b"<p>a\0b", "binary: byte 0x00 at offset 4"),
    ],
)
def test_nothing_is_guessed(content, error):
    with pytest.raises(UnreadableError) as raised:
        html_text(content)
    assert raised.value.error == error


def test_nesting_without_end_and_broken_markup_are_read():
    assert html_text(b"<div>" * 5000 + b"deep") == "deep"
    assert html_text(b"<p>a <b>c</p></div><li>d<") == "a c\n- d<"
