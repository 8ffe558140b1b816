"""Which images of pages are worth their place: not those of every page, of galleries, of menus."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

REPEATED, CROWDED, INSECURE, NAMED = "repeated", "page of many images", "not https", "named as decoration"


@dataclass(frozen=True)
class ImageRules:
    """counts: how often each address (its digest) stands in all pages. A page beyond `max_per_page` loses all images."""

    counts: dict[bytes, int]
    max_repeats: int
    max_per_page: int
    blocked: tuple[str, ...]

    def reason(self, url: str, num_on_page: int) -> str | None:
        """Why an image is dropped, by the first rule in the paper's order; None for one that stays."""
        if self.counts.get(digest(url), 0) > self.max_repeats:
            return REPEATED
        if num_on_page > self.max_per_page:
            return CROWDED
        if not url.startswith("https://"):
            return INSECURE
        lower = url.lower()
        return NAMED if any(word in lower for word in self.blocked) else None


def digest(url: str) -> bytes:
    return hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def count_images(pages: Iterable[Sequence[str | None]]) -> dict[bytes, int]:
    """How often each address occurs, by digest."""
    counts: Counter[bytes] = Counter()
    for images in pages:
        counts.update(digest(url) for url in images if url is not None)
    return dict(counts)


def without_dropped(
    texts: Sequence[str | None], images: Sequence[str | None], dropped: Collection[int]
) -> tuple[list[str | None], list[str | None]]:
    """The two lists without the places in `dropped`."""
    kept = [place for place in range(len(texts)) if place not in dropped]
    return [texts[place] for place in kept], [images[place] for place in kept]


def check_aligned(texts: Sequence[str | None], images: Sequence[str | None], page: str) -> None:
    """Raises ValueError unless each place holds a text or an image, and not both."""
    wrong = [place for place, pair in enumerate(zip(texts, images)) if (pair[0] is None) == (pair[1] is None)]
    if len(texts) != len(images) or wrong:
        raise ValueError(
            f"page {page!r}: {len(texts)} texts and {len(images)} images, wrong at places {wrong[:5]}: each place holds one of the two"
        )
