"""Long texts, cut for a page: the beginning at once, the rest on demand, and what is beyond all reason counted."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 12_000  # characters of one text that the page holds


@dataclass(frozen=True)
class Excerpt:
    """`short` is the beginning; `full` is "" where that is all; `left_out` counts characters that `full` lacks too."""

    short: str
    full: str
    left_out: int
    num_characters: int

    @classmethod
    def of(cls, text: str, most: int) -> Excerpt:
        """A text cut after `most` characters, at a word's end where one is near."""
        text = text.strip()
        if len(text) <= 1.3 * most:  # a few words more are less trouble than a click
            return cls(text, "", 0, len(text))
        cut = text.rfind(" ", int(0.8 * most), most)
        return cls(text[: cut if cut > 0 else most].rstrip() + " …", text[:MOST], max(0, len(text) - MOST), len(text))
