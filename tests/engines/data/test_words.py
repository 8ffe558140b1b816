"""words: whole in every script, and what a character-by-character reading of Unicode's categories finds."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.engines.data.words import words

WORDS = {
    "hindi": "हिन्दी में लिखा हुआ",
    "bengali": "আমি বাংলায় গান",
    "tamil": "தமிழ் மொழி",
    "telugu": "తెలుగు భాష",
    "kannada": "ಕನ್ನಡ ಭಾಷೆ",
    "malayalam": "മലയാളം ഭാഷ",
    "gujarati": "ગુજરાતી ભાષા",
    "punjabi": "ਪੰਜਾਬੀ ਭਾਸ਼ਾ",
    "sinhala": "සිංහල භාෂාව",
    "arabic with points": "الْعَرَبِيَّةُ لُغَةٌ",
    "hebrew with points": "בְּרֵאשִׁית בָּרָא",
    "persian with a joiner": "می\u200cخواهم بروم",
    "latin with combining accents": "Cafe\u0301 na\u0308her A\u0301\u0328b",
    "dhivehi": "ދިވެހި ބަސް",
    "amharic": "አማርኛ ቋንቋ",
    "adlam": "\U0001e900\U0001e944\U0001e901 \U0001e902",
    "german": "größte Bären",
    "russian": "Съешь же ещё",
    "numbers": "x2 ½ 42 Ⅳ",
}


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_words_between_spaces_stay_whole(text):
    assert words(f"({text.replace(' ', ', ')}...)") == text.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ภาษาไทย", "ภ า ษ า ไ ท ย"),
        ("ที่นี่", "ที่ นี่"),
        ("ភាសា", "ភា សា"),
        ("日本語のテスト。", "日 本 語 の テ ス ト"),
        ("か\u3099・カ", "か\u3099 カ"),
        ("한국어 문장", "한 국 어 문 장"),
        ("漢\U000e0100字𠀀", "漢\U000e0100 字 𠀀"),
        ("abc漢字2", "abc 漢 字 2"),
    ],
)
def test_scripts_without_spaces_count_by_character_with_its_marks(text, expected):
    assert words(text) == expected.split()


def test_underscores_hyphens_apostrophes_and_emoji_part_words():
    assert words("snake_case x-ray don't 👍🏽a —b") == ["snake", "case", "x", "ray", "don", "t", "a", "b"]


UNSPACED = [
    *[(0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x3005, 0x3007), (0x3040, 0x30FF)],
    *[(0x3400, 0x9FFF), (0xA980, 0xA9FF), (0xAA60, 0xAADF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F)],
    *[(0x1B000, 0x1B16F), (0x20000, 0x3FFFF)],
]


def one_by_one(text):
    found, spaced = [], None  # whether the word so far is of a spaced script; None where none is open
    for character in text:
        mark = unicodedata.category(character)[0] == "M" or (character in "\u200c\u200d" and spaced)
        mark = mark and (spaced or not "\U00010000" <= character < "\U000e0100")  # the marks there are of scripts with spaces
        alone = any(low <= ord(character) <= high for low, high in UNSPACED)
        if (mark and spaced is not None) or (character.isalnum() and not alone and spaced):
            found[-1] += character
        elif character.isalnum():
            found.append(character)
            spaced = not alone
        else:
            spaced = None
    return found


LETTERS = "aZ09_ é́̈ñßЖё҃αאּבְعَّहि्ि্ক্தி்కుമ്ාกี่ຂ້မြខ្ទがーカ漢字語한글\u200c\u200d\ufe0f\u0e31𞤀𞥄𐐀𑀓𑀸𠀀-'.,👍\n"


@given(st.text(st.sampled_from(LETTERS), max_size=40) | st.text(max_size=20))
def test_equals_reading_character_by_character(text):
    assigned = "".join(character for character in text if unicodedata.category(character) != "Cn")
    assert words(assigned) == one_by_one(assigned)


def test_every_mark_of_a_script_with_spaces_continues_a_word():
    marks = [chr(point) for point in range(0x300, 0x1E950) if unicodedata.category(chr(point))[0] == "M"]
    assert [f"{ord(mark):x}" for mark in marks if words(f"a{mark}b c") not in ([f"a{mark}b", "c"], [f"a{mark}", "b", "c"])] == []
