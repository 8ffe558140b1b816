"""Pages to text with their formulas and code whole: both are taken out, marked, and put back after all else became text.

Formulas come back as $...$ or $$...$$, code in fences, as metier's other extraction writes them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metier.curate.redstone.code import code_of, code_roots, language_of, looks_like_code, text_of
from metier.curate.redstone.formulas import Formula, formulas_of

if TYPE_CHECKING:
    from resiliparse.parse.html import ElementNode, HTMLTree

# What the authors look for in the bytes of a page before they parse it, and the marks of KaTeX and of pictures.
_MAY_HOLD = re.compile(
    r"<math|<annotation|=[\"']?math|athjax|math-|class=[\"']?(?:tex|latex)|tex\.cgi|latex\.php|katex|\\frac|codecogs|mimetex|<code|<pre",
    re.IGNORECASE,
)
_NO_TEXT = ["nav", "footer", "[role=navigation]", "button", "select", ".headerlink"]


@dataclass(frozen=True)
class Block:
    """What was taken out of a page: code (in a language, "" for unknown) or a formula."""

    text: str
    is_code: bool
    display: bool
    language: str = ""
    plain: str = ""


@dataclass(frozen=True)
class PageText:
    """A page as text, and what became of its blocks.

    num_bad_formulas: those without TeX that parses; they were left out. num_lost: blocks in parts of the page that gave no text
    language: the one that most of the lines of code are in, "" for unknown
    """

    text: str
    num_formulas: int = 0
    num_code: int = 0
    num_bad_formulas: int = 0
    num_lost: int = 0
    language: str = ""


def plain_text(page: HTMLTree) -> str:
    """All text of a parsed page but menus and controls, in lines as it has blocks; of its main part where it names one."""
    from resiliparse.extract.html2text import extract_plain_text

    top = page.body
    mains = [] if top is None else list(top.query_selector_all("main, [role=main]")) or list(top.query_selector_all("article"))
    # The heuristics for main content drop lists, with the code in them.
    whole = page if len(mains) != 1 else mains[0].html
    text = extract_plain_text(whole, preserve_formatting=True, alt_texts=False, skip_elements=_NO_TEXT)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()


def page_text(html: str, to_text: Callable[[HTMLTree], str] = plain_text) -> PageText:
    """The text of a page with its formulas and code. `to_text` turns all the rest to text; it gets words for them."""
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(html)
    body = tree.body
    if body is None or _MAY_HOLD.search(html) is None:
        return PageText(to_text(tree))
    taken = _Taken(tree, _mark_for(html))
    for root in code_roots(body):
        taken.take_code(root)
    for hidden in list(body.query_selector_all('[aria-hidden="true"]')):
        if hidden.query_selector("math, p, pre, script") is None and taken.mark not in text_of(hidden):
            hidden.remove()
    for formula in formulas_of(body):
        taken.take_formula(formula)
    return _put_back(to_text(tree), taken)


def _mark_for(html: str) -> str:
    """A word that the page does not hold."""
    salts = iter(range(len(html) + 1))
    return next(mark for salt in salts if (mark := f"qz{hashlib.sha256(str(salt).encode()).hexdigest()[:8]}") not in html)


class _Taken:
    """The blocks taken out of a page, each of which left its mark and number behind."""

    def __init__(self, tree: HTMLTree, mark: str) -> None:
        self._tree, self.mark, self.num_bad = tree, mark, 0
        self.blocks: list[Block] = []

    def take_code(self, root: ElementNode) -> None:
        language, text = language_of(root), code_of(root)
        if looks_like_code(text):
            place = root.closest("table") if root.tag == "tbody" else None  # a table cannot hold text
            self._leave_mark(place or root, Block(text, True, True, language))

    def take_formula(self, formula: Formula) -> None:
        if self.mark in text_of(formula.element):  # inside something that was taken
            return
        if formula.tex is None:
            self.num_bad += 1
            formula.element.remove()
        else:
            self._leave_mark(formula.element, Block(formula.tex, False, formula.display, plain=formula.plain))

    def _leave_mark(self, element: ElementNode, block: Block) -> None:
        mark = f"{self.mark}{len(self.blocks):06d}x"
        self.blocks.append(block)
        node = self._tree.create_element("div") if block.display else self._tree.create_text_node(mark)
        assert node is not None  # a parsed page has a document to make it in
        node.text = mark
        element.replace_with(node)


def _put_back(text: str, taken: _Taken) -> PageText:
    pieces = re.split(f"{taken.mark}([0-9]{{6}})x", text)
    blocks = [taken.blocks[int(number)] for number in pieces[1::2]]
    texts = pieces[::2]
    for place, block in enumerate(blocks):
        texts[place], texts[place + 1] = _without_double(texts[place], block.plain, texts[place + 1])
    texts, blocks = _merged(texts, blocks)
    for place, block in enumerate(blocks):
        if block.display:
            texts[place], texts[place + 1] = _on_its_own_line(texts[place], texts[place + 1])
    written = [part for text, block in zip(texts, blocks) for part in (text, _written(block))]
    code = [block for block in blocks if block.is_code]
    return PageText(
        "".join([*written, texts[-1]]).strip(),
        num_formulas=len(blocks) - len(code),
        num_code=len(code),
        num_bad_formulas=taken.num_bad,
        num_lost=len(taken.blocks) - len(pieces) // 2,
        language=_main_language(code),
    )


def _without_double(before: str, plain: str, after: str) -> tuple[str, str]:
    """The text on both sides without the formula's plain rendering, where that is glued to it."""
    if plain and before.endswith(plain) and not before[: -len(plain)][-1:].isalnum():
        return before[: -len(plain)], after
    if plain and after.startswith(plain) and not after[len(plain) :][:1].isalnum():
        return before, after[len(plain) :]
    return before, after


def _merged(texts: list[str], blocks: list[Block]) -> tuple[list[str], list[Block]]:
    """Code that goes on in a block of one line, with nothing between, is one block."""
    kept_texts, kept = texts[:1], list[Block]()
    for block, following in zip(blocks, texts[1:], strict=True):
        before = kept[-1] if kept else None
        goes_on = (
            before is not None and before.is_code and block.is_code and not kept_texts[-1].strip() and "\n" not in block.text
        )
        if before is not None and goes_on:
            kept[-1] = Block(f"{before.text}\n{block.text}", True, True, before.language or block.language)
            kept_texts[-1] = following
        else:
            kept.append(block)
            kept_texts.append(following)
    return kept_texts, kept


def _on_its_own_line(before: str, after: str) -> tuple[str, str]:
    before, after = before.rstrip(" \t"), after.lstrip(" \t")
    return before if before.endswith("\n") else f"{before}\n", after if after.startswith("\n") else f"\n{after}"


def _written(block: Block) -> str:
    if not block.is_code:
        return f"$${block.text}$$" if block.display else f"${block.text}$"
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
    return f"{fence}{block.language}\n{block.text}\n{fence}"


def _main_language(code: list[Block]) -> str:
    lines: dict[str, int] = {}
    for block in code:
        lines[block.language] = lines.get(block.language, 0) + block.text.count("\n") + 1
    return max(lines, key=lambda language: lines[language], default="")
