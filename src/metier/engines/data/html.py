"""HTML to text: headings, paragraphs, lists, tables and code stay recognisable; menus, scripts and forms' controls go.

For documentation, whole and in Markdown-like form. The article of a crawled page comes from engines/data/extract.py.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from metier.engines.data.content import UnreadableError, as_utf8, decoded
from metier.engines.data.web_page import DECLARED

if TYPE_CHECKING:
    from bs4 import BeautifulSoup
    from bs4.element import PageElement, Tag

_GONE = frozenset(
    [
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "footer",
        "iframe",
        "svg",
        "math",
        "canvas",
        "button",
        "select",
        "option",
        "input",
        "textarea",
        "dialog",
        "object",
        "embed",
        "audio",
        "video",
        "head",
        "title",
    ]
)
_FRAME = frozenset(["header", "aside"])  # a site's around the main part, an article's own inside it
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "aside",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)


def html_text(page: bytes | str) -> str:
    """The text of a page, "" for one without any. Bytes are decoded by their mark, declared charset, or UTF-8.

    The part in <main>, or in the only <article>, is taken where there is one. Headings become "# ...", list items "- ..." or
    "1. ...", table rows "a | b", preformatted blocks fenced code; a page without <h1> begins with its title.
    Raises UnreadableError for bytes that are not in the charset.
    """
    import bs4

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs4.XMLParsedAsHTMLWarning)
        warnings.simplefilter("ignore", bs4.MarkupResemblesLocatorWarning)
        soup = bs4.BeautifulSoup(_decoded(page) if isinstance(page, bytes) else page, "html.parser")
    main = soup.find("main") or soup.find(None, {"role": "main"})
    articles = soup.find_all("article")
    root = main or (articles[0] if len(articles) == 1 else None)
    text = _text(root, _GONE) if root is not None else ""
    if not text:
        text = _text(soup.body or soup, _GONE | _FRAME)
    title = _title(soup)
    return f"# {title}\n\n{text}" if title and text and not re.search(r"^# ", text, re.MULTILINE) else text


def _decoded(content: bytes) -> str:
    unmarked = b"".join(as_utf8(iter([content])))
    if unmarked is not content and unmarked != content:
        return decoded(unmarked)
    declared = DECLARED.search(content[:4096])
    charset = declared[1].decode().lower() if declared is not None else "utf-8"
    if charset in ("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii"):
        charset = "cp1252"  # as browsers do
    try:
        return decoded(content, charset if not charset.startswith("utf-16") else "utf-8")
    except LookupError as error:
        raise UnreadableError(f"unknown charset: {charset!r}", content) from error


def _title(page: BeautifulSoup) -> str:
    return re.sub(r"\s+", " ", page.title.get_text()).strip() if page.title is not None else ""


def _text(root: Tag, gone: frozenset[str]) -> str:
    page = _Page()
    stack: list[tuple[PageElement, bool]] = [(root, False)]
    while stack:  # not recursive: pages nest deeper than Python's stack
        element, ends = stack.pop()
        name = getattr(element, "name", None)
        if name is None:
            page.word(element)
        elif ends:
            page.end(name)
        elif not _skipped(element, name, gone):
            page.begin(name, element)
            stack.append((element, True))
            stack.extend((child, False) for child in reversed(element.contents))  # type: ignore[attr-defined]
    return page.text()


def _skipped(element: PageElement, name: str, gone: frozenset[str]) -> bool:
    attributes = element.attrs or {}  # type: ignore[attr-defined]
    classes = attributes.get("class") or []
    hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true" or attributes.get("role") == "navigation"
    return (name in gone and not {"admonition", "footnote"} & set(classes)) or hidden or "headerlink" in classes


class _Page:
    """Text being put together, block by block."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, bool]] = []  # text, and whether it follows the one before without a blank line
        self._inline: list[str] = []
        self._lists: list[int] = []  # for each open list the number of its next item, 0 in one without numbers
        self._prefix, self._tight, self._preformatted = "", False, 0

    def word(self, element: PageElement) -> None:
        from bs4.element import NavigableString

        if type(element) is NavigableString:  # comments, declarations and CDATA are subclasses
            self._inline.append(str(element) if self._preformatted else re.sub(r"\s+", " ", element))

    def begin(self, name: str, element: PageElement) -> None:
        if name in _BLOCKS:
            self._flush()
        if name in ("ul", "ol"):
            self._lists.append(1 if name == "ol" else 0)
        elif name == "li":
            number = self._lists[-1] if self._lists else 0
            self._prefix, self._tight = "  " * max(0, len(self._lists) - 1) + (f"{number}. " if number else "- "), True
            if number:
                self._lists[-1] += 1
        elif name in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self._prefix = "#" * int(name[1]) + " "
        elif name == "pre":
            self._preformatted += 1
        elif name == "code" and not self._preformatted:
            self._inline.append("`")
        elif name == "br":
            self._inline.append("\n")
        elif name in ("tr", "dd"):
            self._tight = True
        elif name in ("td", "th") and "".join(self._inline).strip():
            self._inline.append(" | ")

    def end(self, name: str) -> None:
        if name == "pre":
            code = "".join(self._inline).strip("\n")
            self._inline.clear()
            self._preformatted = max(0, self._preformatted - 1)
            if code.strip():
                self._blocks.append((f"```\n{code}\n```", False))
        elif name == "code" and not self._preformatted:
            if self._inline[-1:] == ["`"]:
                self._inline.pop()
            else:
                self._inline.append("`")
        elif name in _BLOCKS:
            self._flush()
            if name in ("ul", "ol") and self._lists:
                self._lists.pop()

    def _flush(self) -> None:
        if self._preformatted:
            self._inline.append("\n" if self._inline and not self._inline[-1].endswith("\n") else "")
            return
        text = re.sub(r" *\n *", "\n", re.sub(r" +", " ", "".join(self._inline))).strip()
        self._inline.clear()
        if text:
            follows = self._tight and bool(self._blocks)
            self._blocks.append((self._prefix + text, follows))
            self._prefix, self._tight = "", False

    def text(self) -> str:
        self._flush()
        out: list[str] = []
        for text, follows in self._blocks:
            out.append(("\n" if follows else "\n\n") + text if out else text)
        return "".join(out)
