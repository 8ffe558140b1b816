"""Words of a text in any script, for rules and for comparing texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# Scripts written without spaces count by character: Thai and Lao, Myanmar, Khmer, Tai Le to Tai Lue, Tai Tham, Javanese, Tai Viet,
# kana, Han and Hangul (whose spaces part phrases).
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\ua980-\ua9ff\uaa60-\uaadf"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_JOINERS = "\u200c\u200d"  # part letters within a word of Persian, and join them in one of India
# All but what Latin, Greek, Cyrillic, their punctuation and emoji are written with; marks and scripts without spaces are in here.
_RARE = re.compile("[\u0300-\u036f\u0483-\u0489\u0530-\u1dff\u200c\u200d\u20d0-\u20ff\u2c00-\U0001efff\U00020000-\U0010ffff]")


def words(text: str) -> list[str]:
    """The words of a text, in order, as written: runs of letters and digits with their marks (vowel signs, points, accents).

    In scripts without spaces each character with its marks is one.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text)
    return (_WORD if _RARE.search(text) else _PLAIN_WORD).findall(text)


def _those(wanted: Callable[[str], bool], blocks: tuple[tuple[int, int], ...]) -> str:
    """The characters of the blocks that are wanted as the inside of a regular expression's set; what is unassigned may be in it."""
    ranges: list[list[int]] = []
    for block in blocks:
        follows = False
        for point in range(*block):
            if wanted(chr(point)):
                if follows:
                    ranges[-1][1] = point
                else:
                    ranges.append([point, point])
                follows = True
            elif unicodedata.category(chr(point)) != "Cn":
                follows = False
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


# Python's \w lacks the marks. Below 0x3400 and from 0xA000 are the ones of spaced scripts; few ranges make a quick set.
_FOLLOWING = _those(
    lambda character: _is_mark(character) or (character.isalnum() and re.match(f"[{_UNSPACED}]", character) is None),
    ((0x30, 0x3400), (0xA000, 0xAC00), (0xFB00, 0xFFE0), (0x10000, 0x1B000), (0x1B170, 0x1F000)),
)
_MARKS = _those(_is_mark, ((0x300, 0x3100), (0xA66F, 0xAC00), (0xFB1E, 0xFE30), (0xE0100, 0xE01F0)))
_ASCII_WORD = re.compile("[A-Za-z0-9]+")  # half as quick again
_PLAIN_WORD = re.compile(r"[^\W_]+")
_WORD = re.compile(f"[^\\W_{_UNSPACED}][{_FOLLOWING}{_JOINERS}]*|(?![\\W_])[{_UNSPACED}][{_MARKS}]*")
