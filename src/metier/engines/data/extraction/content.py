"""Which blocks of a page are its content: the smallest part that holds most of its prose, without what is boilerplate in it."""

from __future__ import annotations

import re
from typing import NamedTuple

from metier.engines.data.extraction.blocks import ENDS, HEADINGS, Block, Page

_LARGEST_SHARE = {1: 0.4, 2: 0.8}  # of the page's prose that boilerplate can hold; what holds more was named for something else
_MOST = 0.7  # share of the prose that leads into a part
_LEAST_ARTICLE, _RIVAL = 0.4, 0.3  # <article> or <main> leads into itself with less, if no other part holds as much
_TEXT = HEADINGS | {"p", "li", "dt", "dd", "blockquote", "pre"}  # parts of a text, never the whole of it, however long one is
_REPEATED = 120  # characters from which a paragraph is not said twice
_PHRASES = re.compile(
    r"(?:advert(?:isement|ising)?|sponsored(?: content)?|share(?: this)?(?: (?:on|via|article|story|page).*)?|tweet|print|comments?|"
    r"(?:read|see|related|more|also|recommended|most|you may|you might|up next|watch|listen)\b.{0,60}|"
    r"(?:sign up|subscribe|follow|like|join|download|get|click|copyright|©|\(c\)|all rights reserved|by)\b.{0,160}|"
    r"(?:posted|published|updated|last (?:updated|modified)|filed under|tags?|topics?|categor(?:y|ies)|source)\b.{0,80}|"
    r"photo(?:graph)?(?: credits?| by|s?:).*|image(?: credits?|s?:).*|\(?(?:reporting|editing|additional reporting|edited) by.*|"
    r"leave a (?:reply|comment).*|(?:back to|scroll to) top.*)",
    re.IGNORECASE,
)
_LONGEST_PHRASE = 200


class Content(NamedTuple):
    """The blocks of the content, and its prose as a share (0 to 1) of all the page's: low where something was missed."""

    blocks: list[Block]
    share: float


def content(page: Page) -> Content:
    """Prose is what counts: characters outside of links in blocks that are long or end like sentences.

    From the top, the way goes into the part with `_MOST` of the prose, as long as there is one. In that part, boilerplate, lists of
    links, phrases such as "Read more: ..." and what is said again are left out, and all before the first and after the last prose.
    """
    total = sum(block.prose for block in page.blocks)
    boilerplate = _boilerplate(page)
    live = [block for block in page.blocks if block.place < 0 or not boilerplate[block.place]]
    inside = _below(page, _main_part(page, live))
    kept = _unrepeated([block for block in live if (block.place < 0 or inside[block.place]) and not _is_noise(block)])
    prose = [place for place, block in enumerate(kept) if block.prose]
    if not prose:
        return Content([], 0.0)
    first, last = prose[0], prose[-1]
    while first > 0 and _is_sentence(kept[first - 1]):
        first -= 1
    while last + 1 < len(kept) and _is_sentence(kept[last + 1]):
        last += 1
    chosen = kept[first : last + 1]
    return Content(chosen, sum(block.prose for block in chosen) / total)


def _boilerplate(page: Page) -> list[bool]:
    """For each container whether it is boilerplate, or in some."""
    sizes = _sizes(page, page.blocks)
    total = sum(block.prose for block in page.blocks)
    found: list[bool] = []
    for place, one in enumerate(page.containers):
        around = one.parent >= 0 and found[one.parent]
        found.append(around or (one.boilerplate > 0 and sizes[place] <= _LARGEST_SHARE[one.boilerplate] * total))
    return found


def _sizes(page: Page, blocks: list[Block]) -> list[int]:
    """Characters of prose in each container and all that is in it."""
    sizes = [0] * len(page.containers)
    for block in blocks:
        if block.place >= 0:
            sizes[block.place] += block.prose
    for place in range(len(sizes) - 1, 0, -1):
        if (parent := page.containers[place].parent) >= 0:
            sizes[parent] += sizes[place]
    return sizes


def _main_part(page: Page, blocks: list[Block]) -> int:
    sizes = _sizes(page, blocks)
    inner: dict[int, list[int]] = {}
    for place in range(len(sizes) - 1, -1, -1):
        inner.setdefault(page.containers[place].parent, []).append(place)
    top = 0
    while top in inner:
        best, *others = sorted(inner[top], key=sizes.__getitem__, reverse=True)
        rival = sizes[others[0]] if others else 0
        is_article = page.containers[best].tag in ("article", "main")
        alone = is_article and sizes[best] > _LEAST_ARTICLE * sizes[top] and rival < _RIVAL * sizes[best]
        if not sizes[best] or page.containers[best].tag in _TEXT or (sizes[best] < _MOST * sizes[top] and not alone):
            break
        top = best
    return top


def _below(page: Page, top: int) -> list[bool]:
    inside: list[bool] = []
    for place, one in enumerate(page.containers):
        inside.append(place == top or (one.parent >= 0 and inside[one.parent]))
    return inside


def _is_noise(block: Block) -> bool:
    if block.tag == "pre":
        return False
    text, free = block.text, len(block.text) - block.linked
    if block.linked > 0.15 * len(text) and text.endswith(("...", "…")):  # a teaser
        return True
    if block.linked > 0.6 * len(text) and free < 80 and not (free > 20 and _is_sentence(block)):
        return True
    return len(text) < _LONGEST_PHRASE and _PHRASES.fullmatch(text) is not None


def _is_sentence(block: Block) -> bool:
    return block.tag == "p" and block.text.endswith(ENDS) and " " in block.text


def _unrepeated(blocks: list[Block]) -> list[Block]:
    seen: set[str] = set()
    kept = []
    for block in blocks:
        if len(block.text) < _REPEATED or block.text not in seen:
            kept.append(block)
        if len(block.text) >= _REPEATED:
            seen.add(block.text)
    return kept
