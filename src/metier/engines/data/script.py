"""The script that a text is written in, as its ISO 15924 code."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache

NO_SCRIPT = "Zyyy"  # ISO 15924's code for what all scripts share: digits, punctuation, symbols
_CHARACTERS = 20_000  # more say nothing new
_KANA_SHARE = 0.05  # of Han and kana together, from which Han characters are Japanese

# What Unicode calls the letters of a script, by the first words of their names, and the script's code.
_CODES = {
    name: code
    for name, _, code in (
        pair.rpartition(" ")
        for pair in (
            "ADLAM Adlm,AHOM Ahom,ANATOLIAN HIEROGLYPH Hluw,ARABIC Arab,ARMENIAN Armn,AVESTAN Avst,BALINESE Bali,BAMUM Bamu,"
            "BASSA VAH Bass,BATAK Batk,BENGALI Beng,BHAIKSUKI Bhks,BOPOMOFO Bopo,BRAHMI Brah,BUGINESE Bugi,BUHID Buhd,"
            "CANADIAN SYLLABICS Cans,CARIAN Cari,CAUCASIAN ALBANIAN Aghb,CHAKMA Cakm,CHAM Cham,CHEROKEE Cher,CHORASMIAN Chrs,"
            "CJK Hani,IDEOGRAPHIC Hani,COPTIC Copt,CUNEIFORM Xsux,CYPRIOT Cprt,CYPRO-MINOAN Cpmn,CYRILLIC Cyrl,DESERET Dsrt,"
            "DEVANAGARI Deva,DIVES AKURU Diak,DOGRA Dogr,DUPLOYAN Dupl,EGYPTIAN Egyp,ELBASAN Elba,ELYMAIC Elym,ETHIOPIC Ethi,"
            "GEORGIAN Geor,GLAGOLITIC Glag,GOTHIC Goth,GRANTHA Gran,GREEK Grek,GUJARATI Gujr,GUNJALA GONDI Gong,GURMUKHI Guru,"
            "HANGUL Hang,HANIFI ROHINGYA Rohg,HANUNOO Hano,HATRAN Hatr,HEBREW Hebr,HIRAGANA Jpan,KATAKANA Jpan,"
            "KATAKANA-HIRAGANA Jpan,IMPERIAL ARAMAIC Armi,INSCRIPTIONAL PAHLAVI Phli,INSCRIPTIONAL PARTHIAN Prti,JAVANESE Java,"
            "KAITHI Kthi,KANNADA Knda,KAYAH LI Kali,KHAROSHTHI Khar,KHITAN Kits,KHMER Khmr,KHOJKI Khoj,KHUDAWADI Sind,LAO Laoo,"
            "LATIN Latn,LEPCHA Lepc,LIMBU Limb,LINEAR A Lina,LINEAR B Linb,LISU Lisu,LYCIAN Lyci,LYDIAN Lydi,MAHAJANI Mahj,"
            "MAKASAR Maka,MALAYALAM Mlym,MANDAIC Mand,MANICHAEAN Mani,MARCHEN Marc,MASARAM GONDI Gonm,MEDEFAIDRIN Medf,"
            "MEETEI MAYEK Mtei,MENDE KIKAKUI Mend,MEROITIC CURSIVE Merc,MEROITIC HIEROGLYPHIC Mero,MIAO Plrd,MODI Modi,"
            "MONGOLIAN Mong,MRO Mroo,MULTANI Mult,MYANMAR Mymr,NABATAEAN Nbat,NANDINAGARI Nand,NEW TAI LUE Talu,NEWA Newa,"
            "NKO Nkoo,NUSHU Nshu,NYIAKENG PUACHUE HMONG Hmnp,OGHAM Ogam,OL CHIKI Olck,OLD HUNGARIAN Hung,OLD ITALIC Ital,"
            "OLD NORTH ARABIAN Narb,OLD PERMIC Perm,OLD PERSIAN Xpeo,OLD SOGDIAN Sogo,OLD SOUTH ARABIAN Sarb,OLD TURKIC Orkh,"
            "OLD UYGHUR Ougr,ORIYA Orya,OSAGE Osge,OSMANYA Osma,PAHAWH HMONG Hmng,PALMYRENE Palm,PAU CIN HAU Pauc,PHAGS-PA Phag,"
            "PHOENICIAN Phnx,PSALTER PAHLAVI Phlp,REJANG Rjng,RUNIC Runr,SAMARITAN Samr,SAURASHTRA Saur,SHARADA Shrd,"
            "SHAVIAN Shaw,SIDDHAM Sidd,SIGNWRITING Sgnw,SINHALA Sinh,SOGDIAN Sogd,SORA SOMPENG Sora,SOYOMBO Soyo,SUNDANESE Sund,"
            "SYLOTI NAGRI Sylo,SYRIAC Syrc,TAGALOG Tglg,TAGBANWA Tagb,TAI LE Tale,TAI THAM Lana,TAI VIET Tavt,TAKRI Takr,"
            "TAMIL Taml,TANGSA Tnsa,TANGUT Tang,TELUGU Telu,THAANA Thaa,THAI Thai,TIBETAN Tibt,TIFINAGH Tfng,TIRHUTA Tirh,"
            "TOTO Toto,UGARITIC Ugar,VAI Vaii,VITHKUQI Vith,WANCHO Wcho,WARANG CITI Wara,YEZIDI Yezi,YI Yiii,"
            "ZANABAZAR SQUARE Zanb"
        ).split(",")
    )
}


def script(text: str) -> str:
    """The script of most of the letters, such as "Latn"; "Zyyy" for a text without letters.

    Japanese is "Jpan" when a twentieth or more of its Han characters and kana are kana; Han alone is "Hani", Korean "Hang".
    Looks at the first 20,000 characters.
    """
    counts: Counter[str] = Counter()
    for character, count in Counter(text[:_CHARACTERS]).items():
        counts[_script_of(character)] += count
    del counts[NO_SCRIPT]
    if counts["Jpan"] > _KANA_SHARE * (counts["Jpan"] + counts["Hani"]):
        counts["Jpan"] += counts.pop("Hani", 0)
    return max(counts, key=counts.__getitem__) if sum(counts.values()) else NO_SCRIPT


@cache
def _script_of(character: str) -> str:
    if not character.isalpha():
        return NO_SCRIPT
    names = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split()
    return next((_CODES[name] for n in (3, 2, 1) if (name := " ".join(names[:n])) in _CODES), NO_SCRIPT)
