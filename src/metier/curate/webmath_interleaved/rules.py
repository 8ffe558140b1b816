"""The few rules that don't hurt mathematics."""

from __future__ import annotations

import re
import unicodedata

PLACEHOLDER, PUNCTUATION, UNSAFE, BROKEN = "placeholder text", "punctuation", "unsafe words", "broken characters"
UNSAFE_WORDS = tuple(
    "porn,porno,pornhub,pornography,xxx,hentai,milf,blowjob,handjob,cumshot,creampie,gangbang,deepthroat,camgirl,camgirls,escorts,fuck,fucking,"
    "pussy,whore,slut".split(",")
)
_SHORT = 200  # words
# UTF-8 read as Latin-1 or Windows-1252.
_MOJIBAKE = re.compile("\ufffd|Ã[\x80-\xbf©¨¡³±¼¶¤§]|â€[\x80-\xbf™œ\u009d“”–—¢¦]|Â[ °±²³·»«§]")


def failed_rule(text: str, language: str, max_punctuation: float, unsafe: frozenset[str]) -> str | None:
    """The first rule that a text breaks, in the order of the paper; None for a good one.

    placeholder text: "lorem ipsum" in fewer than 200 words; punctuation: its share among characters beside white space, of English
    alone; unsafe words; broken characters: U+FFFD, or UTF-8 that was read as something else.
    """
    lower = text.lower()
    if "lorem ipsum" in lower and len(lower.split()) < _SHORT:
        return PLACEHOLDER
    if language == "eng" and punctuation_share(text) > max_punctuation:
        return PUNCTUATION
    if unsafe and not unsafe.isdisjoint(re.findall(r"\w+", lower)):
        return UNSAFE
    return BROKEN if _MOJIBAKE.search(text) is not None else None


def punctuation_share(text: str) -> float:
    """The share of punctuation (categories P of Unicode) and symbols of ASCII among characters that are no white space; 0 for no text."""
    shown = "".join(text.split())
    marks = sum(unicodedata.category(char)[0] == "P" or char in "$+<=>^`|~" for char in shown)
    return marks / max(1, len(shown))
