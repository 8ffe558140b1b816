"""The content of a web page, such as an article without the site around it: for crawled pages of any origin.

Documentation, whose headings, lists and tables matter and whose pages are whole, is read by engines/data/html.py instead.
Text is taken from what a reader sees. The metadata that many pages carry for machines, in which schema.org's articleBody repeats
the article, is never looked at: benchmarks whose truth was taken from there would then measure nothing.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Literal

from metier.engines.data.extraction.blocks import Block, read_blocks
from metier.engines.data.extraction.content import Content, content
from metier.engines.data.web_page import page_source

How = Literal["fast", "careful", "two_step"]

_LEAST_CHARACTERS, _LEAST_SHARE = 300, 0.4  # of a fast extraction; one with less may have missed the content
_LARGEST_CAREFUL = 2_000_000  # characters: the time of the careful way may grow with the square of a page's size
_NO_TEXT = re.compile("[\ud800-\udfff\0]")
_DEEP_TAGS = re.compile(r"<(?!/?(?:head|title|script|style|p|br|hr|li)\b)/?[a-z][^<>]*>", re.IGNORECASE)
_WEB = "the careful way needs trafilatura: pip install 'metier[web]', or set how to \"fast\""


def extract(page: bytes | str, *, how: How = "two_step", formulas: bool = False, code: bool = False) -> str:
    """The text of a page's content, blocks with a blank line between; "" for a page without any.

    Bytes are decoded by byte order mark, declaration and detection. A page nested more than 2,048 deep is read without its nesting;
    NULs and lone surrogates of a string become U+FFFD. Raises metier.engines.data.content.UnreadableError for bytes that are no text
    in any charset, ValueError for an unknown `how` and for formulas or code by the careful way alone, which loses them, and ImportError
    where the extra `web` is missing.
    Settings:
        how: fast (the part of the page that holds most of its prose, found by size, links and names), careful (trafilatura), or
            two_step (fast; careful where that gives under 300 characters or under two fifths of the page's prose)
        formulas: whether MathML, KaTeX, MathJax and pictures of formulas are kept as LaTeX between dollars
        code: whether preformatted blocks are fenced and inline code is between backticks
    """
    if how not in ("fast", "careful", "two_step"):
        raise ValueError(f"how={how!r} is no way of extraction: give fast, careful or two_step")
    if how == "careful" and (formulas or code):
        raise ValueError(f"how='careful' loses formulas and code: formulas={formulas}, code={code} need fast or two_step")
    source = _NO_TEXT.sub("\ufffd", page_source(page) if isinstance(page, bytes) else page)
    if not source.strip():
        return ""
    if how == "careful":
        return _carefully(source)
    found = _fast(source, formulas, code)
    text = "\n\n".join(_shown(block, code) for block in found.blocks)
    if how == "two_step" and (len(text) < _LEAST_CHARACTERS or found.share < _LEAST_SHARE):
        return max(text, _carefully(source), key=len)
    return text


def _fast(source: str, formulas: bool, code: bool) -> Content:
    root, whole = _parsed(source)
    if not whole:
        root, _ = _parsed(_DEEP_TAGS.sub("<p>", source))
    return Content([], 0.0) if root is None else content(read_blocks(root, formulas=formulas, code=code))


def _parsed(source: str) -> tuple[Any, bool]:
    """The tree of a page, None where it is empty, and whether nothing is missing: the parser ends where tags nest too deep."""
    try:
        from lxml import etree
    except ImportError as error:
        raise ImportError("the extraction of web pages needs lxml: pip install 'metier[web]'") from error
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = etree.fromstring(source.encode(), parser)
    except etree.XMLSyntaxError:  # nothing in it but comments
        root = None
    last = parser.error_log.last_error
    return root, last is None or last.type_name != "ERR_RESOURCE_LIMIT"


def _shown(block: Block, code: bool) -> str:
    return f"```\n{block.text}\n```" if code and block.tag == "pre" else block.text


def _carefully(source: str) -> str:
    if len(source) > _LARGEST_CAREFUL:
        return ""
    try:
        import trafilatura
    except ImportError as error:
        raise ImportError(_WEB) from error
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # a page without text is an answer, and no error of the program
    return trafilatura.extract(source, include_comments=False) or ""
