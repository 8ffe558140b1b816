"""A page as what a reader meets, in order: text with its formulas and code, and images by their addresses."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from metier.curate.redstone.blocks import page_text, plain_text
from metier.curate.redstone.tex import bare, commands_in, parses

if TYPE_CHECKING:
    from resiliparse.parse.html import ElementNode, HTMLTree

_SOURCES = ("data-src", "data-original", "data-lazy-src", "data-lazy", "src")  # what a lazy page shows later comes first
_SOURCE_SETS = ("data-srcset", "srcset")
_OF_FORMULAS = re.compile(r"\b(?:math|tex|latex|equation|formula)", re.IGNORECASE)
_DELIMITED = re.compile(r"\s*(?:\$.+\$|\\\(.+\\\)|\\\[.+\\\])\s*", re.DOTALL)


@dataclass(frozen=True)
class Interleaved:
    """texts and images of equal length: at each place one of the two, the other None. text: the texts with a blank line between.

    num_formulas: whose TeX is in the text; num_bad_formulas: those without TeX that parses, which are left out
    num_bad_images: without an address on the web (data:, relative ones of a page without an address)
    """

    texts: list[str | None]
    images: list[str | None]
    num_formulas: int = 0
    num_bad_formulas: int = 0
    num_bad_images: int = 0

    @property
    def text(self) -> str:
        return "\n\n".join(text for text in self.texts if text is not None)


def interleaved(html: str, url: str | None = None) -> Interleaved:
    """The parts of a page. Formulas become $...$ or $$...$$ and code fences (curate.redstone); menus and footers are left out.

    An image is its address, resolved against the page's: the one shown later where a page loads lazily, the largest of a set. One
    whose alternative text is TeX is a formula. An image that follows itself, as in <noscript>, stands once.
    """
    images = _Images(html, url)
    page = page_text(html, images.text_of)
    pieces = re.split(f"{images.mark}([0-9]{{6}})x", page.text)
    texts: list[str | None] = []
    addresses: list[str | None] = []
    for place, piece in enumerate(pieces):
        address = images.found[int(piece)] if place % 2 else None
        if address is not None and address != next((one for one in reversed(addresses[-1:])), None):
            texts.append(None)
            addresses.append(address)
        elif address is None and piece.strip() and not place % 2:
            texts.append(re.sub(r"\n{3,}", "\n\n", piece).strip())
            addresses.append(None)
    return Interleaved(texts, addresses, page.num_formulas + images.num_formulas, page.num_bad_formulas, images.num_bad)


class _Images:
    """The images of a page: `text_of` leaves a mark and a number in the text for each."""

    def __init__(self, html: str, url: str | None) -> None:
        salts = range(len(html) + 1)
        self.mark = next(
            mark for salt in salts if (mark := f"iw{hashlib.sha256(str(salt).encode()).hexdigest()[:8]}") not in html
        )
        self._url, self.found, self.num_bad, self.num_formulas = url, list[str](), 0, 0

    def text_of(self, page: HTMLTree) -> str:
        base = page.head.query_selector("base[href]") if page.head is not None else None
        root = _joined(self._url, base.getattr("href") or "") if base is not None else self._url
        for image in list(page.body.query_selector_all("img")) if page.body is not None else []:
            image.replace_with(page.create_text_node(self._instead(image, root)))  # type: ignore[arg-type]
        return plain_text(page)

    def _instead(self, image: ElementNode, root: str | None) -> str:
        tex = _tex_of(image)
        if tex is not None:
            self.num_formulas += 1
            return f" ${tex}$ "
        address = _address(image, root)
        if address is None:
            self.num_bad += 1
            return " "
        self.found.append(address)
        return f" {self.mark}{len(self.found) - 1:06d}x "


def _tex_of(image: ElementNode) -> str | None:
    """The alternative text of an image where it is TeX: in delimiters, or with a command, or of an image called a formula."""
    written = image.getattr("alt") or ""
    tex, _ = bare(written)
    named = _OF_FORMULAS.search(image.getattr("class") or "") is not None and re.search(r"[\\^_=]", tex) is not None
    if not (_DELIMITED.fullmatch(written) or commands_in(written) or named):
        return None
    return tex if parses(tex) else None


def _address(image: ElementNode, root: str | None) -> str | None:
    candidates = [image.getattr(name) or "" for name in _SOURCES[:-1]]
    candidates += [_largest(image.getattr(name) or "") for name in _SOURCE_SETS]
    candidates.append(image.getattr(_SOURCES[-1]) or "")
    for candidate in candidates:
        address = _joined(root, candidate.strip())
        if address is not None:
            return address
    return None


def _joined(root: str | None, address: str) -> str | None:
    """An address on the web, or None."""
    if not address or address.startswith(("data:", "blob:", "#")):
        return None
    try:
        whole = urljoin(root or "", address)
        parts = urlsplit(whole)
    except ValueError:
        return None
    return whole if parts.scheme in ("http", "https") and parts.netloc else None


def _largest(sources: str) -> str:
    """Of "a.png 1x, b.png 2x" the one with the largest number."""
    found = re.findall(r"(\S+?)(?:\s+([\d.]+)[wx])?\s*(?:,\s|,?\Z)", sources.strip())
    sized = [(float(size) if re.fullmatch(r"\d+\.?\d*", size) else 1.0, place, name) for place, (name, size) in enumerate(found)]
    return max(sized, key=lambda one: (one[0], -one[1]))[2] if sized else ""
