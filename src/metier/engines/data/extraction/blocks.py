"""A web page as blocks of text in the order of reading, each with what tells content from boilerplate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from metier.engines.data.extraction.formulas import formula

HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
ENDS = (".", "!", "?", "…", '"', "”", "’", "'", ")", ":", "。", "»", ";", "！", "？", "।")
_GONE = frozenset(
    "script style noscript template nav footer aside iframe svg canvas button select option input textarea dialog object embed audio"
    " video head title map picture img figure figcaption link meta math".split()
)
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp small span strike strong sub sup"
    " time tt u var wbr".split()
)
_PARTING = frozenset("figure aside nav footer".split())  # gone, and yet what stands before is another block than what follows
_WHOLE = frozenset("html body main article".split())  # never boilerplate, whatever their names say
_BOILERPLATE = frozenset(
    "ad ads advert advertisement advertising adslot banner sponsor sponsored promo promotion promoted outbrain taboola disqus"
    " comment comments share sharing sharebar social addthis newsletter subscribe subscription signup login paywall"
    " related recommended recommendations recommendation recirc popular trending mostread readmore sidebar widget widgets"
    " breadcrumb breadcrumbs footer nav navigation navbar menu masthead toolbar pagination pager modal popup overlay cookie cookies"
    " caption credit copyright byline author authors dateline timestamp meta tags tag rating gallery slideshow carousel"
    " hidden visuallyhidden sr skip print".split()
)
_FRAME = frozenset("content article main page with has no body story entry layout grid without site wrapper".split())
_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NOT_SHOWN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_LINE_BREAK = "\x0b"  # white space to all that reads HTML, so that no page can mean something by it
_LARGEST_MARK = 200  # characters of an inline element that can be boilerplate by its name


@dataclass(slots=True)
class Block:
    """Text of one paragraph, heading, item or cell (`tag`); characters of it that are in links; the place of its container; `prose`."""

    text: str
    tag: str
    linked: int
    place: int
    prose: int


@dataclass(slots=True)
class Container:
    """An element that is no inline one. `parent`: place of the one around it, -1 at the top.

    boilerplate: what its names say: 0 nothing, 1 perhaps (a frame may be named for what it holds, too), 2 that it is
    """

    tag: str
    parent: int
    boilerplate: int


@dataclass(slots=True)
class Page:
    """Blocks in the order of reading; containers, each after the one around it."""

    blocks: list[Block] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)


def read_blocks(root: Any, *, formulas: bool = False, code: bool = False) -> Page:
    """The blocks below an lxml element. Menus, captions, controls and what is not shown are gone, by their tags and attributes.

    formulas: whether formulas are there, as LaTeX between dollars. code: whether inline code is between backticks.
    """
    from lxml import etree

    reader = _Reader(code)
    walk = etree.iterwalk(root, events=("start", "end"))
    skipped = None
    for event, element in walk:
        tag = element.tag
        if event == "start":
            found = formula(element, tag) if formulas else None
            if found is not None:
                reader.add(found)
            if found is not None or tag in _GONE or _is_hidden(element, tag):
                walk.skip_subtree()
                skipped = element
                continue
            reader.begin(element, tag)
        elif element is skipped:
            skipped = None
            if tag in _PARTING:
                reader.flush()
        else:
            reader.end(tag)
        if (text := element.text if event == "start" else element.tail) and not (event == "end" and element is root):
            reader.add(text)
    reader.flush()
    return reader.page


class _Reader:
    def __init__(self, code: bool) -> None:
        self.page = Page()
        self._code, self._inline = code, list[str]()
        self._places, self._linked, self._links, self._preformatted = [-1], 0, 0, 0

    def add(self, text: str) -> None:
        self._inline.append(text)
        if self._links:
            self._linked += len(text.strip())

    def begin(self, element: Any, tag: str) -> None:
        if tag in _INLINE:
            self._links += tag == "a"
            self._mark_code(tag)
        elif tag == "br":
            self._inline.append("\n" if self._preformatted else _LINE_BREAK)
        else:
            self.flush()
            named = 0 if tag in _WHOLE else max(_boilerplate(element.get("class", "")), _boilerplate(element.get("id", "")))
            self.page.containers.append(Container(tag, self._places[-1], named))
            self._places.append(len(self.page.containers) - 1)
            self._preformatted += tag == "pre"

    def end(self, tag: str) -> None:
        if tag in _INLINE:
            self._links -= tag == "a"
            self._mark_code(tag)
        elif tag != "br":
            self.flush()
            self._places.pop()
            self._preformatted -= tag == "pre"

    def flush(self) -> None:
        """What was gathered becomes a block of the innermost container."""
        if self._inline:
            text = "".join(self._inline)
            if self._preformatted:
                text = text.strip("\n") if text.strip() else ""
            else:
                text = "\n".join(filter(None, (" ".join(line.split()) for line in text.split(_LINE_BREAK))))
            if text:
                place = self._places[-1]
                tag = "pre" if self._preformatted else self.page.containers[place].tag if place >= 0 else "body"
                self.page.blocks.append(Block(text, tag, self._linked, place, prose(text, tag, self._linked)))
            self._inline.clear()
        self._linked = 0

    def _mark_code(self, tag: str) -> None:
        if self._code and tag == "code" and not self._preformatted:
            self._inline.append("`")


def prose(text: str, tag: str, linked: int) -> int:
    """Characters of prose in a block: all that are not in links, or none."""
    free = len(text) - linked
    if tag in HEADINGS or (free < 0.5 * len(text) and free < 100):
        return 0
    if free < 80 and not text.endswith(ENDS):
        return 0
    return free if free >= (25 if tag == "p" else 40) else 0


def _is_hidden(element: Any, tag: str) -> bool:
    if tag in _WHOLE:
        return False
    get = element.get
    if get("hidden") is not None or get("aria-hidden") == "true" or get("role") == "navigation":
        return True
    if (style := get("style")) and _NOT_SHOWN.search(style):
        return True
    if tag in _INLINE and (names := get("class")):
        if names.startswith("MathJax"):
            return True
        return _boilerplate(names) > 0 and len("".join(element.itertext())) < _LARGEST_MARK
    return False


@lru_cache(maxsize=1 << 15)
def _boilerplate(names: str) -> int:
    words = {word.lower() for word in _NAME.findall(names[:500])}
    if _BOILERPLATE.isdisjoint(words) or "embed" in words:  # an article's own quotations of social media
        return 0
    return 2 if _FRAME.isdisjoint(words) else 1
