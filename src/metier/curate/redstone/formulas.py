"""The formulas of a page: where they stand, as TeX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from metier.curate.redstone.code import text_of
from metier.curate.redstone.mathml import NoTexError, tex_of
from metier.curate.redstone.tex import bare, parses

if TYPE_CHECKING:
    from resiliparse.parse.html import ElementNode

_WRAPPERS = ".katex-display, .katex, .mwe-math-element, mjx-container, .MathJax_Display, .MathJax, .math-container"
_RENDERED = ".MathJax, .MathJax_Display, .MathJax_Preview, .MathJax_CHTML, .MathJax_SVG, mjx-container"
_SPANS = ".math-container, .math-formula, .math, .math-tex, .tex2jax_process, span.tex, span.latex"
_BARE_SPANS = frozenset(["math-formula", "tex", "latex"])  # their text is TeX without delimiters
_DELIMITED = re.compile(r"\$\$.+\$\$|\$.+\$|\\\(.+\\\)|\\\[.+\\\]", re.DOTALL)
_IMAGES = 'img[src*="codecogs"], img[src*="latex.php"], img[src*="tex.cgi"], img[src*="mimetex"], img.tex, img.latex'
_IN_QUERY = re.compile(r"^.*?latex=|&(?:bg|fg|s|c)=.*$|\\(?:dpi|bg|fg)\{[^{}]*\}\s*|\\inline\s*")


@dataclass(frozen=True)
class Formula:
    """element: what stands for it in the page; tex: without delimiters, None where it has none that parses; plain: how it reads
    without marks, "" where it stands nowhere so; display: whether on a line of its own."""

    element: ElementNode
    tex: str | None
    plain: str = ""
    display: bool = False


def formulas_of(page: ElementNode) -> Iterator[Formula]:
    """<math> (its annotation, its alternative text, or its tree), spans of TeX, scripts of MathJax and pictures of TeX, in this
    order. Each is to be taken out of the page before the next is asked for."""
    scripts = list(page.query_selector_all('script[type^="math/"]'))
    if scripts:  # what MathJax has drawn stands beside what it was drawn from
        for drawn in list(page.query_selector_all(_RENDERED)):
            drawn.remove()
    yield from _trees(page)
    yield from _spans(page)
    yield from (_of_script(script) for script in scripts)
    yield from _pictures(page)


def _trees(page: ElementNode) -> Iterator[Formula]:
    for tree in list(page.query_selector_all("math")):
        outer, place = tree.closest(_WRAPPERS), tree
        while outer is not None:
            if len(list(outer.query_selector_all("math"))) == 1:
                place = outer
            above = outer.parent_element
            outer = above.closest(_WRAPPERS) if above is not None else None
        tex, plain = _of_tree(tree)
        shown = tree.getattr("display") == "block" or "display" in (place.getattr("class") or "").lower()
        yield Formula(place, tex, plain, shown)


def _of_tree(tree: ElementNode) -> tuple[str | None, str]:
    """The TeX of a <math> as annotated, or as its tree says; and how it reads without marks. Takes annotations out."""
    notes = list(tree.query_selector_all("annotation, annotation-xml"))
    written = [
        text_of(note) for note in notes if (note.getattr("encoding") or "").lower() in ("application/x-tex", "tex", "latex")
    ]
    for note in notes:
        note.remove()
    alternative = tree.getattr("alttext") or ""
    for candidate in [*written, *([alternative] if "\\" in alternative else [])]:
        tex, _ = bare(candidate)
        if parses(tex):
            return tex, "".join(text_of(tree).split())
    try:
        tex, _ = bare(tex_of(tree))
    except NoTexError:
        tex = ""
    return tex if parses(tex) else None, "".join(text_of(tree).split())


def _spans(page: ElementNode) -> Iterator[Formula]:
    for span in list(page.query_selector_all(_SPANS)):
        text = text_of(span).strip()
        names = set((span.getattr("class") or "").split())
        if _DELIMITED.fullmatch(text) or (text and names & _BARE_SPANS):
            tex, displayed = bare(text)
            yield Formula(span, tex if parses(tex) else None, display=displayed or span.tag == "div")


def _of_script(script: ElementNode) -> Formula:
    from resiliparse.parse.html import HTMLTree

    kind, _, mode = (script.getattr("type") or "").partition(";")
    shown = "display" in mode
    if kind in ("math/mml", "math/mathml"):
        page = HTMLTree.parse(text_of(script)).body
        tree = page.query_selector("math") if page is not None else None
        return Formula(script, *(_of_tree(tree) if tree is not None else (None, "")), shown)
    tex, displayed = bare(text_of(script))
    return Formula(script, tex if kind in ("math/tex", "math/latex") and parses(tex) else None, display=shown or displayed)


def _pictures(page: ElementNode) -> Iterator[Formula]:
    for picture in list(page.query_selector_all(_IMAGES)):
        query = urlsplit(picture.getattr("src") or "").query.replace("+", " ")
        tex, displayed = bare(picture.getattr("alt") or _IN_QUERY.sub("", unquote(query)))
        if tex:
            yield Formula(picture, tex if parses(tex) else None, display=displayed)
